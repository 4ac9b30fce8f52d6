//! Puts a changed configuration in force while the gateway runs: on SIGHUP, and when one of its files has changed.
//!
//! Everything is read and built first, and put in force only if nothing is wrong. Keys that cannot change while the
//! gateway runs are named in the log and wait for a restart.

use super::Error;
use crate::clock::Clock;
use crate::config::{self, Config, LoginMethod};
use crate::gateway::{self, Acceptor, ClientCertAcceptor, Tls};
use crate::identity::certificate::TrustStore;
use crate::live::Live;
use crate::mail::Writer;
use crate::pages::Pages;
use crate::reloadable::{ChangeDetector, Fingerprints, Reloadable, Source, Update};
use crate::sign_in::Rules;
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::Metrics;
use domain::submission::SubmissionRules;
use domain::time::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The parts of the running gateway that a reload replaces.
pub(super) struct Replaceable {
    pub(super) rules: Arc<Live<Rules>>,
    pub(super) submission: Arc<Live<SubmissionRules>>,
    pub(super) pages: Arc<Live<Pages>>,
    pub(super) letters: Arc<Live<Writer>>,
    pub(super) certificates: Option<Arc<Live<TrustStore>>>,
    pub(super) tls: Vec<Tls>,
}

/// The replacements.
struct NextConfig {
    config: Config,
    rules: Rules,
    pages: Pages,
    letters: Writer,
    tls: Option<Acceptor>,
    certified: Option<(TrustStore, ClientCertAcceptor)>,
}

/// Why a configuration is not put in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadRefusal {
    #[error("{0}")]
    Mistakes(String),
    #[error(transparent)]
    Unusable(#[from] Error),
    #[error("a list of revoked certificates is out of date, and older than the one in force")]
    OldList,
}

/// Where the configuration came from, and the fingerprints of its files from before they were read.
pub struct ConfigSource {
    file: PathBuf,
    read: Fingerprints,
}

impl ConfigSource {
    /// Notes the state of the file, which is about to be read.
    pub fn new(file: PathBuf) -> Self {
        let read = Fingerprints::of([file.clone()]);
        Self { file, read }
    }

    /// Notes the state of the files that the configuration names, which are about to be read.
    pub(super) fn with_named_files(self, config: &Config) -> Self {
        Self {
            read: fingerprints(&self.file, config).preferring(&self.read),
            ..self
        }
    }
}

/// The configuration's files while the gateway runs.
pub(super) struct ConfigFiles {
    file: PathBuf,
    poll: Duration,
    /// The configuration that the gateway was started with.
    first: Config,
    replaceable: Replaceable,
    metrics: Arc<Metrics>,
    changes: ChangeDetector,
    /// The last refusal, as it was reported.
    refused: Option<String>,
}

/// The outcome of a reload.
pub(super) struct ConfigReport {
    pub(super) warnings: Vec<String>,
    /// Changed keys that wait for a restart.
    pub(super) restart_required: Vec<&'static str>,
}

/// Watches the files of the configuration that is in force.
pub(super) fn watch(
    source: ConfigSource,
    config: Config,
    replaceable: Replaceable,
    metrics: Arc<Metrics>,
) -> Arc<Reloadable<ConfigFiles>> {
    let poll = config.directory.poll;
    let files = ConfigFiles {
        file: source.file,
        poll,
        first: config.clone(),
        replaceable,
        metrics,
        changes: ChangeDetector::begin(source.read),
        refused: None,
    };
    Arc::new(Reloadable::new(files, config, poll))
}

impl Source for ConfigFiles {
    type Value = Config;
    type Report = ConfigReport;
    type Error = ReloadRefusal;

    fn is_due(&mut self, current: &Config, now: Timestamp) -> bool {
        let seen = fingerprints(&self.file, current);
        let is_due = self.changes.poll(seen, self.poll, now);
        if self.changes.is_pending() {
            self.refused = None;
            return is_due;
        }
        // A refused configuration may name files that are not watched: it is read again at each poll.
        self.refused.is_some()
    }

