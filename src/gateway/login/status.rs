//! `status`: what a waiting page asks for, so that it can move on by itself.

use super::super::failure::Failure;
use super::super::reply::Reply;
use super::{Gateway, Visit};
use crate::domain::session::Level;
use crate::sign_in::{Mailing, State};
use serde::Serialize;

#[derive(Serialize)]
struct Status {
    signed_in: bool,
    level: Option<&'static str>,
    mail: &'static str,
    valid_until: Option<String>,
}

impl Gateway {
    pub(super) async fn status(&self, visit: &Visit) -> Result<Reply, Failure> {
        let level = self.signed_in(visit).await?.map(|session| match session.level {
            Level::Full { .. } => "full",
            Level::WithoutSubmission => "without-submission",
        });
        let (mail, valid_until) = match self.sign_ins.state(&visit.visitor, visit.now).await? {
            State::Tan { mailing: Mailing::Sending, .. } => ("sending", None),
            State::Tan { mailing: Mailing::Accepted { valid_until, .. }, .. } => {
                ("accepted", Some(self.pages.now().time_of_day(valid_until, visit.now)))
            }
            State::Tan { mailing: Mailing::Delayed { .. }, .. } => ("delayed", None),
            State::Tan { mailing: Mailing::Refused, .. } => ("refused", None),
            State::None | State::UnknownEmail(_) | State::Over { .. } => ("none", None),
        };
        let status = Status { signed_in: level.is_some(), level, mail, valid_until };
        serde_json::to_string(&status).map(Reply::json).map_err(|_| Failure::Internal)
    }
}
