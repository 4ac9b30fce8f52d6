//! Arguments in, exit code out.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

use clap::Parser;
use std::process::ExitCode;
use vtnr_gateway::cli::{self, Arguments};

/// A request takes and frees many small pieces of memory, and gateways seldom give any to another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => cli::run(arguments),
        Err(usage) => cli::refuse(&usage),
    }
}
