//! vtnr-gateway: a reverse-proxy authentication gateway for insurance brokers.

pub mod config;
pub mod directory;
pub mod domain;
pub mod telemetry;
