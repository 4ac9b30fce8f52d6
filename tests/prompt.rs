//! What has to happen within a second or two: not to be run beside as much as `gateway.rs` is.

mod support;

mod calculator;
mod edge;
mod session;
mod strict;
mod transparent;
mod websocket;
