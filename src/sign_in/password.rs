//! The sign-in with a user key and a password: a full session, never a TAN.

use super::{NewSession, SignIns, Visitor, dated};
use crate::identity::users::{NotCompared, Password, Passwords, User, UserKey};
use crate::store::{DeviceChange, RateLimits, Result, SignInCommit, WriteOutcome};
use crate::telemetry::metrics::{Outcome, Step};
use domain::device::{Device, DeviceEntry, UserMark, UserTag};
use domain::ids::DeviceToken;
use domain::session::{Level, Proof, Session};
use domain::throttle::{Counter, RateLimitHit};
use domain::time::Timestamp;
use domain::trust::TrustLevel;
use domain::vtnr::Vtnr;
use std::time::Duration;

/// A user key with the password to prove it.
pub struct PasswordClaim {
    pub user: UserKey,
    pub password: Password,
    /// The token of a browser in which a user key has signed in.
    pub device: Option<DeviceToken>,
}

/// The result of a sign-in with a password.
#[derive(Debug)]
pub enum PasswordAnswer {
    /// The broker is signed in, and the browser gets this device token.
    SignedIn(NewSession, DeviceToken),
    /// The user does not exist or the password is wrong; which of the two is not disclosed.
    Wrong,
    /// The budget of wrong passwords for this user key, existing or not, is spent, and none is
    /// compared.
    Exhausted {
        /// When the next one is compared.
        until: Timestamp,
        /// Tells whether the user key has signed in from this browser.
        trust_level: TrustLevel,
    },
    /// Too many sign-ins from this client failed.
    TooMany {
        /// When the next attempt is possible.
        until: Timestamp,
    },
    /// The queue of comparisons is full, or memory for one is lacking.
    Busy,
}

/// An attempt to sign in, besides the password.
struct PasswordAttempt<'a> {
    passwords: &'a Passwords,
    visitor: &'a Visitor,
    user: UserKey,
    device: (Option<DeviceToken>, Device),
    trust_level: TrustLevel,
    rate_limits: Vec<RateLimitHit>,
    now: Timestamp,
}

impl SignIns {
    /// Processes a user key and a password.
    ///
    /// As with TANs, the result of a comparison is disclosed only after it was counted: a wrong
    /// password is reported once it was counted, and a right one signs in only if the budgets still
    /// have room, in the same atomic step. So of any number of parallel passwords only as many are
    /// told apart as the budgets allow, and once these are spent no password is even hashed. Nobody
    /// can lock others out: browsers in which this user key has signed in have a budget of their
    /// own, and the other ways in stay open.
    ///
    /// # Errors
    /// [`crate::store::Error`] if the store cannot answer; nothing is known then.
    pub async fn with_password(
        &self,
        passwords: &Passwords,
        visitor: &Visitor,
        claim: PasswordClaim,
        now: Timestamp,
    ) -> Result<PasswordAnswer> {
        let PasswordClaim {
            user,
            password,
            device: token,
        } = claim;
        let mark = user.mark();
        let device = match &token {
            Some(token) => self.store.find_device(token).await?,
            None => Device::default(),
        };
        let trust_level = self.trust_level_of(&device, mark, now).await?;
        let rate_limits = self
            .rules
            .now()
            .limits
            .password(mark, trust_level, visitor.client);
        let attempt = PasswordAttempt {
            passwords,
            visitor,
            user,
            device: (token, device),
            trust_level,
            rate_limits,
            now,
        };
        if let WriteOutcome::OverLimit { hit, retry_after } = self
            .store
            .hit_limits(&RateLimits::check(attempt.rate_limits.clone()))
            .await?
        {
            return Ok(self.spent(&attempt, hit, retry_after));
        }
        let found = passwords.users.snapshot().find(&attempt.user).cloned();
        // Read before the comparison, which may have to wait: a revocation in the meantime must end
        // the session.
        let revoked_at = self
            .store
            .revoked_at(found.as_ref().map_or(Vtnr::NOBODYS, |user| user.vtnr))
            .await?;
        match passwords
            .compare(password, found.as_ref(), self.vault.lot(mark))
            .await
        {
            Ok((password, is_right)) => match found {
                Some(user) if is_right && self.directory.knows(user.vtnr) => {
                    self.admit_user(attempt, user, password, revoked_at).await
                }
                found => {
                    self.count_wrong_password(&attempt, found.map(|user| user.vtnr))
                        .await
                }
            },
            Err(NotCompared::Full) => {
                self.metrics.sign_in(Step::Password, Outcome::Shed);
                Ok(PasswordAnswer::Busy)
            }
            Err(NotCompared::NoMemory) => {
                tracing::error!(target: "users", "not enough memory to compare a password");
                self.metrics.sign_in(Step::Password, Outcome::Failed);
                Ok(PasswordAnswer::Busy)
            }
        }
    }

