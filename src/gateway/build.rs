//! Puts the gateway together: its parts, Pingora's options, TLS.

use crate::application_sessions::ApplicationSessions;
use crate::certificate::{Handshake, Trust};
use crate::clock::{Chance, Clock};
use crate::config::{self, Config, Https};
use crate::directory::Directory;
use crate::gateway::admission::client_certificate::ClientCertificates;
use crate::gateway::concurrency::ConcurrencyLimit;
use crate::gateway::listener::accept::GatewayServer;
use crate::gateway::listener::accept::{Kept, Times};
use crate::gateway::listener::client_cert_tls::ClientCertAcceptor;
use crate::gateway::listener::connections::{Connections, Limits};
use crate::gateway::membership::Membership;
use crate::gateway::proxy::Gateway;
use crate::gateway::request::conformance::Hosts;
use crate::gateway::request::cookies::CookieNames;
use crate::gateway::request::origin::SocketOrigins;
use crate::gateway::request::route::Routes;
use crate::gateway::request::trusted_proxies::TrustedProxies;
use crate::gateway::respond::access_log::AccessLog;
use crate::gateway::upstream;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::header_policy::HeaderPolicy;
use crate::gateway::upstream::reuse::WorkerProxy;
use crate::gateway::websocket::registry::WebSocketRegistry;
use crate::in_force::InForce;
use crate::pages::Pages;
use crate::parking::Parking;
use crate::portal::Portal;
use crate::sign_in::SignIns;
use crate::store::cache::Sessions;
use crate::telemetry::metrics::Metrics;
use domain::application_session::SessionCookies;
use domain::submission::SubmissionRules;
use pingora::listeners::tls::Acceptor;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use std::num::NonZero;
use std::sync::Arc;
use tokio::sync::watch;

/// What a gateway is made of, besides its configuration.
pub struct Parts {
    /// Finds sessions.
    pub sessions: Arc<Sessions>,
    /// Takes brokers through the sign-in.
    pub sign_ins: Arc<SignIns>,
    /// Knows the brokers.
    pub directory: Arc<Directory>,
    /// Keeps forms that could not be forwarded.
    pub parking: Arc<Parking>,
    /// Knows whose the calculator's own sessions are.
    pub application_sessions: Arc<ApplicationSessions>,
    /// Which certificates prove who somebody is, where that is a way in.
    pub certificates: Option<Arc<InForce<Trust>>>,
    /// The insurer's portal, where that is a way in.
    pub portal: Option<Arc<Portal>>,
    /// Draws the pages.
    pub pages: Arc<InForce<Pages>>,
    /// Knows which requests send an application.
    pub submission: Arc<InForce<SubmissionRules>>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Tells the time.
    pub clock: Clock,
    /// Draws incident numbers.
    pub chance: Chance,
}

/// Windows for uploads over HTTP/2: with the default 64 KiB a distant client waits for the round trip, not for the line.
pub(crate) const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;

/// So many TLS sessions of clients with a certificate can be resumed.
const RESUMABLE: usize = 4_096;

impl Gateway {
    /// Puts a gateway together. Must be called within the runtime for all that is not a request.
    pub async fn build(
        config: &Config,
        parts: Parts,
        shutdown: watch::Receiver<bool>,
    ) -> Arc<GatewayServer> {
        let gateway = Arc::new(Self::assemble(config, parts).await);
        let (connections, websockets) = (
            Arc::clone(&gateway.connections),
            Arc::clone(&gateway.websockets),
        );
        let (servers, metrics) = (Arc::clone(&gateway.upstream), Arc::clone(&gateway.metrics));
        // Both end with this runtime.
        gateway
            .portal_server
            .iter()
            .for_each(|server| drop(tokio::spawn(upstream::watch(Arc::clone(server)))));
        let leaving_tunnels = Arc::clone(&websockets);
        tokio::spawn(websockets.watch());
        tokio::spawn(upstream::watch(Arc::clone(&servers)));
        let threads = config.listen.workers();
        let proxies = (0..threads.get())
            .map(|thread| Arc::new(proxy(Arc::clone(&gateway), config, thread, threads)))
            .collect();
        let times = Times {
            handshake: config.listen.header_timeout,
            keepalive: config.listen.keepalive,
        };
        let kept = Kept {
            connections,
            websockets: leaving_tunnels,
            upstream: servers,
        };
        Arc::new(GatewayServer::new(proxies, kept, times, shutdown, metrics))
    }

