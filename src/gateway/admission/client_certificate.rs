//! The door for clients with a certificate: a listener and a host of its own, where a certificate is asked for and not required.
//!
//! On it, the certificate shown on the very connection is all that counts: each request is judged by it, and neither a session
//! cookie nor a header field says anything about who asks. A browser sends its certificate along whoever's page made the request, so
//! what `SameSite=Lax` does for cookies is done here for it.

use crate::certificate::{Flaw, Holder, Trust};
use crate::clock::Clock;
use crate::digest::sha256;
use crate::directory::Directory;
use crate::gateway::admission::sign_in_required::is_safe_method;
use crate::gateway::context::RequestContext;
use crate::gateway::context::{RecheckTask, RequestKind};
use crate::gateway::listener::connections::Connection;
use crate::gateway::proxy::{Admission, Gateway};
use crate::gateway::request::audience::Audience;
use crate::gateway::request::conformance::Hosts;
use crate::gateway::request::form;
use crate::gateway::request::form::BadForm;
use crate::gateway::request::origin::Scheme;
use crate::gateway::request::route::{Page, Route};
use crate::gateway::request::{conformance, route};
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::websocket::control::CloseReason;
use crate::in_force::InForce;
use crate::pages::{CertificatePage, CertificateState, SignInBy, View};
use crate::parking::NotKept;
use crate::telemetry::metrics::{Metrics, Outcome, Refusal, Request, Step};
use domain::policy::{self, Decision, Permit};
use domain::session::{Level, Proof, Session as BrokerSession};
use domain::time::Timestamp;
use domain::vtnr::Vtnr;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// So long a judgement holds, if nothing changes. What a certificate's own dates say holds to the second.
const HOLDS: Duration = Duration::from_secs(60);
/// The same for one that refuses: who mends what was wrong need not wait.
const REFUSAL_HOLDS: Duration = Duration::from_secs(1);
/// So many judgements are remembered.
const MOST_REMEMBERED: usize = 16_384;
/// So many sign-outs may happen while a WebSocket's watch looks elsewhere.
const TOLD_AT_ONCE: usize = 64;
/// How often an open WebSocket's certificate is looked at.
const LOCAL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The door, for all its connections.
pub(crate) struct ClientCertificates {
    trust: Arc<InForce<Trust>>,
    hosts: Hosts,
    directory: Arc<Directory>,
    /// The machine's: what certificates say of their time is meant by it, not by the store's clock.
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Tells of certificates whose browser has signed out.
    left: broadcast::Sender<[u8; 32]>,
    /// By the SHA-256 of all that was shown.
    accepted: Mutex<HashMap<[u8; 32], Judgement>>,
}

/// What was shown in a connection's handshake.
#[derive(Debug)]
pub(crate) struct PresentedChain {
    /// The certificate, and those between it and its issuer; empty if there was none.
    chain: Vec<CertificateDer<'static>>,
    /// The host that the client named in the handshake.
    server_name: Option<String>,
    /// The SHA-256 of the chain.
    sum: [u8; 32],
    judgement: Mutex<Option<Judgement>>,
}

#[derive(Clone)]
struct Judgement {
    by: Arc<Trust>,
    holds_until: Timestamp,
    holder: Result<Holder, Flaw>,
}

impl std::fmt::Debug for Judgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Judgement")
    }
}

/// Why a certificate lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It proves nothing.
    Flaw(Flaw),
    /// It stands for no broker of the directory.
    UnknownBroker,
}

