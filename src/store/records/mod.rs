//! How records are written: JSON, inside the seal. A gateway reads what an older or newer one wrote, since
//! unknown fields are passed over; that is what a rolling update needs.

use crate::store::offline_tokens::OfflineToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::application_session::{ApplicationSession, CookieScope, CookieScopes};
use domain::challenge::{Challenge, Delivery};
use domain::device::{Device, DeviceEntry, UserMark, UserTag};
use domain::email::Email;
use domain::flow::{Claim, Flow, Redeemed, SignedIn, Stage};
use domain::ids::{BrowserToken, FlowToken, LetterId, SessionToken, TOKEN_BYTES};
use domain::letter::Letter;
use domain::parking::{FormStage, ParkedForm};
use domain::return_to::ReturnTo;
use domain::session::{Level, Proof, Session};
use domain::tan::Tan;
use domain::throttle::Subject;
use domain::time::Timestamp;
use domain::trust::{Standing, Trust, TrustEntry};
use domain::vtnr::Vtnr;
use serde::{Deserialize, Serialize};

/// What was read is not a record of this kind.
#[derive(Debug)]
pub(super) struct MalformedRecord;

/// Something that can be a record.
pub(super) trait Record: Sized {
    /// How it is written.
    type Written: Serialize + for<'de> Deserialize<'de>;

    fn write(&self) -> Self::Written;
    fn read(written: Self::Written) -> Option<Self>;

