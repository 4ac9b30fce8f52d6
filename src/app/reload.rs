//! Puts a changed configuration in force while the gateway runs: on SIGHUP, and when one of its files has changed.
//!
//! All of it is read and made first; only if nothing is wrong does any of it come into force. What cannot change while the gateway
//! runs is named in the log and waits for a restart.

mod waiting;

use super::Error;
use super::standing::ReloadHealth;
use crate::clock::Clock;
use crate::config::{self, Config, LoginMethod};
use crate::fingerprint::FileFingerprint;
use crate::gateway::{self, Acceptor, ClientCertAcceptor, Tls};
use crate::identity::certificate::TrustStore;
use crate::live::Live;
use crate::mail::Writer;
use crate::pages::Pages;
use crate::sign_in::Rules;
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::Metrics;
use domain::submission::SubmissionRules;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

pub(super) struct Replaceable {
    pub(super) rules: Arc<Live<Rules>>,
    pub(super) submission: Arc<Live<SubmissionRules>>,
    pub(super) pages: Arc<Live<Pages>>,
    pub(super) letters: Arc<Live<Writer>>,
    pub(super) certificates: Option<Arc<Live<TrustStore>>>,
    pub(super) doors: Vec<Tls>,
}

/// What takes its place.
struct NextConfig {
    config: Config,
    rules: Rules,
    pages: Pages,
    letters: Writer,
    tls: Option<Acceptor>,
    certified: Option<(TrustStore, ClientCertAcceptor)>,
}

/// Why a configuration does not come into force.
#[derive(Debug, thiserror::Error)]
enum ReloadRefusal {
    #[error("{0}")]
    Mistakes(String),
    #[error(transparent)]
    Unusable(#[from] Error),
    #[error(
        "a list of revoked certificates is too old to be believed, and older than the one in force"
    )]
    OldList,
    #[error("the reading of it was broken off")]
    BrokenOff,
}

/// Keeps the configuration up to date.
pub(super) struct Reloader {
    file: PathBuf,
    /// With which the gateway was started.
    first: Config,
    /// In force, as far as it can be.
    current: Config,
    replaceable: Replaceable,
    metrics: Arc<Metrics>,
    hangup: Signal,
    /// Of the files that were read last, whether that came into force or not.
    read: Stamps,
    seen: Stamps,
    standing: ReloadHealth,
    /// Why what was read last did not come into force, as it was told.
    refused: Option<String>,
}

type Stamps = Vec<(PathBuf, Option<FileFingerprint>)>;

/// Where the configuration came from, and what its files were like before they were read.
pub struct ConfigSource {
    file: PathBuf,
    read: Stamps,
}

impl ConfigSource {
    /// Watches the file, which is about to be read.
    pub fn new(file: PathBuf) -> Self {
        let read = vec![(file.clone(), FileFingerprint::of_file(&file))];
        Self { file, read }
    }

    /// The files that the configuration names are about to be read.
    pub(super) fn and_all_that_it_names(self, config: &Config) -> Self {
        Self {
            read: after(self.read, stamps(&self.file, config)),
            ..self
        }
    }
}

impl Reloader {
    pub(super) fn new(
        source: ConfigSource,
        config: Config,
        replaceable: Replaceable,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let hangup = signal(SignalKind::hangup()).map_err(Error::Signals)?;
        let ConfigSource { file, read } = source;
        metrics.config_reloaded();
        let first = config.clone();
        let seen = read.clone();
        let standing = ReloadHealth::default();
        Ok(Self {
            file,
            first,
            current: config,
            replaceable,
            metrics,
            hangup,
            seen,
            read,
            standing,
            refused: None,
        })
    }

    /// Looks after the files every `directory.poll`, and at each SIGHUP whether they have changed or not; never returns.
    pub(super) async fn run(mut self, poll: Duration, on_hangup: impl Fn()) {
        let mut ticks = interval(poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    on_hangup();
                    self.refused = None;
                    self.reload().await;
                }
                _ = ticks.tick() => if self.is_due() {
                    self.reload().await;
                },
            }
        }
    }

    /// Whether a file is another than was read, and has come to rest. What else a refused configuration names is not known: it is read again
    /// at each look, and what it is refused for is told once.
    fn is_due(&mut self) -> bool {
        let now = stamps(&self.file, &self.current);
        let at_rest = now == self.seen;
        self.seen = now;
        if self.seen != self.read {
            self.refused = None;
            return at_rest;
        }
        at_rest && self.refused.is_some()
    }

    async fn reload(&mut self) {
        self.read = stamps(&self.file, &self.current);
        let file = self.file.clone();
        let first = self.first.clone();
        let trusted = self
            .replaceable
            .certificates
            .as_ref()
            .map(|trust| trust.now());
        let next = tokio::task::spawn_blocking(move || prepare(&file, &first, trusted.as_deref()));
        let next = next.await.map_err(|_| ReloadRefusal::BrokenOff);
        match next.and_then(|next| next) {
            Ok(next) => self.put(next),
            Err(refusal) => {
                let reason = chain(&refusal);
                if self.refused.as_ref() == Some(&reason) {
                    return;
                }
                self.standing.bad();
                self.metrics.config_reload_failed();
                tracing::error!(target: "config", "failed to reload the configuration, keeping the previous one: {reason}");
                self.refused = Some(reason);
            }
        }
    }

    fn put(&mut self, next: NextConfig) {
        let NextConfig {
            config,
            rules,
            pages,
            letters,
            mut tls,
            certified,
        } = next;
        let (trust, mut certified) = certified.unzip();
        let waiting = waiting::waiting(&self.first, &config);
        self.replaceable.rules.put(rules);
        self.replaceable.submission.put(config.submission.clone());
        self.replaceable.pages.put(pages);
        self.replaceable.letters.put(letters);
        for door in &self.replaceable.doors {
            match door {
                Tls::None => {}
                Tls::Server(door) => tls.take().into_iter().for_each(|tls| door.put(tls)),
                Tls::Certificates(door) => {
                    certified.take().into_iter().for_each(|tls| door.put(tls))
                }
            }
        }
        if let Some((current, trust)) = self.replaceable.certificates.as_ref().zip(trust) {
            self.metrics.certificate_lists_end(trust.lists_end());
            current.put(trust);
        }
        self.refused = None;
        self.metrics.config_reloaded();
        for warning in &config.warnings {
            tracing::warn!(target: "config", "{warning}");
        }
        let again = if self.standing.good() {
            ", and valid again"
        } else {
            ""
        };
        tracing::info!(target: "config", needs_restart = (!waiting.is_empty()).then(|| waiting.join(", ")), "configuration reloaded{again}");
        self.read = after(std::mem::take(&mut self.read), stamps(&self.file, &config));
        self.current = config;
    }
}

