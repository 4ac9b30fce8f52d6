//! How often something may happen: which counters an event is charged to, and up to what.
//!
//! The arithmetic behind the numbers stands below, under "Guessing".
//!
//! # Guessing
//!
//! A TAN has 6 of 20 letters: 20^6 = 6.4e7, 25.9 bits. Wrong TANs of unknown browsers are budgeted per broker,
//! 10 in 24 hours and 30 in 30 days: 360 a year. Chance of one hit for one broker in a year: 360 / 6.4e7 =
//! 5.6e-6. With 500 a day over all brokers, 182,500 a year: 0.0029 for any hit at all, however many brokers
//! there are. Whatever the budgets say, nobody is locked out: beyond them new TANs have 10 letters (20^10 =
//! 1e13), and an outstanding short one is no longer compared. With `enumeration = "neutral"` a right claim of a
//! browser that is not trusted counts among its client's failures like a wrong one; else the limit would tell
//! which is which. A password is guessed for a user key, in the same windows: 10 in 24 hours and 30 in 30 days
//! from browsers in which nobody signed in with it, 10 in 24 hours from those in which somebody did, and
//! failures of the client's address count for the former. There are no longer passwords to ask for, so that
//! beyond the budget strangers wait; who is known goes on. Counters are windows that begin with the first
//! event. Around the end of a window up to twice a budget less one can be spent within its length.

use super::device::UserMark;
use super::tan::TanLength;
use super::trust::TrustLevel;
use super::vtnr::Vtnr;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// At most `limit` events in a window that begins with the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub limit: u32,
    /// In how long a window.
    pub window: Duration,
}

impl Allowance {
    /// At most `limit` events in `seconds`.
    pub const fn per(limit: u32, seconds: u64) -> Self {
        Self {
            limit,
            window: Duration::from_secs(seconds),
        }
    }
}

/// A client's address as counters know it: one IPv4 address, or one IPv6 network of 64 bits, since a client can choose the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The counted form of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.into()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }

    /// The address that stands for all that share the counter.
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

/// Whose mails and guesses are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Broker(Vtnr),
    /// A claim that is answered as if it were right (`enumeration = "neutral"`), told apart by its fingerprint. It has counters of
    /// its own, so that a wrong address costs the broker nothing.
    Decoy(Vtnr, u64),
}

/// What is counted, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Mails to a broker, in one of three windows.
    Mails(Subject, MailWindow),
    /// Mails to a broker from the reserve for known browsers.
    ReserveMails(Subject),
    /// Wrong TANs for a broker from browsers that are not known.
    WrongTans(Subject, Span),
    /// Wrong TANs for a broker from known browsers.
    WrongTansOfKnown(Subject),
    /// Wrong TANs for all brokers together.
    WrongTansOfAll,
    /// Wrong TANs from a client.
    WrongTansFrom(ClientAddress),
    /// Sign-ins that failed, from a client.
    FailuresFrom(ClientAddress),
    /// Different broker numbers in failed sign-ins from a client; each counts once.
    VtnrsFrom(ClientAddress, Vtnr),
    /// Wrong passwords for a user key, whether there is such a user or not, from browsers in which nobody signed in with it.
    WrongPasswords(UserMark, Span),
    /// Wrong passwords for a user key from browsers in which somebody did.
    WrongPasswordsOfKnown(UserMark),
    /// Sign-ins without e-mail from a client.
    WithoutEmailFrom(ClientAddress),
    /// Sign-ins without e-mail for a broker.
    WithoutEmailOf(Vtnr),
    /// Kibibytes of forms that are kept for a client.
    FormsFrom(ClientAddress),
    /// Kibibytes of forms that are kept for all.
    FormsOfAll,
    /// Sessions that the calculator began for a client, and whose owner is remembered.
    ApplicationSessionsSetFor(ClientAddress),
    /// Sessions of the calculator that a client brought, that nobody owned, and whose owner is remembered.
    ApplicationSessionsSeenFrom(ClientAddress),
}

/// Which of the windows for mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailWindow {
    /// One mail, then a pause.
    Pause,
    /// A few mails in a quarter of an hour.
    Burst,
    Day,
}

/// Which of the windows for wrong TANs and passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    Day,
    Month,
}

/// One counter and how far it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitHit {
    pub counter: Counter,
    pub allowance: Allowance,
    /// How much this event counts.
    pub amount: u32,
}

impl RateLimitHit {
    /// An event that counts once.
    pub const fn one(counter: Counter, allowance: Allowance) -> Self {
        Self {
            counter,
            allowance,
            amount: 1,
        }
    }
}