    async fn trust_level_of(
        &self,
        device: &Device,
        user: UserMark,
        now: Timestamp,
    ) -> Result<TrustLevel> {
        let Some(entry) = device.find(user, now) else {
            return Ok(TrustLevel::Stranger);
        };
        let revoked_at = self.store.revoked_at(entry.vtnr).await?;
        Ok(if revoked_at.is_none_or(|revoked| entry.at > revoked) {
            TrustLevel::Known
        } else {
            TrustLevel::Stranger
        })
    }

    async fn count_wrong_password(
        &self,
        attempt: &PasswordAttempt<'_>,
        vtnr: Option<Vtnr>,
    ) -> Result<PasswordAnswer> {
        Ok(
            match self
                .store
                .hit_limits(&RateLimits::take(attempt.rate_limits.clone()))
                .await?
            {
                WriteOutcome::OverLimit { hit, retry_after } => {
                    self.spent(attempt, hit, retry_after)
                }
                WriteOutcome::Done | WriteOutcome::Conflict => {
                    self.note(Step::Password, Outcome::Wrong, vtnr, attempt.visitor.client);
                    PasswordAnswer::Wrong
                }
            },
        )
    }

    async fn admit_user(
        &self,
        attempt: PasswordAttempt<'_>,
        user: User,
        password: Password,
        revoked_at: Option<Timestamp>,
    ) -> Result<PasswordAnswer> {
        let PasswordAttempt {
            passwords,
            visitor,
            now,
            ..
        } = attempt;
        // An earlier sign-in in this browser is obsolete, and so are its mails.
        if let Some((token, seen)) = self.flow_to_continue(visitor).await? {
            self.store.discard_flow(&token, &seen.value).await?;
        }
        let mark = attempt.user.mark();
        let level = Level::Full {
            proof: Proof::Password {
                user: UserTag::of(mark),
            },
        };
        let begun_at = dated(now, revoked_at);
        let session = Session {
            signed_in_at: begun_at,
            ..Session::begin(user.vtnr, level, now)
        };
        let admission = NewSession {
            session: self.rng.session_token(),
            browser: None,
        };
        let sign_in = SignInCommit {
            flow: None,
            session: (&admission.session, &session),
            lives: session.remaining(&self.sessions, now),
            replaces: visitor.session.as_ref(),
            // The 30 days of trust belong to a confirmed address, and stay unchanged.
            trust: None,
            forgets: None,
            trust_lives: Duration::ZERO,
        };
        let (previous, device) = &attempt.device;
        let next = device.clone().noting(DeviceEntry {
            user: mark,
            vtnr: user.vtnr,
            at: begun_at,
        });
        let token = self.rng.device_token();
        let change = DeviceChange {
            token: &token,
            next: &next,
            lives: Device::LIFETIME,
            forgets: previous.as_ref(),
        };
        match self
            .store
            .sign_in_on_device(
                sign_in,
                change,
                &RateLimits::check(attempt.rate_limits.clone()),
            )
            .await?
        {
            WriteOutcome::OverLimit { hit, retry_after } => {
                Ok(self.spent(&attempt, hit, retry_after))
            }
            WriteOutcome::Done | WriteOutcome::Conflict => {
                self.metrics.session_begun(session.level);
                self.note(Step::Password, Outcome::Ok, Some(user.vtnr), visitor.client);
                passwords.renew_if_due(&attempt.user, &user, password).await;
                Ok(PasswordAnswer::SignedIn(admission, token))
            }
        }
    }

    fn spent(
        &self,
        attempt: &PasswordAttempt<'_>,
        hit: RateLimitHit,
        retry_after: Duration,
    ) -> PasswordAnswer {
        self.metrics.sign_in(Step::Password, Outcome::OverLimit);
        let until = attempt.now.plus(retry_after);
        match hit.counter {
            Counter::WrongPasswords(..) | Counter::WrongPasswordsOfKnown(_) => {
                PasswordAnswer::Exhausted {
                    until,
                    trust_level: attempt.trust_level,
                }
            }
            _ => PasswordAnswer::TooMany { until },
        }
    }
}
