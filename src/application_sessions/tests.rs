use super::*;
use crate::clock::{Clock, Rng};
use crate::store::embedded::Embedded;
use crate::store::{Sealed, Seen, Vault};
use async_trait::async_trait;
use domain::time::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store that can be switched off.
struct Switched {
    store: Sealed<Embedded>,
    is_off: AtomicBool,
}

impl Switched {
    fn new() -> Arc<Self> {
        let clock = Clock::manual(Timestamp::from_millis(1_790_683_350_000));
        let engine = Embedded::in_memory(clock.clone()).expect("memory suffices");
        let store = Sealed::new(
            engine,
            Vault::new(b"the operator's secret, 32 bytes.", Rng),
            clock,
        );
        Arc::new(Self {
            store,
            is_off: AtomicBool::new(false),
        })
    }

    fn answers(&self) -> Result<&Sealed<Embedded>> {
        let is_off = self.is_off.load(Ordering::SeqCst);
        if is_off {
            Err(Error::Unreachable("switched off".into()))
        } else {
            Ok(&self.store)
        }
    }
}

#[async_trait]
impl ApplicationSessionStore for Switched {
    async fn find_owners(&self, id: &[u8]) -> Result<Option<Seen<ApplicationSession>>> {
        self.answers()?.find_owners(id).await
    }

    async fn keep_owners(
        &self,
        change: OwnerChange<'_>,
        rate_limits: &RateLimits,
    ) -> Result<WriteOutcome> {
        self.answers()?.keep_owners(change, rate_limits).await
    }

    async fn find_scopes(&self) -> Result<Option<Seen<CookieScopes>>> {
        self.answers()?.find_scopes().await
    }

    async fn keep_scopes(
        &self,
        seen: Option<&Seen<CookieScopes>>,
        next: &CookieScopes,
    ) -> Result<WriteOutcome> {
        self.answers()?.keep_scopes(seen, next).await
    }
}

fn broker(number: u32) -> Vtnr {
    Vtnr::from_number(601_234_567 + number).expect("nine digits")
}

fn id(value: &str) -> ApplicationSessionId<'_> {
    ApplicationSessionId {
        name: b"JSESSIONID",
        value: value.as_bytes(),
    }
}

fn learnt(origin: SessionOrigin) -> Learnt {
    Learnt {
        origin,
        client: ClientAddress::of("192.0.2.7".parse().expect("an address")),
    }
}

/// One of several gateways on a shared store.
struct Gateway(ApplicationSessions);

impl Gateway {
    fn on(store: &Arc<Switched>) -> Self {
        Self(ApplicationSessions::new(
            Arc::clone(store) as Arc<dyn ApplicationSessionStore>
        ))
    }

    async fn sets(&self, value: &str, vtnr: Vtnr) -> Ownership {
        self.0
            .claim(
                &id(value),
                vtnr,
                learnt(SessionOrigin::Answer),
                Reach::Up,
                |_| false,
            )
            .await
    }

    async fn sees(&self, value: &str, vtnr: Vtnr) -> Ownership {
        self.0
            .claim(
                &id(value),
                vtnr,
                learnt(SessionOrigin::Request),
                Reach::Up,
                |_| false,
            )
            .await
    }

    async fn sees_with_proof(&self, value: &str, vtnr: Vtnr) -> Ownership {
        self.0
            .claim(
                &id(value),
                vtnr,
                learnt(SessionOrigin::Request),
                Reach::Up,
                |_| true,
            )
            .await
    }
}

#[tokio::test]
async fn a_session_belongs_to_the_first_broker_at_every_gateway_and_in_every_spelling() {
    let store = Switched::new();
    let (here, there) = (Gateway::on(&store), Gateway::on(&store));
    assert_eq!(here.sets("0A1B", broker(0)).await, Ownership::Own);
    assert!(
        !here.0.is_known(&id("0A1B"), broker(0)),
        "its first use is noted in the store"
    );
    assert_eq!(here.sees("0A1B", broker(0)).await, Ownership::Own);
    assert!(here.0.is_known(&id("0A1B"), broker(0)) && !here.0.is_known(&id("0A1B"), broker(1)));
    for gateway in [&here, &there] {
        assert_eq!(gateway.sees("0A1B", broker(0)).await, Ownership::Own);
        for spelling in ["0A1B", "0a1b", "\"0A1B\"", "%30A1B"] {
            assert_eq!(
                gateway.sees(spelling, broker(1)).await,
                Ownership::Foreign,
                "{spelling}"
            );
            assert_eq!(
                gateway.sees_with_proof(spelling, broker(1)).await,
                Ownership::Foreign,
                "{spelling}"
            );
        }
        assert!(gateway.0.has_owner(&id("0A1B"), Reach::Up).await);
        assert!(!gateway.0.has_owner(&id("new"), Reach::Up).await);
    }
}

