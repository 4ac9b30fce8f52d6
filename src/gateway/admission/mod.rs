//! All that can end in a permit.

pub(crate) mod application_cookies;
pub(crate) mod client_certificate;
pub(crate) mod entry;
pub(crate) mod held_forms;
pub(crate) mod intent;
pub(crate) mod portal;
pub(crate) mod session;
pub(crate) mod sign_in_required;
