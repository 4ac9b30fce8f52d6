//! The gateway's own answers.

pub(crate) mod access_log;
pub(crate) mod failure;
pub(crate) mod reply;
