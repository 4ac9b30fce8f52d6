//! Forms that could not be forwarded when they came: kept until the broker may send them, and sent once.

use super::policy::Permit;
use super::return_to::ReturnTo;
use super::throttle::{Allowance, ClientAddress, Counter, RateLimitHit};
use super::time::Timestamp;
use super::vtnr::Vtnr;
use std::time::Duration;

/// A form that was posted to the calculator and did not go there. Its body is kept apart from this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldForm {
    /// Where it was posted to.
    pub target: ReturnTo,
    /// `Content-Type`, with the boundary of a multipart body.
    pub content_type: String,
    /// The page that it was filled in on, as the browser named it.
    pub referer: Option<String>,
    /// The origin of the other site whose page posted it; `None` if it was one of this host's.
    pub origin: Option<String>,
    /// Whose session it came with; `None` if it came without one.
    pub owner: Option<Vtnr>,
    pub held_since: Timestamp,
    /// How far it has come.
    pub stage: FormStage,
}

/// How far a kept form has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormStage {
    Waits,
    /// Taken to be sent; whether the calculator can be reached is known shortly.
    Going {
        /// When it was taken.
        since: Timestamp,
    },
    /// Sent. The body is gone, and the form is never sent again.
    Sent {
        at: Timestamp,
    },
}

/// What may be kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldFormLimits {
    /// How long a form is kept.
    pub lifetime: Duration,
    /// The longest body, in bytes; 0 keeps none.
    pub largest: usize,
    /// From one client within a lifetime, in bytes.
    pub per_client: u64,
    /// From all clients at once, in bytes, with those that are coming in; at least twice `per_client`.
    pub total: u64,
    /// After this long a form that was taken has gone up, or was put back.
    pub settles: Duration,
}

/// What may become of a kept form when its broker asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormStatus {
    Waits,
    Going,
    Sent {
        at: Timestamp,
    },
    /// Kept for another broker than the one who is signed in.
    OfAnotherBroker,
    Expired,
}

impl HeldForm {
    /// What may become of it at the hands of `broker`.
    pub fn status(&self, broker: Vtnr, limits: &HeldFormLimits, now: Timestamp) -> FormStatus {
        if self.owner.is_some_and(|owner| owner != broker) {
            return FormStatus::OfAnotherBroker;
        }
        match self.stage {
            FormStage::Sent { at } => FormStatus::Sent { at },
            FormStage::Going { since } if now.since(since) < limits.settles => FormStatus::Going,
            // Whoever took it ended before it could say so.
            FormStage::Going { since } => FormStatus::Sent { at: since },
            FormStage::Waits if now >= self.kept_until(limits) => FormStatus::Expired,
            FormStage::Waits => FormStatus::Waits,
        }
    }

    /// Until when it can be sent.
    pub fn kept_until(&self, limits: &HeldFormLimits) -> Timestamp {
        self.held_since.plus(limits.lifetime)
    }

    /// Marks the form as taken `now` to be sent, as the policy permitted.
    pub fn going(&self, _: &Permit, now: Timestamp) -> Self {
        Self {
            stage: FormStage::Going { since: now },
            ..self.clone()
        }
    }

    /// Marks the form as sent `now`.
    pub fn sent(&self, now: Timestamp) -> Self {
        Self {
            stage: FormStage::Sent { at: now },
            ..self.clone()
        }
    }

    /// At most how many bytes it takes to write down, without its body.
    pub fn size(&self) -> usize {
        const FRAME: usize = 512;
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        // Written, a character may take two.
        FRAME
            + 2 * (self.target.as_str().len()
                + self.content_type.len()
                + length(&self.referer)
                + length(&self.origin))
    }
}

/// The media types that forms are kept in: those of HTML forms that carry fields, and JSON (product rule).
pub fn is_keepable(content_type: &str) -> bool {
    is_of_html_forms(content_type) || essence(content_type).eq_ignore_ascii_case("application/json")
}

/// The media types of HTML forms that carry fields.
pub fn is_of_html_forms(content_type: &str) -> bool {
    let kinds = ["application/x-www-form-urlencoded", "multipart/form-data"];
    kinds
        .iter()
        .any(|kind| essence(content_type).eq_ignore_ascii_case(kind))
}

/// A media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

impl HeldFormLimits {
    /// The most that [`HeldFormLimits::largest`] can be, in bytes.
    pub const MAX_BODY: usize = 4 << 20;
    /// What even the smallest form is counted as, in bytes: it takes room as well.
    pub const MIN_COUNTED: u64 = 4 << 10;

