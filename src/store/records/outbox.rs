//! Letters and their deliveries.

use super::Record;
use domain::challenge::Delivery;
use domain::email::Email;
use domain::ids::LetterId;
use domain::letter::Letter;
use domain::tan::Tan;
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct LetterRecord {
    id: u128,
    to: Option<String>,
    tan: String,
    asked_at: u64,
    browser: String,
    not_after: u64,
}

impl Record for Letter {
    type Written = LetterRecord;

    fn write(&self) -> LetterRecord {
        LetterRecord {
            id: self.id.bits(),
            to: self.to.as_ref().map(|to| to.as_str().to_owned()),
            tan: self.tan.reveal().to_owned(),
            asked_at: self.asked_at.as_millis(),
            browser: self.browser.clone(),
            not_after: self.not_after.as_millis(),
        }
    }

    fn read(written: LetterRecord) -> Option<Self> {
        Some(Self {
            id: LetterId::from_bits(written.id),
            to: written.to.map(|to| Email::parse(&to)).transpose().ok()?,
            tan: Tan::from_record(&written.tan),
            asked_at: Timestamp::from_millis(written.asked_at),
            browser: written.browser,
            not_after: Timestamp::from_millis(written.not_after),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::store) enum DeliveryRecord {
    Queued,
    Delayed(u64),
    Accepted(u64),
    Refused(u64),
}

impl Record for Delivery {
    type Written = DeliveryRecord;

    fn write(&self) -> DeliveryRecord {
        match self {
            Self::Queued => DeliveryRecord::Queued,
            Self::Delayed { next_try_at } => DeliveryRecord::Delayed(next_try_at.as_millis()),
            Self::Accepted { at } => DeliveryRecord::Accepted(at.as_millis()),
            Self::Refused { at } => DeliveryRecord::Refused(at.as_millis()),
        }
    }

    fn read(written: DeliveryRecord) -> Option<Self> {
        Some(match written {
            DeliveryRecord::Queued => Self::Queued,
            DeliveryRecord::Delayed(at) => Self::Delayed {
                next_try_at: Timestamp::from_millis(at),
            },
            DeliveryRecord::Accepted(at) => Self::Accepted {
                at: Timestamp::from_millis(at),
            },
            DeliveryRecord::Refused(at) => Self::Refused {
                at: Timestamp::from_millis(at),
            },
        })
    }
}
