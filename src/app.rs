//! Builds everything from the configuration and runs it: the only place that knows all parts.

mod directory;
mod handover;
mod leaving;
mod passwords;
mod readiness;
mod reload;
mod standing;
mod stores;

use crate::application_sessions::ApplicationSessions;
use crate::certificate::{self, Trust};
use crate::clock::{Chance, Clock};
use crate::config::{self, Config, StoreUrl};
use crate::directory::{Directory, Error as DirectoryError};
use crate::gateway::{self, Door, Parts, Server, Tls, Workers};
use crate::in_force::InForce;
use crate::mail::Outbox;
use crate::mail::{self, Smtp, Writer};
use crate::pages::{self, Pages};
use crate::parking::Parking;
use crate::portal::{self, Portal};
use crate::sign_in::{Rules, SignIns};
use crate::store::cache::Sessions;
use crate::store::tickets::Tickets;
use crate::store::{self, Store, Vault};
use crate::telemetry::admin;
use crate::telemetry::logging::Guard;
use crate::telemetry::metrics::{self, Metrics};
use crate::users::{self, Users};
use directory::DirectoryFile;
use handover::{Handover, Inherited};
use leaving::{Leaving, Why};
use passwords::UsersFile;
use readiness::Readiness;
pub use reload::Source;
use reload::{Reloader, Replaceable};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub use stores::{follow_store, open_store};
use stores::{refuse_wrong_credentials, signs_in};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections that may wait to be accepted; with the usual 128, a burst of clients waits for a second or more. The kernel has its own limit.
const BACKLOG: u32 = 4_096;

