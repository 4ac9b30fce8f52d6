//! Arguments in, exit code out.

use clap::Parser;
use std::process::ExitCode;
use vtnr_gateway::cli::{self, Arguments};

/// What a request allocates and frees costs half as much with it as with the C library's (`make bench-load`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => cli::run(arguments),
        Err(usage) => cli::refuse(&usage),
    }
}
