//! What brokers, operators and attackers meet, told by the real gateway: one program, since linking one for each file would take longer
//! than many of them run. Tests that want the machine for themselves are programs of
//! their own; so are those of `prompt.rs`.

#[path = "../support/mod.rs"]
mod support;

mod advisories;
mod application_sessions;
mod certificate;
mod chunks;
mod connections;
mod directory;
mod entry;
mod enumeration;
mod fields;
mod flow;
mod fronts;
mod garbage;
mod guessing;
mod mails;
mod memory;
mod navigation;
mod origins;
mod outbox;
mod own_pages;
mod pages;
mod parking;
mod password;
mod portal;
mod real_servers;
mod redis_tls;
mod reload;
mod secrets;
mod sign_in;
mod submission;
mod tan;
mod tomcat;
mod trust;
mod users;
mod websocket_use;
