//! The listener for clients with a certificate, on a host of its own, where a certificate is asked for and not required.
//!
//! On it, the certificate shown on the very connection is all that counts: each request is validated by it, and neither a session
//! cookie nor a header field says anything about who asks. A browser sends its certificate along whoever's page made the request, so
//! what `SameSite=Lax` does for cookies is done here for it.

use crate::clock::Clock;
use crate::gateway::admission::{Admission, Disposition};
use crate::gateway::context::RequestContext;
use crate::gateway::listener::connections::Connection;
use crate::gateway::listener::presented_certificate::{CachedVerdict, PresentedChain};
use crate::gateway::request::audience::Audience;
use crate::gateway::request::conformance::{Hosts, names_host};
use crate::gateway::request::form::{BadForm, crosses_sites};
use crate::gateway::request::kind::{as_forwarded, is_safe_method};
use crate::gateway::request::links::requested_target;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::websocket::recheck::RecheckTask;
use crate::held_forms::SaveError;
use crate::identity::certificate::{Holder, RejectReason, TrustStore};
use crate::identity::directory::Directory;
use crate::live::Live;
use crate::pages::{CertificatePage, CertificateState, SignInBy, View};
use crate::telemetry::metrics::{Metrics, Outcome, Refusal, Request, Step};
use domain::policy::{self, Decision};
use domain::session::{Level, Proof, Session as BrokerSession};
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// So long a verdict holds, if nothing changes. What a certificate's own dates say holds to the second.
const HOLDS: Duration = Duration::from_secs(60);
/// Lifetime of a rejecting verdict: a mended certificate need not wait.
const REFUSAL_HOLDS: Duration = Duration::from_secs(1);
/// So many verdicts are remembered.
const MAX_REMEMBERED: usize = 16_384;
/// So many sign-outs may happen while a WebSocket's watch looks elsewhere.
const TOLD_AT_ONCE: usize = 64;
/// How often an open WebSocket's certificate is looked at.
const LOCAL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Client certificate admission for all connections of the listener.
pub(crate) struct ClientCertificates {
    trust: Arc<Live<TrustStore>>,
    hosts: Hosts,
    directory: Arc<Directory>,
    /// The machine's: what certificates say of their time is meant by it, not by the store's clock.
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Tells of certificates whose browser has signed out.
    left: broadcast::Sender<[u8; 32]>,
    /// By the SHA-256 of all that was shown.
    accepted: Mutex<HashMap<[u8; 32], CachedVerdict>>,
}

/// Why a certificate lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Certificate(RejectReason),
    /// Stands for no broker of the directory.
    UnknownBroker,
}

/// Whose a certificate is, and whether that was found out just now.
struct CertificateFinding {
    whose: Result<Vtnr, Refused>,
    is_new: bool,
}

impl ClientCertificates {
    pub(crate) fn new(
        trust: Arc<Live<TrustStore>>,
        authority: &str,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let hosts = Hosts::new(authority, &[]);
        let accepted = Mutex::default();
        let left = broadcast::Sender::new(TOLD_AT_ONCE);
        Arc::new(Self {
            trust,
            hosts,
            directory,
            clock: Clock::System,
            metrics,
            left,
            accepted,
        })
    }

    /// The hosts that requests may name which come in here.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// For whom a certificate stands. The directory is asked each time: a broker who has left it is out with the next request.
    fn find(&self, shown: &PresentedChain) -> CertificateFinding {
        let (holder, is_new) = self.validate(shown, self.clock.now());
        let whose = holder.map_err(Refused::Certificate).and_then(|holder| {
            self.directory
                .snapshot()
                .find_holder(&holder)
                .ok_or(Refused::UnknownBroker)
        });
        CertificateFinding { whose, is_new }
    }

    fn validate(
        &self,
        shown: &PresentedChain,
        now: Timestamp,
    ) -> (Result<Holder, RejectReason>, bool) {
        let trust = self.trust.now();
        let mut here = shown.verdict.lock();
        if let Some(known) = here.as_ref().filter(|known| known.holds(&trust, now)) {
            return (known.holder.clone(), false);
        }
        let is_first = here.is_none();
        let remembered = self.accepted.lock().get(&shown.sum).cloned();
        if let Some(known) = remembered.as_ref().filter(|known| known.holds(&trust, now)) {
            *here = Some(known.clone());
            return (known.holder.clone(), false);
        }
        let verdict = trust.validate(&shown.chain, now);
        let holds_until = match &verdict {
            Ok(accepted) => accepted.until.min(now.plus(HOLDS)),
            Err(_) => now.plus(REFUSAL_HOLDS),
        };
        let verdict = CachedVerdict {
            by: trust,
            holds_until,
            holder: verdict.map(|accepted| accepted.holder),
        };
        *here = Some(verdict.clone());
        let holder = verdict.holder.clone();
        if holder.is_ok() {
            self.remember(shown.sum, verdict);
        }
        // What is found again as it was is no news.
        (holder, is_first && remembered.is_none())
    }

