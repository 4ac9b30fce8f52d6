//! `status`: what a waiting page asks for, so that it can move on by itself.

use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::pages::Pages;
use crate::sign_in::SignInState;
use domain::challenge::MailState;
use domain::session::Level;
use domain::time::Timestamp;
use serde::Serialize;

#[derive(Serialize)]
struct Status {
    signed_in: bool,
    level: Option<&'static str>,
    #[serde(flatten)]
    mail: MailStatus,
}

/// What became of the mail, with the times that the page shows.
#[derive(Default, Serialize)]
struct MailStatus {
    mail: &'static str,
    accepted_at: Option<String>,
    valid_until: Option<String>,
    next_try_at: Option<String>,
}

/// The answer to a waiting page.
pub(crate) fn reply(
    level: Option<Level>,
    state: SignInState,
    pages: &Pages,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let mail = match state {
        SignInState::Tan { mail, .. } => mail_status(mail, pages, now),
        SignInState::None | SignInState::UnknownEmail(_) | SignInState::Over { .. } => MailStatus {
            mail: "none",
            ..MailStatus::default()
        },
    };
    let status = Status {
        signed_in: level.is_some(),
        level: level.map(|level| match level {
            Level::Full { .. } => "full",
            Level::WithoutSubmission => "without-submission",
        }),
        mail,
    };
    serde_json::to_string(&status)
        .map(Reply::json)
        .map_err(|_| Failure::Internal)
}

fn mail_status(state: MailState, pages: &Pages, now: Timestamp) -> MailStatus {
    let mail = |mail| MailStatus {
        mail,
        ..MailStatus::default()
    };
    match state {
        MailState::Sending => mail("sending"),
        MailState::Accepted { at, valid_until } => MailStatus {
            accepted_at: Some(pages.second_of_day(at, now)),
            valid_until: Some(pages.time_of_day(valid_until, now)),
            ..mail("accepted")
        },
        MailState::Delayed { next_try_at } => MailStatus {
            next_try_at: Some(pages.second_of_day(next_try_at, now)),
            ..mail("delayed")
        },
        MailState::Retrying => mail("retrying"),
        MailState::Refused => mail("refused"),
    }
}
