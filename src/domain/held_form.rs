//! Held forms: posts that could not be forwarded at once. They are stored until the broker may send them, and sent once.

use super::policy::Permit;
use super::return_to::ReturnTo;
use super::throttle::{Allowance, ClientAddress, Counter, RateLimitHit};
use super::time::Timestamp;
use super::vtnr::Vtnr;
use std::time::Duration;

/// A held form without its body, which is stored separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldForm {
    pub target: ReturnTo,
    /// `Content-Type`, with the boundary of a multipart body.
    pub content_type: String,
    /// `Referer` as sent by the browser.
    pub referer: Option<String>,
    /// The origin of the page that posted it, if that was another site's.
    pub origin: Option<String>,
    /// The broker of the session it came with, if any.
    pub owner: Option<Vtnr>,
    pub held_since: Timestamp,
    pub stage: FormStage,
}

/// The stage of a held form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormStage {
    Waits,
    /// Claimed for sending; the connection to the calculator is being established.
    Going {
        since: Timestamp,
    },
    /// Sent: the body is deleted, and the form is never sent again.
    Sent {
        at: Timestamp,
    },
}

/// Limits on size, number and lifetime of held forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldFormLimits {
    /// How long a form is kept.
    pub lifetime: Duration,
    /// The maximum body size in bytes; 0 disables held forms.
    pub largest: usize,
    /// The quota of one client within a lifetime, in bytes.
    pub per_client: u64,
    /// The quota of all clients, in bytes, including bodies being received; at least twice `per_client`.
    pub total: u64,
    /// The time after which a claimed form has been sent or put back.
    pub settles: Duration,
}

/// The status of a held form, as its broker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormStatus {
    Waits,
    Going,
    Sent { at: Timestamp },
    OfAnotherBroker,
    Expired,
}

impl HeldForm {
    /// Returns the status for `broker`.
    pub fn status(&self, broker: Vtnr, limits: &HeldFormLimits, now: Timestamp) -> FormStatus {
        if self.owner.is_some_and(|owner| owner != broker) {
            return FormStatus::OfAnotherBroker;
        }
        match self.stage {
            FormStage::Sent { at } => FormStatus::Sent { at },
            FormStage::Going { since } if now.since(since) < limits.settles => FormStatus::Going,
            // The gateway that claimed it ended before it could record the result.
            FormStage::Going { since } => FormStatus::Sent { at: since },
            FormStage::Waits if now >= self.kept_until(limits) => FormStatus::Expired,
            FormStage::Waits => FormStatus::Waits,
        }
    }

    /// Returns the time until which it can be sent.
    pub fn kept_until(&self, limits: &HeldFormLimits) -> Timestamp {
        self.held_since.plus(limits.lifetime)
    }

    /// Marks the form as claimed `now`, with the policy's permit.
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

    /// Returns an upper bound for the size of its record, without the body.
    pub fn size(&self) -> usize {
        const FRAME: usize = 512;
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        // A serialized character may take two bytes.
        FRAME
            + 2 * (self.target.as_str().len()
                + self.content_type.len()
                + length(&self.referer)
                + length(&self.origin))
    }
}

/// Returns whether a media type can be held: HTML forms with fields, and JSON (product rule).
pub fn is_keepable(content_type: &str) -> bool {
    is_of_html_forms(content_type) || essence(content_type).eq_ignore_ascii_case("application/json")
}

/// Returns whether a media type is that of an HTML form with fields.
pub fn is_of_html_forms(content_type: &str) -> bool {
    let kinds = ["application/x-www-form-urlencoded", "multipart/form-data"];
    kinds
        .iter()
        .any(|kind| essence(content_type).eq_ignore_ascii_case(kind))
}

/// Returns a media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

impl HeldFormLimits {
    /// The maximum of [`HeldFormLimits::largest`], in bytes.
    pub const MAX_BODY: usize = 4 << 20;
    /// The size that the smallest form counts as, in bytes, because of its overhead.
    pub const MIN_COUNTED: u64 = 4 << 10;

    /// Returns the part of [`HeldFormLimits::total`] for bodies being received, in bytes.
    pub fn coming_in(&self) -> u64 {
        const MAX: u64 = 64 << 20;
        MAX.min(self.total / 4)
            .min(self.total.saturating_sub(2 * self.per_client))
    }

    /// Returns the rate limits that a form of this total size counts in, in kibibytes, rounded up.
    pub fn room(&self, client: ClientAddress, bytes: usize) -> Vec<RateLimitHit> {
        let kib = |bytes: u64| u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        let amount = kib(Self::MIN_COUNTED.max(bytes as u64));
        let within = |bytes| Allowance {
            limit: kib(bytes),
            window: self.lifetime,
        };
        // A window begins with its first form: the forms of two consecutive windows may be alive at once.
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
    fn a_record_is_as_large_as_its_texts_may_become() {
        let bare = form(None).size();
        assert_eq!(bare, 512 + 2 * ("/".len() + "application/json".len()));
        let full = HeldForm {
            referer: Some("https://a.example/kfz".into()),
            origin: Some("https://b.example".into()),
            ..form(None)
        };
        let texts = "https://a.example/kfz".len() + "https://b.example".len();
        assert_eq!(full.size(), bare + 2 * texts);
    }

    #[test]
    fn bodies_being_received_have_a_part_of_the_total_which_leaves_two_clients_their_share() {
        const MIB: u64 = 1 << 20;
        for (per_client, total, part) in [(16, 512, 64), (1, 100, 25), (16, 40, 8), (16, 32, 0)] {
            let limits = HeldFormLimits {
                per_client: per_client * MIB,
                total: total * MIB,
                ..LIMITS
            };
            assert_eq!(limits.coming_in(), part * MIB, "{per_client} {total}");
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
