//! Whose session a request is: by the cookie, by the store, and while the store cannot be asked, by the browser's ticket.

use crate::gateway::context::RequestContext;
use crate::gateway::context::{BrowserSession, TicketDue};
use crate::gateway::proxy::Gateway;
use crate::gateway::request::audience::Audience;
use crate::gateway::request::cookies::{Ambiguous, RequestCookies};
use crate::gateway::respond::failure::Failure;
use crate::gateway::upstream::header_policy;
use crate::store;
use crate::telemetry::metrics::Refusal;
use domain::ids::SessionToken;
use domain::session::Session as BrokerSession;
use domain::time::Timestamp;
use http::header::SET_COOKIE;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

impl Gateway {
    pub(crate) fn held(&self, http: &Session) -> Result<RequestCookies, Failure> {
        self.cookie_names
            .read(&http.req_header().headers)
            .map_err(|Ambiguous| Failure::Refused(Refusal::Header))
    }

    /// The live session of a broker who is still on the membership.
    pub(crate) async fn session(
        &self,
        token: Option<&SessionToken>,
        now: Timestamp,
    ) -> store::Result<Option<BrokerSession>> {
        let Some(token) = token else { return Ok(None) };
        let session = self.sessions.find(token, now).await?;
        Ok(session.filter(|session| self.membership.has(session)))
    }

    /// The same for the calculator's requests, which go on by the browser's ticket while the store cannot be asked. A page comes with a new
    /// ticket where that is due.
    pub(crate) async fn session_of(
        &self,
        held: &RequestCookies,
        http: &Session,
        context: &mut RequestContext,
    ) -> store::Result<Option<BrokerSession>> {
        let (Some(token), headers) = (&held.session, &http.req_header().headers) else {
            return Ok(None);
        };
        let ticket = || self.cookie_names.read_ticket(headers);
        let Some(session) = self
            .sessions
            .find_with_ticket(token, ticket, context.now)
            .await?
        else {
            ticket().inspect(|ticket| self.sessions.has_ended(token, ticket));
            return Ok(None);
        };
        context.session = Some(BrowserSession {
            token: *token,
            ticket_as_of: held.ticket_as_of,
        });
        let is_navigation = Audience::of(headers) == Audience::Navigation;
        context.ticket_due = if is_navigation {
            TicketDue::IfOld
        } else {
            TicketDue::No
        };
        Ok(self.membership.has(&session).then_some(session))
    }

    /// Adds the ticket that is due, unless the answer may end up in a cache that others use too.
    pub(crate) fn give_ticket(
        &self,
        http: &Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> pingora::Result<()> {
        let may_have = context.ticket_due != TicketDue::No
            && !response.status.is_informational()
            && !header_policy::is_shared(response);
        let Some(session) = context.session.filter(|_| may_have) else {
            return Ok(());
        };
        let has = session
            .ticket_as_of
            .filter(|_| context.ticket_due == TicketDue::IfOld);
        let owns = || self.owned_sessions(http, context);
        let Some((as_of, ticket)) = self.sessions.ticket(&session.token, has, owns, context.now)
        else {
            return Ok(());
        };
        response
            .append_header(SET_COOKIE, self.cookie_names.set_ticket(as_of, &ticket))
            .map(|_| ())
    }
}
