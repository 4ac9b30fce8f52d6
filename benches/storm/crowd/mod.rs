//! A crowd of brokers before a gateway that is started for it, with all that the gateway needs: a redis-server, a mail server that
//! takes mails over SMTP, a calculator. The bench and `tests/storm/main.rs` share it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "the bench and the test use a part each"
)]

pub mod brokers;
pub mod browser;
pub mod browsing;
pub mod calculator;
pub mod figures;
#[path = "../../../tests/support/ports.rs"]
mod ports;
pub mod post_office;
pub mod process;
#[path = "../../../tests/support/redis.rs"]
pub mod redis_server;
pub mod stage;
pub mod storm;
pub mod visit;
