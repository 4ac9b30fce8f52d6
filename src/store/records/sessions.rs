//! Sessions, offline tokens, and the calculator's sessions.

use super::Record;
use crate::store::offline_tokens::OfflineToken;
use domain::application_session::{ApplicationSession, CookieScope, CookieScopes};
use domain::device::UserTag;
use domain::session::{Level, Proof, Session};
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct SessionRecord {
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
pub(in crate::store) struct OfflineTokenRecord {
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
pub(in crate::store) struct OwnersRecord {
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
pub(in crate::store) struct ScopesRecord {
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

impl Record for Timestamp {
    type Written = u64;

    fn write(&self) -> u64 {
        self.as_millis()
    }

    fn read(written: u64) -> Option<Self> {
        Some(Self::from_millis(written))
    }
}
