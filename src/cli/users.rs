//! `users`: manages user keys and passwords. No password is passed on the command line or in the environment, or logged.

use super::{ConfigFile, USAGE, complain, fail};
use crate::clock::{Clock, Rng};
use crate::config::{self, Config, HashCost};
use crate::identity::directory::Directory;
use crate::identity::users::{
    self, Error, Hash, MalformedPassword, Password, Put, User, UserKey, UsersFault,
};
use domain::vtnr::Vtnr;
use std::io::{self, BufRead, IsTerminal as _, Read as _};
use std::process::ExitCode;
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(super) struct ManageUsers {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(clap::Subcommand)]
enum UsersCommand {
    /// Adds a user; prompts for the password twice, or reads it as one line from stdin if that is not a terminal
    Add(Add),
    /// Removes a user
    Remove(Remove),
    /// Lists the users with their broker numbers and the cost of their hashes
    List(ListUsers),
}

#[derive(clap::Args)]
struct Add {
    #[command(flatten)]
    config: ConfigFile,
    /// Changes the password and broker number of an existing user
    #[arg(long)]
    replace: bool,
    /// The user key; case is ignored
    user: String,
    /// The broker's number, such as 60/123/4567
    vtnr: String,
}

#[derive(clap::Args)]
struct Remove {
    #[command(flatten)]
    config: ConfigFile,
    user: String,
}

#[derive(clap::Args)]
struct ListUsers {
    #[command(flatten)]
    config: ConfigFile,
}

/// The reason why a command failed.
enum UsersRefusal {
    /// The arguments or the file are wrong.
    Usage(String),
    Failed(Box<dyn std::error::Error>),
    /// The configuration is wrong, which has been reported.
    Reported(ExitCode),
}

impl From<Error> for UsersRefusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Unusable(_, UsersFault::BeingWritten) => Self::Failed(Box::new(error)),
            // The operator can correct the file.
            Error::Unusable(..) => Self::Usage(error.to_string()),
            Error::Unreadable(..) | Error::Unwritable(..) | Error::Locked(_) => {
                Self::Failed(Box::new(error))
            }
        }
    }
}

impl ManageUsers {
    pub(super) fn run(self) -> ExitCode {
        let done = match self.command {
            UsersCommand::Add(add) => add.run(),
            UsersCommand::Remove(remove) => remove.run(),
            UsersCommand::List(list) => list.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(UsersRefusal::Reported(code)) => code,
            Err(UsersRefusal::Usage(what)) => {
                complain(format_args!("vtnr-gateway: {what}"));
                ExitCode::from(USAGE)
            }
            Err(UsersRefusal::Failed(error)) => fail(error.as_ref()),
        }
    }
}

impl Add {
    fn run(self) -> Result<(), UsersRefusal> {
        let (config, password_config) = load(&self.config)?;
        let key = user_key(&self.user)?;
        let vtnr = Vtnr::parse(&self.vtnr).map_err(|_| {
            UsersRefusal::Usage(format!(
                "`{}` is not a broker number such as 60/123/4567",
                self.vtnr
            ))
        })?;
        let put = if self.replace {
            Put::Replaced
        } else {
            Put::Added
        };
        // Check before the prompt, so that nobody types a password in vain.
        if let Some(refusal) = self.mismatch(put, users::is_there(&password_config.file, &key)?) {
            return Err(refusal);
        }
        let password = ask()?;
        if let Some(unfit) = password.unfit_for(&key) {
            return Err(UsersRefusal::Usage(unfit.to_string()));
        }
        let hash = Hash::of(&password, password_config.cost, Rng)
            .map_err(|error| UsersRefusal::Failed(Box::new(error)))?;
        let done = users::put(
            &password_config.file,
            &self.user,
            User { vtnr, hash },
            key,
            put,
        )?;
        if done.is_none() {
            return Err(self
                .mismatch(put, put == Put::Added)
                .unwrap_or(UsersRefusal::Reported(ExitCode::from(USAGE))));
        }
        warn_of_unknown(&config, vtnr);
        match put {
            Put::Added => println!("{} can sign in as {vtnr}", self.user.trim()),
            Put::Replaced => {
                println!(
                    "{} has a new password and can sign in as {vtnr}",
                    self.user.trim()
                );
                println!(
                    "existing sessions continue; `vtnr-gateway revoke --config FILE {vtnr}` ends all sessions of this broker"
                );
            }
        }
        Ok(())
    }

