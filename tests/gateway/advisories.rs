//! What went wrong in other gateways does not go wrong here. `src/ADVISORIES.md` says which test is for which advisory.

mod dependencies;
mod house;
mod identity;
mod inputs;
mod redirects;
mod requests;
mod sign_ins;