fn prepare(
    file: &Path,
    first: &Config,
    trusted: Option<&TrustStore>,
) -> Result<NextConfig, ReloadRefusal> {
    let mut config =
        Config::load(file).map_err(|mistakes| ReloadRefusal::Mistakes(mistakes.to_string()))?;
    keep_doors(&mut config, first);
    let pages = Pages::load(&config.brand, &config.login, &config.parking).map_err(Error::from)?;
    let letters = Writer::new(&config.mail, &config.login, &config.brand).map_err(Error::from)?;
    let tls = config
        .listen
        .https
        .as_ref()
        .map(gateway::tls)
        .transpose()
        .map_err(Error::Tls)?;
    // Who a certificate stands for is read from the directory by the first configuration's columns.
    let certificate = config.certificate.as_ref().filter(|next| {
        first
            .certificate
            .as_ref()
            .is_some_and(|first| (first.identity, &first.columns) == (next.identity, &next.columns))
    });
    let certified = certificate.map(|config| {
        let trust = super::load_trust(config)?;
        let acceptor = gateway::certificate_tls(&config.https, &trust).map_err(Error::Tls)?;
        Ok::<_, Error>((trust, acceptor))
    });
    let certified = certified.transpose()?;
    let ends = certified.as_ref().and_then(|(trust, _)| trust.lists_end());
    let ended = trusted.and_then(TrustStore::lists_end);
    if ends
        .zip(ended)
        .is_some_and(|(ends, ended)| ends < ended && ends <= Clock::System.now())
    {
        return Err(ReloadRefusal::OldList);
    }
    Ok(NextConfig {
        rules: Rules::of(&config),
        pages,
        letters,
        tls,
        certified,
        config,
    })
}

/// Ways in that come or go wait for a restart, and no page is to link one that is not there.
fn keep_doors(config: &mut Config, first: &Config) {
    let doors = &mut config.login.doors;
    let before = &first.login.doors;
    let is_page = |door: &Option<LoginMethod>| matches!(door, Some(LoginMethod::Page(_)));
    if is_page(&doors.password) != is_page(&before.password) {
        doors.password.clone_from(&before.password);
    }
    let is_host = |door: &Option<LoginMethod>| matches!(door, Some(LoginMethod::Host(_)));
    if is_host(&doors.certificate) || is_host(&before.certificate) {
        doors.certificate.clone_from(&before.certificate);
    }
    doors.portal.clone_from(&before.portal);
    doors.portal_sign_out.clone_from(&before.portal_sign_out);
}

/// What is there now, but with the stamps of before where there are any: what changed while it was read is to be read again.
fn after(before: Stamps, now: Stamps) -> Stamps {
    let before: HashMap<_, _> = before.into_iter().collect();
    let stamp = |(file, now): (PathBuf, _)| {
        let stamp = before.get(&file).copied().unwrap_or(now);
        (file, stamp)
    };
    now.into_iter().map(stamp).collect()
}

/// The configuration's file, and those that it names and that are read again with it.
fn stamps(file: &Path, config: &Config) -> Stamps {
    let mut files = vec![file.to_owned()];
    files.extend(
        config
            .listen
            .https
            .iter()
            .flat_map(|https| [https.cert.clone(), https.key.clone()]),
    );
    files.extend(config.certificate.iter().flat_map(|certificate| {
        let named = [
            &certificate.https.cert,
            &certificate.https.key,
            &certificate.ca_file,
        ];
        named
            .into_iter()
            .chain(&certificate.crl_files)
            .cloned()
            .collect::<Vec<_>>()
    }));
    files.extend(config.brand.logo.clone());
    if let Some(templates) = &config.brand.templates {
        let entries = std::fs::read_dir(templates).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()));
        files.extend(config::templates().map(|name| templates.join(name)));
        files.push(templates.clone());
    }
    files.sort();
    files.dedup();
    files
        .into_iter()
        .map(|file| (FileFingerprint::of_file(&file), file))
        .map(|(stamp, file)| (file, stamp))
        .collect()
}
