//! Sample brokers, sign-ins and letters.

use crate::fixture::{Fixture, HOUR};
use domain::challenge::Challenge;
use domain::email::Email;
use domain::flow::{Claim, Flow, Redeemed, SignedIn, Stage};
use domain::ids::{BrowserToken, FlowToken, LetterId, SessionToken};
use domain::letter::Letter;
use domain::session::{Level, Proof, Session};
use domain::tan::Tan;
use domain::throttle::{Allowance, ClientAddress, Counter, RateLimitHit, Subject};
use domain::time::Timestamp;
use domain::trust::{Trust, TrustEntry, TrustLevel};
use domain::vtnr::Vtnr;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use vtnr_gateway::clock::Rng;
use vtnr_gateway::store::{
    FlowChange, FullStore, RateLimits, Result, Seen, SignInCommit, SignInStore, WriteOutcome,
};

pub(crate) const TAN: &str = "QWXZKV";
pub(crate) const EMAIL: &str = "Ada.Lovelace@Makler-Kanari.example";
pub(crate) const FULL: Level = Level::Full {
    proof: Proof::Mailbox,
};

pub(crate) fn vtnr() -> Vtnr {
    Vtnr::parse("60/123/4567").expect("well-formed")
}

pub(crate) fn another_vtnr() -> Vtnr {
    Vtnr::parse("60/123/4568").expect("well-formed")
}

pub(crate) fn email() -> Email {
    Email::parse(EMAIL).expect("well-formed")
}

fn flow(stage: Stage) -> Flow {
    Flow {
        claim: Claim {
            vtnr: vtnr(),
            email: email(),
        },
        stage,
    }
}

pub(crate) fn unknown_email() -> Flow {
    flow(Stage::UnknownEmail)
}

pub(crate) fn tan_asked(now: Timestamp, tries_left: u8) -> Flow {
    flow(Stage::Tan(Challenge {
        tan: Tan::from_record(TAN),
        tries_left,
        asked_at: now,
        mailed_at: now,
        letters: vec![LetterId::from_bits(1)],
        trust_level: TrustLevel::Stranger,
        subject: Subject::Broker(vtnr()),
    }))
}

pub(crate) fn letter(now: Timestamp) -> Letter {
    Letter {
        id: Rng.letter_id(),
        to: Some(email()),
        tan: Tan::from_record(TAN),
        asked_at: now,
        browser: "Firefox unter Windows".into(),
        not_after: now.plus(HOUR),
    }
}

pub(crate) fn session(now: Timestamp) -> Session {
    Session::begin(vtnr(), FULL, now)
}

pub(crate) fn trust(now: Timestamp) -> Trust {
    Trust::default().granting(TrustEntry {
        vtnr: vtnr(),
        email: email(),
        granted_at: now,
    })
}

pub(crate) fn client(last: u8) -> ClientAddress {
    ClientAddress::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
}

pub(crate) fn hit(counter: Counter, limit: u32) -> RateLimitHit {
    RateLimitHit::one(
        counter,
        Allowance {
            limit,
            window: HOUR,
        },
    )
}

/// Limits the failures of one client per hour.
pub(crate) fn failures(limit: u32) -> RateLimitHit {
    hit(Counter::FailuresFrom(client(7)), limit)
}

pub(crate) fn counts(rate_limits: Vec<RateLimitHit>) -> RateLimits {
    RateLimits {
        count: rate_limits,
        ..RateLimits::none()
    }
}

/// Determines a counter's value without raising it.
pub(crate) async fn standing_at(store: &dyn SignInStore, counter: Counter) -> u32 {
    for limit in 1..100 {
        let asked = store
            .hit_limits(&RateLimits::check(vec![hit(counter, limit)]))
            .await
            .expect("the store answers");
        if asked == WriteOutcome::Done {
            return limit - 1;
        }
    }
    panic!("{counter:?} stands at 99 or more");
}

/// Begins a session from an untrusted browser without a flow.
pub(crate) async fn begin_session(
    on: &Fixture,
    session: &Session,
    lives: Duration,
) -> SessionToken {
    let token = Rng.session_token();
    assert_eq!(
        on.store
            .sign_in(bare(&token, session, lives), &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    token
}

pub(crate) fn bare<'a>(
    token: &'a SessionToken,
    session: &'a Session,
    lives: Duration,
) -> SignInCommit<'a> {
    SignInCommit {
        flow: None,
        session: (token, session),
        lives,
        replaces: None,
        trust: None,
        forgets: None,
        trust_lives: HOUR,
    }
}