    /// The gateway itself, which nobody serves yet.
    pub(crate) async fn assemble(config: &Config, parts: Parts) -> Self {
        let cookie_names = if config.listen.public_url.secure {
            CookieNames::Secure
        } else {
            CookieNames::Plain
        };
        let authority = &config.listen.public_url.authority;
        let upstream = Arc::new(
            Upstream::open(
                config.upstream.clone(),
                authority,
                Some(Arc::clone(&parts.metrics)),
            )
            .await,
        );
        let portal_cookies = config
            .portal
            .as_ref()
            .map_or(&[][..], |portal| &portal.cookies);
        let portal_paths = config
            .portal
            .as_ref()
            .map_or(&[][..], |portal| &portal.paths);
        let portal_server = match config
            .portal
            .as_ref()
            .and_then(|portal| portal.as_upstream(&config.upstream))
        {
            Some(server) => Some(Arc::new(Upstream::open(server, authority, None).await)),
            None => None,
        };
        let listen = &config.listen;
        let trusted_proxies = TrustedProxies::new(&listen.trusted_proxies);
        let limits = Limits {
            most: listen.max_connections,
            most_per_client: listen.max_connections_per_client,
            header_timeout: listen.header_timeout,
            body_timeout: listen.body_timeout,
            trusted_proxies: trusted_proxies.clone(),
        };
        let concurrency = ConcurrencyLimit::new(listen.max_requests, listen.max_connections);
        let connections = Connections::new(limits, Arc::clone(&parts.metrics));
        let Parts {
            sessions,
            sign_ins,
            directory,
            parking,
            application_sessions,
            certificates,
            portal,
            pages,
            submission,
            metrics,
            clock,
            chance,
        } = parts;
        let certificates = config
            .certificate
            .as_ref()
            .zip(certificates)
            .map(|(config, trust)| {
                ClientCertificates::new(
                    trust,
                    &config.public_url.authority,
                    Arc::clone(&directory),
                    Arc::clone(&metrics),
                )
            });
        let home = listen.public_url.origin();
        let users = sign_ins
            .passwords
            .as_ref()
            .map(|passwords| Arc::clone(&passwords.users));
        let membership = Membership::new(Arc::clone(&directory), users);
        let websockets = WebSocketRegistry::new(
            Arc::clone(&sessions),
            membership.clone(),
            config.session,
            clock.clone(),
            Arc::clone(&metrics),
        );
        Self {
            routes: Routes::new(
                &config.login.prefix,
                &config.upstream.public_paths,
                portal_paths,
            ),
            submission,
            socket_origins: SocketOrigins::new(config),
            hosts: Hosts::new(&listen.public_url.authority, &listen.hosts),
            cookie_names,
            header_policy: HeaderPolicy::new(cookie_names, &listen.public_url, &config.upstream),
            upstream,
            limits: config.session,
            sessions,
            sign_ins,
            directory,
            membership,
            parking,
            application_sessions,
            session_cookies: session_cookies(&config.upstream).except(portal_cookies),
            certificates,
            portal,
            portal_server,
            home,
            pages,
            connections,
            concurrency,
            websockets,
            metrics,
            clock,
            chance,
            keepalive: listen.keepalive.as_secs().max(1),
            patience: listen
                .body_timeout
                .saturating_mul(crate::gateway::proxy::MOST_CREDIT + 1),
            trusted_proxies,
            access_log: if config.log.access {
                AccessLog::On
            } else {
                AccessLog::Off
            },
        }
    }
}

/// The calculator's session cookies: the usual ones or those that are named, and those by which requests find their server.
fn session_cookies(config: &config::Upstream) -> SessionCookies {
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
    let attempts = usize::try_from(crate::config::Upstream::TRIES).unwrap_or(1);
    let conf = ServerConf {
        upstream_keepalive_pool_size: pool_size,
        max_retries: attempts,
        ..ServerConf::default()
    };
    let mut proxy = HttpProxy::new(WorkerProxy::new(gateway, thread, pool_size), Arc::new(conf));
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
    let (cert, key) = (path(&https.cert)?, path(&https.key)?);
    let mut settings = TlsSettings::intermediate(&cert, &key).map_err(wrong)?;
    settings.set_certificate_chain_file(&cert).map_err(wrong)?;
    settings.set_private_key_file(&key).map_err(wrong)?;
    settings.enable_h2();
    Ok(settings.build())
}

/// The same for the certificates' door: a client's certificate is asked for, and not required.
///
/// # Errors
/// A text that says what is wrong with the files.
pub fn certificate_tls(https: &Https, trust: &Trust) -> Result<ClientCertAcceptor, String> {
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
