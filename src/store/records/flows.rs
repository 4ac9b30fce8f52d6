//! Sign-ins in progress.

use super::{MalformedRecord, Record, token_bytes, token_text};
use domain::challenge::Challenge;
use domain::email::Email;
use domain::flow::{Claim, Flow, Redeemed, SignedIn, Stage};
use domain::ids::{BrowserToken, FlowToken, LetterId, SessionToken};
use domain::tan::Tan;
use domain::throttle::Subject;
use domain::time::Timestamp;
use domain::trust::TrustLevel;
use domain::vtnr::Vtnr;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct FlowRecord {
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
        // Missing from the records of older gateways.
        #[serde(default)]
        known: bool,
        at: u64,
    },
}

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct ChallengeRecord {
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
            known: self.trust_level != TrustLevel::Stranger,
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
            trust_level: trust_level(written.known),
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
                session: token_text(signed_in.session.reveal()),
                browser: signed_in
                    .browser
                    .map(|browser| token_text(browser.reveal())),
                tan: signed_in
                    .redeemed
                    .as_ref()
                    .map(|redeemed| redeemed.tan.reveal().to_owned()),
                known: signed_in
                    .redeemed
                    .as_ref()
                    .is_some_and(|redeemed| redeemed.trust_level != TrustLevel::Stranger),
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
                session: SessionToken::from_bytes(token_bytes(&session)?),
                browser: browser
                    .map(|browser| token_bytes(&browser).ok_or(MalformedRecord))
                    .transpose()
                    .ok()?
                    .map(BrowserToken::from_bytes),
                redeemed: tan.map(|tan| Redeemed {
                    tan: Tan::from_record(&tan),
                    trust_level: trust_level(known),
                }),
                at: Timestamp::from_millis(at),
            }),
        };
        Some(Self { claim, stage })
    }
}

/// Points from the previous token of a moved flow to the new one.
impl Record for FlowToken {
    type Written = String;

    fn write(&self) -> String {
        token_text(self.reveal())
    }

    fn read(written: String) -> Option<Self> {
        token_bytes(&written).map(Self::from_bytes)
    }
}

fn trust_level(known: bool) -> TrustLevel {
    if known {
        TrustLevel::Known
    } else {
        TrustLevel::Stranger
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::TOKEN_BYTES;

    #[test]
    fn a_sign_in_that_an_older_gateway_wrote_is_read() {
        let session = token_text(&[7; TOKEN_BYTES]);
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
            (redeemed.tan.reveal(), redeemed.trust_level),
            ("BCDFGH", TrustLevel::Stranger)
        );
    }
}