    /// What strangers show is not remembered: nobody can fill this but holders of accepted certificates.
    fn remember(&self, sum: [u8; 32], verdict: CachedVerdict) {
        let mut accepted = self.accepted.lock();
        if accepted.len() >= MAX_REMEMBERED && !accepted.contains_key(&sum) {
            // Any of them: it is validated again when it is shown again.
            let gone = accepted.keys().next().copied();
            gone.and_then(|gone| accepted.remove(&gone));
        }
        accepted.insert(sum, verdict);
    }

    /// Re-checks a WebSocket: it ends once its certificate does not stand for this broker any more, or its browser has signed out.
    pub(crate) fn recheck(
        self: &Arc<Self>,
        connection: Arc<Connection>,
        vtnr: Vtnr,
    ) -> RecheckTask {
        let certificates = Arc::clone(self);
        let handle = Arc::clone(connection.close_handle());
        let metrics = Arc::clone(&self.metrics);
        let mut left = self.left.subscribe();
        let is_over = async move {
            let mut ticks = tokio::time::interval(LOCAL_CHECK_INTERVAL);
            // Without a certificate there is nothing to re-check, and nothing entitles to the WebSocket.
            while let Some(shown) = connection.shown() {
                let has_left = tokio::select! {
                    sum = left.recv() => sum.is_ok_and(|sum| sum == shown.sum),
                    _ = ticks.tick() => false,
                };
                if has_left || certificates.find(shown).whose != Ok(vtnr) {
                    return;
                }
            }
        };
        RecheckTask::spawn(handle, metrics, is_over)
    }

    /// The broker has signed out in a browser with this certificate.
    pub(crate) fn leave(&self, shown: &PresentedChain) {
        // Nobody listens where no WebSocket is open.
        let _ = self.left.send(shown.sum);
    }
}

