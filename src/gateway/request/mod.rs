//! Pure reading of a request: nothing here decides, waits or answers.

pub(crate) mod audience;
pub(crate) mod chunks;
pub(crate) mod conformance;
pub(crate) mod cookies;
pub(crate) mod following;
pub(crate) mod form;
pub(crate) mod kind;
pub(crate) mod links;
pub(crate) mod origin;
pub(crate) mod trusted_proxies;