/// How often what has ended is deleted and gauges are set.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("{key}: cannot listen on {address}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The directory cannot be used.
    #[error("the directory cannot be used")]
    Directory(#[from] DirectoryError),
    /// The users file cannot be used.
    #[error("password.file")]
    Users(#[from] users::Error),
    /// The pages cannot be drawn.
    #[error("the pages cannot be drawn")]
    Pages(#[from] pages::Error),
    /// Mails cannot be written.
    #[error("mails cannot be written")]
    Mail(#[from] mail::Error),
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Store(#[from] store::Error),
    /// No sockets are handed over.
    #[error("listen.handover: {}", path.display())]
    Handover {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `--takeover`, and no process waits to be taken over.
    #[error(
        "--takeover: no gateway waits at {} (listen.handover) for another process to take its place; \
         if none runs, start this one without --takeover", path.display()
    )]
    NobodyThere {
        /// Where it would.
        path: PathBuf,
    },
    /// Another gateway waits where this one would.
    #[error(
        "listen.handover: another gateway waits at {} for a process to take its place: \
         give this one a path of its own, or start it with --takeover to take that one's place", path.display()
    )]
    SomebodyThere {
        /// Where.
        path: PathBuf,
    },
    /// `--takeover` without a place where a process could wait.
    #[error(
        "--takeover needs listen.handover, the same that the gateway has whose place is to be taken"
    )]
    NobodyToTakeOverFrom,
    /// The process that is to take another one's place could sign nobody in.
    #[error("--takeover: nobody could sign in here, so that the former process keeps its place")]
    NobodyCouldSignIn(#[source] store::Error),
    /// TLS cannot be served.
    #[error("listen.tls: {0}")]
    Tls(String),
    /// Clients' certificates cannot be judged.
    #[error("certificates cannot be accepted")]
    Certificates(#[from] certificate::Error),
    /// The portal cannot be asked.
    #[error("the portal cannot be asked")]
    Portal(#[from] portal::Error),
    /// The metrics cannot be set up.
    #[error("the metrics cannot be set up")]
    Metrics(#[from] metrics::Error),
    /// The operating system gives no threads.
    #[error("clients cannot be served")]
    Threads(#[source] std::io::Error),
    /// The operating system gives no signals.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

/// A gateway that listens.
pub struct App {
    config: Config,
    source: Option<Source>,
    edge: Arc<Server>,
    parts: Running,
    listeners: Listeners,
    inherited: Option<Inherited>,
    shutdown: watch::Sender<bool>,
    replaceable: Replaceable,
}

struct Running {
    store: Arc<dyn Store>,
    sessions: Arc<Sessions>,
    directory: Arc<Directory>,
    users: Option<Arc<Users>>,
    outbox: Outbox,
    metrics: Arc<Metrics>,
    clock: Clock,
}

struct Listeners {
    clients: Vec<Door>,
    admin: TcpListener,
    /// Another handle of its socket, to be handed over.
    admin_too: std::net::TcpListener,
}

impl App {
    /// Builds the gateway and binds its addresses. Must be called within the runtime that is to run it. `source` is where the
    /// configuration came from, if changes there are to come into force while the gateway runs.
    ///
    /// # Errors
    /// [`Error`] says what in the configuration or the surroundings keeps it from starting.
    pub async fn build(
        config: Config,
        source: Option<Source>,
        takes_over: TakesOver,
    ) -> Result<Self, Error> {
        let source = source.map(|source| source.and_all_that_it_names(&config));
        let mut inherited = inherit(&config, takes_over)?;
        let metrics = Arc::new(Metrics::new()?);
        let trust = config.certificate.as_ref().map(load_trust).transpose()?;
        let listeners = bind(&config, trust.as_ref(), inherited.as_mut())?;
        metrics.certificate_lists_end(trust.as_ref().and_then(Trust::lists_end));
        let certificates = trust.map(InForce::new);
        let (clock, chance) = (Clock::steady(), Chance);
        watch_panics(Arc::clone(&metrics));
        let vault = Vault::new(config.store.secret.reveal(), chance);
        let stores = open_store(&config, vault.clone(), clock.clone(), Arc::clone(&metrics))?;
        let store: Arc<dyn Store> = Arc::clone(&stores) as _;
        match takes_over {
            TakesOver::No => refuse_wrong_credentials(store.as_ref()).await?,
            TakesOver::Yes => signs_in(store.as_ref())
                .await
                .map_err(Error::NobodyCouldSignIn)?,
        }
        // While Redis is down, it will be followed when it is back.
        follow_store(&clock, store.as_ref(), &config.store, config.store.timeout).await;
        let directory = Arc::new(Directory::open(&config.directory, clock.now())?);
        metrics.directory_loaded(directory.snapshot().len(), clock.now());
        let passwords = passwords::open(&config, chance, &metrics)?;
        let users = passwords
            .as_ref()
            .map(|passwords| Arc::clone(&passwords.users));
        let pages = InForce::new(Pages::load(&config.brand, &config.login, &config.parking)?);
        let letters = InForce::new(Writer::new(&config.mail, &config.login, &config.brand)?);
        let (rules, submission) = (
            InForce::new(Rules::of(&config)),
            InForce::new(config.submission.clone()),
        );
        let smtp = Smtp::new(&config.mail, clock.clone())?;
        let outbox = Outbox::new(
            Arc::clone(&store),
            smtp,
            Arc::clone(&letters),
            Arc::clone(&metrics),
            clock.clone(),
            &config.mail,
        );
        let sessions = Arc::new(Sessions::new(
            Arc::clone(&store),
            Tickets::new(vault.clone()),
            config.session,
            config.store.outage_grace,
            clock.clone(),
            Arc::clone(&metrics),
        ));
        let sign_ins = Arc::new(SignIns {
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            chance,
            passwords,
            rules: Arc::clone(&rules),
            sessions: config.session,
            bell: outbox.bell(),
            metrics: Arc::clone(&metrics),
            vault: vault.clone(),
        });
        let (shutdown, down) = watch::channel(false);
        let parts = Parts {
            sessions: Arc::clone(&sessions),
            sign_ins,
            directory: Arc::clone(&directory),
            parking: Arc::new(Parking::new(
                Arc::clone(&store),
                config.parking,
                chance,
                Arc::clone(&metrics),
                vault,
            )),
            application_sessions: Arc::new(ApplicationSessions::new(stores)),
            pages: Arc::clone(&pages),
            submission: Arc::clone(&submission),
            certificates: certificates.clone(),
            portal: portal(&config, &metrics)?,
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            chance,
        };
        let doors = listeners
            .clients
            .iter()
            .map(|door| door.tls.clone())
            .collect();
        let replaceable = Replaceable {
            rules,
            submission,
            pages,
            letters,
            certificates,
            doors,
        };
        let edge = gateway::build(&config, parts, down).await;
        let parts = Running {
            store,
            sessions,
            directory,
            users,
            outbox,
            metrics,
            clock,
        };
        Ok(Self {
            config,
            source,
            edge,
            parts,
            listeners,
            inherited,
            shutdown,
            replaceable,
        })
    }

    /// Runs until `stop` completes; then lets requests under way finish for the configured grace.
    ///
    /// # Errors
    /// [`Error::Threads`] if there are no threads to serve clients.
    pub async fn run(self, log: Arc<Guard>, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            config,
            source,
            edge,
            parts,
            listeners,
            inherited,
            shutdown,
            replaceable,
        } = self;
        let (leaving, leaves) = watch::channel(false);
        let (outbox_trouble, bell_stop, store) = (
            parts.outbox.trouble(),
            shutdown.subscribe(),
            Arc::clone(&parts.store),
        );
        let readiness = Arc::new(Readiness {
            store: Arc::clone(&parts.store),
            directory: Arc::clone(&parts.directory),
            mail: outbox_trouble,
            leaving: leaves.clone(),
            edge: Arc::clone(&edge),
            certificates: replaceable.certificates.clone(),
        });
        let mut tasks = JoinSet::new();
        let (admin_stop, admin_down) = watch::channel(false);
        let hosts = config.admin_hosts.clone();
        let admin = admin::serve(
            listeners.admin,
            hosts,
            Arc::clone(&parts.metrics),
            readiness,
            announced(admin_down),
        );
        let admin = tokio::spawn(admin);
        let mails_in_hand = parts.outbox.in_hand();
        let outbox = tokio::spawn(parts.outbox.run(announced(bell_stop)));
        tasks.spawn(Arc::clone(&parts.sessions).listen());
        let directory = DirectoryFile::of(
            parts.directory,
            Arc::clone(&parts.metrics),
            parts.clock.clone(),
        );
        let users = parts
            .users
            .map(|users| UsersFile::of(users, Arc::clone(&parts.metrics), parts.clock.clone()));
        if let Some(source) = source {
            let (directory, users) = (Arc::clone(&directory), users.clone());
            let hangup = move || {
                directory.reload();
                users.iter().for_each(|users| users.reload());
            };
            let reloader = Reloader::new(
                source,
                config.clone(),
                replaceable,
                Arc::clone(&parts.metrics),
            )?;
            tasks.spawn(reloader.run(config.directory.poll, hangup));
        }
        if let Some(users) = users {
            tasks.spawn(users.watch());
        }
        tasks.spawn(directory.watch());
        tasks.spawn(keep_house(parts.store, parts.sessions, parts.metrics, log));
        if !matches!(config.store.url, StoreUrl::Redis(_)) {
            tasks.spawn(catch_up(parts.clock));
        }
        // First all that may fail: a client whom this process lets in is lost to the former one.
        let awaited = await_successor(&config, &listeners.clients, listeners.admin_too)?;
        let workers = Workers::start(&edge, &listeners.clients).map_err(Error::Threads)?;
        drop(listeners.clients);
        // Before the former process ends, or systemd would take that for the end of the service.
        handover::notify(&format!("READY=1\nMAINPID={}", std::process::id()));
        if let Some(Err(error)) = inherited.map(Inherited::serves) {
            tracing::warn!(target: "gateway", %error, "the former process has ended already");
        }
        tracing::info!(target: "gateway", public_url = config.listen.public_url.authority, version = env!("CARGO_PKG_VERSION"), "ready");

        let why = tokio::select! {
            () = stop => Why::Asked,
            () = handed_over(awaited) => Why::TakenOver,
        };
        match why {
            Why::Asked => handover::notify("STOPPING=1"),
            // The new process says how it is.
            Why::TakenOver => drop(admin_stop.send_replace(true)),
        }
        leaving.send_replace(true);
        Leaving {
            edge,
            workers,
            outbox,
            mails_in_hand,
            store,
            shutdown,
        }
        .end(why, config.shutdown)
        .await;
        admin_stop.send_replace(true);
        let _ = admin.await;
        tasks.shutdown().await;
        Ok(())
    }
}

async fn announced(mut shutdown: watch::Receiver<bool>) {
    // A sender that is gone means that everything ends.
    let _ = shutdown.wait_for(|down| *down).await;
}

/// Whether the process takes another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesOver {
    /// It does, with the sockets that wait at `listen.handover`.
    Yes,
    /// It binds its own.
    No,
}

fn inherit(config: &Config, takes_over: TakesOver) -> Result<Option<Inherited>, Error> {
    if takes_over == TakesOver::No {
        // Its socket would be replaced, and nobody could take its place any more.
        let taken = config
            .listen
            .handover
            .clone()
            .filter(|path| Inherited::is_to_be_had(path));
        return taken.map_or(Ok(None), |path| Err(Error::SomebodyThere { path }));
    }
    let path = config
        .listen
        .handover
        .clone()
        .ok_or(Error::NobodyToTakeOverFrom)?;
    let nobody = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
    Inherited::from(&path)
        .map(Some)
        .map_err(|source| match source.kind() {
            kind if nobody.contains(&kind) => Error::NobodyThere { path },
            _ => Error::Handover { path, source },
        })
}

/// Waits for a process that is to take this one's place, where one may.
fn await_successor(
    config: &Config,
    doors: &[Door],
    admin: std::net::TcpListener,
) -> Result<Option<Handover>, Error> {
    let Some(path) = config.listen.handover.clone() else {
        return Ok(None);
    };
    let sockets = doors
        .iter()
        .map(|door| door.listener.try_clone())
        .chain([Ok(admin)])
        .collect::<std::io::Result<_>>();
    let waits = sockets.and_then(|sockets| Handover::wait_at(&path, sockets));
    waits
        .map(Some)
        .map_err(|source| Error::Handover { path, source })
}

async fn handed_over(successor: Option<Handover>) {
    match successor {
        Some(successor) => successor.done().await,
        None => std::future::pending().await,
    }
}

fn portal(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Arc<Portal>>, portal::Error> {
    let portal = config
        .portal
        .clone()
        .map(|config| Portal::new(config, Arc::clone(metrics)));
    Ok(portal.transpose()?.map(Arc::new))
}

fn load_trust(config: &config::Certificate) -> Result<Trust, certificate::Error> {
    Trust::load(&config.ca_file, &config.crl_files, config.identity)
}

fn bind(
    config: &Config,
    trust: Option<&Trust>,
    mut inherited: Option<&mut Inherited>,
) -> Result<Listeners, Error> {
    let mut listen = |key, address| {
        let handed_over = inherited
            .as_mut()
            .and_then(|inherited| inherited.take(address));
        handed_over
            .map_or_else(|| listen(address), Ok)
            .map_err(|source| Error::Listen {
                key,
                address,
                source,
            })
    };
    let mut clients = Vec::new();
    if let Some(address) = config.listen.http {
        clients.push(Door {
            listener: listen("listen.http", address)?,
            tls: Tls::None,
        });
    }
    if let Some(https) = &config.listen.https {
        let listener = listen("listen.https", https.address)?;
        clients.push(Door {
            listener,
            tls: Tls::Server(InForce::new(gateway::tls(https).map_err(Error::Tls)?)),
        });
    }
    if let Some((certificate, trust)) = config.certificate.as_ref().zip(trust) {
        let listener = listen("certificate.listen", certificate.https.address)?;
        let acceptor = gateway::certificate_tls(&certificate.https, trust).map_err(Error::Tls)?;
        clients.push(Door {
            listener,
            tls: Tls::Certificates(InForce::new(acceptor)),
        });
    }
    let (key, address) = ("admin.listen", config.admin_listen);
    let admin = listen(key, address)?;
    let failed = |source| Error::Listen {
        key,
        address,
        source,
    };
    admin.set_nonblocking(true).map_err(failed)?;
    let admin_too = admin.try_clone().map_err(failed)?;
    Ok(Listeners {
        clients,
        admin: TcpListener::from_std(admin).map_err(failed)?,
        admin_too,
    })
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // The port of a gateway that was restarted is still in use by the connections that it had.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

async fn keep_house(
    store: Arc<dyn Store>,
    sessions: Arc<Sessions>,
    metrics: Arc<Metrics>,
    log: Arc<Guard>,
) {
    loop {
        sessions.tidy();
        // Failures are counted and logged by the store itself.
        let _ = store.tidy().await;
        if let Ok(letters) = store.outbox_length().await {
            metrics.outbox_holds(letters);
        }
        metrics.session_cache_holds(sessions.len());
        metrics.log_lines_dropped(log.dropped());
        if store.hearing().is_some() {
            metrics.invalidations_heard()
        } else {
            metrics.invalidations_missed()
        }
        tokio::time::sleep(HOUSEKEEPING).await;
    }
}

/// With Redis, its clock is followed; without, this machine's, but never back.
async fn catch_up(clock: Clock) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        clock.catch_up();
    }
}

/// A panic ends one connection's task. It is counted and logged, without its message, which may quote what was sent.
fn watch_panics(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(target: "gateway", place, "a task broke off");
    }));
}