impl Admission {
    /// Admits a request by the certificate of its connection, to what is not public.
    pub(crate) fn admit_by_certificate(
        &self,
        certificates: &ClientCertificates,
        shown: &PresentedChain,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<Disposition, Failure> {
        let level = Level::Full {
            proof: Proof::Certificate,
        };
        let session = self
            .identify(certificates, shown, context)
            .map(|vtnr| BrokerSession::begin(vtnr, level, context.now));
        self.acquire_slot(session.as_ref().ok(), request, context)?;
        let session = match session {
            Ok(session) => session,
            Err(refused) => {
                return Ok(Disposition::Reply(
                    self.refuse_certificate(refused, request, context),
                ));
            }
        };
        if self.has_left(shown, request) {
            return Ok(Disposition::Reply(
                self.sign_in_with_certificate(request, context),
            ));
        }
        if crosses_sites(request, context.scheme) {
            return self
                .refuse_other_site(request, context)
                .map(Disposition::Reply);
        }
        match policy::decide(
            &as_forwarded(request, context.body),
            &self.submission.load(),
            Some(&session),
            &self.limits,
            context.now,
        ) {
            Decision::Allow(permit) => {
                context.outcome = Request::Forwarded;
                Ok(Disposition::Forward(permit))
            }
            // A full session is alive in the moment it begins.
            Decision::SignIn | Decision::BlockSubmission(_) | Decision::Refuse(_) => {
                Err(Failure::Internal)
            }
        }
    }

    /// For whom the certificate of a connection stands; a new finding is counted and written into the audit log.
    pub(crate) fn identify(
        &self,
        certificates: &ClientCertificates,
        shown: &PresentedChain,
        context: &RequestContext,
    ) -> Result<Vtnr, Refused> {
        let CertificateFinding { whose, is_new } = certificates.find(shown);
        if is_new && whose != Err(Refused::Certificate(RejectReason::Missing)) {
            let outcome = whose
                .as_ref()
                .map_or_else(|refused| refused.outcome(), |_| Outcome::Ok);
            self.sign_ins.note(
                Step::Certificate,
                outcome,
                whose.as_ref().ok().copied(),
                context.rate_limit_key(),
            );
        }
        whose
    }

    /// The broker signed out in this browser: the certificate counts again once they say so.
    fn sign_in_with_certificate(
        &self,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Reply {
        if Audience::of(&request.headers) == Audience::Script {
            context.outcome = Request::Unauthorized;
            return Reply::problem(StatusCode::UNAUTHORIZED, "signed out");
        }
        if !is_safe_method(&request.method) {
            context.outcome = Request::Unauthorized;
            return self.certificate_page(CertificateState::SignedOut, request, context.now);
        }
        self.lead_to_sign_in(SignInBy::Certificate, request, context)
    }

    /// The page in place of the calculator's. The status tells a program that does not say what it is.
    fn certificate_page(
        &self,
        state: CertificateState,
        request: &RequestHeader,
        now: Timestamp,
    ) -> Reply {
        let return_to = requested_target(request);
        let view = CertificatePage {
            return_to: return_to.as_str(),
            state,
            is_form: !matches!(request.method, Method::GET | Method::HEAD),
        };
        let status = match Audience::of(&request.headers) {
            Audience::Unspecified => StatusCode::UNAUTHORIZED,
            Audience::Navigation | Audience::Script => StatusCode::FORBIDDEN,
        };
        Reply::page(
            status,
            self.pages.now().render(&View::Certificate(view), now),
        )
    }

    /// Another site's page made the request: the certificate does not count then.
    fn refuse_other_site(
        &self,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Result<Reply, Failure> {
        let is_form = !matches!(request.method, Method::GET | Method::HEAD);
        if !is_form || Audience::of(&request.headers) == Audience::Script {
            return Err(Failure::Form(BadForm::Foreign));
        }
        context.outcome = Request::Refused;
        let refused = Err(SaveError::Foreign);
        Ok(self
            .held_forms
            .form_of_another_site(request, refused, context.now))
    }

    fn refuse_certificate(
        &self,
        refused: Refused,
        request: &RequestHeader,
        context: &mut RequestContext,
    ) -> Reply {
        context.outcome = Request::Unauthorized;
        if Audience::of(&request.headers) == Audience::Script {
            return Reply::problem(StatusCode::UNAUTHORIZED, refused.title());
        }
        self.certificate_page(refused.state(), request, context.now)
    }

    /// For whom the certificate of the request's connection stands, unless somebody has signed out of it.
    pub(crate) fn certified_broker(
        &self,
        request: &RequestHeader,
        context: &RequestContext,
    ) -> Option<Vtnr> {
        let shown = context.connection.as_ref()?.shown()?;
        let whose = self.certificates.as_deref()?.find(shown).whose;
        whose.ok().filter(|_| !self.has_left(shown, request))
    }

    /// Whether the broker has signed out in this browser, with this certificate.
    pub(crate) fn has_left(&self, shown: &PresentedChain, request: &RequestHeader) -> bool {
        self.cookie_names.has_left(&request.headers, &shown.sum)
    }
}

impl Refused {
    fn outcome(self) -> Outcome {
        match self {
            Self::Certificate(RejectReason::Expired) => Outcome::Expired,
            Self::Certificate(RejectReason::Revoked) => Outcome::Revoked,
            Self::Certificate(RejectReason::Untrusted) => Outcome::Untrusted,
            Self::Certificate(RejectReason::Unverifiable) => Outcome::Unverifiable,
            Self::Certificate(_) => Outcome::Unfit,
            Self::UnknownBroker => Outcome::InvalidVtnr,
        }
    }

    /// What a program is told.
    fn title(self) -> &'static str {
        match self {
            Self::Certificate(RejectReason::Missing) => "client certificate required",
            Self::Certificate(RejectReason::Malformed) => "client certificate malformed",
            Self::Certificate(RejectReason::Outdated) => {
                "client certificate outdated: X.509 v3, SHA-2, and RSA of 2048 bits, P-256, P-384 or Ed25519 needed"
            }
            Self::Certificate(RejectReason::NotYetValid) => "client certificate not yet valid",
            Self::Certificate(RejectReason::Expired) => "client certificate expired",
            Self::Certificate(RejectReason::Revoked) => "client certificate revoked",
            Self::Certificate(RejectReason::Untrusted) => "client certificate of an unknown issuer",
            Self::Certificate(RejectReason::WrongPurpose) => {
                "client certificate not for client authentication"
            }
            Self::Certificate(RejectReason::Unnamed) => {
                "client certificate without the holder's identity"
            }
            Self::Certificate(RejectReason::Unverifiable) => {
                "client certificate cannot be checked at the moment"
            }
            Self::UnknownBroker => "client certificate of nobody known",
        }
    }

    pub(crate) fn state(self) -> CertificateState {
        match self {
            Self::Certificate(RejectReason::Missing) => CertificateState::Missing,
            Self::Certificate(RejectReason::Malformed) => CertificateState::Malformed,
            Self::Certificate(RejectReason::Outdated) => CertificateState::Outdated,
            Self::Certificate(RejectReason::NotYetValid) => CertificateState::NotYetValid,
            Self::Certificate(RejectReason::Expired) => CertificateState::Expired,
            Self::Certificate(RejectReason::Revoked) => CertificateState::Revoked,
            Self::Certificate(RejectReason::Untrusted) => CertificateState::Untrusted,
            Self::Certificate(RejectReason::WrongPurpose) => CertificateState::WrongPurpose,
            Self::Certificate(RejectReason::Unverifiable) => CertificateState::Unverifiable,
            Self::Certificate(RejectReason::Unnamed) | Self::UnknownBroker => {
                CertificateState::UnknownBroker
            }
        }
    }
}

/// The request's host must be that of the handshake: else a connection that was made for one host would carry requests for another.
pub(crate) fn refuse_other_names(
    shown: &PresentedChain,
    request: &RequestHeader,
) -> Result<(), Failure> {
    let Some(server_name) = &shown.server_name else {
        return Ok(());
    };
    let is_same = names_host(request, server_name);
    if is_same {
        Ok(())
    } else {
        Err(Failure::Refused(Refusal::Host))
    }
}
