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

/// Reads `[password]`; without the section this sign-in method is closed.
pub(super) fn password(
    reader: &mut Reader<'_>,
    methods: Option<&mut LoginMethods>,
) -> Option<PasswordConfig> {
    let file = reader.optional(FILE, line).map(|name| reader.path(&name));
    let least = 8 * KIB;
    let most = u64::from(HashCost::MAX.memory) * KIB;
    let memory = reader.or(MEMORY, "19MiB", size(least..=most));
    let iterations = reader.or(
        ITERATIONS,
        2,
        number(1..=i64::from(HashCost::MAX.iterations)),
    );
    let lanes = reader.or(
        "password.lanes",
        1,
        number(1..=i64::from(HashCost::MAX.lanes)),
    );
    let hashers = reader.or("password.hashers", 0, number(0..=256));
    let queue = reader.or("password.queue", 64, number(0..=10_000));
    if !reader.is_given(SECTION) {
        return None;
    }
    if !reader.is_given(FILE) {
        reader.missing(FILE, "is missing; [password] requires it");
    }
    if reader.is_given("login.password_url") {
        reader.mistake(
            "login.password_url",
            "conflicts with [password], which has a page of its own; delete one of them",
        );
    }
    if let Some(methods) = methods {
        methods.password = Some(LoginMethod::Page("benutzerschluessel"));
    }
    let cost = HashCost {
        memory: u32::try_from(memory? / KIB).ok()?,
        iterations: iterations?,
        lanes: lanes?,
    };
    if cost.memory < cost.lanes.saturating_mul(8) {
        reader.mistake(MEMORY, "must be at least 8KiB per lane (password.lanes)");
    } else if !is_owasp_minimum(cost) {
        reader.warn(MEMORY, "with so few password.iterations is below OWASP's minimum, such as 19MiB with 2 iterations");
    }
    Some(PasswordConfig {
        file: file?,
        cost,
        hashers: hashers_or_default(hashers?),
        queue: queue?,
    })
}

/// Whether the parameters reach a minimum of the OWASP Password Storage Cheat Sheet.
fn is_owasp_minimum(cost: HashCost) -> bool {
    const MIN_COSTS: [(u32, u32); 5] = [
        (47_104, 1),
        (19_456, 2),
        (12_288, 3),
        (9_216, 4),
        (7_168, 5),
    ];
    MIN_COSTS
        .iter()
        .any(|(memory, iterations)| cost.memory >= *memory && cost.iterations >= *iterations)
}

/// Defaults to half of the cores; the rest serves signed-in brokers.
fn hashers_or_default(hashers: usize) -> NonZero<usize> {
    let half = || std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
    NonZero::new(hashers)
        .or_else(|| NonZero::new(half()))
        .unwrap_or(NonZero::<usize>::MIN)
}
