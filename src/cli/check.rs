//! `check`: reports at once all mistakes that could keep the gateway from starting.

use super::{ConfigFile, USAGE, chain, complain};
use crate::clock::Clock;
use crate::config::Config;
use crate::gateway;
use crate::identity::directory::Directory;
use crate::identity::users::Users;
use crate::mail::{Smtp, Writer};
use crate::pages::Pages;
use std::error::Error;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let config = match self.config.load() {
            Ok(config) => config,
            Err(code) => return code,
        };
        let mistakes = mistakes(&config);
        for mistake in &mistakes {
            complain(format_args!("{}: {mistake}", self.config.path.display()));
        }
        if mistakes.is_empty() {
            println!("{}: no mistake found", self.config.path.display());
            ExitCode::SUCCESS
        } else {
            ExitCode::from(USAGE)
        }
    }
}

/// Finds the mistakes in the files that the configuration names.
fn mistakes(config: &Config) -> Vec<String> {
    let clock = Clock::default();
    let mut mistakes = Vec::new();
    let mut note = |key: &str, result: Result<(), String>| {
        mistakes.extend(result.err().map(|cause| format!("{key}: {cause}")))
    };
    note(
        "directory.file",
        describe(Directory::open(&config.directory, clock.now())),
    );
    note(
        "brand",
        describe(Pages::load(&config.brand, &config.login, &config.parking)),
    );
    note(
        "mail",
        describe(Writer::new(&config.mail, &config.login, &config.brand)),
    );
    note("mail", describe(Smtp::new(&config.mail, clock)));
    if let Some(password) = &config.password {
        note(
            "password.file",
            describe(Users::open(&password.file, config.directory.poll)),
        );
    }
    if let Some(https) = &config.listen.https {
        note("listen.tls", gateway::tls(https).map(|_| ()));
    }
    mistakes
}

fn describe<T, E: Error + 'static>(result: Result<T, E>) -> Result<(), String> {
    result.map(|_| ()).map_err(|error| chain(&error))
}
