//! Held forms, without their bodies.

use super::Record;
use domain::held_form::{FormStage, HeldForm};
use domain::return_to::ReturnTo;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct FormRecord {
    target: String,
    content_type: String,
    referer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    owner: Option<u32>,
    parked_at: u64,
    stage: FormStageRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FormStageRecord {
    Waits,
    Going(u64),
    Sent(u64),
}

impl Record for HeldForm {
    type Written = FormRecord;

    fn write(&self) -> FormRecord {
        FormRecord {
            target: self.target.as_str().to_owned(),
            content_type: self.content_type.clone(),
            referer: self.referer.clone(),
            origin: self.origin.clone(),
            owner: self.owner.map(Vtnr::number),
            parked_at: self.held_since.as_millis(),
            stage: match self.stage {
                FormStage::Waits => FormStageRecord::Waits,
                FormStage::Going { since } => FormStageRecord::Going(since.as_millis()),
                FormStage::Sent { at } => FormStageRecord::Sent(at.as_millis()),
            },
        }
    }

    fn read(written: FormRecord) -> Option<Self> {
        Some(Self {
            target: ReturnTo::parse(&written.target).ok()?,
            content_type: written.content_type,
            referer: written.referer,
            origin: written.origin,
            owner: written.owner.map(Vtnr::from_number).transpose().ok()?,
            held_since: Timestamp::from_millis(written.parked_at),
            stage: match written.stage {
                FormStageRecord::Waits => FormStage::Waits,
                FormStageRecord::Going(since) => FormStage::Going {
                    since: Timestamp::from_millis(since),
                },
                FormStageRecord::Sent(at) => FormStage::Sent {
                    at: Timestamp::from_millis(at),
                },
            },
        })
    }
}
