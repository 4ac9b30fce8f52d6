//! Two small servers to try the gateway with: an old-fashioned tariff calculator and a postbox.
//!
//! They stand in for what an insurer already runs and hold nothing real, so they must never be reachable from
//! other machines, nor be needed by `serve`. `cli::demo` runs them beside the gateway; tests use them as well.

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

pub mod calculator;
mod pages;
pub mod postbox;
