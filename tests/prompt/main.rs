//! What has to happen within a second or two: not to be run beside as much as `gateway.rs` is.

#[path = "../support/mod.rs"]
mod support;

mod calculator;
mod conformance;
mod listener;
mod session;
mod transparent;
mod websocket;
