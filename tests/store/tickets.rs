//! Offline tokens: a gateway that never saw a session accepts its token while the store is down,
//! unless the session has ended.

use crate::fixture::{HOUR, eventually, manual_clock, vault};
use crate::samples::{bare, session, vtnr};
use crate::staged::Staged;
use domain::ids::SessionToken;
use domain::session::{Session, SessionLimits};
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::cache::Sessions;
use vtnr_gateway::store::{
    Error, Invalidation, RateLimits, SessionStore, SignInStore as _, WriteOutcome,
};
use vtnr_gateway::telemetry::metrics::Metrics;

const LIMITS: SessionLimits = SessionLimits {
    idle: HOUR,
    absolute: Duration::from_secs(12 * 3_600),
};
const GRACE: Duration = Duration::from_secs(60);

/// Two gateways: one that the broker uses, and one that never saw the session.
struct Pair {
    used: Gateway,
    other: Gateway,
    clock: Clock,
}

struct Gateway {
    store: Arc<Staged>,
    sessions: Arc<Sessions>,
}

impl Gateway {
    fn start(clock: &Clock) -> Self {
        let store = Arc::new(Staged::new(clock.clone()));
        let metrics = Arc::new(Metrics::new().expect("sound"));
        let as_store = Arc::clone(&store) as Arc<dyn SessionStore>;
        let sessions = Arc::new(Sessions::new(
            as_store,
            vault(),
            LIMITS,
            GRACE,
            clock.clone(),
            metrics,
        ));
        tokio::spawn(Arc::clone(&sessions).listen());
        Self { store, sessions }
    }

    /// Announces an invalidation, and waits until it was applied.
    async fn hears(&self, invalidation: Invalidation) {
        let mut heard = self.sessions.invalidations();
        eventually("it listens", async || self.store.is_listened_to()).await;
        self.store.announce(invalidation);
        assert_eq!(
            heard.recv().await.expect("nothing was missed"),
            invalidation
        );
    }

    /// Takes the store down, and with it the invalidations.
    async fn loses_the_store(&self, clock: &Clock) {
        self.store.is_down.store(true, Ordering::SeqCst);
        self.hears(Invalidation::Gap(self.store.heard())).await;
        self.store.grow_deaf();
        assert!(matches!(
            self.sessions.find(&Rng.session_token(), clock.now()).await,
            Err(Error::Unreachable(_))
        ));
    }

    async fn finds_the_store(&self) {
        self.store.is_down.store(false, Ordering::SeqCst);
        self.store.hear_again();
        self.hears(Invalidation::Resubscribed).await;
    }
}

impl Pair {
    async fn start() -> Self {
        let clock = manual_clock();
        let pair = Self {
            used: Gateway::start(&clock),
            other: Gateway::start(&clock),
            clock,
        };
        pair.both_hear(Invalidation::Watermark(pair.clock.now()))
            .await;
        pair.a_quarter_of_a_second_goes_by().await;
        pair
    }

    async fn both_hear(&self, invalidation: Invalidation) {
        self.used.hears(invalidation).await;
        self.other.hears(invalidation).await;
    }

    async fn a_quarter_of_a_second_goes_by(&self) {
        self.clock.advance(Duration::from_millis(250));
        self.both_hear(Invalidation::Watermark(self.clock.now()))
            .await;
    }

    async fn sign_in(&self) -> SessionToken {
        let (token, session) = (Rng.session_token(), session(self.clock.now()));
        let done = self
            .used
            .store
            .elsewhere
            .sign_in(bare(&token, &session, 12 * HOUR), &RateLimits::none())
            .await;
        assert_eq!(done.expect("answers"), WriteOutcome::Done);
        token
    }

    /// Opens a page as the broker, who receives an offline token if one is due.
    async fn opens_a_page(
        &self,
        token: &SessionToken,
        has: Option<Timestamp>,
    ) -> Option<(Timestamp, Vec<u8>)> {
        assert!(
            self.used
                .sessions
                .find(token, self.clock.now())
                .await
                .expect("answers")
                .is_some()
        );
        self.used
            .sessions
            .issue_offline_token(token, has, Vec::new, self.clock.now())
    }

