//! What went wrong in other gateways does not go wrong here. `src/ADVISORIES.md` says which test is for which advisory.

#[path = "advisories/dependencies.rs"]
mod dependencies;
#[path = "advisories/house.rs"]
mod house;
#[path = "advisories/identity.rs"]
mod identity;
#[path = "advisories/inputs.rs"]
mod inputs;
#[path = "advisories/redirects.rs"]
mod redirects;
#[path = "advisories/requests.rs"]
mod requests;
#[path = "advisories/sign_ins.rs"]
mod sign_ins;
