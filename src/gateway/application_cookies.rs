//! The calculator's session cookies: each goes up with requests of the broker alone who owns the session (`application_sessions`).
//!
//! What may not go up is found once the policy has allowed the request, and taken away with the gateway's own cookies. The answer tells the
//! browser to delete it. What the calculator sets in its answer is the broker's from then on; it is remembered before the browser has it.

use super::cookies::{self, crumbs, name_and_value, pairs};
use super::headers::is_shared;
use super::passage::TicketDue;
use super::reply::Reply;
use super::{Gateway, Passage};
use crate::application_sessions::{Learnt, Ownership, Reach};
use crate::domain::application_session::{ApplicationSessionId, CookieScope, Origin};
use crate::domain::policy::Permit;
use crate::domain::time::Timestamp;
use crate::domain::vtnr::Vtnr;
use crate::telemetry::metrics::Withheld as Reason;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use std::borrow::Cow;

/// No browser has more session cookies of one application; what comes beyond is withheld without asking whose it is.
const MOST_ASKED: usize = 16;
/// A cookie of unknown scope is deleted in so many folders of the request's path.
const MOST_FOLDERS: usize = 8;
/// As many sessions as a ticket names; the latest count.
const MOST_IN_A_TICKET: usize = 8;

/// What becomes of the session cookies of one request and its answer.
#[derive(Debug, Default)]
pub(super) struct SessionCookieChanges {
    /// Those that do not go up, each as it came, without blanks around.
    withheld: Vec<Box<[u8]>>,
    /// Names of those that the browser is to delete.
    expire: Vec<String>,
    /// Sessions that the calculator begins, as tickets name them.
    begun: Vec<u64>,
}

impl SessionCookieChanges {
    pub(super) fn withholds(&self, crumb: &[u8]) -> bool {
        self.withheld.iter().any(|withheld| **withheld == *crumb)
    }
}

impl Gateway {
    /// Whether it is not known yet of each session cookie that it may go up. Every request is asked that the policy allowed.
    pub(super) fn has_doubtful_cookies(&self, http: &Session, permit: &Permit, passage: &Passage) -> bool {
        !self.is_for_portal_server(passage) && !self.knows_all(&http.req_header().headers, permit.broker().map(|(vtnr, _)| vtnr))
    }

    /// The portal's own server knows no session of the calculator's.
    fn is_for_portal_server(&self, passage: &Passage) -> bool {
        passage.to_portal && self.portal_server.is_some()
    }

    /// Whether all session cookies are known to be this broker's.
    fn knows_all(&self, headers: &HeaderMap, broker: Option<Vtnr>) -> bool {
        let may_hide = headers.get_all(COOKIE).iter().any(|field| field.as_bytes().contains(&b','));
        let knows = |id| broker.is_some_and(|vtnr| self.application_sessions.is_known(&id, vtnr));
        !may_hide && self.session_ids(headers).all(knows)
    }

    /// Whether a cookie is a session of the calculator's, and none of ours.
    fn is_session(&self, name: &[u8]) -> bool {
        self.session_cookies.contain(name) && !self.jar.owns(name)
    }

