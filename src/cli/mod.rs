//! The command line: one file a subcommand. `main` calls it; it calls `app`.

mod brokers;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod health;
mod serve;
mod users;

use crate::config::Config;
use crate::telemetry::logging::{self, chain};
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// A reverse-proxy authentication gateway for insurance brokers.
#[derive(Parser)]
#[command(name = "vtnr-gateway", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway in the foreground; logs go to stderr
    Serve(serve::Serve),
    /// Runs the gateway with a demo calculator and a postbox; needs nothing else
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    /// Checks a configuration and all files that it names; exit code 64 if something is wrong
    Check(check::Check),
    /// Ends all sessions and all 30-day trust of a broker
    Revoke(brokers::Revoke),
    /// Manages user keys and passwords
    Users(users::ManageUsers),
    /// Prints the pseudonym that identifies a broker in the log
    Pseudonym(brokers::Pseudonym),
    /// Checks the health of a locally running gateway; exit code 0 if it is healthy
    Health(health::HealthCommand),
}

/// The argument that names the configuration.
#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration file, in TOML
    #[arg(long = "config", value_name = "FILE")]
    path: PathBuf,
}

/// Exit codes, after sysexits.h.
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;

/// Runs the subcommand and returns its exit code.
pub fn run(arguments: Arguments) -> ExitCode {
    // rustls needs a process-wide default provider; installing it twice is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.command {
        Command::Serve(serve) => serve.run(),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run(),
        Command::Check(check) => check.run(),
        Command::Revoke(revoke) => revoke.run(),
        Command::Users(users) => users.run(),
        Command::Pseudonym(pseudonym) => pseudonym.run(),
        Command::Health(health) => health.run(),
    }
}

/// Reports a wrong argument, or prints the requested help.
pub fn refuse(usage: &clap::Error) -> ExitCode {
    // A closed terminal must not change the exit code.
    let _ = usage.print();
    if usage.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

impl ConfigFile {
    /// Loads the configuration, or prints every mistake in it to stderr.
    fn load(&self) -> Result<Config, ExitCode> {
        let config = self.load_quietly()?;
        for warning in &config.warnings {
            complain(format_args!("warning: {warning}"));
        }
        Ok(config)
    }

    /// Loads the configuration without printing warnings.
    fn load_quietly(&self) -> Result<Config, ExitCode> {
        Config::load(&self.path).map_err(|mistakes| {
            complain(mistakes);
            ExitCode::from(USAGE)
        })
    }
}

/// Prints to stderr and ignores failures, such as a full disk: the gateway must run all the same.
fn complain(what: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Prints an error and returns its exit code.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    complain(format_args!("vtnr-gateway: {}", chain(error)));
    ExitCode::from(UNAVAILABLE)
}

/// Builds the runtime for everything except client requests, which have their own threads.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}

fn start_log(config: &Config) -> Result<std::sync::Arc<logging::Guard>, ExitCode> {
    logging::start(&config.log)
        .map(std::sync::Arc::new)
        .map_err(|error| fail(&error))
}
