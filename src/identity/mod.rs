//! The four proofs of who somebody is: the directory's e-mail addresses, user keys with passwords, client
//! certificates, and the insurer's portal.
//!
//! Each folder knows its own proof and no HTTP page. [`crate::sign_in`] and `gateway/admission/` ask them; `app`
//! opens them and keeps their files up to date.

pub mod certificate;
pub mod directory;
pub mod portal;
pub mod users;
