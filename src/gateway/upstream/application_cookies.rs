//! The calculator's session cookies: each goes up with requests of the broker alone who owns the session (`application_sessions`).
//!
//! What may not go up is found once the policy has allowed the request, and taken away with the gateway's own cookies. The answer tells the
//! browser to delete it. What the calculator sets in its answer is the broker's from then on; it is remembered before the browser has it.

use crate::application_sessions::{ApplicationSessions, Learnt, Ownership, Reach};
use crate::gateway::context::cookie_changes::SessionCookieChanges;
use crate::gateway::context::{OfflineTokenDue, RequestContext};
use crate::gateway::request::cookies::{CookieNames, crumbs, name_and_value};
use crate::gateway::respond::reply::Reply;
use crate::gateway::upstream::cookie_scope::{deletion, folders, scope, scope_of};
use crate::gateway::upstream::header_policy::is_shared;
use crate::store::Vault;
use crate::store::cache::Sessions;
use crate::telemetry::metrics::{Label as _, Metrics, Withheld as Reason};
use domain::application_session::{
    ApplicationSessionId, CookieScope, SessionCookies, SessionOrigin,
};
use domain::vtnr::Vtnr;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use std::sync::Arc;

/// No browser has more session cookies of one application: of a request with more of them no cookie goes up.
const MAX_ASKED: usize = 16;
/// No longer name is deleted, in bytes.
const LONGEST_DELETED: usize = 128;
/// Maximum number of sessions named in an offline token; the latest count.
const MAX_IN_OFFLINE_TOKEN: usize = 8;

/// Keeps the calculator's sessions apart: each belongs to one broker.
pub(crate) struct ApplicationCookies {
    pub(crate) application_sessions: Arc<ApplicationSessions>,
    /// Names of the calculator's session cookies.
    pub(crate) session_cookies: SessionCookies,
    pub(crate) cookie_names: CookieNames,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) vault: Vault,
    pub(crate) metrics: Arc<Metrics>,
}

impl ApplicationCookies {
    /// Whether any session cookie of the request is not known to be this broker's. Asked for every request that the policy allowed.
    pub(crate) fn has_doubtful(&self, headers: &HeaderMap, broker: Option<Vtnr>) -> bool {
        !self.knows_all(headers, broker)
    }

    /// Whether all session cookies are known to be this broker's.
    fn knows_all(&self, headers: &HeaderMap, broker: Option<Vtnr>) -> bool {
        crumbs(headers).all(|crumb| match (self.session_in(crumb), broker) {
            (Some(id), Some(vtnr)) => self.application_sessions.is_known(&id, vtnr),
            (Some(_), None) => false,
            (None, _) => !may_hide(crumb) || !self.hides_session(crumb),
        })
    }

    /// Whether a cookie is a session of the calculator's, and none of ours.
    fn is_session(&self, id: &ApplicationSessionId<'_>) -> bool {
        self.session_cookies.contain(id) && !self.cookie_names.owns(id.name)
    }

