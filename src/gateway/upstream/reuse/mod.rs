//! Which connection to a server a request goes up on, and who may take that connection next.
//!
//! Pingora decides alone whether it keeps a connection after an answer, and finds one by its peer's hash. So each connection gets a group
//! key of its own: a key that nobody holds any more leads to its connection never again. A key goes back to the list of its thread
//! ([`IdleKeys`]) after a clean exchange. After one that says who somebody is on this connection from now on, as NTLM does, it stays with
//! the client's connection ([`BoundKeys`]).

mod idle;
mod schemes;

use crate::gateway::context::RequestContext;
use crate::gateway::context::lease::{NextUser, UpstreamLease};
use crate::gateway::listener::bound_keys::Owner;
use crate::gateway::request::cookies::CookieNames;
use crate::gateway::upstream::servers::Reuse;
use http::{Method, StatusCode};
use idle::IdleKeys;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use std::time::Duration;

/// The kept connections to the calculator of one thread's proxy.
pub(crate) struct ConnectionReuse {
    cookie_names: CookieNames,
    idle: IdleKeys,
}

impl ConnectionReuse {
    /// For the thread of this number, whose proxy keeps at most `pool_size` connections.
    pub(crate) fn new(cookie_names: CookieNames, thread: usize, pool_size: usize) -> Self {
        Self {
            cookie_names,
            idle: IdleKeys::new(thread, pool_size),
        }
    }

    /// Has a request go up on a connection that it may take.
    pub(crate) fn lease(
        &self,
        peer: &mut HttpPeer,
        reuse: Reuse,
        http: &Session,
        context: &mut RequestContext,
    ) {
        let class = peer.reuse_hash();
        let (key, next) = self.choose_connection(class, reuse, http, context);
        peer.group_key = key;
        if next == NextUser::Nobody {
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        context.lease = Some(UpstreamLease {
            class,
            key,
            next,
            socket: None,
            answered: false,
        });
    }

    fn choose_connection(
        &self,
        class: u64,
        reuse: Reuse,
        http: &Session,
        context: &RequestContext,
    ) -> (u64, NextUser) {
        if reuse == Reuse::Never {
            return (self.idle.fresh(), NextUser::Nobody);
        }
        if let Some(bound) = self.bound_connection(class, reuse, http, context) {
            return bound;
        }
        match reuse {
            Reuse::Allowed => (self.idle.take(class), NextUser::Anybody),
            _ => (self.idle.fresh(), NextUser::Nobody),
        }
    }

    /// A connection for a request that signs its connection in, or whose client has one that is signed in.
    fn bound_connection(
        &self,
        class: u64,
        reuse: Reuse,
        http: &Session,
        context: &RequestContext,
    ) -> Option<(u64, NextUser)> {
        let signs_in = schemes::signs_a_connection_in(&http.req_header().headers);
        let bound = context
            .connection
            .as_ref()
            .map(|connection| connection.bound())
            .filter(|bound| !bound.is_empty());
        if !signs_in && bound.is_none() {
            return None;
        }
        let owner = self.owner(http, context);
        let bound = bound.zip(owner).filter(|_| reuse == Reuse::Allowed);
        let kept = bound.and_then(|(bound, owner)| bound.take(class, owner));
        let key = kept.or_else(|| signs_in.then(|| self.idle.fresh()))?;
        Some((key, owner.map_or(NextUser::Nobody, NextUser::Owner)))
    }

    /// Who the request's client is to a server that signs connections in; `None` if that is unknown.
    fn owner(&self, http: &Session, context: &RequestContext) -> Option<Owner> {
        let connection = context.connection.as_ref()?;
        let broker = context.permit().ok()?.broker().map(|(vtnr, _)| vtnr);
        let token = context
            .cookies(self.cookie_names, &http.req_header().headers)
            .ok()?
            .session;
        // A front proxy sends the requests of many clients on one connection.
        if connection.is_from_trusted_proxy() && token.is_none() {
            return None;
        }
        Some(Owner::new(broker, token.as_ref(), context.client?))
    }

    /// The server answers: who may take the connection afterwards.
    pub(crate) fn answer_decides(
        &self,
        http: &Session,
        answer: &ResponseHeader,
        context: &mut RequestContext,
    ) {
        // What is said in between decides nothing, and a connection that switches protocols is no connection of requests any more.
        if answer.status.is_informational() {
            return;
        }
        let is_anybodys = context
            .lease
            .as_ref()
            .is_some_and(|lease| lease.next == NextUser::Anybody);
        let owner = (is_anybodys && schemes::says_that_it_is_signed_in(&answer.headers))
            .then(|| self.owner(http, context));
        let Some(lease) = &mut context.lease else {
            return;
        };
        lease.answered = true;
        if let Some(owner) = owner {
            lease.next = owner.map_or(NextUser::Nobody, NextUser::Owner);
        } else if is_anybodys && has_no_body(&http.req_header().method, answer.status) {
            lease.end();
        }
    }

    /// The exchange came to its end without an error, and Pingora has put the connection away, if it can be used again.
    pub(crate) fn give_back(&self, context: &mut RequestContext) {
        let Some(lease) = context.lease.take().filter(|lease| lease.answered) else {
            return;
        };
        match (lease.next, &context.connection) {
            (NextUser::Anybody, _) => self.idle.put(lease.class, lease.key),
            (NextUser::Owner(owner), Some(connection)) => {
                connection.bound().put(lease.class, lease.key, owner)
            }
            _ => {}
        }
    }
}

/// Answers that end with their header, whatever it says of a length (RFC 9112, 6.3). Applications that send a body all the same may do so
/// late, and the next answer on the connection would begin with it.
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
