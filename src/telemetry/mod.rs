//! What operators see of the gateway from outside: metrics and the listener that shows them, and the log.
//!
//! It observes and never decides. Nothing here may show a TAN, a token, a password or an e-mail address. Everything else may
//! call it; it calls nothing but the domain.

pub mod admin;
pub mod logging;
pub mod metrics;
