//! What becomes of the calculator's session cookies of one request and its answer.

/// What becomes of the session cookies of one request and its answer.
#[derive(Debug, Default)]
pub(crate) struct SessionCookieChanges {
    /// Cookies that do not go up, as received, without blanks around.
    pub(crate) withheld: Vec<Box<[u8]>>,
    /// None of the request's cookies goes up.
    pub(crate) withholds_all: bool,
    /// Names of those that the browser is to delete.
    pub(crate) expire: Vec<String>,
    /// Sessions that the calculator begins, as offline tokens name them.
    pub(crate) begun: Vec<u64>,
}

impl SessionCookieChanges {
    pub(crate) fn withholds(&self, crumb: &[u8]) -> bool {
        self.withholds_all || self.withheld.iter().any(|withheld| **withheld == *crumb)
    }
}