    /// What forms that are coming in may take of [`HeldFormLimits::total`], in bytes.
    pub fn coming_in(&self) -> u64 {
        const MAX: u64 = 64 << 20;
        MAX.min(self.total / 4)
            .min(self.total.saturating_sub(2 * self.per_client))
    }

    /// What keeping a form of so many bytes in all is charged to. Counters count kibibytes, begun ones whole.
    pub fn room(&self, client: ClientAddress, bytes: usize) -> Vec<RateLimitHit> {
        let kib = |bytes: u64| u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        let amount = kib(Self::MIN_COUNTED.max(bytes as u64));
        let within = |bytes| Allowance {
            limit: kib(bytes),
            window: self.lifetime,
        };
        // A window begins with its first form: of two that follow each other, the forms may be alive at once.
        let kept = self.total.saturating_sub(self.coming_in()) / 2;
        vec![
            RateLimitHit {
                counter: Counter::FormsFrom(client),
                allowance: within(self.per_client),
                amount,
            },
            RateLimitHit {
                counter: Counter::FormsOfAll,
                allowance: within(kept),
                amount,
            },
        ]
    }
}

const KIB: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Permit;

    const LIMITS: HeldFormLimits = HeldFormLimits {
        lifetime: Duration::from_secs(900),
        largest: 1 << 20,
        per_client: 1 << 24,
        total: 1 << 28,
        settles: Duration::from_secs(7),
    };

    fn vtnr(text: &str) -> Vtnr {
        Vtnr::parse(text).expect("well-formed")
    }

    fn form(owner: Option<Vtnr>) -> HeldForm {
        HeldForm {
            target: ReturnTo::start(),
            content_type: "application/json".into(),
            referer: None,
            origin: None,
            owner,
            held_since: Timestamp::from_millis(1_000),
            stage: FormStage::Waits,
        }
    }

    #[test]
    fn a_form_can_be_sent_once_within_its_time_and_by_its_own_broker_only() {
        let (ada, ben) = (vtnr("60/123/4567"), vtnr("60/123/4568"));
        let at = Timestamp::from_millis;
        let going = form(Some(ada)).going(&Permit::public(crate::route::public_route()), at(5_000));
        let sent = going.sent(at(5_100));
        let cases = [
            (form(None), ben, 1_000, FormStatus::Waits),
            (form(Some(ada)), ada, 900_999, FormStatus::Waits),
            (form(Some(ada)), ada, 901_000, FormStatus::Expired),
            (form(Some(ada)), ben, 1_000, FormStatus::OfAnotherBroker),
            (going.clone(), ada, 11_999, FormStatus::Going),
            (
                going.clone(),
                ada,
                12_000,
                FormStatus::Sent { at: at(5_000) },
            ),
            (going, ben, 6_000, FormStatus::OfAnotherBroker),
            (sent.clone(), ada, 6_000, FormStatus::Sent { at: at(5_100) }),
            (
                sent.clone(),
                ada,
                901_000,
                FormStatus::Sent { at: at(5_100) },
            ),
            (sent, ben, 6_000, FormStatus::OfAnotherBroker),
        ];
        for (form, broker, now, expected) in cases {
            assert_eq!(
                form.status(broker, &LIMITS, at(now)),
                expected,
                "{form:?} {now}"
            );
        }
    }

    #[test]
    fn what_two_windows_take_and_what_is_coming_in_is_never_more_than_the_total() {
        let client = ClientAddress::of(std::net::IpAddr::from([192, 0, 2, 1]));
        for (per_client, total) in [(16, 256), (16, 32), (1, 16), (1, 2), (1, 3), (16, 1 << 20)]
            .map(|(one, all)| (one << 20, all << 20))
        {
            let limits = HeldFormLimits {
                per_client,
                total,
                ..LIMITS
            };
            let of_all = limits.room(client, 1)[1].allowance.limit;
            let window = u64::from(of_all) << 10;
            assert!(
                2 * window + limits.coming_in() <= total,
                "{per_client} {total}"
            );
            assert!(
                window >= per_client,
                "one client's share fits: {per_client} {total}"
            );
            assert!(
                2 * window + limits.coming_in() + 4_096 > total,
                "nothing is given away: {per_client} {total}"
            );
        }
    }

    #[test]
    fn forms_are_kept_in_the_types_that_forms_have() {
        for kept in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=ISO-8859-1",
            "multipart/form-data; boundary=----x",
            "Application/JSON;charset=utf-8",
        ] {
            assert!(is_keepable(kept), "{kept}");
        }
        for other in [
            "",
            "text/plain",
            "application/jsonp",
            "text/html; x=application/json",
            "multipart/mixed",
        ] {
            assert!(!is_keepable(other), "{other}");
        }
    }
}