    async fn ticket(&self, token: &SessionToken) -> Vec<u8> {
        self.opens_a_page(token, None)
            .await
            .expect("a ticket is due")
            .1
    }

    fn is_believed(&self, token: &SessionToken, ticket: &[u8]) -> bool {
        self.believed(token, ticket).is_some()
    }

    fn believed(&self, token: &SessionToken, ticket: &[u8]) -> Option<Session> {
        self.other
            .sessions
            .find_offline(token, ticket, self.clock.now())
    }
}

#[tokio::test]
async fn a_session_goes_on_at_a_gateway_that_never_saw_it_for_the_grace_and_no_longer() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let ticket = pair.ticket(&token).await;
    assert!(
        !pair.is_believed(&token, &ticket),
        "while the store answers, it is asked"
    );
    pair.other.loses_the_store(&pair.clock).await;
    let believed = pair.believed(&token, &ticket).expect("believed");
    assert_eq!(
        (believed.vtnr, believed.level),
        (vtnr(), session(pair.clock.now()).level)
    );
    pair.clock.advance(GRACE - Duration::from_millis(1));
    assert!(pair.is_believed(&token, &ticket));
    pair.clock.advance(Duration::from_millis(1));
    assert!(!pair.is_believed(&token, &ticket));
}

#[tokio::test]
async fn a_ticket_is_worth_nothing_without_its_own_token_or_damaged() {
    let pair = Pair::start().await;
    let (token, thief) = (pair.sign_in().await, pair.sign_in().await);
    let ticket = pair.ticket(&token).await;
    pair.other.loses_the_store(&pair.clock).await;
    assert!(pair.is_believed(&token, &ticket));
    assert!(!pair.is_believed(&thief, &ticket));
    for at in 0..ticket.len() {
        let mut damaged = ticket.clone();
        damaged[at] ^= 1;
        assert!(!pair.is_believed(&token, &damaged), "byte {at}");
    }
}

#[tokio::test]
async fn what_ended_before_the_outage_stays_ended() {
    let pair = Pair::start().await;
    let (ended, lives) = (pair.sign_in().await, pair.sign_in().await);
    let tickets = (pair.ticket(&ended).await, pair.ticket(&lives).await);
    pair.both_hear(Invalidation::Session(vault().session_key(&ended)))
        .await;
    pair.other.loses_the_store(&pair.clock).await;
    assert!(!pair.is_believed(&ended, &tickets.0));
    assert!(pair.is_believed(&lives, &tickets.1));
}

#[tokio::test]
async fn a_broker_revoked_before_the_outage_stays_revoked_and_others_go_on() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let ticket = pair.ticket(&token).await;
    pair.both_hear(Invalidation::Broker(vault().revocation_key(vtnr())))
        .await;
    pair.other.loses_the_store(&pair.clock).await;
    assert!(!pair.is_believed(&token, &ticket));

    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let ticket = pair.ticket(&token).await;
    let other = Vtnr::parse("60/999/0001").expect("a number");
    pair.both_hear(Invalidation::Broker(vault().revocation_key(other)))
        .await;
    pair.other.loses_the_store(&pair.clock).await;
    assert!(pair.is_believed(&token, &ticket));
}

#[tokio::test]
async fn a_ticket_from_before_a_gap_is_not_believed_and_the_next_page_brings_another() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let (as_of, ticket) = pair.opens_a_page(&token, None).await.expect("due");
    assert_eq!(
        pair.opens_a_page(&token, Some(as_of)).await,
        None,
        "the one it has will do"
    );
    for gateway in [&pair.used, &pair.other] {
        gateway.loses_the_store(&pair.clock).await;
        gateway.finds_the_store().await;
    }
    pair.a_quarter_of_a_second_goes_by().await;
    pair.a_quarter_of_a_second_goes_by().await;
    let (_, new) = pair.opens_a_page(&token, Some(as_of)).await.expect("due");
    pair.other.loses_the_store(&pair.clock).await;
    assert!(
        !pair.is_believed(&token, &ticket),
        "the session may have ended in the gap"
    );
    assert!(pair.is_believed(&token, &new));
}