    /// The session that a cookie stands for, if it does.
    fn session_in<'c>(&self, crumb: &'c [u8]) -> Option<ApplicationSessionId<'c>> {
        let (name, value) = name_and_value(crumb);
        Some(ApplicationSessionId { name, value }).filter(|id| self.is_session(id))
    }

    fn session_ids<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> impl Iterator<Item = ApplicationSessionId<'h>> {
        crumbs(headers).filter_map(|crumb| self.session_in(crumb))
    }

    /// Whether servers that part cookies at more than semicolons would find a session in a cookie of another name.
    fn hides_session(&self, crumb: &[u8]) -> bool {
        crumb
            .split(|byte| is_odd(*byte))
            .skip(1)
            .any(|part| self.session_in(part).is_some())
    }

    /// Finds the cookies that must not go up.
    pub(crate) async fn withhold_foreign(
        &self,
        http: &Session,
        broker: Option<Vtnr>,
        context: &mut RequestContext,
    ) {
        let headers = &http.req_header().headers;
        let mut changes = SessionCookieChanges::default();
        let mut own = Vec::new();
        let mut reasons = Vec::new();
        let odd = crumbs(headers).filter(|crumb| {
            self.session_in(crumb).is_none() && may_hide(crumb) && self.hides_session(crumb)
        });
        changes.withheld.extend(odd.take(MAX_ASKED).map(Box::from));
        for (asked, crumb) in crumbs(headers)
            .filter(|crumb| self.session_in(crumb).is_some())
            .enumerate()
        {
            let Some(id) = self.session_in(crumb).filter(|_| asked < MAX_ASKED) else {
                changes.withholds_all = true;
                reasons.push(Reason::OverLimit);
                break;
            };
            let Some(reason) = reason(self.ownership(&id, broker, http, context).await) else {
                own.push(id.name);
                continue;
            };
            reasons.push(reason);
            changes.withheld.push(crumb.into());
            if reason == Reason::Foreign && broker.is_some() && id.name.len() <= LONGEST_DELETED {
                changes
                    .expire
                    .push(String::from_utf8_lossy(id.name).into_owned());
            }
        }
        // To delete a foreign one would delete the broker's own with it, wherever both are set.
        changes
            .expire
            .retain(|name| !own.contains(&name.as_bytes()));
        self.note_withheld(&reasons, broker);
        let withholds = changes.withholds_all || !changes.withheld.is_empty();
        context.session_cookies = withholds.then(|| Box::new(changes));
    }

    async fn ownership(
        &self,
        id: &ApplicationSessionId<'_>,
        broker: Option<Vtnr>,
        http: &Session,
        context: &mut RequestContext,
    ) -> Ownership {
        let Some(vtnr) = broker else {
            // What belongs to nobody yet goes up with nobody's requests.
            let has_owner = self.application_sessions.has_owner(id, self.reach()).await;
            return if has_owner {
                Ownership::Foreign
            } else {
                Ownership::Own
            };
        };
        if self.application_sessions.is_known(id, vtnr) {
            return Ownership::Own;
        }
        let has_proof = |id: &[u8]| self.is_in_offline_token(id, http, context);
        let learnt = Learnt {
            origin: SessionOrigin::Request,
            client: context.rate_limit_key(),
        };
        let ownership = self
            .application_sessions
            .claim(id, vtnr, learnt, self.reach(), has_proof)
            .await;
        if ownership == Ownership::Own {
            context.offline_token_due = OfflineTokenDue::Now;
        }
        ownership
    }

    fn reach(&self) -> Reach {
        if self.sessions.is_store_down() {
            Reach::Down
        } else {
            Reach::Up
        }
    }

    fn is_in_offline_token(&self, id: &[u8], http: &Session, context: &RequestContext) -> bool {
        let token = context.session.as_ref().map(|session| session.token);
        let offline_token = token.zip(
            self.cookie_names
                .read_offline_token(&http.req_header().headers),
        );
        offline_token.is_some_and(|(token, offline_token)| {
            self.sessions
                .owned_by_offline_token(&token, &offline_token)
                .contains(&self.sessions.mark(id))
        })
    }

    /// Names of cookies are the client's, and stay out of the log.
    fn note_withheld(&self, reasons: &[Reason], broker: Option<Vtnr>) {
        let Some(reason) = reasons.first() else {
            return;
        };
        reasons
            .iter()
            .for_each(|reason| self.metrics.cookie_withheld(*reason));
        let reason = reason.as_str();
        let cookies = reasons.len();
        let broker = broker.map(|vtnr| self.vault.pseudonym(vtnr));
        tracing::info!(target: "gateway", reason, cookies, broker, "withheld the calculator's session cookies");
    }

    /// Whether the calculator begins sessions with this answer, or the browser is to delete some.
    pub(crate) fn changes_sessions(
        &self,
        response: &ResponseHeader,
        context: &RequestContext,
    ) -> bool {
        let begins = |field: &HeaderValue| self.is_session(&set_cookie(field.as_bytes()));
        let changes = context.session_cookies.is_some()
            || response.headers.get_all(SET_COOKIE).iter().any(begins);
        let is_final = !response.status.is_informational()
            || response.status == StatusCode::SWITCHING_PROTOCOLS;
        changes && is_final
    }

    /// Remembers whose the sessions are that the calculator begins with this answer, and has the browser delete what was withheld.
    pub(crate) async fn keep_set_cookies(
        &self,
        http: &Session,
        response: &mut ResponseHeader,
        broker: Option<Vtnr>,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        let fields: Vec<HeaderValue> = response
            .headers
            .get_all(SET_COOKIE)
            .iter()
            .cloned()
            .collect();
        let came = fields.len();
        let mut kept = Vec::with_capacity(fields.len());
        let mut scopes = Vec::new();
        for field in fields {
            let id = set_cookie(field.as_bytes());
            let scope = self
                .is_session(&id)
                .then(|| scope_of(field.as_bytes(), http.req_header(), context.now))
                .flatten();
            let may_pass = match broker.filter(|_| scope.is_some()) {
                Some(vtnr) => self.begins_for(&id, vtnr, context).await,
                // What begins for nobody belongs to nobody yet.
                None => true,
            };
            scopes.extend(scope);
            if may_pass {
                kept.push(field);
            }
        }
        if !scopes.is_empty() && self.reach() == Reach::Up {
            self.application_sessions.learn_scopes(&scopes).await;
        }
        let expired = match context
            .session_cookies
            .as_ref()
            .filter(|_| !is_shared(response))
        {
            Some(changes) => self.deletions(&changes.expire, http.req_header()).await,
            None => Vec::new(),
        };
        if expired.is_empty() && kept.len() == came {
            // As it came, to the letter case of the names.
            return Ok(());
        }
        response.remove_header(&SET_COOKIE);
        // The calculator's own come last, so that one of the same name and scope stays.
        expired
            .into_iter()
            .chain(kept)
            .try_for_each(|field| response.append_header(SET_COOKIE, field).map(|_| ()))
    }

    /// A session begins for this broker. False if it cannot be remembered: then the browser does not get it.
    async fn begins_for(
        &self,
        id: &ApplicationSessionId<'_>,
        vtnr: Vtnr,
        context: &mut RequestContext,
    ) -> bool {
        let learnt = Learnt {
            origin: SessionOrigin::Answer,
            client: context.rate_limit_key(),
        };
        let ownership = self
            .application_sessions
            .claim(id, vtnr, learnt, self.reach(), |_| false)
            .await;
        let reason = reason(ownership);
        self.note_withheld(reason.as_slice(), Some(vtnr));
        if reason.is_none() {
            context
                .session_cookies
                .get_or_insert_default()
                .begun
                .push(self.sessions.mark(&id.to_bytes()));
            context.offline_token_due = OfflineTokenDue::Now;
        }
        reason.is_none()
    }

    /// The sessions of the calculator that an offline token names: those of the previous one, of this request and of its answer.
    pub(crate) fn owned_sessions(&self, http: &Session, context: &RequestContext) -> Vec<u64> {
        let headers = &http.req_header().headers;
        let former = context
            .session
            .as_ref()
            .zip(self.cookie_names.read_offline_token(headers));
        let mut owned = former
            .map(|(session, offline_token)| {
                self.sessions
                    .owned_by_offline_token(&session.token, &offline_token)
            })
            .unwrap_or_default();
        let changes = context.session_cookies.as_ref();
        let is_withheld = |crumb: &[u8]| changes.is_some_and(|changes| changes.withholds(crumb));
        let went_up = crumbs(headers)
            .filter(|crumb| !is_withheld(crumb))
            .filter_map(|crumb| self.session_in(crumb));
        let went_up = went_up.map(|id| self.sessions.mark(&id.to_bytes()));
        for mark in went_up.chain(
            changes
                .into_iter()
                .flat_map(|changes| changes.begun.iter().copied()),
        ) {
            owned.retain(|known| *known != mark);
            owned.push(mark);
        }
        owned.split_off(owned.len().saturating_sub(MAX_IN_OFFLINE_TOKEN))
    }

    /// `Set-Cookie` fields that delete these cookies wherever the calculator sets them; where that is not known, in the folders above the
    /// request's path.
    async fn deletions(&self, names: &[String], request: &RequestHeader) -> Vec<HeaderValue> {
        let scopes = if names.is_empty() {
            Default::default()
        } else {
            self.application_sessions.scopes().await
        };
        let mut fields = Vec::new();
        for name in names {
            let known: Vec<_> = scopes.of(name).cloned().collect();
            let guessed = if known.is_empty() {
                folders(name, request.raw_path())
            } else {
                Vec::new()
            };
            fields.extend(
                known
                    .iter()
                    .chain(&guessed)
                    .filter_map(|scope| self.deletion(scope)),
            );
        }
        fields
    }

    fn deletion(&self, scope: &CookieScope) -> Option<HeaderValue> {
        HeaderValue::from_str(&deletion(scope, self.cookie_names)).ok()
    }

    /// The broker signs out: the calculator's sessions end with the gateway's own.
    pub(crate) async fn end_application_sessions(
        &self,
        reply: Reply,
        request: &RequestHeader,
    ) -> Reply {
        let scopes = self.application_sessions.scopes().await;
        let came = self.session_ids(&request.headers);
        let came = came.map(|id| String::from_utf8_lossy(id.name).into_owned());
        // A cookie that came to this path and whose scope is not known is that of the whole host.
        let mut guessed: Vec<_> = came
            .filter(|name| scopes.of(name).next().is_none())
            .map(|name| scope(&name, "/"))
            .collect();
        guessed.dedup();
        scopes
            .all()
            .iter()
            .chain(&guessed)
            .fold(reply, |reply, scope| {
                reply.with_cookie(deletion(scope, self.cookie_names))
            })
    }
}

fn reason(ownership: Ownership) -> Option<Reason> {
    match ownership {
        Ownership::Own => None,
        Ownership::Foreign => Some(Reason::Foreign),
        Ownership::Unproven => Some(Reason::Unproven),
        Ownership::OverLimit => Some(Reason::OverLimit),
    }
}

/// Whether a cookie has what only some servers take for its end.
fn may_hide(crumb: &[u8]) -> bool {
    crumb.iter().any(|byte| is_odd(*byte))
}

fn is_odd(byte: u8) -> bool {
    byte == b',' || !byte.is_ascii_graphic()
}

/// The cookie that a `Set-Cookie` field sets.
fn set_cookie(field: &[u8]) -> ApplicationSessionId<'_> {
    let (name, value) =
        name_and_value(field.split(|byte| *byte == b';').next().unwrap_or_default());
    ApplicationSessionId { name, value }
}
