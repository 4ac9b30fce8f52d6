//! vtnr-gateway: a reverse-proxy authentication gateway for insurance brokers.

pub mod config;
pub mod demo;
pub mod domain;
