//! Finds the session that a request belongs to: by its cookie, in the store, and while the store cannot be asked, by the browser's
//! offline token.

use crate::gateway::context::{BrowserSession, OfflineTokenDue, RequestContext};
use crate::gateway::membership::Membership;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::{CookieNames, RequestCookies};
use crate::gateway::upstream::header_policy::is_shared;
use crate::store;
use crate::store::cache::Sessions;
use domain::ids::SessionToken;
use domain::session::Session as BrokerSession;
use domain::time::Timestamp;
use http::HeaderMap;
use http::header::SET_COOKIE;
use pingora::http::ResponseHeader;
use std::sync::Arc;

/// Finds sessions of brokers who are still in the directory.
pub(crate) struct BrokerSessions {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) membership: Membership,
    pub(crate) cookie_names: CookieNames,
}

impl BrokerSessions {
    /// The live session of a broker who is still in the directory.
    ///
    /// # Errors
    /// The store cannot answer: nothing is known of the session then.
    pub(crate) async fn find(
        &self,
        token: Option<&SessionToken>,
        now: Timestamp,
    ) -> store::Result<Option<BrokerSession>> {
        let Some(token) = token else { return Ok(None) };
        let session = self.sessions.find(token, now).await?;
        Ok(session.filter(|session| self.membership.has(session)))
    }

    /// Like [`find`](Self::find) for a request to the calculator, but falls back to the browser's offline token while the store is
    /// down. Marks the context when the answer is to carry a new token.
    pub(crate) async fn find_for(
        &self,
        cookies: &RequestCookies,
        headers: &HeaderMap,
        context: &mut RequestContext,
    ) -> store::Result<Option<BrokerSession>> {
        let Some(token) = &cookies.session else {
            return Ok(None);
        };
        let offline_token = || self.cookie_names.read_offline_token(headers);
        let found = self
            .sessions
            .find_or_offline(token, offline_token, context.now);
        let Some(session) = found.await? else {
            offline_token().inspect(|offline_token| self.sessions.note_ended(token, offline_token));
            return Ok(None);
        };
        context.session = Some(BrowserSession {
            token: *token,
            offline_token_as_of: cookies.offline_token_as_of,
        });
        context.offline_token_due = if Audience::of(headers) == Audience::Navigation {
            OfflineTokenDue::IfOld
        } else {
            OfflineTokenDue::No
        };
        Ok(self.membership.has(&session).then_some(session))
    }

    /// The session as memory, store or offline token know it, without counting as a use; `None` also if nothing can be known.
    pub(crate) async fn peek(
        &self,
        cookies: &RequestCookies,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Option<BrokerSession> {
        let token = cookies.session?;
        let offline_token = || self.cookie_names.read_offline_token(headers);
        let session = match self.sessions.peek(&token, now).await {
            Ok(session) => session,
            Err(_) => {
                let found = self
                    .sessions
                    .find_or_offline(&token, offline_token, now)
                    .await;
                found.ok().flatten()
            }
        };
        session.filter(|session| self.membership.has(session))
    }

    /// Adds the offline token that is due, unless the answer may end up in a shared cache. `owned` names the calculator's sessions
    /// that belong to the broker.
    pub(crate) fn add_offline_token(
        &self,
        response: &mut ResponseHeader,
        context: &RequestContext,
        owned: impl FnOnce() -> Vec<u64>,
    ) -> pingora::Result<()> {
        let may_have = context.offline_token_due != OfflineTokenDue::No
            && !response.status.is_informational()
            && !is_shared(response);
        let Some(session) = context.session.filter(|_| may_have) else {
            return Ok(());
        };
        let held = session
            .offline_token_as_of
            .filter(|_| context.offline_token_due == OfflineTokenDue::IfOld);
        let offline_token =
            self.sessions
                .issue_offline_token(&session.token, held, owned, context.now);
        let Some((as_of, offline_token)) = offline_token else {
            return Ok(());
        };
        let cookie = self.cookie_names.set_offline_token(as_of, &offline_token);
        response.append_header(SET_COOKIE, cookie).map(|_| ())
    }
}
