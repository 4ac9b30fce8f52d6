//! `health`: checks a gateway that runs on this machine, for containers without another HTTP client.

use super::{ConfigFile, fail};
use crate::config::Config;
use std::io::{Error, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(super) struct HealthCommand {
    #[command(flatten)]
    config: ConfigFile,
}

impl HealthCommand {
    pub(super) fn run(self) -> ExitCode {
        let config = match self.config.load_quietly() {
            Ok(config) => config,
            Err(code) => return code,
        };
        match ask(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }
}

fn ask(config: &Config) -> Result<(), Error> {
    let mut connection = TcpStream::connect_timeout(&reachable(config.admin_listen), TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
    let mut answer = [0; 12];
    connection.read_exact(&mut answer)?;
    if answer.ends_with(b" 200") {
        Ok(())
    } else {
        Err(Error::other("the admin listener did not respond with 200"))
    }
}

/// Replaces the unspecified address, which cannot be connected to, by the loopback address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    (ip, listen.port()).into()
}
