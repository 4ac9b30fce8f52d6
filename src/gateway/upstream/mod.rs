//! The calculator's side: its servers, which of them a request goes to and on which connection, and what goes up.
//!
//! Nothing here decides whether a request may go up: [`UpstreamSide::peer`] asks for the permit first.

mod affinity;
pub(crate) mod application_cookies;
mod cookie_scope;
pub(crate) mod header_policy;
mod health;
pub(crate) mod retry;
pub(crate) mod reuse;
mod server;
pub(crate) mod servers;
pub(crate) mod watch;
pub(crate) mod websocket_connect;

use crate::gateway::context::RequestContext;
use crate::gateway::request::cookies::CookieNames;
use crate::gateway::respond::failure::OVERLOADED;
use crate::store::cache::Sessions;
use affinity::AffinityKey;
use header_policy::HeaderPolicy;
use pingora::proxy::Session;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use servers::{Reuse, Sending, Upstream};
use std::sync::Arc;

/// Where requests with a permit go.
pub(crate) struct UpstreamSide {
    pub(crate) calculator: Arc<Upstream>,
    /// The portal's own servers, where it has any.
    pub(crate) portal: Option<Arc<Upstream>>,
    pub(crate) header_policy: HeaderPolicy,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) cookie_names: CookieNames,
}

impl UpstreamSide {
    /// The servers that a request goes to.
    pub(crate) fn of(&self, context: &RequestContext) -> &Upstream {
        self.portal
            .as_ref()
            .filter(|_| context.to_portal)
            .unwrap_or(&self.calculator)
    }

    /// Whether a request goes to the portal's own servers, which know no session of the calculator.
    pub(crate) fn is_for_portal_server(&self, context: &RequestContext) -> bool {
        context.to_portal && self.portal.is_some()
    }

    /// Chooses the server for a request that has a permit, and says whether the request may take a kept connection to it.
    ///
    /// # Errors
    /// No permit, no server that is up, or a server that holds its share of all requests.
    pub(crate) async fn peer(
        &self,
        http: &Session,
        context: &mut RequestContext,
    ) -> pingora::Result<(Box<HttpPeer>, Reuse)> {
        // No permit, no upstream: a forgotten decision fails closed.
        context.permit()?;
        let key = match self.known_affinity_key(context)? {
            Some(key) => key,
            None => Box::pin(self.affinity_key(http, context)).await,
        };
        let sending = if context.outgoing.is_some() {
            Sending::Once
        } else {
            Sending::Usual
        };
        let upstream = self.of(context);
        let (peer, reuse) =
            upstream.peer(http.req_header(), key, sending, &mut context.attempts)?;
        let Some(slot) = context.slot.as_mut().filter(|_| upstream.has_several()) else {
            return Ok((peer, reuse));
        };
        let has_room = peer
            .address()
            .as_inet()
            .is_none_or(|server| slot.bind_to_server(*server, upstream.up()));
        if has_room {
            Ok((peer, reuse))
        } else {
            Err(pingora::Error::explain(
                OVERLOADED,
                "the server holds its share of all requests",
            ))
        }
    }

    /// The key where it is known or does not matter.
    fn known_affinity_key(&self, context: &RequestContext) -> pingora::Result<Option<AffinityKey>> {
        if !self.of(context).has_several() {
            return Ok(Some(AffinityKey::SHARED));
        }
        let broker = context.permit()?.broker();
        Ok(broker.map(|(vtnr, _)| AffinityKey::broker(vtnr)))
    }

    /// The key on a public path: the broker's, whose cookies the calculator may set there too; else the client's.
    async fn affinity_key(&self, http: &Session, context: &RequestContext) -> AffinityKey {
        let cookies = context.cookies(self.cookie_names, &http.req_header().headers);
        let session = match cookies.ok().and_then(|cookies| cookies.session) {
            // A store that cannot answer keeps nobody from a public path.
            Some(token) => self.sessions.peek(&token, context.now).await.ok().flatten(),
            None => None,
        };
        match (session, context.client) {
            (Some(session), _) => AffinityKey::broker(session.vtnr),
            (None, Some(client)) => AffinityKey::client(client),
            (None, None) => AffinityKey::SHARED,
        }
    }
}
