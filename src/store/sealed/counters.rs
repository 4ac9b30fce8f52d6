//! Counters of rate limits.

use super::Sealed;
use crate::store::RateLimits;
use crate::store::engine::{Change, CounterMode, CounterOp, Engine};
use crate::store::vault::Kind;
use domain::device::UserMark;
use domain::throttle::{
    Allowance, ClientAddress, Counter, MailWindow, RateLimitHit, Span, Subject,
};
use domain::vtnr::Vtnr;
use std::net::IpAddr;

impl<E: Engine> Sealed<E> {
    pub(super) fn add_limits(&self, change: &mut Change, rate_limits: &RateLimits) {
        let groups = [
            (&rate_limits.take, CounterMode::Take),
            (&rate_limits.check, CounterMode::Check),
            (&rate_limits.count, CounterMode::Count),
        ];
        for (group, mode) in groups {
            change
                .counters
                .extend(group.iter().map(|hit| self.counter_op(hit, mode)));
        }
    }

    fn counter_op(&self, hit: &RateLimitHit, mode: CounterMode) -> CounterOp {
        let Allowance { limit, window } = hit.allowance;
        let (counter, once) = counter_id(hit.counter);
        let once = once.map(|id| self.vault.name(Kind::CountedOnce, &id));
        CounterOp {
            counter: self.vault.name(Kind::Counter, &counter),
            once,
            limit,
            amount: hit.amount,
            window,
            mode,
        }
    }
}

/// Returns the id of a counter, and the id of the event if it counts only once per window. Other
/// gateways on the same store use the same ids: a changed id starts its counter at zero.
fn counter_id(counter: Counter) -> (Vec<u8>, Option<Vec<u8>>) {
    let of = |tag: &[u8], vtnr: Vtnr| [tag, &vtnr.number().to_be_bytes()].concat();
    let by = |tag: &[u8], subject: Subject| match subject {
        Subject::Broker(vtnr) => of(tag, vtnr),
        Subject::Decoy(vtnr, fingerprint) => {
            [&of(tag, vtnr)[..], b" decoy ", &fingerprint.to_be_bytes()].concat()
        }
    };
    let marked = |tag: &[u8], user: UserMark| [tag, user.digest()].concat();
    let from = |tag: &[u8], client: ClientAddress| match client.ip() {
        IpAddr::V4(ip) => [tag, &ip.octets()].concat(),
        IpAddr::V6(ip) => [tag, &ip.octets()].concat(),
    };
    match counter {
        Counter::Mails(subject, window) => (
            by(
                format!("mails {} ", window_name(window)).as_bytes(),
                subject,
            ),
            None,
        ),
        Counter::ReserveMails(subject) => (by(b"reserve mails ", subject), None),
        Counter::WrongTans(subject, span) => (
            by(
                format!("wrong tans {} ", span_name(span)).as_bytes(),
                subject,
            ),
            None,
        ),
        Counter::WrongTansOfKnown(subject) => (by(b"wrong tans known ", subject), None),
        Counter::WrongTansOfAll => (b"wrong tans all".to_vec(), None),
        Counter::WrongTansFrom(client) => (from(b"wrong tans from ", client), None),
        Counter::FailuresFrom(client) => (from(b"failures from ", client), None),
        Counter::VtnrsFrom(client, vtnr) => {
            let counter = from(b"vtnrs from ", client);
            let once = of(&counter, vtnr);
            (counter, Some(once))
        }
        Counter::WrongPasswords(user, span) => (
            marked(
                format!("wrong passwords {} ", span_name(span)).as_bytes(),
                user,
            ),
            None,
        ),
        Counter::WrongPasswordsOfKnown(user) => (marked(b"wrong passwords known ", user), None),
        Counter::WithoutEmailFrom(client) => (from(b"without email from ", client), None),
        Counter::WithoutEmailOf(vtnr) => (of(b"without email of ", vtnr), None),
        Counter::FormsFrom(client) => (from(b"forms from ", client), None),
        Counter::FormsOfAll => (b"forms all".to_vec(), None),
        Counter::ApplicationSessionsSetFor(client) => {
            (from(b"application sessions set for ", client), None)
        }
        Counter::ApplicationSessionsSeenFrom(client) => {
            (from(b"application sessions seen from ", client), None)
        }
    }
}