    fn read(&mut self, current: &Config, _: Timestamp) -> Result<Update<Self>, ReloadRefusal> {
        let before = fingerprints(&self.file, current);
        let trusted = self
            .replaceable
            .certificates
            .as_ref()
            .map(|trust| trust.now());
        let next = match prepare(&self.file, &self.first, trusted.as_deref()) {
            Ok(next) => next,
            Err(refusal) => {
                self.changes = ChangeDetector::begin(before);
                return Err(refusal);
            }
        };
        // What changed while it was read is read again.
        let read = fingerprints(&self.file, &next.config).preferring(&before);
        self.changes = ChangeDetector::begin(read);
        self.refused = None;
        let report = ConfigReport {
            warnings: next.config.warnings.clone(),
            restart_required: self.first.keys.restart_required(&next.config.keys),
        };
        Ok(Update {
            value: Some(self.put(next)),
            report,
        })
    }

    /// Each refusal is reported once.
    fn is_silent(&mut self, refusal: &ReloadRefusal) -> bool {
        let reason = Some(chain(refusal));
        let is_known = self.refused == reason;
        self.refused = reason;
        is_known
    }
}

impl ConfigFiles {
    fn put(&self, next: NextConfig) -> Config {
        let NextConfig {
            config,
            rules,
            pages,
            letters,
            mut tls,
            certified,
        } = next;
        let (trust, mut certified) = certified.unzip();
        self.replaceable.rules.put(rules);
        self.replaceable.submission.put(config.submission.clone());
        self.replaceable.pages.put(pages);
        self.replaceable.letters.put(letters);
        for listener in &self.replaceable.tls {
            match listener {
                Tls::None => {}
                Tls::Server(live) => tls.take().into_iter().for_each(|tls| live.put(tls)),
                Tls::Certificates(live) => {
                    certified.take().into_iter().for_each(|tls| live.put(tls))
                }
            }
        }
        if let Some((current, trust)) = self.replaceable.certificates.as_ref().zip(trust) {
            self.metrics.certificate_lists_end(trust.lists_end());
            current.put(trust);
        }
        config
    }
}

fn prepare(
    file: &Path,
    first: &Config,
    trusted: Option<&TrustStore>,
) -> Result<NextConfig, ReloadRefusal> {
    let mut config =
        Config::load(file).map_err(|mistakes| ReloadRefusal::Mistakes(mistakes.to_string()))?;
    keep_methods(&mut config, first);
    let pages = Pages::load(&config.brand, &config.login, &config.parking).map_err(Error::from)?;
    let letters = Writer::new(&config.mail, &config.login, &config.brand).map_err(Error::from)?;
    let tls = config
        .listen
        .https
        .as_ref()
        .map(gateway::tls)
        .transpose()
        .map_err(Error::Tls)?;
    // The directory was read by the columns of the first configuration.
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

/// Sign-in methods that are added or removed wait for a restart: no page may link one that is not there.
fn keep_methods(config: &mut Config, first: &Config) {
    let methods = &mut config.login.methods;
    let before = &first.login.methods;
    let is_page = |method: &Option<LoginMethod>| matches!(method, Some(LoginMethod::Page(_)));
    if is_page(&methods.password) != is_page(&before.password) {
        methods.password.clone_from(&before.password);
    }
    let is_host = |method: &Option<LoginMethod>| matches!(method, Some(LoginMethod::Host(_)));
    if is_host(&methods.certificate) || is_host(&before.certificate) {
        methods.certificate.clone_from(&before.certificate);
    }
    methods.portal.clone_from(&before.portal);
    methods.portal_sign_out.clone_from(&before.portal_sign_out);
}

/// The configuration's file, and the files that it names and that are read with it.
fn fingerprints(file: &Path, config: &Config) -> Fingerprints {
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
    Fingerprints::of(files)
}