    fn to_bytes(&self) -> Result<Vec<u8>, MalformedRecord> {
        serde_json::to_vec(&self.write()).map_err(|_| MalformedRecord)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedRecord> {
        serde_json::from_slice(bytes)
            .ok()
            .and_then(Self::read)
            .ok_or(MalformedRecord)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct SessionRecord {
    vtnr: u32,
    level: LevelRecord,
    signed_in_at: u64,
    seen_at: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LevelRecord {
    Mailbox,
    Password { user: u32 },
    Certificate,
    Portal,
    WithoutSubmission,
}

impl Record for Session {
    type Written = SessionRecord;

    fn write(&self) -> SessionRecord {
        let level = match self.level {
            Level::Full {
                proof: Proof::Mailbox,
            } => LevelRecord::Mailbox,
            Level::Full {
                proof: Proof::Password { user },
            } => LevelRecord::Password {
                user: user.number(),
            },
            Level::Full {
                proof: Proof::Certificate,
            } => LevelRecord::Certificate,
            Level::Full {
                proof: Proof::Portal,
            } => LevelRecord::Portal,
            Level::WithoutSubmission => LevelRecord::WithoutSubmission,
        };
        SessionRecord {
            vtnr: self.vtnr.number(),
            level,
            signed_in_at: self.signed_in_at.as_millis(),
            seen_at: self.seen_at.as_millis(),
        }
    }

    fn read(written: SessionRecord) -> Option<Self> {
        let level = match written.level {
            LevelRecord::Mailbox => Level::Full {
                proof: Proof::Mailbox,
            },
            LevelRecord::Password { user } => Level::Full {
                proof: Proof::Password {
                    user: UserTag::from_number(user),
                },
            },
            LevelRecord::Certificate => Level::Full {
                proof: Proof::Certificate,
            },
            LevelRecord::Portal => Level::Full {
                proof: Proof::Portal,
            },
            LevelRecord::WithoutSubmission => Level::WithoutSubmission,
        };
        Some(Self {
            vtnr: Vtnr::from_number(written.vtnr).ok()?,
            level,
            signed_in_at: Timestamp::from_millis(written.signed_in_at),
            seen_at: Timestamp::from_millis(written.seen_at),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct OfflineTokenRecord {
    session: SessionRecord,
    as_of: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    owns: Vec<u64>,
}

impl Record for OfflineToken {
    type Written = OfflineTokenRecord;

    fn write(&self) -> OfflineTokenRecord {
        OfflineTokenRecord {
            session: self.session.write(),
            as_of: self.as_of.as_millis(),
            owns: self.owns.clone(),
        }
    }

    fn read(written: OfflineTokenRecord) -> Option<Self> {
        let OfflineTokenRecord {
            session,
            as_of,
            owns,
        } = written;
        Some(Self {
            session: Session::read(session)?,
            as_of: Timestamp::from_millis(as_of),
            owns,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct OwnersRecord {
    owners: Vec<u32>,
}

impl Record for ApplicationSession {
    type Written = OwnersRecord;

    fn write(&self) -> OwnersRecord {
        OwnersRecord {
            owners: self.owners().iter().map(|owner| owner.number()).collect(),
        }
    }

    fn read(written: OwnersRecord) -> Option<Self> {
        let owners = written
            .owners
            .into_iter()
            .map(|owner| Vtnr::from_number(owner).ok());
        owners.collect::<Option<_>>().map(Self::from_owners)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ScopesRecord {
    scopes: Vec<ScopeRecord>,
}

#[derive(Serialize, Deserialize)]
struct ScopeRecord {
    name: String,
    path: Option<String>,
    domain: Option<String>,
    #[serde(default)]
    partitioned: bool,
}

impl Record for CookieScopes {
    type Written = ScopesRecord;

    fn write(&self) -> ScopesRecord {
        let scope = |scope: &CookieScope| {
            let CookieScope {
                name,
                path,
                domain,
                partitioned,
            } = scope.clone();
            ScopeRecord {
                name,
                path,
                domain,
                partitioned,
            }
        };
        ScopesRecord {
            scopes: self.all().iter().map(scope).collect(),
        }
    }

    fn read(written: ScopesRecord) -> Option<Self> {
        let scope = |ScopeRecord {
                         name,
                         path,
                         domain,
                         partitioned,
                     }| CookieScope {
            name,
            path,
            domain,
            partitioned,
        };
        Some(Self::from_scopes(
            written.scopes.into_iter().map(scope).collect(),
        ))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct FlowRecord {
    vtnr: u32,
    email: String,
    stage: StageRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StageRecord {
    UnknownEmail,
    Tan(ChallengeRecord),
    SignedIn {
        session: String,
        browser: Option<String>,
        tan: Option<String>,
        /// Older gateways do not write it.
        #[serde(default)]
        known: bool,
        at: u64,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct ChallengeRecord {
    tan: String,
    tries_left: u8,
    asked_at: u64,
    mailed_at: u64,
    letters: Vec<u128>,
    known: bool,
    vtnr: u32,
    decoy: Option<u64>,
}

impl Record for Challenge {
    type Written = ChallengeRecord;

    fn write(&self) -> ChallengeRecord {
        let (vtnr, decoy) = match self.subject {
            Subject::Broker(vtnr) => (vtnr, None),
            Subject::Decoy(vtnr, fingerprint) => (vtnr, Some(fingerprint)),
        };
        ChallengeRecord {
            tan: self.tan.reveal().to_owned(),
            tries_left: self.tries_left,
            asked_at: self.asked_at.as_millis(),
            mailed_at: self.mailed_at.as_millis(),
            letters: self.letters.iter().map(|letter| letter.bits()).collect(),
            known: self.standing != Standing::Stranger,
            vtnr: vtnr.number(),
            decoy,
        }
    }

    fn read(written: ChallengeRecord) -> Option<Self> {
        let vtnr = Vtnr::from_number(written.vtnr).ok()?;
        Some(Self {
            tan: Tan::from_record(&written.tan),
            tries_left: written.tries_left,
            asked_at: Timestamp::from_millis(written.asked_at),
            mailed_at: Timestamp::from_millis(written.mailed_at),
            letters: written
                .letters
                .into_iter()
                .map(LetterId::from_bits)
                .collect(),
            standing: standing(written.known),
            subject: written.decoy.map_or(Subject::Broker(vtnr), |fingerprint| {
                Subject::Decoy(vtnr, fingerprint)
            }),
        })
    }
}

impl Record for Flow {
    type Written = FlowRecord;

    fn write(&self) -> FlowRecord {
        let stage = match &self.stage {
            Stage::UnknownEmail => StageRecord::UnknownEmail,
            Stage::Tan(challenge) => StageRecord::Tan(challenge.write()),
            Stage::SignedIn(signed_in) => StageRecord::SignedIn {
                session: URL_SAFE_NO_PAD.encode(signed_in.session.reveal()),
                browser: signed_in
                    .browser
                    .map(|browser| URL_SAFE_NO_PAD.encode(browser.reveal())),
                tan: signed_in
                    .redeemed
                    .as_ref()
                    .map(|redeemed| redeemed.tan.reveal().to_owned()),
                known: signed_in
                    .redeemed
                    .as_ref()
                    .is_some_and(|redeemed| redeemed.standing != Standing::Stranger),
                at: signed_in.at.as_millis(),
            },
        };
        FlowRecord {
            vtnr: self.claim.vtnr.number(),
            email: self.claim.email.as_str().to_owned(),
            stage,
        }
    }

    fn read(written: FlowRecord) -> Option<Self> {
        let claim = Claim {
            vtnr: Vtnr::from_number(written.vtnr).ok()?,
            email: Email::parse(&written.email).ok()?,
        };
        let stage = match written.stage {
            StageRecord::UnknownEmail => Stage::UnknownEmail,
            StageRecord::Tan(challenge) => Stage::Tan(Challenge::read(challenge)?),
            StageRecord::SignedIn {
                session,
                browser,
                tan,
                known,
                at,
            } => Stage::SignedIn(SignedIn {
                session: SessionToken::from_bytes(token(&session)?),
                browser: browser
                    .map(|browser| token(&browser).ok_or(MalformedRecord))
                    .transpose()
                    .ok()?
                    .map(BrowserToken::from_bytes),
                redeemed: tan.map(|tan| Redeemed {
                    tan: Tan::from_record(&tan),
                    standing: standing(known),
                }),
                at: Timestamp::from_millis(at),
            }),
        };
        Some(Self { claim, stage })
    }
}

/// Where a flow went that had another token.
impl Record for FlowToken {
    type Written = String;

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.reveal())
    }

    fn read(written: String) -> Option<Self> {
        token(&written).map(Self::from_bytes)
    }
}

fn standing(known: bool) -> Standing {
    if known {
        Standing::Known
    } else {
        Standing::Stranger
    }
}

fn token(text: &str) -> Option<[u8; TOKEN_BYTES]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[derive(Serialize, Deserialize)]
pub(super) struct TrustRecord {
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
pub(super) struct DeviceRecord {
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

#[derive(Serialize, Deserialize)]
pub(super) struct FormRecord {
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

impl Record for ParkedForm {
    type Written = FormRecord;

    fn write(&self) -> FormRecord {
        FormRecord {
            target: self.target.as_str().to_owned(),
            content_type: self.content_type.clone(),
            referer: self.referer.clone(),
            origin: self.origin.clone(),
            owner: self.owner.map(Vtnr::number),
            parked_at: self.parked_at.as_millis(),
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
            parked_at: Timestamp::from_millis(written.parked_at),
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

impl Record for Timestamp {
    type Written = u64;

    fn write(&self) -> u64 {
        self.as_millis()
    }

    fn read(written: u64) -> Option<Self> {
        Some(Self::from_millis(written))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct LetterRecord {
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
pub(super) enum DeliveryRecord {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_that_an_older_gateway_wrote_is_read() {
        let session = URL_SAFE_NO_PAD.encode([7; TOKEN_BYTES]);
        let written = format!(
            r#"{{"vtnr":601234567,"email":"ada@makler.example","stage":{{"signed-in":{{"session":"{session}","browser":null,"tan":"BCDFGH","at":1}}}}}}"#
        );
        let flow = Flow::from_bytes(written.as_bytes()).expect("a sign-in");
        let Stage::SignedIn(SignedIn {
            redeemed: Some(redeemed),
            ..
        }) = flow.stage
        else {
            panic!("it succeeded")
        };
        assert_eq!(
            (redeemed.tan.reveal(), redeemed.standing),
            ("BCDFGH", Standing::Stranger)
        );
    }
}
