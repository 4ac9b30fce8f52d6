//! Looks for requests that the guard allows and some server would run as the Antragsversand.

#![no_main]

// All of it is std only, so that nothing else needs to be built. Most of it is not used here.
#[allow(dead_code, reason = "the guard is a part of it")]
#[path = "../law.rs"]
mod law;

use domain::submission;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RULES: LazyLock<submission::SubmissionRules> = LazyLock::new(law::rules);

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = law::holds(&RULES, bytes) {
        panic!("{broken}");
    }
});
