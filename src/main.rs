//! Arguments in, exit code out.

use clap::Parser;
use std::process::ExitCode;
use vtnr_gateway::cli::{self, Arguments};

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => cli::run(arguments),
        Err(usage) => cli::refuse(&usage),
    }
}
