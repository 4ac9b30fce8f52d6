//! `benutzerschluessel`: user key and password.

use crate::gateway::request::form::Form;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::{SignInPages, Visit};
use crate::identity::users::{MalformedPassword, MalformedUser, Password, Passwords, UserKey};
use crate::pages::{PasswordError, PasswordPage, Spent, View};
use crate::sign_in::{PasswordAnswer, PasswordClaim};
use crate::telemetry::metrics::{Outcome, Step};
use domain::session::Level;
use domain::trust::TrustLevel;
use http::StatusCode;

/// What was typed is shown again, up to a length that no user key has.
const LONGEST_SHOWN: usize = UserKey::LONGEST;

impl SignInPages {
    pub(crate) async fn show_password(&self, visit: &Visit) -> Result<Reply, Failure> {
        self.passwords()?;
        let session = self.signed_in(visit).await?;
        if session.is_some_and(|session| matches!(session.level, Level::Full { .. })) {
            return Ok(Self::on_to_calculator(visit));
        }
        Ok(self.password_page(visit, "", None))
    }

    pub(crate) async fn post_password(&self, visit: &Visit, form: &Form) -> Result<Reply, Failure> {
        let passwords = self.passwords()?;
        let typed = form.field("user");
        let claim = match claim(typed, form.field("password")) {
            Ok((user, password)) => PasswordClaim {
                user,
                password,
                device: visit.held.device,
            },
            Err(error) => {
                self.metrics.sign_in(Step::Password, Outcome::Malformed);
                return Ok(self.password_page(visit, typed, Some(error)));
            }
        };
        match self
            .sign_ins
            .with_password(passwords, &visit.visitor, claim, visit.now)
            .await?
        {
            PasswordAnswer::SignedIn(admission, device) => Ok(self
                .welcome(&admission, visit)
                .with_cookie(self.cookie_names.set_device(&device))),
            PasswordAnswer::Wrong => {
                Ok(self.password_page(visit, typed, Some(PasswordError::Wrong)))
            }
            PasswordAnswer::Exhausted { until, trust_level } => {
                let spent = if trust_level == TrustLevel::Stranger {
                    Spent::ByOthers { until }
                } else {
                    Spent::Here { until }
                };
                let view = View::PasswordSpent {
                    return_to: visit.return_to.as_str(),
                    spent,
                };
                Ok(self
                    .page(StatusCode::TOO_MANY_REQUESTS, &view, visit)
                    .retry_after(until.after(visit.now)))
            }
            PasswordAnswer::TooMany { until } => Err(Failure::TooMany(until)),
            PasswordAnswer::Busy => Err(Failure::Busy),
        }
    }

    /// Where this way in is closed there is no such page.
    fn passwords(&self) -> Result<&Passwords, Failure> {
        self.sign_ins.passwords.as_ref().ok_or(Failure::NotFound)
    }

    fn password_page(&self, visit: &Visit, typed: &str, error: Option<PasswordError>) -> Reply {
        let user: String = typed.chars().take(LONGEST_SHOWN).collect();
        let store_down = self.sessions.is_store_silent();
        let view = PasswordPage {
            return_to: visit.return_to.as_str(),
            user: &user,
            error,
            store_down,
        };
        self.page(StatusCode::OK, &View::Password(view), visit)
    }
}

/// What was entered, or why it costs no try: it can be nobody's, and to say so tells nothing of anybody.
fn claim(user: &str, password: &str) -> Result<(UserKey, Password), PasswordError> {
    match (UserKey::parse(user), Password::parse(password)) {
        (Ok(user), Ok(password)) => Ok((user, password)),
        (Err(MalformedUser::Empty), Err(MalformedPassword::Empty)) => Err(PasswordError::Empty),
        (Err(MalformedUser::Empty), _) => Err(PasswordError::NoUser),
        (_, Err(MalformedPassword::Empty)) => Err(PasswordError::NoPassword),
        (_, Err(MalformedPassword::TooLong)) => Err(PasswordError::TooLong),
        (Err(MalformedUser::Unusable), Ok(_)) => Err(PasswordError::Wrong),
    }
}
