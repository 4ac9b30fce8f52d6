//! Rate limits: the counters that an event counts in, and their limits.
//!
//! # Guessing
//!
//! A TAN has 6 of 20 letters: 20^6 = 6.4e7, 25.9 bits. Wrong TANs of unknown browsers are budgeted per broker,
//! 10 in 24 hours and 30 in 30 days: 360 a year. The probability of a hit for one broker in a year is 360 / 6.4e7 =
//! 5.6e-6. With 500 a day over all brokers, 182,500 a year, any hit at all has a probability of 0.0029, whatever
//! the number of brokers. Exhausted budgets lock nobody out: new TANs have 10 letters then (20^10 = 1e13), and an
//! outstanding short one is no longer compared. With `enumeration = "neutral"`, a right claim of an untrusted
//! browser counts as a failure of its client, like a wrong one; otherwise the limit would tell them apart.
//!
//! Passwords are guessed per user key, in the same windows: 10 in 24 hours and 30 in 30 days from unknown
//! browsers, 10 in 24 hours from devices of that user key. Failures of the client's address count for unknown
//! browsers only. There is no longer password to ask for, so beyond the budget unknown browsers wait; known ones
//! continue. A window begins with the first event. Around the end of a window, up to twice a budget less one
//! can be spent within its length.

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

/// A client's address for counters: an IPv4 address, or an IPv6 network of 64 bits, since a client can choose the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Converts an address to its counted form.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.into()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }

    /// Returns the address that represents all that share the counter.
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

/// The owner of counters for mails and guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Broker(Vtnr),
    /// A wrong claim answered like a right one (`enumeration = "neutral"`), identified by its fingerprint. It has its own counters,
    /// so that a wrong address costs the broker nothing.
    Decoy(Vtnr, u64),
}

/// A counter of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Mails to a broker, in one of three windows.
    Mails(Subject, MailWindow),
    /// Mails to a broker, from the reserve for known browsers.
    ReserveMails(Subject),
    /// Wrong TANs for a broker, from unknown browsers.
    WrongTans(Subject, Span),
    /// Wrong TANs for a broker, from known browsers.
    WrongTansOfKnown(Subject),
    /// Wrong TANs for all brokers together.
    WrongTansOfAll,
    /// Wrong TANs from a client.
    WrongTansFrom(ClientAddress),
    /// Failed sign-ins from a client.
    FailuresFrom(ClientAddress),
    /// Distinct broker numbers in failed sign-ins from a client; each counts once.
    VtnrsFrom(ClientAddress, Vtnr),
    /// Wrong passwords for a user key, existing or not, from browsers that are no devices of it.
    WrongPasswords(UserMark, Span),
    /// Wrong passwords for a user key, from its devices.
    WrongPasswordsOfKnown(UserMark),
    /// Sign-ins without e-mail from a client.
    WithoutEmailFrom(ClientAddress),
    /// Sign-ins without e-mail for a broker.
    WithoutEmailOf(Vtnr),
    /// Kibibytes of held forms of a client.
    FormsFrom(ClientAddress),
    /// Kibibytes of all held forms.
    FormsOfAll,
    /// The calculator's sessions begun for a client, with a remembered owner.
    ApplicationSessionsSetFor(ClientAddress),
    /// The calculator's sessions first seen in a client's request, with a remembered owner.
    ApplicationSessionsSeenFrom(ClientAddress),
}

/// A window for mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailWindow {
    /// A pause after each mail.
    Pause,
    /// A few mails in a quarter of an hour.
    Burst,
    Day,
}

/// A window for wrong TANs and passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    Day,
    Month,
}

/// A counter that an event counts in, with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitHit {
    pub counter: Counter,
    pub allowance: Allowance,
    pub amount: u32,
}

impl RateLimitHit {
    /// Creates a hit with an amount of one.
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
    /// The pause between two mails to a broker.
    pub mail_pause: Allowance,
    /// Mails to a broker in a short time.
    pub mail_burst: Allowance,
    /// Mails to a broker a day.
    pub mail_day: Allowance,
    /// Further mails a day for known browsers only, so that strangers cannot starve a broker of mails.
    pub mail_reserve: Allowance,
    /// Wrong TANs for a broker from unknown browsers, a day.
    pub wrong_tans_day: Allowance,
    /// Wrong TANs for a broker from unknown browsers, in 30 days.
    pub wrong_tans_month: Allowance,
    /// Wrong TANs for a broker from known browsers, a day.
    pub wrong_tans_known: Allowance,
    /// Wrong TANs over all brokers, a day.
    pub wrong_tans_all: Allowance,
    /// Wrong TANs from one client, a day.
    pub wrong_tans_client: Allowance,
    /// Wrong passwords for a user key from unknown browsers, a day.
    pub wrong_passwords_day: Allowance,
    /// Wrong passwords for a user key from unknown browsers, in 30 days.
    pub wrong_passwords_month: Allowance,
    /// Wrong passwords for a user key from its devices, a day.
    pub wrong_passwords_known: Allowance,
    /// Failed sign-ins from one client.
    pub failures_client: Allowance,
    /// Distinct broker numbers in failed sign-ins from one client.
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
    /// Returns the limits of a mail to a broker.
    pub fn mail(&self, subject: Subject) -> Vec<RateLimitHit> {
        vec![
            RateLimitHit::one(Counter::Mails(subject, MailWindow::Pause), self.mail_pause),
            RateLimitHit::one(Counter::Mails(subject, MailWindow::Burst), self.mail_burst),
            RateLimitHit::one(Counter::Mails(subject, MailWindow::Day), self.mail_day),
        ]
    }

    /// Returns the limits of a mail to a known browser, once the usual allowance is exhausted.
    pub fn reserve_mail(&self, subject: Subject) -> Vec<RateLimitHit> {
        vec![RateLimitHit::one(
            Counter::ReserveMails(subject),
            self.mail_reserve,
        )]
    }

    /// Returns the budgets of wrong answers to a TAN of the usual length. Once one is exhausted, only long
    /// TANs are compared, to which the budgets do not apply.
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

    /// Returns the limits of an answer to a TAN: the broker's budgets for a short TAN, and always the client's.
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

    /// Returns the limits that a failed sign-in counts in, and a successful one is checked against.
    pub fn sign_in(&self, client: ClientAddress, vtnr: Option<Vtnr>) -> Vec<RateLimitHit> {
        let failures = RateLimitHit::one(Counter::FailuresFrom(client), self.failures_client);
        let distinct =
            vtnr.map(|vtnr| RateLimitHit::one(Counter::VtnrsFrom(client, vtnr), self.vtnrs_client));
        std::iter::once(failures).chain(distinct).collect()
    }

    /// Returns the limits that a wrong password counts in, and a right one is checked against. The budget with the longest window comes first,
    /// so that it is the one reported. A known browser is not affected by others at the same address.
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

    /// Returns the limits of a sign-in without e-mail.
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
    fn a_sign_in_without_email_counts_for_its_client_and_its_broker() {
        let client = ClientAddress::of("192.0.2.7".parse().expect("an address"));
        let hits = Limits::default().without_email(client, vtnr());
        let counters: Vec<_> = hits.iter().map(|hit| hit.counter).collect();
        let expected = [
            Counter::WithoutEmailFrom(client),
            Counter::WithoutEmailOf(vtnr()),
        ];
        assert_eq!(counters, expected);
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