impl PresentedChain {
    pub(crate) fn new(chain: &[CertificateDer<'_>], server_name: Option<&str>) -> Self {
        let mut all =
            Vec::with_capacity(chain.iter().map(|certificate| certificate.len() + 8).sum());
        for certificate in chain {
            all.extend_from_slice(&certificate.len().to_be_bytes());
            all.extend_from_slice(certificate);
        }
        Self {
            chain: chain
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            server_name: server_name.map(str::to_owned),
            sum: sha256(&all),
            judgement: Mutex::default(),
        }
    }
}

impl Judgement {
    fn holds(&self, trust: &Arc<Trust>, now: Timestamp) -> bool {
        Arc::ptr_eq(&self.by, trust) && now < self.holds_until
    }
}

/// Whose a certificate is, and whether that was found out just now.
struct Finding {
    whose: Result<Vtnr, Refused>,
    is_new: bool,
}

impl ClientCertificates {
    pub(crate) fn new(
        trust: Arc<InForce<Trust>>,
        authority: &str,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (hosts, accepted, left) = (
            Hosts::new(authority, &[]),
            Mutex::default(),
            broadcast::Sender::new(TOLD_AT_ONCE),
        );
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
    fn find(&self, shown: &PresentedChain) -> Finding {
        let (holder, is_new) = self.judge(shown, self.clock.now());
        let whose = holder.map_err(Refused::Flaw).and_then(|holder| {
            self.directory
                .snapshot()
                .find_holder(&holder)
                .ok_or(Refused::UnknownBroker)
        });
        Finding { whose, is_new }
    }

    fn judge(&self, shown: &PresentedChain, now: Timestamp) -> (Result<Holder, Flaw>, bool) {
        let trust = self.trust.now();
        let mut here = shown.judgement.lock();
        if let Some(known) = here.as_ref().filter(|known| known.holds(&trust, now)) {
            return (known.holder.clone(), false);
        }
        let is_first = here.is_none();
        let remembered = self.accepted.lock().get(&shown.sum).cloned();
        if let Some(known) = remembered.as_ref().filter(|known| known.holds(&trust, now)) {
            *here = Some(known.clone());
            return (known.holder.clone(), false);
        }
        let judged = trust.judge(&shown.chain, now);
        let holds_until = match &judged {
            Ok(accepted) => accepted.until.min(now.plus(HOLDS)),
            Err(_) => now.plus(REFUSAL_HOLDS),
        };
        let judgement = Judgement {
            by: trust,
            holds_until,
            holder: judged.map(|accepted| accepted.holder),
        };
        *here = Some(judgement.clone());
        let holder = judgement.holder.clone();
        if holder.is_ok() {
            self.remember(shown.sum, judgement);
        }
        // What is found again as it was is no news.
        (holder, is_first && remembered.is_none())
    }

    /// What strangers show is not remembered: nobody can fill this but holders of accepted certificates.
    fn remember(&self, sum: [u8; 32], judgement: Judgement) {
        let mut accepted = self.accepted.lock();
        if accepted.len() >= MOST_REMEMBERED && !accepted.contains_key(&sum) {
            // Any of them: it is judged again when it is shown again.
            let gone = accepted.keys().next().copied();
            gone.and_then(|gone| accepted.remove(&gone));
        }
        accepted.insert(sum, judgement);
    }

    /// Ends a WebSocket once its certificate does not stand for this broker any more, or its browser has signed out.
    pub(crate) fn watch(self: &Arc<Self>, connection: Arc<Connection>, vtnr: Vtnr) -> RecheckTask {
        let (door, mut left) = (Arc::clone(self), self.left.subscribe());
        RecheckTask::spawn(async move {
            let mut glances = tokio::time::interval(LOCAL_CHECK_INTERVAL);
            loop {
                let Some(shown) = connection.shown() else {
                    return;
                };
                let has_left = tokio::select! {
                    sum = left.recv() => sum.is_ok_and(|sum| sum == shown.sum),
                    _ = glances.tick() => false,
                };
                if has_left || door.find(shown).whose != Ok(vtnr) {
                    door.metrics.websocket_cut();
                    return connection.close_handle().close(CloseReason::SessionEnded);
                }
            }
        })
    }

    /// The broker has signed out in a browser with this certificate.
    fn leave(&self, shown: &PresentedChain) {
        // Nobody listens where no WebSocket is open.
        let _ = self.left.send(shown.sum);
    }
}

impl Gateway {
    /// The policy for requests that come in by the certificates' door.
    pub(crate) async fn admit_certified(
        &self,
        door: &ClientCertificates,
        shown: &PresentedChain,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Admission, Failure> {
        refuse_other_names(shown, http)?;
        match self.routes.of(http.req_header()) {
            Route::Asset(name) => return self.asset(&name, context).map(Admission::Answer),
            Route::Login(page) => {
                context.about = RequestKind::page(page);
                if page != Page::SignOut {
                    self.acquire_slot(None, http, context)?;
                }
                return self
                    .certified_page(page, door, shown, http, context)
                    .await
                    .map(Admission::Answer);
            }
            // The portal is another way in, and its pages are on the main host; here they are as any others.
            Route::Public => {
                self.acquire_slot(None, http, context)?;
                context.outcome = Request::Public;
                return Ok(Admission::Forward(Permit::public()));
            }
            Route::Protected | Route::Portal => {}
        }
        let whose = self.certified(door, shown, http);
        let begin = |vtnr| {
            BrokerSession::begin(
                vtnr,
                Level::Full {
                    proof: Proof::Certificate,
                },
                context.now,
            )
        };
        let session = whose.map(begin);
        self.acquire_slot(session.as_ref().ok(), http, context)?;
        let session = match session {
            Ok(session) => session,
            Err(refused) => {
                return Ok(Admission::Answer(
                    self.refuse_certificate(refused, http, context),
                ));
            }
        };
        if self.has_left(shown, http) {
            return Ok(Admission::Answer(
                self.sign_in_with_certificate(http, context),
            ));
        }
        if crosses_sites(http, self.scheme(http)) {
            return self.refuse_other_site(http, context).map(Admission::Answer);
        }
        match policy::decide(
            || self.intent(http),
            Some(&session),
            &self.limits,
            context.now,
        ) {
            Decision::Allow(permit) => {
                context.outcome = Request::Forwarded;
                Ok(Admission::Forward(permit))
            }
            // A full session is alive in the moment it begins.
            Decision::SignIn | Decision::BlockSubmission(_) | Decision::Refuse(_) => {
                Err(Failure::Internal)
            }
        }
    }

    /// For whom the connection's certificate stands; what is found out anew is counted and written into the audit log.
    fn certified(
        &self,
        door: &ClientCertificates,
        shown: &PresentedChain,
        http: &Session,
    ) -> Result<Vtnr, Refused> {
        let Finding { whose, is_new } = door.find(shown);
        if is_new && whose != Err(Refused::Flaw(Flaw::Missing)) {
            let outcome = whose
                .as_ref()
                .map_or_else(|refused| refused.outcome(), |_| Outcome::Ok);
            self.sign_ins.note(
                Step::Certificate,
                outcome,
                whose.as_ref().ok().copied(),
                self.client_counted(http),
            );
        }
        whose
    }

    /// Nobody is signed in, since the broker signed out in this browser: the certificate counts again once they say so.
    fn sign_in_with_certificate(&self, http: &Session, context: &mut RequestContext) -> Reply {
        let request = http.req_header();
        let audience = Audience::of(&request.headers);
        if audience == Audience::Script {
            context.outcome = Request::Unauthorized;
            return Reply::problem(StatusCode::UNAUTHORIZED, "signed out");
        }
        if !is_safe_method(&request.method) {
            context.outcome = Request::Unauthorized;
            return self.told(CertificateState::SignedOut, request, context.now);
        }
        self.lead_to_sign_in(SignInBy::Certificate, http, context)
    }

    /// The page in place of the calculator's. A program that does not say so is told by the status.
    fn told(&self, state: CertificateState, request: &RequestHeader, now: Timestamp) -> Reply {
        let return_to = route::requested_target(request);
        let is_form = !matches!(request.method, Method::GET | Method::HEAD);
        let view = CertificatePage {
            return_to: return_to.as_str(),
            state,
            is_form,
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
        http: &Session,
        context: &mut RequestContext,
    ) -> Result<Reply, Failure> {
        let request = http.req_header();
        let is_form = !matches!(request.method, Method::GET | Method::HEAD);
        if !is_form || Audience::of(&request.headers) == Audience::Script {
            return Err(Failure::Form(BadForm::Foreign));
        }
        context.outcome = Request::Refused;
        Ok(self.form_of_another_site(request, Err(NotKept::Foreign), context.now))
    }

    fn refuse_certificate(
        &self,
        refused: Refused,
        http: &Session,
        context: &mut RequestContext,
    ) -> Reply {
        let request = http.req_header();
        context.outcome = Request::Unauthorized;
        if Audience::of(&request.headers) == Audience::Script {
            return Reply::problem(StatusCode::UNAUTHORIZED, refused.title());
        }
        self.told(refused.state(), request, context.now)
    }

    /// For whom the certificate of a connection at this door stands, where nobody has signed out of it.
    pub(crate) fn certified_broker(&self, http: &Session) -> Option<Vtnr> {
        let connection = self.connections.of(http
            .digest()
            .and_then(|digest| digest.socket_digest.as_ref()))?;
        let (door, shown) = self.certificates.as_deref().zip(connection.shown())?;
        door.find(shown)
            .whose
            .ok()
            .filter(|_| !self.has_left(shown, http))
    }

    /// Whether the broker has signed out in this browser, with this certificate.
    fn has_left(&self, shown: &PresentedChain, http: &Session) -> bool {
        self.cookie_names
            .has_left(&http.req_header().headers, &shown.sum)
    }

    /// Our pages on the certificates' host: few of them are of use there.
    async fn certified_page(
        &self,
        page: Page,
        door: &ClientCertificates,
        shown: &PresentedChain,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Reply, Failure> {
        context.outcome = Request::LoginPage;
        let method = http.req_header().method.clone();
        let is_post = method == Method::POST;
        if !is_post && method != Method::GET && method != Method::HEAD {
            return Err(Failure::Method);
        }
        let visit = self.visit(http, context.now)?;
        let whose = self.certified(door, shown, http);
        match page {
            Page::Certificate if is_post => {
                form::Form::read(http, self.scheme(http)).await?;
                Ok(Self::on_to_calculator(&visit)
                    .with_cookie(self.cookie_names.clear(self.cookie_names.left())))
            }
            Page::SignOut if is_post => {
                form::Form::read(http, self.scheme(http)).await?;
                let reply = self.certified_sign_out(whose.ok(), &visit);
                if whose.is_err() {
                    return Ok(reply);
                }
                door.leave(shown);
                let reply = self
                    .end_application_sessions(reply, http.req_header())
                    .await;
                Ok(reply.with_cookie(self.cookie_names.set_left(&shown.sum)))
            }
            _ if is_post => Err(Failure::Method),
            Page::Start | Page::Certificate => match whose {
                Ok(_) if !self.has_left(shown, http) => Ok(Self::on_to_calculator(&visit)),
                Ok(_) => Ok(self.certificate_page(CertificateState::SignedOut, &visit)),
                Err(refused) => Ok(self.certificate_page(refused.state(), &visit)),
            },
            Page::SignOut => {
                let signed_in = whose.ok().filter(|_| !self.has_left(shown, http));
                Ok(self.certified_sign_out_page(signed_in, &visit))
            }
            Page::Help => Ok(self.help_page(&visit)),
            // The other ways in are on the other host.
            _ => Ok(self.on_main_host(http)),
        }
    }
}

impl Refused {
    fn outcome(self) -> Outcome {
        match self {
            Self::Flaw(Flaw::Expired) => Outcome::Expired,
            Self::Flaw(Flaw::Revoked) => Outcome::Revoked,
            Self::Flaw(Flaw::Untrusted) => Outcome::Untrusted,
            Self::Flaw(Flaw::Unverifiable) => Outcome::Unverifiable,
            Self::Flaw(_) => Outcome::Unfit,
            Self::UnknownBroker => Outcome::InvalidVtnr,
        }
    }

    /// What a program is told.
    fn title(self) -> &'static str {
        match self {
            Self::Flaw(Flaw::Missing) => "client certificate required",
            Self::Flaw(Flaw::Malformed) => "client certificate malformed",
            Self::Flaw(Flaw::Outdated) => {
                "client certificate outdated: X.509 v3, SHA-2, and RSA of 2048 bits, P-256, P-384 or Ed25519 needed"
            }
            Self::Flaw(Flaw::NotYetValid) => "client certificate not yet valid",
            Self::Flaw(Flaw::Expired) => "client certificate expired",
            Self::Flaw(Flaw::Revoked) => "client certificate revoked",
            Self::Flaw(Flaw::Untrusted) => "client certificate of an unknown issuer",
            Self::Flaw(Flaw::WrongPurpose) => "client certificate not for client authentication",
            Self::Flaw(Flaw::Unnamed) => "client certificate without the holder's identity",
            Self::Flaw(Flaw::Unverifiable) => "client certificate cannot be checked at the moment",
            Self::UnknownBroker => "client certificate of nobody known",
        }
    }

    fn state(self) -> CertificateState {
        match self {
            Self::Flaw(Flaw::Missing) => CertificateState::Missing,
            Self::Flaw(Flaw::Malformed) => CertificateState::Malformed,
            Self::Flaw(Flaw::Outdated) => CertificateState::Outdated,
            Self::Flaw(Flaw::NotYetValid) => CertificateState::NotYetValid,
            Self::Flaw(Flaw::Expired) => CertificateState::Expired,
            Self::Flaw(Flaw::Revoked) => CertificateState::Revoked,
            Self::Flaw(Flaw::Untrusted) => CertificateState::Untrusted,
            Self::Flaw(Flaw::WrongPurpose) => CertificateState::WrongPurpose,
            Self::Flaw(Flaw::Unverifiable) => CertificateState::Unverifiable,
            Self::Flaw(Flaw::Unnamed) | Self::UnknownBroker => CertificateState::UnknownBroker,
        }
    }
}

/// The request's host must be that of the handshake: else a connection that was made for one host would carry requests for another.
fn refuse_other_names(shown: &PresentedChain, http: &Session) -> Result<(), Failure> {
    let Some(server_name) = &shown.server_name else {
        return Ok(());
    };
    let is_same = conformance::names_host(http.req_header(), server_name);
    if is_same {
        Ok(())
    } else {
        Err(Failure::Refused(Refusal::Host))
    }
}

/// Whether another site's page made the request, and not by leading the browser here: no cookie with `SameSite=Lax` would come along.
pub(crate) fn crosses_sites(http: &Session, scheme: Scheme) -> bool {
    let request = http.req_header();
    // A page in a frame is a navigation too, and could be laid under other things to click on.
    let in_a_frame = request
        .headers
        .get("sec-fetch-dest")
        .is_some_and(|place| place.as_bytes() != b"document");
    let is_navigation = Audience::of(&request.headers) == Audience::Navigation && !in_a_frame;
    let leads_here = is_navigation && matches!(request.method, Method::GET | Method::HEAD);
    !leads_here && form::is_of_another_site(request, scheme)
}
