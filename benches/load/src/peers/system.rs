//! A peer with the system's allocator.

use std::process::ExitCode;

mod common;

fn main() -> ExitCode {
    common::run()
}
