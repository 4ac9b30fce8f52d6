//! What operators see of the gateway while it runs.
//!
//! Nothing here may show a TAN, a token, a password or a full e-mail address, nor a VTNR together with an address.
//! `app` starts it; every other folder speaks through it and never writes to stderr itself.

pub mod logging;
