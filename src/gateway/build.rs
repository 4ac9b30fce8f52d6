//! Puts the gateway together: its parts, Pingora's options, TLS.

use crate::application_sessions::ApplicationSessions;
use crate::clock::{Clock, Rng};
use crate::config::{self, Config, Https};
use crate::gateway::admission::Admission;
use crate::gateway::admission::client_certificate::ClientCertificates;
use crate::gateway::admission::held_forms::HeldForms;
use crate::gateway::admission::portal::PortalSessions;
use crate::gateway::admission::session::BrokerSessions;
use crate::gateway::concurrency::ConcurrencyLimit;
use crate::gateway::listener::accept::{GatewayServer, ServerParts};
use crate::gateway::listener::client_cert_tls::ClientCertAcceptor;
use crate::gateway::listener::connections::{ConnectionLimits, Connections};
use crate::gateway::listener::min_rate::MAX_CREDIT;
use crate::gateway::listener::upload_rate::H2_STREAM_WINDOW;
use crate::gateway::membership::Membership;
use crate::gateway::proxy::{Gateway, WorkerProxy};
use crate::gateway::request::conformance::Hosts;
use crate::gateway::request::cookies::CookieNames;
use crate::gateway::request::links::Links;
use crate::gateway::request::origin::WebSocketOrigins;
use crate::gateway::request::trusted_proxies::TrustedProxies;
use crate::gateway::respond::Responder;
use crate::gateway::respond::access_log::AccessLog;
use crate::gateway::sign_in_pages::SignInPages;
use crate::gateway::upstream::UpstreamSide;
use crate::gateway::upstream::application_cookies::ApplicationCookies;
use crate::gateway::upstream::header_policy::HeaderPolicy;
use crate::gateway::upstream::reuse::ConnectionReuse;
use crate::gateway::upstream::servers::Upstream;
use crate::gateway::upstream::watch;
use crate::gateway::websocket::registry::WebSocketRegistry;
use crate::held_forms::Forms;
use crate::identity::certificate::{Handshake, TrustStore};
use crate::identity::directory::Directory;
use crate::identity::portal::Portal;
use crate::live::Live;
use crate::pages::Pages;
use crate::sign_in::SignIns;
use crate::store::cache::Sessions;
use crate::telemetry::metrics::Metrics;
use domain::application_session::SessionCookies;
use domain::route::{PortalServers, Routes};
use domain::submission::SubmissionRules;
use pingora::listeners::tls::{Acceptor, TlsSettings};
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use std::num::NonZero;
use std::sync::Arc;
use tokio::sync::watch::Receiver;

/// A gateway that serves clients.
pub type Server = GatewayServer<WorkerProxy>;

/// The flow-control window of a whole HTTP/2 connection, in bytes.
const H2_CONNECTION_WINDOW: u32 = 4 << 20;
/// So many TLS sessions of clients with a certificate can be resumed.
const RESUMABLE: usize = 4_096;

/// The services that a gateway is built on.
pub struct Parts {
    pub sessions: Arc<Sessions>,
    pub sign_ins: Arc<SignIns>,
    pub directory: Arc<Directory>,
    pub held_forms: Arc<Forms>,
    pub application_sessions: Arc<ApplicationSessions>,
    pub certificates: Option<Arc<Live<TrustStore>>>,
    pub portal: Option<Arc<Portal>>,
    pub pages: Arc<Live<Pages>>,
    pub submission: Arc<Live<SubmissionRules>>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub rng: Rng,
}

/// Puts a gateway together. Must be called within the runtime for all that is not a request.
pub async fn build(config: &Config, parts: Parts, shutdown: Receiver<bool>) -> Arc<Server> {
    let gateway = Arc::new(assemble(config, parts).await);
    let calculator = Arc::clone(&gateway.upstream.calculator);
    // These end with the runtime.
    for servers in std::iter::once(&calculator).chain(&gateway.upstream.portal) {
        tokio::spawn(watch::watch(Arc::clone(servers)));
    }
    tokio::spawn(Arc::clone(&gateway.websockets).watch());
    let threads = config.listen.workers();
    let proxies = (0..threads.get())
        .map(|thread| Arc::new(proxy(Arc::clone(&gateway), config, thread, threads)))
        .collect();
    let parts = ServerParts {
        connections: Arc::clone(&gateway.connections),
        websockets: Arc::clone(&gateway.websockets),
        upstream_trouble: Box::new(move || calculator.trouble()),
        handshake_timeout: config.listen.header_timeout,
        keepalive: config.listen.keepalive,
        shutdown,
        metrics: Arc::clone(&gateway.metrics),
    };
    Arc::new(GatewayServer::new(proxies, parts))
}

