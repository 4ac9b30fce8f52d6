//! Password hashes: argon2id only, as PHC strings.

use super::password::Password;
use crate::clock::Rng;
use crate::config::HashCost;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use std::sync::Arc;

/// A hash as written in the users file. Like a password it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    text: Arc<str>,
    cost: HashCost,
}

/// The reason why a text is not an accepted hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHash {
    /// Not argon2id, or incomplete.
    Foreign,
    /// Above the maximum cost.
    TooCostly,
}

/// Not enough memory to hash a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password could not be hashed")]
pub struct NotHashed;

/// NIST SP 800-63B-4, 3.1.1.2, requires 4 bytes, the PHC recommends 16.
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;
/// A shorter hash could be matched by chance.
const MIN_OUTPUT: usize = 16;

impl Hash {
    /// Hashes a password, which is slow on purpose.
    ///
    /// # Errors
    /// [`NotHashed`] if there is not enough memory.
    pub fn of(password: &Password, cost: HashCost, rng: Rng) -> Result<Self, NotHashed> {
        let mut salt = [0; SALT_BYTES];
        rng.fill(&mut salt);
        let hash = hasher(cost)
            .ok_or(NotHashed)?
            .hash_password_with_salt(password.reveal(), &salt)
            .map_err(|_| NotHashed)?;
        Ok(Self {
            text: hash.to_string().into(),
            cost,
        })
    }

    /// Returns the hash for unknown users: comparing takes as long, and no password matches.
    pub(super) fn of_nobody(cost: HashCost) -> Option<Self> {
        let params = params(cost)?;
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).ok()?,
            salt: Some(Salt::new(&[0; SALT_BYTES]).ok()?),
            hash: Some(Output::new(&[0; OUTPUT_BYTES]).ok()?),
        };
        Some(Self {
            text: hash.to_string().into(),
            cost,
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self, NoHash> {
        let hash = PasswordHash::new(text).map_err(|_| NoHash::Foreign)?;
        let is_ours = hash.algorithm == ARGON2ID_IDENT
            && hash.version == Some(Version::V0x13.into())
            && hash.salt.is_some();
        let output = hash.hash.as_ref().map_or(0, Output::len);
        let params = Params::try_from(&hash).map_err(|_| NoHash::Foreign)?;
        if !is_ours || output < MIN_OUTPUT {
            return Err(NoHash::Foreign);
        }
        let cost = HashCost {
            memory: params.m_cost(),
            iterations: params.t_cost(),
            lanes: params.p_cost(),
        };
        let HashCost {
            memory,
            iterations,
            lanes,
        } = HashCost::MAX;
        if cost.memory > memory || cost.iterations > iterations || cost.lanes > lanes {
            return Err(NoHash::TooCostly);
        }
        Ok(Self {
            text: text.into(),
            cost,
        })
    }

    /// Returns the cost of a comparison.
    pub fn cost(&self) -> HashCost {
        self.cost
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the hash is this password's, which is slow on purpose.
    ///
    /// # Errors
    /// [`NotHashed`] if there is not enough memory.
    pub(super) fn is_of(&self, password: &Password) -> Result<bool, NotHashed> {
        let hash = PasswordHash::new(&self.text).map_err(|_| NotHashed)?;
        let hasher = hasher(self.cost).ok_or(NotHashed)?;
        match hasher.verify_password(password.reveal(), &hash) {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(_) => Err(NotHashed),
        }
    }
}

fn params(cost: HashCost) -> Option<Params> {
    Params::new(cost.memory, cost.iterations, cost.lanes, Some(OUTPUT_BYTES)).ok()
}

fn hasher(cost: HashCost) -> Option<Argon2<'static>> {
    params(cost).map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: HashCost = HashCost {
        memory: 64,
        iterations: 2,
        lanes: 2,
    };

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap_or_else(|malformed| panic!("{malformed:?}"))
    }

    fn parse(text: &str) -> Result<(), NoHash> {
        Hash::parse(text).map(|_| ())
    }

    #[test]
    fn a_hash_is_of_its_password_and_of_no_other() {
        let hash = Hash::of(&password("correct horse"), COST, Rng).expect("hashes");
        assert!(
            hash.as_str().starts_with("$argon2id$v=19$m=64,t=2,p=2$"),
            "{}",
            hash.as_str()
        );
        assert_eq!(hash.is_of(&password("correct horse")), Ok(true));
        assert_eq!(hash.is_of(&password("correct horse ")), Ok(false));
        let again = Hash::parse(hash.as_str()).unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(
            (again.cost(), again.is_of(&password("correct horse"))),
            (COST, Ok(true))
        );
        assert!(
            Hash::of(&password("correct horse"), COST, Rng).expect("hashes") != hash,
            "each has a salt of its own"
        );
    }

    #[test]
    fn nobodys_hash_costs_what_it_is_to_cost_and_is_of_no_password() {
        let hash = Hash::of_nobody(COST).expect("sound");
        assert!(Hash::parse(hash.as_str()).is_ok_and(|parsed| parsed.cost() == COST));
        assert_eq!(hash.is_of(&password("correct horse")), Ok(false));
    }

    #[test]
    fn a_hash_of_the_reference_implementation_is_understood() {
        // From the tests of phc-winner-argon2.
        let text =
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let hash = Hash::parse(text).unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(
            hash.cost(),
            HashCost {
                memory: 256,
                iterations: 2,
                lanes: 1
            }
        );
        assert_eq!(
            (
                hash.is_of(&password("password")),
                hash.is_of(&password("Password"))
            ),
            (Ok(true), Ok(false))
        );
    }

    #[test]
    fn only_whole_hashes_of_argon2id_that_can_be_afforded_are_taken() {
        let ours = Hash::of(&password("x"), COST, Rng).expect("hashes");
        let with = |from: &str, to: &str| parse(&ours.as_str().replace(from, to));
        assert_eq!(with("x", "x"), Ok(()));
        assert_eq!(with("argon2id", "argon2i"), Err(NoHash::Foreign));
        assert_eq!(with("v=19", "v=16"), Err(NoHash::Foreign));
        assert_eq!(with("m=64", "m=4194304"), Err(NoHash::TooCostly));
        assert_eq!(with("t=2", "t=65"), Err(NoHash::TooCostly));
        assert_eq!(
            with("p=2", "p=17"),
            Err(NoHash::Foreign),
            "that takes more memory"
        );
        let cut = ours.as_str().rsplit_once('$').map_or("", |(rest, _)| rest);
        for foreign in [
            "",
            "x",
            cut,
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
            "$argon2id$v=19$m=64,t=2,p=2$c2FsdHNhbHQ$AAAAAAA",
        ] {
            assert_eq!(parse(foreign), Err(NoHash::Foreign), "{foreign}");
        }
    }
}