    fn session_ids<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = ApplicationSessionId<'h>> {
        let sessions = pairs(headers).filter(|(name, value)| self.is_session(name) && !value.is_empty());
        sessions.map(|(name, value)| ApplicationSessionId { name, value })
    }

    /// Whether servers that part cookies at commas would find a session in a cookie of another name.
    fn hides_session(&self, crumb: &[u8]) -> bool {
        let mut parts = crumb.split(|byte| *byte == b',').skip(1);
        parts.any(|part| self.is_session(name_and_value(part.trim_ascii_start()).0))
    }

    /// Finds the cookies that must not go up.
    pub(super) async fn judge_cookies(&self, http: &Session, permit: &Permit, passage: &mut Passage) {
        let broker = self.broker_of(http, permit, passage.now).await;
        let (mut changes, mut asked) = (SessionCookieChanges::default(), 0);
        for crumb in crumbs(&http.req_header().headers) {
            let (name, value) = name_and_value(crumb);
            if self.hides_session(crumb) {
                changes.withheld.push(crumb.into());
                continue;
            }
            if !self.is_session(name) || value.is_empty() {
                continue;
            }
            asked += 1;
            let id = ApplicationSessionId { name, value };
            let ownership =
                if asked > MOST_ASKED { Ownership::OverLimit } else { self.ownership(&id, broker, http, passage).await };
            let Some(reason) = reason(ownership) else { continue };
            self.note_withheld(reason, name, broker);
            changes.withheld.push(crumb.into());
            if reason == Reason::Foreign && broker.is_some() {
                changes.expire.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        passage.session_cookies = (!changes.withheld.is_empty()).then(|| Box::new(changes));
    }

    async fn ownership(
        &self,
        id: &ApplicationSessionId<'_>,
        broker: Option<Vtnr>,
        http: &Session,
        passage: &mut Passage,
    ) -> Ownership {
        let Some(vtnr) = broker else {
            // What belongs to nobody yet goes up with nobody's requests.
            let has_owner = self.application_sessions.has_owner(id, self.reach()).await;
            return if has_owner { Ownership::Foreign } else { Ownership::Own };
        };
        if self.application_sessions.is_known(id, vtnr) {
            return Ownership::Own;
        }
        let has_proof = |id: &[u8]| self.is_in_ticket(id, http, passage);
        let learnt = Learnt { origin: Origin::Request, replaces: None, client: self.client_counted(http) };
        let ownership = self.application_sessions.claim(id, vtnr, learnt, self.reach(), has_proof).await;
        if ownership == Ownership::Own {
            passage.ticket_due = TicketDue::Now;
        }
        ownership
    }

    fn reach(&self) -> Reach {
        if self.sessions.is_store_down() { Reach::Down } else { Reach::Up }
    }

    fn is_in_ticket(&self, id: &[u8], http: &Session, passage: &Passage) -> bool {
        let token = passage.session.as_ref().map(|session| session.token);
        let ticket = token.zip(self.jar.read_ticket(&http.req_header().headers));
        ticket.is_some_and(|(token, ticket)| self.sessions.owned_by_ticket(&token, &ticket).contains(&self.sessions.mark(id)))
    }

    /// Whose request it is, also where the policy did not have to ask.
    async fn broker_of(&self, http: &Session, permit: &Permit, now: Timestamp) -> Option<Vtnr> {
        if let Some((vtnr, _)) = permit.broker() {
            return Some(vtnr);
        }
        if let Some(vtnr) = self.certified_broker(http) {
            return Some(vtnr);
        }
        if let Some(token) = self.held(http).ok().and_then(|held| held.session) {
            let ticket = || self.jar.read_ticket(&http.req_header().headers);
            let session = match self.sessions.look(&token, now).await {
                Ok(session) => session,
                Err(_) => self.sessions.find_with_ticket(&token, ticket, now).await.ok().flatten(),
            };
            if let Some(session) = session.filter(|session| self.roll.has(session)) {
                return Some(session.vtnr);
            }
        }
        self.known_at_portal(http, now).and_then(|at_portal| at_portal.session).map(|session| session.vtnr)
    }

    fn note_withheld(&self, reason: Reason, name: &[u8], broker: Option<Vtnr>) {
        self.metrics.cookie_withheld(reason);
        let (cookie, broker) = (String::from_utf8_lossy(name), broker.map(|vtnr| self.sign_ins.vault.pseudonym(vtnr)));
        tracing::info!(target: "gateway", ?reason, %cookie, broker, "withheld a session cookie of the calculator");
    }

    /// Whether the calculator begins sessions with this answer, or the browser is to delete some.
    pub(super) fn changes_sessions(&self, response: &ResponseHeader, passage: &Passage) -> bool {
        let begins = |field: &HeaderValue| self.is_session(set_name_and_value(field.as_bytes()).0);
        let changes = passage.session_cookies.is_some() || response.headers.get_all(SET_COOKIE).iter().any(begins);
        let is_final = !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS;
        changes && is_final && !self.is_for_portal_server(passage)
    }

    /// Remembers whose the sessions are that the calculator begins with this answer, and has the browser delete what was withheld.
    pub(super) async fn keep_set_cookies(
        &self,
        http: &Session,
        response: &mut ResponseHeader,
        passage: &mut Passage,
    ) -> pingora::Result<()> {
        let broker = self.broker_of(http, passage.permit()?, passage.now).await;
        let fields: Vec<HeaderValue> = response.headers.get_all(SET_COOKIE).iter().cloned().collect();
        let (came, mut kept, mut scopes) = (fields.len(), Vec::with_capacity(fields.len()), Vec::new());
        for field in fields {
            let (name, value) = set_name_and_value(field.as_bytes());
            let is_session = self.is_session(name) && !value.is_empty();
            scopes.extend(scope_of(field.as_bytes()).filter(|_| is_session));
            let may_pass = match broker.filter(|_| is_session) {
                Some(vtnr) => self.begins_for(&ApplicationSessionId { name, value }, vtnr, http, passage).await,
                // What begins for nobody belongs to nobody yet.
                None => true,
            };
            if may_pass {
                kept.push(field);
            }
        }
        if !scopes.is_empty() && self.reach() == Reach::Up {
            self.application_sessions.learn_scopes(&scopes).await;
        }
        let expired = match passage.session_cookies.as_ref().filter(|_| !is_shared(response)) {
            Some(changes) => self.deletions(&changes.expire, http.req_header()).await,
            None => Vec::new(),
        };
        if expired.is_empty() && kept.len() == came {
            // As it came, to the letter case of the names.
            return Ok(());
        }
        response.remove_header(&SET_COOKIE);
        // The calculator's own come last, so that one of the same name and scope stays.
        expired.into_iter().chain(kept).try_for_each(|field| response.append_header(SET_COOKIE, field).map(|_| ()))
    }

    /// A session begins for this broker. False if it cannot be remembered: then the browser does not get it.
    async fn begins_for(&self, id: &ApplicationSessionId<'_>, vtnr: Vtnr, http: &Session, passage: &mut Passage) -> bool {
        let own = self.session_ids(&http.req_header().headers);
        let replaced = own.filter(|own| own.name == id.name && self.application_sessions.is_known(own, vtnr)).last();
        let replaced = replaced.map(|own| own.to_bytes());
        let learnt = Learnt { origin: Origin::Answer, replaces: replaced.as_deref(), client: self.client_counted(http) };
        let ownership = self.application_sessions.claim(id, vtnr, learnt, self.reach(), |_| false).await;
        let reason = reason(ownership);
        reason.inspect(|reason| self.note_withheld(*reason, id.name, Some(vtnr)));
        if reason.is_none() {
            passage.session_cookies.get_or_insert_default().begun.push(self.sessions.mark(&id.to_bytes()));
            passage.ticket_due = TicketDue::Now;
        }
        reason.is_none()
    }

    /// The sessions of the calculator that a ticket names: those of the former ticket, of this request and of its answer.
    pub(super) fn owned_sessions(&self, http: &Session, passage: &Passage) -> Vec<u64> {
        let headers = &http.req_header().headers;
        let former = passage.session.as_ref().zip(self.jar.read_ticket(headers));
        let mut owned =
            former.map(|(session, ticket)| self.sessions.owned_by_ticket(&session.token, &ticket)).unwrap_or_default();
        let changes = passage.session_cookies.as_ref();
        let is_withheld = |crumb: &[u8]| changes.is_some_and(|changes| changes.withholds(crumb));
        let went_up = crumbs(headers).filter(|crumb| !is_withheld(crumb)).map(name_and_value);
        let went_up = went_up.filter(|(name, value)| self.is_session(name) && !value.is_empty());
        let went_up = went_up.map(|(name, value)| self.sessions.mark(&ApplicationSessionId { name, value }.to_bytes()));
        for mark in went_up.chain(changes.into_iter().flat_map(|changes| changes.begun.iter().copied())) {
            owned.retain(|known| *known != mark);
            owned.push(mark);
        }
        owned.split_off(owned.len().saturating_sub(MOST_IN_A_TICKET))
    }

    /// `Set-Cookie` fields that delete these cookies wherever the calculator sets them; where that is not known, in the folders above the
    /// request's path.
    async fn deletions(&self, names: &[String], request: &RequestHeader) -> Vec<HeaderValue> {
        let scopes = if names.is_empty() { Default::default() } else { self.application_sessions.scopes().await };
        let mut fields = Vec::new();
        for name in names {
            let known: Vec<_> = scopes.of(name).cloned().collect();
            let guessed = if known.is_empty() { folders(name, request.raw_path()) } else { Vec::new() };
            fields.extend(known.iter().chain(&guessed).filter_map(|scope| self.deletion(scope)));
        }
        fields
    }

    fn deletion(&self, scope: &CookieScope) -> Option<HeaderValue> {
        HeaderValue::from_str(&deletion(scope, self.jar)).ok()
    }

    /// The broker signs out: the calculator's sessions end with the gateway's own.
    pub(super) async fn end_application_sessions(&self, reply: Reply, request: &RequestHeader) -> Reply {
        let scopes = self.application_sessions.scopes().await;
        let came = self.session_ids(&request.headers);
        let came = came.map(|id| String::from_utf8_lossy(id.name).into_owned());
        // A cookie that came to this path and whose scope is not known is that of the whole host.
        let mut guessed: Vec<_> = came.filter(|name| scopes.of(name).next().is_none()).map(|name| scope(&name, "/")).collect();
        guessed.dedup();
        scopes.all().iter().chain(&guessed).fold(reply, |reply, scope| reply.with_cookie(deletion(scope, self.jar)))
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

/// Name and value of a `Set-Cookie` field.
fn set_name_and_value(field: &[u8]) -> (&[u8], &[u8]) {
    cookies::name_and_value(field.split(|byte| *byte == b';').next().unwrap_or_default())
}

/// Where a `Set-Cookie` field sets its cookie.
fn scope_of(field: &[u8]) -> Option<CookieScope> {
    let mut parts = field.split(|byte| *byte == b';').map(name_and_value);
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).ok();
    let name = text(parts.next()?.0)?;
    let mut scope = CookieScope { name, path: None, domain: None, partitioned: false };
    for (attribute, value) in parts {
        match attribute.to_ascii_lowercase().as_slice() {
            b"path" if value.starts_with(b"/") => scope.path = text(value),
            b"domain" => scope.domain = text(value).filter(|domain| !domain.is_empty()),
            b"partitioned" => scope.partitioned = true,
            _ => {}
        }
    }
    Some(scope)
}

fn scope(name: &str, path: &str) -> CookieScope {
    CookieScope { name: name.to_owned(), path: Some(path.to_owned()), domain: None, partitioned: false }
}

/// The folders in which a cookie that came with a request for this path may have been set.
fn folders(name: &str, target: &[u8]) -> Vec<CookieScope> {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let path = String::from_utf8_lossy(path);
    let slashes = path.match_indices('/').map(|(at, _)| at).skip(1).take(MOST_FOLDERS);
    let folders = slashes.filter_map(|at| path.get(..at)).map(Cow::Borrowed);
    std::iter::once(Cow::Borrowed("/")).chain(folders).map(|folder| scope(name, &folder)).collect()
}

fn deletion(scope: &CookieScope, jar: cookies::Jar) -> String {
    let attribute =
        |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("; {name}={value}")).unwrap_or_default();
    let (path, domain) = (attribute("Path", &scope.path), attribute("Domain", &scope.domain));
    let secure = if jar == cookies::Jar::Secure { "; Secure" } else { "" };
    let partitioned = if scope.partitioned { "; Partitioned" } else { "" };
    format!("{}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{path}{domain}{secure}{partitioned}", scope.name)
}
