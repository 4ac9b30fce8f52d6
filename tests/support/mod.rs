//! What the tests of the whole gateway stand on: the real binary, a real Redis, a real SMTP conversation, a real calculator.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses a part of it"
)]

pub mod authority;
pub mod balancer;
pub mod behind;
pub mod browser;
pub mod chromium;
pub mod cluster;
pub mod curl;
pub mod failover;
pub mod gallery;
pub mod log;
pub mod node;
pub mod ntlm;
pub mod ports;
pub mod raw;
pub mod redis;
pub mod relay;
pub mod sentinels;
pub mod server;
pub mod socket;
pub mod tomcat;
pub mod upstream;
pub mod users;
pub mod world;

pub use balancer::Balancer;
pub use behind::Behind;
pub use browser::{Answer, Browser};
pub use cluster::Cluster;
pub use node::{Mode, Node};
pub use raw::{H2, Raw, RawAnswer};
pub use relay::{Act, Relay};
pub use sentinels::Sentinels;
pub use socket::Socket;
pub use upstream::Upstream;
pub use world::{Builder, Gateway, StoreKind, World};

use std::time::{Duration, Instant};

/// Makes a test of each sentence for each of the two stores. A sentence is an `async fn` that takes a [`StoreKind`].
#[allow(unused_macros, reason = "each test binary uses a part of it")]
macro_rules! on_both_stores {
    ($($sentence:ident),+ $(,)?) => {
        mod on_redis {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(crate::support::StoreKind::Redis).await;
            })+
        }
        mod in_memory {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(crate::support::StoreKind::Memory).await;
            })+
        }
    };
}
#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use on_both_stores;

/// Asks again and again until the answer is there.
///
/// # Panics
/// If it is not within a minute, which a busy machine may need.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{what}: not within a minute"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