/// The gateway itself, which nobody serves yet.
pub(crate) async fn assemble(config: &Config, parts: Parts) -> Gateway {
    let listen = &config.listen;
    let authority = &listen.public_url.authority;
    let cookie_names = if listen.public_url.secure {
        CookieNames::Secure
    } else {
        CookieNames::Plain
    };
    let upstream = upstream_side(config, cookie_names, &parts).await;
    let trusted_proxies = TrustedProxies::new(&listen.trusted_proxies);
    let connections = Connections::new(
        ConnectionLimits {
            most: listen.max_connections,
            most_per_client: listen.max_connections_per_client,
            header_timeout: listen.header_timeout,
            body_timeout: listen.body_timeout,
            trusted_proxies: trusted_proxies.clone(),
        },
        Arc::clone(&parts.metrics),
    );
    let passwords = parts.sign_ins.passwords.as_ref();
    let users = passwords.map(|passwords| Arc::clone(&passwords.users));
    let membership = Membership::new(Arc::clone(&parts.directory), users);
    let websockets = WebSocketRegistry::new(
        Arc::clone(&parts.sessions),
        membership.clone(),
        config.session,
        parts.clock.clone(),
        Arc::clone(&parts.metrics),
    );
    let links = Arc::new(Links::new(&config.login.prefix));
    let application_cookies = Arc::new(application_cookies(config, cookie_names, &parts));
    let concurrency = Arc::new(ConcurrencyLimit::new(
        listen.max_requests,
        listen.max_connections,
    ));
    let portal = parts.portal.clone().map(|portal| PortalSessions {
        portal,
        cookie_names,
        directory: Arc::clone(&parts.directory),
        sign_ins: Arc::clone(&parts.sign_ins),
        concurrency: Arc::clone(&concurrency),
        limits: config.session,
        metrics: Arc::clone(&parts.metrics),
    });
    let certificates = client_certificates(config, &parts);
    let admission = Arc::new(Admission {
        routes: routes(config, &upstream),
        submission: Arc::clone(&parts.submission),
        hosts: Hosts::new(authority, &listen.hosts),
        websocket_origins: WebSocketOrigins::new(config),
        cookie_names,
        limits: config.session,
        sessions: BrokerSessions {
            sessions: Arc::clone(&parts.sessions),
            membership,
            cookie_names,
        },
        held_forms: HeldForms {
            forms: Arc::clone(&parts.held_forms),
            links: Arc::clone(&links),
            pages: Arc::clone(&parts.pages),
            directory: Arc::clone(&parts.directory),
            sign_ins: Arc::clone(&parts.sign_ins),
            submission: Arc::clone(&parts.submission),
            limits: config.session,
            cookie_names,
        },
        certificates,
        portal,
        sign_ins: Arc::clone(&parts.sign_ins),
        links: Arc::clone(&links),
        pages: Arc::clone(&parts.pages),
        concurrency,
        metrics: Arc::clone(&parts.metrics),
    });
    Gateway {
        sign_in_pages: SignInPages {
            admission: Arc::clone(&admission),
            application_cookies: Arc::clone(&application_cookies),
            sign_ins: parts.sign_ins,
            sessions: parts.sessions,
            links: Arc::clone(&links),
            pages: Arc::clone(&parts.pages),
            cookie_names,
            metrics: Arc::clone(&parts.metrics),
            home: listen.public_url.origin(),
        },
        admission,
        upstream,
        application_cookies,
        responder: Responder {
            pages: parts.pages,
            links,
            cookie_names,
            access_log: if config.log.access {
                AccessLog::On
            } else {
                AccessLog::Off
            },
            metrics: Arc::clone(&parts.metrics),
            rng: parts.rng,
        },
        websockets,
        connections,
        trusted_proxies,
        cookie_names,
        metrics: parts.metrics,
        clock: parts.clock,
        keepalive: listen.keepalive.as_secs().max(1),
        io_timeout: listen.body_timeout.saturating_mul(MAX_CREDIT + 1),
    }
}

/// The servers of the calculator, and of the portal where it has any of its own.
async fn upstream_side(config: &Config, cookie_names: CookieNames, parts: &Parts) -> UpstreamSide {
    let authority = &config.listen.public_url.authority;
    let metrics = Some(Arc::clone(&parts.metrics));
    let calculator = Upstream::open(config.upstream.clone(), authority, metrics).await;
    let portal = config.portal.as_ref();
    let portal = match portal.and_then(|portal| portal.as_upstream(&config.upstream)) {
        Some(servers) => Some(Arc::new(Upstream::open(servers, authority, None).await)),
        None => None,
    };
    UpstreamSide {
        calculator: Arc::new(calculator),
        portal,
        header_policy: HeaderPolicy::new(cookie_names, &config.listen.public_url, &config.upstream),
        sessions: Arc::clone(&parts.sessions),
        cookie_names,
    }
}

