//! Builds and runs the gateway: the only place that knows all parts.

mod drain;
mod error;
mod handover;
mod listeners;
mod passwords;
mod readiness;
mod reload;
mod reports;
mod stores;

use crate::application_sessions::ApplicationSessions;
use crate::clock::{Clock, Rng};
use crate::config::{self, Config, StoreUrl};
use crate::gateway::{self, Parts, Server, Workers};
use crate::held_forms::Forms;
use crate::identity::certificate::{self, TrustStore};
use crate::identity::directory::Directory;
use crate::identity::portal::{self, Portal};
use crate::identity::users::Users;
use crate::live::Live;
use crate::mail::{Outbox, Smtp, Writer};
use crate::pages::Pages;
use crate::sign_in::{Rules, SignIns};
use crate::store::cache::Sessions;
use crate::store::{FullStore, Vault};
use crate::telemetry::admin;
use crate::telemetry::logging::Guard;
use crate::telemetry::metrics::Metrics;
use drain::{Drain, DrainCause};
pub use error::Error;
use handover::Inherited;
pub use listeners::TakesOver;
use listeners::{Listeners, await_successor, bind, handed_over, inherit};
use readiness::ReadinessProbe;
pub use reload::ConfigSource;
use reload::Replaceable;
use std::sync::Arc;
use std::time::Duration;
pub use stores::{follow_store, open_store};
use stores::{refuse_wrong_credentials, wait_until_writable};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often expired entries are deleted and gauges are updated.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// A gateway whose listeners are bound.
pub struct App {
    config: Config,
    source: Option<ConfigSource>,
    server: Arc<Server>,
    parts: Running,
    listeners: Listeners,
    inherited: Option<Inherited>,
    shutdown: watch::Sender<bool>,
    replaceable: Replaceable,
}

