//! vtnr-gateway: a reverse-proxy authentication gateway for insurance brokers.

pub mod clock;
pub mod config;
pub mod domain;
pub mod pages;
pub mod store;
pub mod telemetry;
