//! vtnr-gateway: a reverse-proxy authentication gateway for insurance brokers.
//!
#![doc = include_str!("ARCHITECTURE.md")]

pub mod app;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
mod csv_lines;
pub mod demo;
mod digest;
pub mod directory;
pub mod domain;
pub mod gateway;
pub mod in_force;
pub mod mail;
pub mod pages;
pub mod parking;
pub mod portal;
pub mod sign_in;
mod stamp;
pub mod store;
pub mod telemetry;
pub mod users;
