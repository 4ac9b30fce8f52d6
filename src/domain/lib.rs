//! The gateway's rules: brokers, TANs, sessions, trust, limits, and the policy.
//!
//! Pure functions: no IO, no clock, no randomness, nothing asynchronous; time and random bytes are arguments.
//! The whole gateway may call this crate; it imports only `std`.

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

pub mod application_session;
pub mod browser;
pub mod challenge;
pub mod client_fields;
pub mod device;
pub mod email;
pub mod flow;
pub mod held_form;
pub mod ids;
pub mod letter;
pub mod lookalikes;
pub mod policy;
pub mod return_to;
pub mod route;
pub mod session;
pub mod submission;
pub mod tan;
pub mod throttle;
pub mod time;
pub mod trust;
pub mod vtnr;
