//! What the operator sees from outside: metrics, and the listener that shows them.
//!
//! It observes and never decides; no TAN, token, address or broker number passes through it. Everything else may call it.

pub mod admin;
pub mod metrics;