#[tokio::test]
async fn a_gateway_that_just_began_believes_no_ticket_written_before() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let ticket = pair.ticket(&token).await;
    let newcomer = Gateway::start(&pair.clock);
    newcomer
        .hears(Invalidation::Watermark(pair.clock.now()))
        .await;
    newcomer.loses_the_store(&pair.clock).await;
    assert_eq!(
        newcomer
            .sessions
            .find_offline(&token, &ticket, pair.clock.now()),
        None
    );
}

#[tokio::test]
async fn a_gateway_that_heard_nothing_for_a_second_believes_its_memory_no_more() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    pair.ticket(&token).await;
    pair.used.store.finds.store(0, Ordering::SeqCst);
    assert!(
        pair.used
            .sessions
            .find(&token, pair.clock.now())
            .await
            .expect("answers")
            .is_some()
    );
    assert_eq!(
        pair.used.store.finds.load(Ordering::SeqCst),
        0,
        "it is in memory"
    );
    // As long as a suspended process takes, by the monotonic clock.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(
        pair.used
            .sessions
            .find(&token, pair.clock.now())
            .await
            .expect("answers")
            .is_some()
    );
    assert_eq!(
        pair.used.store.finds.load(Ordering::SeqCst),
        1,
        "the store was asked"
    );
}

#[tokio::test]
async fn an_idle_session_does_not_come_back_by_its_ticket() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let ticket = pair.ticket(&token).await;
    pair.clock.advance(HOUR);
    pair.other.loses_the_store(&pair.clock).await;
    assert!(!pair.is_believed(&token, &ticket));
}

#[tokio::test]
async fn a_session_that_has_ended_is_written_no_ticket() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    assert!(pair.opens_a_page(&token, None).await.is_some());
    pair.both_hear(Invalidation::Session(vault().session_key(&token)))
        .await;
    assert_eq!(
        pair.used
            .sessions
            .issue_offline_token(&token, None, Vec::new, pair.clock.now()),
        None
    );
}

#[tokio::test]
async fn a_session_that_the_store_did_not_know_any_more_does_not_come_back_by_its_ticket() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let ticket = pair.ticket(&token).await;
    // The other gateway's store does not have the session.
    assert_eq!(
        pair.other
            .sessions
            .find(&token, pair.clock.now())
            .await
            .expect("answers"),
        None
    );
    pair.other.sessions.note_ended(&token, &ticket);
    pair.other.loses_the_store(&pair.clock).await;
    assert!(!pair.is_believed(&token, &ticket));
}

#[tokio::test]
async fn a_request_that_meets_the_end_of_an_outage_asks_the_store_once_more() {
    let pair = Pair::start().await;
    let token = pair.sign_in().await;
    let ticket = pair.ticket(&token).await;
    let (has_asked, fails) = pair.used.store.hold_next_find();
    let (sessions, now) = (Arc::clone(&pair.used.sessions), pair.clock.now());
    pair.used.store.announce(Invalidation::All);
    eventually("it has to ask", async || pair.used.sessions.is_empty()).await;
    let under_way =
        tokio::spawn(async move { sessions.find_or_offline(&token, || Some(ticket), now).await });
    has_asked.await.expect("it asks");
    pair.used.store.grow_deaf();
    pair.used.store.hear_again();
    fails
        .send(Err(Error::Unreachable("the connection was lost".into())))
        .expect("it waits");
    assert!(
        under_way
            .await
            .expect("no panic")
            .expect("the store is back")
            .is_some()
    );
}
