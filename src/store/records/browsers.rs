//! Trusted browsers, and devices on which user keys signed in.

use super::Record;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::device::{Device, DeviceEntry, UserMark};
use domain::email::Email;
use domain::time::Timestamp;
use domain::trust::{Trust, TrustEntry};
use domain::vtnr::Vtnr;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct TrustRecord {
    entries: Vec<TrustEntryRecord>,
}

#[derive(Serialize, Deserialize)]
struct TrustEntryRecord {
    vtnr: u32,
    email: String,
    granted_at: u64,
}

impl Record for Trust {
    type Written = TrustRecord;

    fn write(&self) -> TrustRecord {
        let entry = |entry: &TrustEntry| TrustEntryRecord {
            vtnr: entry.vtnr.number(),
            email: entry.email.as_str().to_owned(),
            granted_at: entry.granted_at.as_millis(),
        };
        TrustRecord {
            entries: self.entries().iter().map(entry).collect(),
        }
    }

    fn read(written: TrustRecord) -> Option<Self> {
        let entry = |entry: TrustEntryRecord| {
            Some(TrustEntry {
                vtnr: Vtnr::from_number(entry.vtnr).ok()?,
                email: Email::parse(&entry.email).ok()?,
                granted_at: Timestamp::from_millis(entry.granted_at),
            })
        };
        written
            .entries
            .into_iter()
            .map(entry)
            .collect::<Option<_>>()
            .map(Self::from_entries)
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct DeviceRecord {
    entries: Vec<DeviceEntryRecord>,
}

#[derive(Serialize, Deserialize)]
struct DeviceEntryRecord {
    user: String,
    vtnr: u32,
    at: u64,
}

impl Record for Device {
    type Written = DeviceRecord;

    fn write(&self) -> DeviceRecord {
        let entry = |entry: &DeviceEntry| DeviceEntryRecord {
            user: URL_SAFE_NO_PAD.encode(entry.user.digest()),
            vtnr: entry.vtnr.number(),
            at: entry.at.as_millis(),
        };
        DeviceRecord {
            entries: self.entries().iter().map(entry).collect(),
        }
    }

    fn read(written: DeviceRecord) -> Option<Self> {
        let entry = |entry: DeviceEntryRecord| {
            Some(DeviceEntry {
                user: URL_SAFE_NO_PAD
                    .decode(&entry.user)
                    .ok()?
                    .try_into()
                    .ok()
                    .map(UserMark::from_digest)?,
                vtnr: Vtnr::from_number(entry.vtnr).ok()?,
                at: Timestamp::from_millis(entry.at),
            })
        };
        written
            .entries
            .into_iter()
            .map(entry)
            .collect::<Option<_>>()
            .map(Self::from_entries)
    }
}
