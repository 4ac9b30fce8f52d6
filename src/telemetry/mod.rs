//! Telemetry for operators: metrics, the admin listener, and the log.
//!
//! Telemetry observes and never decides. It must not show a TAN, a token, a password or an e-mail address. All other modules may call
//! it; it calls only the domain.

pub mod admin;
pub mod logging;
pub mod metrics;