#[tokio::test]
async fn a_session_that_nobody_owns_belongs_to_who_brings_it_first() {
    let store = Switched::new();
    let (here, there) = (Gateway::on(&store), Gateway::on(&store));
    assert_eq!(here.sees("0A1B", broker(0)).await, Ownership::Own);
    assert_eq!(there.sees("0A1B", broker(1)).await, Ownership::Foreign);
}

#[tokio::test]
async fn a_value_that_the_calculator_gives_to_several_brokers_is_theirs() {
    let here = Gateway::on(&Switched::new());
    assert_eq!(here.sets("empty", broker(0)).await, Ownership::Own);
    assert_eq!(here.sets("empty", broker(1)).await, Ownership::Own);
    for number in [0, 1] {
        assert_eq!(here.sees("empty", broker(number)).await, Ownership::Own);
    }
    assert_eq!(here.sees("empty", broker(2)).await, Ownership::Foreign);
}

#[tokio::test]
async fn while_the_store_is_down_memory_and_proof_count_and_nothing_else() {
    let store = Switched::new();
    let (here, there) = (Gateway::on(&store), Gateway::on(&store));
    here.sets("before", broker(0)).await;
    store.is_off.store(true, Ordering::SeqCst);
    assert_eq!(here.sees("before", broker(0)).await, Ownership::Own);
    assert_eq!(there.sees("before", broker(0)).await, Ownership::Unproven);
    assert_eq!(there.sees("before", broker(1)).await, Ownership::Unproven);
    assert_eq!(
        there.sees_with_proof("before", broker(0)).await,
        Ownership::Own
    );
    assert_eq!(
        there.sees("before", broker(0)).await,
        Ownership::Own,
        "it was proven before"
    );
    assert!(
        there.0.has_owner(&id("new"), Reach::Up).await,
        "what cannot be found out belongs to somebody"
    );
}

#[tokio::test]
async fn what_begins_while_the_store_is_down_is_remembered_once_it_is_back() {
    let store = Switched::new();
    let (here, there) = (Gateway::on(&store), Gateway::on(&store));
    store.is_off.store(true, Ordering::SeqCst);
    assert_eq!(here.sets("amid", broker(0)).await, Ownership::Own);
    assert_eq!(here.sees("amid", broker(0)).await, Ownership::Own);
    assert_eq!(here.sees("amid", broker(1)).await, Ownership::Unproven);
    store.is_off.store(false, Ordering::SeqCst);
    assert_eq!(here.sees("amid", broker(0)).await, Ownership::Own);
    assert_eq!(there.sees("amid", broker(1)).await, Ownership::Foreign);
}

#[tokio::test]
async fn nobody_fills_the_store_with_sessions_of_their_own_making() {
    let here = Gateway::on(&Switched::new());
    let mut own = 0;
    for number in 0..2_100 {
        own += u32::from(
            here.sees(&format!("made-up-{number}"), broker(number % 7))
                .await
                == Ownership::Own,
        );
    }
    assert_eq!(own, 2_000);
    assert_eq!(here.sees("one-more", broker(0)).await, Ownership::OverLimit);
    assert_eq!(here.sees("made-up-0", broker(0)).await, Ownership::Own);
    assert_eq!(
        here.sets("from-the-calculator", broker(0)).await,
        Ownership::Own,
        "what the calculator sets is counted for itself"
    );
}

#[tokio::test]
async fn scopes_that_one_gateway_learns_all_know() {
    let store = Switched::new();
    let (here, there) = (Gateway::on(&store), Gateway::on(&store));
    let scope = |path: &str| CookieScope {
        name: "JSESSIONID".into(),
        path: Some(path.into()),
        domain: None,
        partitioned: false,
    };
    here.0.learn_scopes(&[scope("/a")]).await;
    there.0.learn_scopes(&[scope("/b")]).await;
    for gateway in [&here, &there] {
        let mut paths: Vec<_> = gateway
            .0
            .scopes()
            .await
            .all()
            .iter()
            .filter_map(|scope| scope.path.clone())
            .collect();
        paths.sort();
        assert_eq!(paths, ["/a", "/b"]);
    }
    store.is_off.store(true, Ordering::SeqCst);
    assert_eq!(
        here.0.scopes().await.all().len(),
        2,
        "what is known is known"
    );
}
