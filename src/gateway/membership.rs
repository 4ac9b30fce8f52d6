//! Whether whoever a session belongs to is somebody still: the broker in the directory, and the user key that it began with in the
//! users file. It is asked for each request, so that nobody who was taken out goes on.

use crate::identity::directory::Directory;
use crate::identity::users::Users;
use domain::session::{Level, Proof, Session};
use std::sync::Arc;

/// Re-checks that a session's broker and user key still exist.
#[derive(Clone)]
pub(crate) struct Membership {
    directory: Arc<Directory>,
    users: Option<Arc<Users>>,
}

impl Membership {
    pub(crate) fn new(directory: Arc<Directory>, users: Option<Arc<Users>>) -> Self {
        Self { directory, users }
    }

    /// Whether the session's broker, and its user where it has one, are there.
    pub(crate) fn has(&self, session: &Session) -> bool {
        self.directory.knows(session.vtnr) && self.has_user(session)
    }

    fn has_user(&self, session: &Session) -> bool {
        match session.level {
            Level::Full {
                proof: Proof::Password { user },
            } => self
                .users
                .as_ref()
                .is_some_and(|users| users.knows(session.vtnr, user)),
            Level::Full { .. } | Level::WithoutSubmission => true,
        }
    }
}
