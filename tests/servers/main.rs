//! The guard before servers whose packages are large: `make test-servers` installs and asks them, `make test` does not.

#[path = "../support/mod.rs"]
mod support;

#[allow(
    dead_code,
    reason = "shared with the other servers' tests, which use all of it"
)]
#[path = "../gateway/real_servers/clients.rs"]
mod clients;
mod mono;
#[allow(
    dead_code,
    reason = "shared with the other servers' tests, which use all of it"
)]
#[path = "../gateway/real_servers/spellings.rs"]
mod spellings;