    fn mismatch(&self, put: Put, is_there: bool) -> Option<UsersRefusal> {
        let user = self.user.trim();
        match (put, is_there) {
            (Put::Added, true) => Some(format!(
                "the user {user} already exists; use --replace to change the password"
            )),
            (Put::Replaced, false) => Some(format!("there is no user {user} to replace")),
            (Put::Added, false) | (Put::Replaced, true) => None,
        }
        .map(UsersRefusal::Usage)
    }
}

impl Remove {
    fn run(self) -> Result<(), UsersRefusal> {
        let (_, password) = load(&self.config)?;
        let key = user_key(&self.user)?;
        let user = self.user.trim();
        match users::remove(&password.file, &key)? {
            Some(vtnr) => {
                println!(
                    "{user} cannot sign in as {vtnr} any more; sessions end once the gateways have reloaded the file"
                );
                Ok(())
            }
            None => Err(UsersRefusal::Usage(format!("there is no user {user}"))),
        }
    }
}

impl ListUsers {
    fn run(self) -> Result<(), UsersRefusal> {
        let (_, password) = load(&self.config)?;
        for (user, vtnr, cost) in users::list(&password.file)? {
            let HashCost {
                memory,
                iterations,
                lanes,
            } = cost;
            let due = if cost == password.cost {
                ""
            } else {
                ";renewed at the next sign-in"
            };
            println!("{user};{vtnr};m={memory},t={iterations},p={lanes}{due}");
        }
        Ok(())
    }
}

fn load(config: &ConfigFile) -> Result<(Config, config::PasswordConfig), UsersRefusal> {
    let config = config.load().map_err(UsersRefusal::Reported)?;
    let password = config.password.clone();
    let password = password.ok_or_else(|| {
        UsersRefusal::Usage(
            "the configuration has no [password] section, so there are no users".into(),
        )
    })?;
    Ok((config, password))
}

fn user_key(text: &str) -> Result<UserKey, UsersRefusal> {
    let longest = UserKey::LONGEST;
    UserKey::parse(text).map_err(|_| {
        UsersRefusal::Usage(format!(
            "not a user key: must have 1 to {longest} characters, without control characters"
        ))
    })
}

/// Prompts for a new password.
fn ask() -> Result<Password, UsersRefusal> {
    let failed = |error: io::Error| UsersRefusal::Failed(Box::new(error));
    let typed = if io::stdin().is_terminal() {
        let first = Zeroizing::new(rpassword::prompt_password("Password: ").map_err(failed)?);
        let second = Zeroizing::new(rpassword::prompt_password("Once more: ").map_err(failed)?);
        if *first != *second {
            return Err(UsersRefusal::Usage(
                "the passwords differ; nothing was changed".into(),
            ));
        }
        first
    } else {
        // One byte and a line end more than the maximum, to detect a password that is too long.
        let limit = u64::try_from(Password::LONGEST + 3).unwrap_or(u64::MAX);
        let mut line = Zeroizing::new(String::with_capacity(Password::LONGEST + 3));
        io::stdin()
            .lock()
            .take(limit)
            .read_line(&mut line)
            .map_err(failed)?;
        let end = line.strip_suffix('\n').map_or(line.len(), |rest| {
            rest.strip_suffix('\r').unwrap_or(rest).len()
        });
        line.truncate(end);
        line
    };
    Password::parse(&typed).map_err(|malformed| {
        UsersRefusal::Usage(match malformed {
            MalformedPassword::Empty => "no password was given; nothing was changed".into(),
            MalformedPassword::TooLong => {
                format!("the password has more than {} bytes", Password::LONGEST)
            }
        })
    })
}

/// Warns if the broker is not in the directory, where it may be added later.
fn warn_of_unknown(config: &Config, vtnr: Vtnr) {
    let directory = Directory::open(&config.directory, Clock::default().now());
    if directory.is_ok_and(|directory| !directory.knows(vtnr)) {
        complain(format_args!(
            "warning: {vtnr} is not in the directory: until it is, nobody can sign in as this broker"
        ));
    }
}
