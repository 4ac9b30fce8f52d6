//! `[password]`

use super::super::kinds::{line, number, size};
use super::super::read::Reader;
use super::super::{HashCost, LoginMethod, LoginMethods, PasswordConfig};
use std::num::NonZero;

const SECTION: &str = "password";
const FILE: &str = "password.file";
const MEMORY: &str = "password.memory";
const ITERATIONS: &str = "password.iterations";
const KIB: u64 = 1_024;

/// Nothing where the section is not there; then this way in is closed.
pub(super) fn password(
    reader: &mut Reader<'_>,
    doors: Option<&mut LoginMethods>,
) -> Option<PasswordConfig> {
    let file = reader.optional(FILE, line).map(|name| reader.path(&name));
    let least = 8 * KIB;
    let most = u64::from(HashCost::MOST.memory) * KIB;
    let memory = reader.or(MEMORY, "19MiB", size(least..=most));
    let iterations = reader.or(
        ITERATIONS,
        2,
        number(1..=i64::from(HashCost::MOST.iterations)),
    );
    let lanes = reader.or(
        "password.lanes",
        1,
        number(1..=i64::from(HashCost::MOST.lanes)),
    );
    let hashers = reader.or("password.hashers", 0, number(0..=256));
    let queue = reader.or("password.queue", 64, number(0..=10_000));
    if !reader.is_given(SECTION) {
        return None;
    }
    if !reader.is_given(FILE) {
        reader.missing(FILE, "is missing; [password] needs it");
    }
    if reader.is_given("login.password_url") {
        reader.mistake(
            "login.password_url",
            "stands beside [password], which has a page of its own; give one of the two",
        );
    }
    if let Some(doors) = doors {
        doors.password = Some(LoginMethod::Page("benutzerschluessel"));
    }
    let cost = HashCost {
        memory: u32::try_from(memory? / KIB).ok()?,
        iterations: iterations?,
        lanes: lanes?,
    };
    if cost.memory < cost.lanes.saturating_mul(8) {
        reader.mistake(MEMORY, "is less than 8KiB for each of password.lanes");
    } else if !withstands(cost) {
        reader.warn(MEMORY, "with so few password.iterations is less than what OWASP takes for the least, such as 19MiB with 2");
    }
    Some(PasswordConfig {
        file: file?,
        cost,
        hashers: hashers_or_default(hashers?),
        queue: queue?,
    })
}

/// Whether a stolen file withstands guessing at least as well as with the parameters that the OWASP Password Storage Cheat Sheet names.
fn withstands(cost: HashCost) -> bool {
    const LEAST: [(u32, u32); 5] = [
        (47_104, 1),
        (19_456, 2),
        (12_288, 3),
        (9_216, 4),
        (7_168, 5),
    ];
    LEAST
        .iter()
        .any(|(memory, iterations)| cost.memory >= *memory && cost.iterations >= *iterations)
}

/// Half the cores: the others are for who is signed in.
fn hashers_or_default(hashers: usize) -> NonZero<usize> {
    let half = || std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
    NonZero::new(hashers)
        .or_else(|| NonZero::new(half()))
        .unwrap_or(NonZero::<usize>::MIN)
}
