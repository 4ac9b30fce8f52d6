//! Counters of rate limits.

use super::Sealed;
use crate::store::RateLimits;
use crate::store::engine::{Change, CounterMode, CounterOp, Engine};
use crate::store::vault::Kind;
use domain::device::UserMark;
use domain::throttle::{Allowance, Charge, ClientAddress, Counter, Subject};
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

    fn counter_op(&self, hit: &Charge, mode: CounterMode) -> CounterOp {
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

/// Returns the id of a counter, and the id of the event if it counts only once per window.
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
        Counter::Mails(subject, pace) => (by(format!("mails {pace:?} ").as_bytes(), subject), None),
        Counter::ReserveMails(subject) => (by(b"reserve mails ", subject), None),
        Counter::WrongTans(subject, span) => (
            by(format!("wrong tans {span:?} ").as_bytes(), subject),
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
            marked(format!("wrong passwords {span:?} ").as_bytes(), user),
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
