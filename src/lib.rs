//! vtnr-gateway: a reverse-proxy authentication gateway for insurance brokers.
//!
#![doc = include_str!("ARCHITECTURE.md")]
// A test that cannot go on should say so at once; all else goes on.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::disallowed_methods
    )
)]

pub mod app;
pub mod application_sessions;
pub mod cli;
pub mod clock;
pub mod config;
mod csv_lines;
mod digest;

pub mod gateway;
pub mod held_forms;
pub mod identity;
pub mod language;
pub mod live;
pub mod mail;
pub mod pages;
mod reloadable;
mod share_limit;
pub mod sign_in;
pub mod store;
pub mod telemetry;