/// Queues a letter, with a flow of its own.
pub(crate) async fn ask_for(on: &Fixture, letter: &Letter, lives: Duration) {
    let (token, next) = (Rng.flow_token(), tan_asked(on.now(), 5));
    let change = FlowChange {
        token: &token,
        previous_token: None,
        seen: None,
        next: &next,
        lives,
    };
    assert_eq!(
        on.store
            .ask_for_tan(change, letter, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
}

/// A browser that signs in with a TAN, replacing an earlier session and an earlier trust token.
pub(crate) struct Attempt {
    pub(crate) flow: FlowToken,
    pub(crate) seen: Option<Seen<Flow>>,
    pub(crate) session: SessionToken,
    pub(crate) browser: BrowserToken,
    pub(crate) old_session: SessionToken,
    pub(crate) old_browser: BrowserToken,
    now: Timestamp,
}

impl Attempt {
    pub(crate) async fn begun(on: &Fixture) -> Self {
        Self::begun_with(on, tan_asked(on.now(), 5)).await
    }

    /// Creates the attempt with this flow stored.
    pub(crate) async fn begun_with(on: &Fixture, next: Flow) -> Self {
        let now = on.now();
        let (flow, old_session, old_browser) =
            (Rng.flow_token(), Rng.session_token(), Rng.browser_token());
        let (session, trust) = (session(now), trust(now));
        let before = SignInCommit {
            trust: Some((&old_browser, &trust)),
            ..bare(&old_session, &session, HOUR)
        };
        assert_eq!(
            on.store
                .sign_in(before, &RateLimits::none())
                .await
                .expect("answers"),
            WriteOutcome::Done
        );
        let change = FlowChange {
            token: &flow,
            previous_token: None,
            seen: None,
            next: &next,
            lives: HOUR,
        };
        assert_eq!(
            on.store
                .keep_flow(change, &RateLimits::none())
                .await
                .expect("answers"),
            WriteOutcome::Done
        );
        let seen = on.store.find_flow(&flow).await.expect("answers");
        let (session, browser) = (Rng.session_token(), Rng.browser_token());
        Self {
            flow,
            seen,
            session,
            browser,
            old_session,
            old_browser,
            now,
        }
    }

    /// Repeats the attempt of the same browser, with fresh tokens.
    pub(crate) fn again(&self) -> Self {
        let (session, browser) = (Rng.session_token(), Rng.browser_token());
        Self {
            session,
            browser,
            seen: self.seen.clone(),
            ..*self
        }
    }

    pub(crate) async fn sign_in(
        &self,
        store: &dyn SignInStore,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        let (session, trust) = (session(self.now), trust(self.now));
        let next = flow(Stage::SignedIn(SignedIn {
            session: self.session,
            browser: Some(self.browser),
            redeemed: Some(Redeemed {
                tan: Tan::from_record(TAN),
                trust_level: TrustLevel::Known,
            }),
            at: self.now,
        }));
        let sign_in = SignInCommit {
            flow: Some(FlowChange {
                token: &self.flow,
                previous_token: None,
                seen: self.seen.as_ref(),
                next: &next,
                lives: HOUR,
            }),
            session: (&self.session, &session),
            lives: HOUR,
            replaces: Some(&self.old_session),
            trust: Some((&self.browser, &trust)),
            forgets: Some(&self.old_browser),
            trust_lives: HOUR,
        };
        store.sign_in(sign_in, rate_limits).await
    }

    /// Asserts that everything is as [`Attempt::begun`] left it.
    pub(crate) async fn left_no_trace(&self, store: &dyn FullStore) {
        assert_eq!(
            store.find_session(&self.session).await.expect("answers"),
            None,
            "no session began"
        );
        assert!(
            store
                .find_trust(&self.browser)
                .await
                .expect("answers")
                .entries()
                .is_empty(),
            "no browser became trusted"
        );
        assert!(
            store
                .find_session(&self.old_session)
                .await
                .expect("answers")
                .is_some(),
            "the old session lives"
        );
        assert!(
            !store
                .find_trust(&self.old_browser)
                .await
                .expect("answers")
                .entries()
                .is_empty(),
            "the old trust holds"
        );
    }
}

/// Names the stage of a flow.
pub(crate) async fn stage(store: &dyn SignInStore, token: &FlowToken) -> String {
    match store
        .find_flow(token)
        .await
        .expect("the store answers")
        .map(|seen| seen.value.stage)
    {
        None => "none".into(),
        Some(Stage::UnknownEmail) => "unknown e-mail".into(),
        Some(Stage::Tan(challenge)) => format!("tan, {} tries", challenge.tries_left),
        Some(Stage::SignedIn(_)) => "signed in".into(),
    }
}