/// All limits; the defaults are the product's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Mails to a broker between two of which a pause must lie.
    pub mail_pause: Allowance,
    /// Mails to a broker in a short time.
    pub mail_burst: Allowance,
    /// Mails to a broker a day.
    pub mail_day: Allowance,
    /// Further mails a day for known browsers only, so that nobody can starve a broker of mails on their own machine.
    pub mail_reserve: Allowance,
    /// Wrong TANs for a broker from browsers that are not known, a day.
    pub wrong_tans_day: Allowance,
    /// Wrong TANs in 30 days.
    pub wrong_tans_month: Allowance,
    /// Wrong TANs for a broker from known browsers, a day.
    pub wrong_tans_known: Allowance,
    /// Wrong TANs over all brokers, a day.
    pub wrong_tans_all: Allowance,
    /// Wrong TANs from one client, a day.
    pub wrong_tans_client: Allowance,
    /// Wrong passwords for a user key from browsers in which nobody signed in with it, a day.
    pub wrong_passwords_day: Allowance,
    /// Wrong passwords in 30 days.
    pub wrong_passwords_month: Allowance,
    /// Wrong passwords for a user key from browsers in which somebody did, a day.
    pub wrong_passwords_known: Allowance,
    /// Failed sign-ins from one client.
    pub failures_client: Allowance,
    /// Different broker numbers in failed sign-ins from one client.
    pub vtnrs_client: Allowance,
    /// Sign-ins without e-mail from one client.
    pub without_email_client: Allowance,
    /// Sign-ins without e-mail for one broker.
    pub without_email_vtnr: Allowance,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        const DAY: u64 = 24 * HOUR;
        Self {
            mail_pause: Allowance::per(1, 30),
            mail_burst: Allowance::per(3, 900),
            mail_day: Allowance::per(10, DAY),
            mail_reserve: Allowance::per(5, DAY),
            wrong_tans_day: Allowance::per(10, DAY),
            wrong_tans_month: Allowance::per(30, 30 * DAY),
            wrong_tans_known: Allowance::per(10, DAY),
            wrong_tans_all: Allowance::per(500, DAY),
            wrong_tans_client: Allowance::per(30, DAY),
            wrong_passwords_day: Allowance::per(10, DAY),
            wrong_passwords_month: Allowance::per(30, 30 * DAY),
            wrong_passwords_known: Allowance::per(10, DAY),
            failures_client: Allowance::per(30, HOUR),
            vtnrs_client: Allowance::per(10, HOUR),
            without_email_client: Allowance::per(60, HOUR),
            without_email_vtnr: Allowance::per(100, HOUR),
        }
    }
}

impl Limits {
    /// What one mail to a broker is charged to.
    pub fn mail(&self, subject: Subject) -> Vec<RateLimitHit> {
        vec![
            RateLimitHit::one(Counter::Mails(subject, MailWindow::Pause), self.mail_pause),
            RateLimitHit::one(Counter::Mails(subject, MailWindow::Burst), self.mail_burst),
            RateLimitHit::one(Counter::Mails(subject, MailWindow::Day), self.mail_day),
        ]
    }

    /// What one mail is charged to when the usual allowance is used up and the browser is known.
    pub fn reserve_mail(&self, subject: Subject) -> Vec<RateLimitHit> {
        vec![RateLimitHit::one(
            Counter::ReserveMails(subject),
            self.mail_reserve,
        )]
    }

    /// The budgets of wrong answers to a TAN of the usual length. While they last such a TAN is compared;
    /// once one is spent, only a long TAN is, and for that they set no limit.
    pub fn guesses(&self, subject: Subject, trust_level: TrustLevel) -> Vec<RateLimitHit> {
        match trust_level {
            TrustLevel::Known | TrustLevel::Trusted => {
                vec![RateLimitHit::one(
                    Counter::WrongTansOfKnown(subject),
                    self.wrong_tans_known,
                )]
            }
            TrustLevel::Stranger => vec![
                RateLimitHit::one(Counter::WrongTans(subject, Span::Day), self.wrong_tans_day),
                RateLimitHit::one(
                    Counter::WrongTans(subject, Span::Month),
                    self.wrong_tans_month,
                ),
                RateLimitHit::one(Counter::WrongTansOfAll, self.wrong_tans_all),
            ],
        }
    }

    /// What an answer to a TAN is measured by: budgets of the broker while the TAN is short, and always the client's own.
    pub fn answer(
        &self,
        subject: Subject,
        trust_level: TrustLevel,
        length: TanLength,
        client: ClientAddress,
    ) -> Vec<RateLimitHit> {
        let client = RateLimitHit::one(Counter::WrongTansFrom(client), self.wrong_tans_client);
        let mut hits = match length {
            TanLength::Usual => self.guesses(subject, trust_level),
            TanLength::Long => Vec::new(),
        };
        hits.push(client);
        hits
    }