const fn window_name(window: MailWindow) -> &'static str {
    match window {
        MailWindow::Pause => "Pause",
        MailWindow::Burst => "Burst",
        MailWindow::Day => "Day",
    }
}

const fn span_name(span: Span) -> &'static str {
    match span {
        Span::Day => "Day",
        Span::Month => "Month",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(counter: Counter) -> String {
        let (counter, once) = counter_id(counter);
        let counter = counter.escape_ascii().to_string();
        match once {
            Some(once) => format!("{counter} | {}", once.escape_ascii()),
            None => counter,
        }
    }

    #[test]
    fn a_new_version_finds_the_counters_of_an_older_one() {
        let vtnr = Vtnr::from_number(0x0102_0304).expect("nine digits");
        let client = ClientAddress::of("65.66.67.68".parse().expect("an address"));
        let (broker, user) = (Subject::Broker(vtnr), UserMark::from_digest([b'u'; 32]));
        let digest = "u".repeat(32);
        let number = "\\x01\\x02\\x03\\x04";
        for (counter, expected) in [
            (
                Counter::Mails(broker, MailWindow::Pause),
                format!("mails Pause {number}"),
            ),
            (
                Counter::Mails(broker, MailWindow::Burst),
                format!("mails Burst {number}"),
            ),
            (
                Counter::Mails(broker, MailWindow::Day),
                format!("mails Day {number}"),
            ),
            (
                Counter::Mails(Subject::Decoy(vtnr, 0x41), MailWindow::Day),
                format!("mails Day {number} decoy \\x00\\x00\\x00\\x00\\x00\\x00\\x00A"),
            ),
            (
                Counter::ReserveMails(broker),
                format!("reserve mails {number}"),
            ),
            (
                Counter::WrongTans(broker, Span::Day),
                format!("wrong tans Day {number}"),
            ),
            (
                Counter::WrongTans(broker, Span::Month),
                format!("wrong tans Month {number}"),
            ),
            (
                Counter::WrongTansOfKnown(broker),
                format!("wrong tans known {number}"),
            ),
            (Counter::WrongTansOfAll, "wrong tans all".to_owned()),
            (
                Counter::WrongTansFrom(client),
                "wrong tans from ABCD".to_owned(),
            ),
            (
                Counter::FailuresFrom(client),
                "failures from ABCD".to_owned(),
            ),
            (
                Counter::VtnrsFrom(client, vtnr),
                format!("vtnrs from ABCD | vtnrs from ABCD{number}"),
            ),
            (
                Counter::WrongPasswords(user, Span::Day),
                format!("wrong passwords Day {digest}"),
            ),
            (
                Counter::WrongPasswords(user, Span::Month),
                format!("wrong passwords Month {digest}"),
            ),
            (
                Counter::WrongPasswordsOfKnown(user),
                format!("wrong passwords known {digest}"),
            ),
            (
                Counter::WithoutEmailFrom(client),
                "without email from ABCD".to_owned(),
            ),
            (
                Counter::WithoutEmailOf(vtnr),
                format!("without email of {number}"),
            ),
            (Counter::FormsFrom(client), "forms from ABCD".to_owned()),
            (Counter::FormsOfAll, "forms all".to_owned()),
            (
                Counter::ApplicationSessionsSetFor(client),
                "application sessions set for ABCD".to_owned(),
            ),
            (
                Counter::ApplicationSessionsSeenFrom(client),
                "application sessions seen from ABCD".to_owned(),
            ),
        ] {
            assert_eq!(id(counter), expected);
        }
    }
}
