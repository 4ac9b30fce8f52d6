//! The guard before servers whose packages are large: `make test-servers` installs and asks them, `make test` does not.

mod support;

#[allow(
    dead_code,
    reason = "shared with the other servers' tests, which use all of it"
)]
#[path = "real_servers/clients.rs"]
mod clients;
#[path = "servers/mono.rs"]
mod mono;
#[allow(
    dead_code,
    reason = "shared with the other servers' tests, which use all of it"
)]
#[path = "real_servers/spellings.rs"]
mod spellings;