fn routes(config: &Config, upstream: &UpstreamSide) -> Routes {
    let portal = config.portal.as_ref();
    let portal_servers = match upstream.portal {
        Some(_) => PortalServers::Own,
        None => PortalServers::Calculator,
    };
    Routes::new(
        &config.login.prefix,
        &config.upstream.public_paths,
        portal.map_or(&[][..], |portal| &portal.paths),
        portal_servers,
    )
}

fn client_certificates(config: &Config, parts: &Parts) -> Option<Arc<ClientCertificates>> {
    let config = config.certificate.as_ref()?;
    let trust = parts.certificates.as_ref()?;
    Some(ClientCertificates::new(
        Arc::clone(trust),
        &config.public_url.authority,
        Arc::clone(&parts.directory),
        Arc::clone(&parts.metrics),
    ))
}

fn application_cookies(
    config: &Config,
    cookie_names: CookieNames,
    parts: &Parts,
) -> ApplicationCookies {
    let portal = config.portal.as_ref();
    let portal_cookies = portal.map_or(&[][..], |portal| &portal.cookies);
    ApplicationCookies {
        application_sessions: Arc::clone(&parts.application_sessions),
        session_cookies: session_cookies(&config.upstream).except(portal_cookies),
        cookie_names,
        sessions: Arc::clone(&parts.sessions),
        vault: parts.sign_ins.vault.clone(),
        metrics: Arc::clone(&parts.metrics),
    }
}

/// The calculator's session cookies: the usual ones or those that are named, and those by which requests find their server.
fn session_cookies(config: &config::UpstreamConfig) -> SessionCookies {
    let further = config
        .session_cookies
        .iter()
        .chain(&config.affinity_cookies)
        .map(String::as_str);
    if config.session_cookies.is_empty() {
        SessionCookies::usual(further)
    } else {
        SessionCookies::new(further)
    }
}

/// One thread's proxy, with its share of the connections that are kept.
fn proxy(
    gateway: Arc<Gateway>,
    config: &Config,
    thread: usize,
    threads: NonZero<usize>,
) -> HttpProxy<WorkerProxy> {
    let pool_size = config.upstream.pool_size.div_ceil(threads.get());
    // What is tried again is decided in `retry.rs`; this is only the bound.
    let attempts = usize::try_from(crate::config::UpstreamConfig::TRIES).unwrap_or(1);
    let conf = ServerConf {
        upstream_keepalive_pool_size: pool_size,
        max_retries: attempts,
        ..ServerConf::default()
    };
    let reuse = ConnectionReuse::new(gateway.cookie_names, thread, pool_size);
    let mut proxy = HttpProxy::new(WorkerProxy { gateway, reuse }, Arc::new(conf));
    proxy.handle_init_modules();
    // Pingora's bounded defaults, with larger windows: options made from scratch would be unbounded (CVE-2026-105297).
    let mut h2 = pingora::protocols::http::v2::server::default_h2_options();
    h2.initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    proxy.h2_options = Some(h2);
    let mut options = pingora::apps::HttpServerOptions::default();
    options.h2_idle_timeout = Some(config.listen.keepalive);
    proxy.server_options = Some(options);
    proxy
}

/// TLS as the files say, with HTTP/2.
///
/// # Errors
/// A text that says what is wrong with the files.
pub fn tls(https: &Https) -> Result<Acceptor, String> {
    let wrong =
        |error: Box<pingora::Error>| format!("the certificate or its key cannot be used: {error}");
    let path = |path: &std::path::Path| {
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("{} is not UTF-8", path.display()))
    };
    let cert = path(&https.cert)?;
    let key = path(&https.key)?;
    let mut settings = TlsSettings::intermediate(&cert, &key).map_err(wrong)?;
    settings.set_certificate_chain_file(&cert).map_err(wrong)?;
    settings.set_private_key_file(&key).map_err(wrong)?;
    settings.enable_h2();
    Ok(settings.build())
}

/// TLS for the certificates' listener: a client certificate is requested, not required.
///
/// # Errors
/// A text that says what is wrong with the files.
pub fn certificate_tls(https: &Https, trust: &TrustStore) -> Result<ClientCertAcceptor, String> {
    let chain =
        CertificateDer::pem_file_iter(&https.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain =
        chain.map_err(|error| format!("{} cannot be used: {error}", https.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&https.key);
    let key = key.map_err(|error| format!("{} cannot be used: {error}", https.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12]);
    let settings = settings
        .map(|settings| settings.with_client_cert_verifier(Arc::new(Handshake::new(trust))));
    let settings = settings.and_then(|settings| settings.with_single_cert(chain, key));
    let mut settings =
        settings.map_err(|error| format!("the certificate or its key cannot be used: {error}"))?;
    settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // No early data: it could be replayed, and comes before anybody has proven anything.
    settings.max_early_data_size = 0;
    settings.session_storage = ServerSessionMemoryCache::new(RESUMABLE);
    Ok(ClientCertAcceptor::new(settings))
}
