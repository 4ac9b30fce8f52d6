//! Open WebSockets: their bytes, and their end with the session.

pub(crate) mod control;
pub(crate) mod frames;
pub(crate) mod portal_recheck;
pub(crate) mod recheck;
pub(crate) mod registry;
