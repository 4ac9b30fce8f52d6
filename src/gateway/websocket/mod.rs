//! Open WebSockets: their bytes, and their end with the session.

pub(crate) mod control;
pub(crate) mod frames;
pub(crate) mod registry;
pub(crate) mod stream;