struct Running {
    store: Arc<dyn FullStore>,
    sessions: Arc<Sessions>,
    directory: Arc<Directory>,
    users: Option<Arc<Users>>,
    outbox: Outbox,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl App {
    /// Builds the gateway and binds its addresses. Must be called within the runtime that will run it. With a `source`, changes to the
    /// configuration files take effect while the gateway runs.
    ///
    /// # Errors
    /// [`Error`] if the configuration or the environment prevents the start.
    pub async fn build(
        config: Config,
        source: Option<ConfigSource>,
        takes_over: TakesOver,
    ) -> Result<Self, Error> {
        let source = source.map(|source| source.with_named_files(&config));
        let mut inherited = inherit(&config, takes_over)?;
        let metrics = Arc::new(Metrics::new()?);
        let trust = config.certificate.as_ref().map(load_trust).transpose()?;
        let listeners = bind(&config, trust.as_ref(), inherited.as_mut())?;
        metrics.certificate_lists_end(trust.as_ref().and_then(TrustStore::lists_end));
        let certificates = trust.map(Live::new);
        let clock = Clock::steady();
        let rng = Rng;
        watch_panics(Arc::clone(&metrics));
        let vault = Vault::new(config.store.secret.reveal(), rng);
        let store = open_store(&config, vault.clone(), clock.clone(), Arc::clone(&metrics))?;
        match takes_over {
            TakesOver::No => refuse_wrong_credentials(store.as_ref()).await?,
            TakesOver::Yes => wait_until_writable(store.as_ref())
                .await
                .map_err(Error::NobodyCouldSignIn)?,
        }
        // If Redis is down, the clock is synchronized once it is back.
        follow_store(&clock, store.as_ref(), &config.store, config.store.timeout).await;
        let directory = Arc::new(Directory::open(&config.directory, clock.now())?);
        metrics.directory_loaded(directory.snapshot().len(), clock.now());
        let passwords = passwords::open(&config, rng, &metrics)?;
        let users = passwords
            .as_ref()
            .map(|passwords| Arc::clone(&passwords.users));
        let pages = Live::new(Pages::load(&config.brand, &config.login, &config.parking)?);
        let letters = Live::new(Writer::new(&config.mail, &config.login, &config.brand)?);
        let rules = Live::new(Rules::of(&config));
        let submission = Live::new(config.submission.clone());
        let smtp = Smtp::new(&config.mail, clock.clone())?;
        let outbox = Outbox::new(
            Arc::clone(&store) as _,
            smtp,
            Arc::clone(&letters),
            Arc::clone(&metrics),
            clock.clone(),
            &config.mail,
        );
        let sessions = Arc::new(Sessions::new(
            Arc::clone(&store) as _,
            vault.clone(),
            config.session,
            config.store.outage_grace,
            clock.clone(),
            Arc::clone(&metrics),
        ));
        let sign_ins = Arc::new(SignIns {
            store: Arc::clone(&store) as _,
            directory: Arc::clone(&directory),
            rng,
            passwords,
            rules: Arc::clone(&rules),
            sessions: config.session,
            wakeup: outbox.wakeup(),
            metrics: Arc::clone(&metrics),
            vault: vault.clone(),
        });
        let (shutdown, down) = watch::channel(false);
        let parts = Parts {
            sessions: Arc::clone(&sessions),
            sign_ins,
            directory: Arc::clone(&directory),
            held_forms: Arc::new(Forms::new(
                Arc::clone(&store) as _,
                config.parking,
                rng,
                Arc::clone(&metrics),
                vault,
            )),
            application_sessions: Arc::new(ApplicationSessions::new(Arc::clone(&store) as _)),
            pages: Arc::clone(&pages),
            submission: Arc::clone(&submission),
            certificates: certificates.clone(),
            portal: portal(&config, &metrics)?,
            metrics: Arc::clone(&metrics),
            clock: clock.clone(),
            rng,
        };
        let tls = listeners
            .clients
            .iter()
            .map(|listener| listener.tls.clone())
            .collect();
        let replaceable = Replaceable {
            rules,
            submission,
            pages,
            letters,
            certificates,
            tls,
        };
        let server = gateway::build(&config, parts, down).await;
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
            server,
            parts,
            listeners,
            inherited,
            shutdown,
            replaceable,
        })
    }

    /// Runs until `stop` completes, then drains within the configured grace period.
    ///
    /// # Errors
    /// [`Error::Threads`] if worker threads cannot be started.
    pub async fn run(self, log: Arc<Guard>, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self {
            config,
            source,
            server,
            parts,
            listeners,
            inherited,
            shutdown,
            replaceable,
        } = self;
        let (draining, is_draining) = watch::channel(false);
        let outbox_trouble = parts.outbox.trouble();
        let outbox_stop = shutdown.subscribe();
        let store = Arc::clone(&parts.store);
        let readiness = Arc::new(ReadinessProbe {
            store: Arc::clone(&parts.store) as _,
            directory: Arc::clone(&parts.directory),
            mail: outbox_trouble,
            is_draining: is_draining.clone(),
            server: Arc::clone(&server),
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
        let mails_in_hand = parts.outbox.in_flight();
        let outbox = tokio::spawn(parts.outbox.run(announced(outbox_stop)));
        tasks.spawn(Arc::clone(&parts.sessions).listen());
        let clock = || {
            let clock = parts.clock.clone();
            move || clock.now()
        };
        if let Some(source) = source {
            let metrics = Arc::clone(&parts.metrics);
            let files = reload::watch(source, config.clone(), replaceable, Arc::clone(&metrics));
            metrics.config_reloaded();
            let report = move |reloaded| reports::configuration(reloaded, &metrics);
            let system = || Clock::System.now();
            tasks.spawn(
                files
                    .keep_up_to_date(system, report)
                    .map_err(Error::Signals)?,
            );
        }
        if let Some(users) = parts.users {
            let metrics = Arc::clone(&parts.metrics);
            let report = move |reloaded| reports::users(reloaded, &metrics);
            tasks.spawn(
                users
                    .keep_up_to_date(clock(), report)
                    .map_err(Error::Signals)?,
            );
        }
        let report = {
            let directory = Arc::clone(&parts.directory);
            let metrics = Arc::clone(&parts.metrics);
            let clock = parts.clock.clone();
            move |reloaded| reports::directory(reloaded, &directory, &metrics, &clock)
        };
        let watch = parts.directory.keep_up_to_date(clock(), report);
        tasks.spawn(watch.map_err(Error::Signals)?);
        tasks.spawn(keep_house(parts.store, parts.sessions, parts.metrics, log));
        if !matches!(config.store.url, StoreUrl::Redis(_)) {
            tasks.spawn(catch_up(parts.clock));
        }
        // Everything that may fail comes first: a client accepted here is lost to the previous process.
        let successor = await_successor(&config, &listeners.clients, listeners.admin_handle)?;
        let workers = Workers::start(&server, &listeners.clients).map_err(Error::Threads)?;
        drop(listeners.clients);
        // Before the previous process exits, which systemd would take for the end of the service.
        handover::notify(&format!("READY=1\nMAINPID={}", std::process::id()));
        if let Some(Err(error)) = inherited.map(Inherited::confirm) {
            tracing::warn!(target: "gateway", %error, "the previous process has already exited");
        }
        tracing::info!(target: "gateway", public_url = config.listen.public_url.authority, version = env!("CARGO_PKG_VERSION"), "ready");

        let cause = tokio::select! {
            () = stop => DrainCause::Stopped,
            () = handed_over(successor) => DrainCause::TakenOver,
        };
        match cause {
            DrainCause::Stopped => handover::notify("STOPPING=1"),
            // The new process serves the admin listener.
            DrainCause::TakenOver => drop(admin_stop.send_replace(true)),
        }
        draining.send_replace(true);
        Drain {
            server,
            workers,
            outbox,
            mails_in_hand,
            store,
            shutdown,
        }
        .run(cause, config.shutdown)
        .await;
        admin_stop.send_replace(true);
        let _ = admin.await;
        tasks.shutdown().await;
        Ok(())
    }
}

async fn announced(mut shutdown: watch::Receiver<bool>) {
    // A dropped sender means shutdown, too.
    let _ = shutdown.wait_for(|down| *down).await;
}

fn portal(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Arc<Portal>>, portal::Error> {
    let portal = config
        .portal
        .clone()
        .map(|config| Portal::new(config, Arc::clone(metrics)));
    Ok(portal.transpose()?.map(Arc::new))
}

fn load_trust(config: &config::Certificate) -> Result<TrustStore, certificate::Error> {
    TrustStore::load(&config.ca_file, &config.crl_files, config.identity)
}

async fn keep_house(
    store: Arc<dyn FullStore>,
    sessions: Arc<Sessions>,
    metrics: Arc<Metrics>,
    log: Arc<Guard>,
) {
    loop {
        sessions.tidy();
        // The store counts and logs failures itself.
        let _ = store.tidy().await;
        if let Ok(letters) = store.outbox_length().await {
            metrics.outbox_holds(letters);
        }
        metrics.session_cache_holds(sessions.len());
        metrics.log_lines_dropped(log.dropped());
        if store.subscription().is_some() {
            metrics.invalidations_heard()
        } else {
            metrics.invalidations_missed()
        }
        tokio::time::sleep(HOUSEKEEPING).await;
    }
}

/// Follows the machine's clock, never backwards, for a store without a clock of its own.
async fn catch_up(clock: Clock) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        clock.catch_up();
    }
}

/// Counts and logs panics, which end a single connection's task. The message is omitted, since it may quote client data.
fn watch_panics(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(target: "gateway", place, "task panicked");
    }));
}