    /// What a failed sign-in is charged to, and a good one measured by.
    pub fn sign_in(&self, client: ClientAddress, vtnr: Option<Vtnr>) -> Vec<RateLimitHit> {
        let failures = RateLimitHit::one(Counter::FailuresFrom(client), self.failures_client);
        let distinct =
            vtnr.map(|vtnr| RateLimitHit::one(Counter::VtnrsFrom(client, vtnr), self.vtnrs_client));
        std::iter::once(failures).chain(distinct).collect()
    }

    /// What a wrong password is charged to, and a right one measured by. The budget that is spent for longest comes first, so that it is
    /// the one that is told of. What others do from the same address is nothing to a browser that is known.
    pub fn password(
        &self,
        user: UserMark,
        trust_level: TrustLevel,
        client: ClientAddress,
    ) -> Vec<RateLimitHit> {
        match trust_level {
            TrustLevel::Known | TrustLevel::Trusted => {
                vec![RateLimitHit::one(
                    Counter::WrongPasswordsOfKnown(user),
                    self.wrong_passwords_known,
                )]
            }
            TrustLevel::Stranger => vec![
                RateLimitHit::one(
                    Counter::WrongPasswords(user, Span::Month),
                    self.wrong_passwords_month,
                ),
                RateLimitHit::one(
                    Counter::WrongPasswords(user, Span::Day),
                    self.wrong_passwords_day,
                ),
                RateLimitHit::one(Counter::FailuresFrom(client), self.failures_client),
            ],
        }
    }

    /// What a sign-in without e-mail is charged to.
    pub fn without_email(&self, client: ClientAddress, vtnr: Vtnr) -> Vec<RateLimitHit> {
        vec![
            RateLimitHit::one(Counter::WithoutEmailFrom(client), self.without_email_client),
            RateLimitHit::one(Counter::WithoutEmailOf(vtnr), self.without_email_vtnr),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vtnr() -> Vtnr {
        Vtnr::parse("60/123/4567").expect("well-formed")
    }

    #[test]
    fn an_ipv6_client_is_its_network_and_a_mapped_ipv4_address_is_itself() {
        let of = |text: &str| {
            ClientAddress::of(text.parse().expect("an address"))
                .ip()
                .to_string()
        };
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::ffff"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_long_tan_is_compared_whatever_the_brokers_budgets_say() {
        let client = ClientAddress::of("192.0.2.7".parse().expect("an address"));
        let counters = |trust_level, length| -> Vec<_> {
            Limits::default()
                .answer(Subject::Broker(vtnr()), trust_level, length, client)
                .into_iter()
                .map(|hit| hit.counter)
                .collect()
        };
        assert_eq!(
            counters(TrustLevel::Stranger, TanLength::Long),
            [Counter::WrongTansFrom(client)]
        );
        assert_eq!(
            counters(TrustLevel::Known, TanLength::Usual),
            [
                Counter::WrongTansOfKnown(Subject::Broker(vtnr())),
                Counter::WrongTansFrom(client)
            ]
        );
        assert_eq!(
            counters(TrustLevel::Stranger, TanLength::Usual),
            [
                Counter::WrongTans(Subject::Broker(vtnr()), Span::Day),
                Counter::WrongTans(Subject::Broker(vtnr()), Span::Month),
                Counter::WrongTansOfAll,
                Counter::WrongTansFrom(client)
            ]
        );
    }

    #[test]
    fn a_known_browser_is_measured_by_its_own_budget_of_wrong_passwords_alone() {
        let (client, user) = (
            ClientAddress::of("192.0.2.7".parse().expect("an address")),
            UserMark::from_digest([1; 32]),
        );
        let counters = |trust_level| -> Vec<_> {
            Limits::default()
                .password(user, trust_level, client)
                .into_iter()
                .map(|hit| hit.counter)
                .collect()
        };
        assert_eq!(
            counters(TrustLevel::Known),
            [Counter::WrongPasswordsOfKnown(user)]
        );
        assert_eq!(
            counters(TrustLevel::Stranger),
            [
                Counter::WrongPasswords(user, Span::Month),
                Counter::WrongPasswords(user, Span::Day),
                Counter::FailuresFrom(client)
            ]
        );
    }

    #[test]
    fn the_default_limits_are_the_products() {
        let limits = Limits::default();
        assert_eq!(
            (limits.mail_pause, limits.mail_burst, limits.mail_day),
            (
                Allowance::per(1, 30),
                Allowance::per(3, 900),
                Allowance::per(10, 86_400)
            )
        );
        assert_eq!(
            (
                limits.wrong_tans_day.limit,
                limits.wrong_tans_month.limit,
                limits.wrong_tans_all.limit,
                limits.mail_reserve.limit
            ),
            (10, 30, 500, 5)
        );
        assert_eq!(
            (
                limits.wrong_passwords_day,
                limits.wrong_passwords_month,
                limits.wrong_passwords_known
            ),
            (
                Allowance::per(10, 86_400),
                Allowance::per(30, 30 * 86_400),
                Allowance::per(10, 86_400)
            )
        );
    }
}
