//! What the gateway counts, under verbs of the domain. Registered once, on a registry of its own.

mod family;
mod labels;
mod registration;

pub use labels::{
    Connect, Label, Lookup, Mail, Outcome, Parking, PortalCheck, Refusal, Rejection, Request,
    SessionLevel, Step, StoreOperation, StoreTrouble, Withheld,
};

use domain::time::Timestamp;
pub use family::MetricDoc;
use family::{Counters, Histograms};
use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The metrics cannot be set up or shown.
#[derive(Debug, thiserror::Error)]
#[error("metrics")]
pub struct Error(#[from] prometheus::Error);

/// Everything that is counted. The help texts in `registration.rs` are what `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    docs: Vec<MetricDoc>,
    requests: Counters<Request>,
    request_time: Histogram,
    upstream_time: Histogram,
    upstream_connects: Counters<Connect>,
    upstream_not_asked: IntCounter,
    upstream_up: IntGaugeVec,
    upstream_breaker: IntGauge,
    portal_checks: Counters<PortalCheck>,
    refusals: Counters<Refusal>,
    submissions_blocked: IntCounter,
    cookies_withheld: Counters<Withheld>,
    forms_parked: Counters<Parking>,
    sign_ins: IntCounterVec,
    sessions_begun: Counters<SessionLevel>,
    sessions_ended: Counters<SessionLevel>,
    cache_lookups: Counters<Lookup>,
    cache_size: IntGauge,
    mails: Counters<Mail>,
    mail_delay: Histogram,
    outbox_length: IntGauge,
    mail_relays: IntGaugeVec,
    store_time: Histograms<StoreOperation>,
    store_errors: Counters<StoreTrouble>,
    store_hears: IntGauge,
    store_clock_steps: IntCounter,
    directory_brokers: IntGauge,
    directory_loaded_at: IntGauge,
    directory_reload_failures: IntCounter,
    directory_reload_ok: IntGauge,
    password_time: Histogram,
    passwords_waiting: IntGauge,
    users: IntGauge,
    users_reload_failures: IntCounter,
    users_reload_ok: IntGauge,
    config_reload_failures: IntCounter,
    config_reload_ok: IntGauge,
    certificate_lists_end: IntGauge,
    connections: IntGauge,
    rejections: Counters<Rejection>,
    websockets_cut: IntCounter,
    guess_breaker: IntGauge,
    guess_breaker_trips: IntCounter,
    guess_breaker_is_open: AtomicBool,
    log_lines_dropped: IntCounter,
    log_lines_dropped_so_far: AtomicU64,
    panics: IntCounter,
}

impl Metrics {
    /// Documents all metrics but the customary `process_*`.
    pub fn docs(&self) -> &[MetricDoc] {
        &self.docs
    }

    /// Everything in Prometheus's text format, version 0.0.4.
    ///
    /// # Errors
    /// The encoder refuses a metric.
    pub fn render(&self) -> Result<String, Error> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }

    /// A request was answered.
    pub fn request(&self, outcome: Request, took: Duration) {
        self.requests.count(outcome);
        self.request_time.observe(took.as_secs_f64());
    }

    /// The calculator sent the header of its answer.
    pub fn upstream_answered(&self, after: Duration) {
        self.upstream_time.observe(after.as_secs_f64());
    }

    /// A request had a new connection made to the calculator, or tried to.
    pub fn upstream_connected(&self, outcome: Connect) {
        self.upstream_connects.count(outcome);
    }

    /// A request for the calculator was answered without asking it.
    pub fn upstream_not_asked(&self) {
        self.upstream_not_asked.inc();
    }

    /// Reports the calculator's servers, each with whether it is up.
    pub fn upstream_servers(&self, servers: &[(SocketAddr, bool)]) {
        for (address, is_up) in servers {
            self.upstream_up
                .with_label_values(&[&address.to_string()])
                .set(i64::from(*is_up));
        }
        self.upstream_breaker
            .set(i64::from(!servers.iter().any(|(_, is_up)| *is_up)));
    }

    /// Reports that a server is no longer one of the calculator's.
    pub fn upstream_server_gone(&self, address: SocketAddr) {
        // That it was never told of is as good.
        let _ = self
            .upstream_up
            .remove_label_values(&[&address.to_string()]);
    }

    /// From then on the lists of revoked certificates are too old to be believed; `None` if there are none.
    pub fn certificate_lists_end(&self, at: Option<Timestamp>) {
        self.certificate_lists_end.set(at.map_or(0, |at| {
            i64::try_from(at.as_millis() / 1_000).unwrap_or(i64::MAX)
        }));
    }

    /// The portal was asked who is signed in there.
    pub fn portal_checked(&self, outcome: PortalCheck) {
        self.portal_checks.count(outcome);
    }

    /// A request was refused before it was routed.
    pub fn request_refused(&self, reason: Refusal) {
        self.refusals.count(reason);
    }

    /// A session without submission was denied the Antragsversand.
    pub fn submission_blocked(&self) {
        self.submissions_blocked.inc();
    }

    /// A session cookie of the calculator was withheld from it, or from the browser.
    pub fn cookie_withheld(&self, reason: Withheld) {
        self.cookies_withheld.count(reason);
    }

    /// A form that could not be forwarded was kept, or not, or something became of it.
    pub fn form_parked(&self, outcome: Parking) {
        self.forms_parked.count(outcome);
    }

    /// A step of a sign-in ended.
    pub fn sign_in(&self, step: Step, outcome: Outcome) {
        self.sign_ins
            .with_label_values(&[step.as_str(), outcome.as_str()])
            .inc();
    }

    pub fn session_begun(&self, level: impl Into<SessionLevel>) {
        self.sessions_begun.count(level.into());
    }

    /// A session was ended before its time.
    pub fn session_ended(&self, level: impl Into<SessionLevel>) {
        self.sessions_ended.count(level.into());
    }

    /// A session was looked for in the cache.
    pub fn session_looked_up(&self, lookup: Lookup) {
        self.cache_lookups.count(lookup);
    }

    /// The cache holds this many sessions.
    pub fn session_cache_holds(&self, sessions: usize) {
        self.cache_size.set(whole(sessions));
    }

    /// An attempt to send a mail ended.
    pub fn mail(&self, outcome: Mail) {
        self.mails.count(outcome);
    }

    /// The mail server took a mail this long after it was asked for.
    pub fn mail_accepted(&self, after: Duration) {
        self.mails.count(Mail::Accepted);
        self.mail_delay.observe(after.as_secs_f64());
    }

    /// A mail server works, as far as is known.
    pub fn mail_relay_works(&self, relay: &str) {
        self.mail_relays.with_label_values(&[relay]).set(1);
    }

    /// The last mail for a mail server met with trouble there.
    pub fn mail_relay_fails(&self, relay: &str) {
        self.mail_relays.with_label_values(&[relay]).set(0);
    }

    /// Reports the number of mails that wait.
    pub fn outbox_holds(&self, letters: u64) {
        self.outbox_length.set(whole(letters));
    }

    /// The store did something, or failed to, in this time.
    pub fn store_took(&self, operation: StoreOperation, took: Duration) {
        self.store_time.took(operation, took);
    }

    pub fn store_failed(&self, trouble: StoreTrouble) {
        self.store_errors.count(trouble);
    }

    /// Invalidations of sessions arrive.
    pub fn invalidations_heard(&self) {
        self.store_hears.set(1);
    }

    /// Invalidations of sessions do not arrive.
    pub fn invalidations_missed(&self) {
        self.store_hears.set(0);
    }

    /// The directory was loaded.
    pub fn directory_loaded(&self, brokers: usize, at: Timestamp) {
        self.directory_brokers.set(whole(brokers));
        self.directory_loaded_at.set(whole(at.as_millis() / 1_000));
        self.directory_reload_ok.set(1);
    }

    /// The directory could not be loaded; the former one stays.
    pub fn directory_reload_failed(&self) {
        self.directory_reload_failures.inc();
        self.directory_reload_ok.set(0);
    }

    /// A password was hashed.
    pub fn password_hashed(&self, took: Duration) {
        self.password_time.observe(took.as_secs_f64());
    }

    /// A password waits to be hashed.
    pub fn password_waits(&self) {
        self.passwords_waiting.inc();
    }

    /// Reports that a password's turn has come, or that its request was given up.
    pub fn password_waits_no_more(&self) {
        self.passwords_waiting.dec();
    }

    /// The users file was loaded.
    pub fn users_loaded(&self, users: usize) {
        self.users.set(whole(users));
        self.users_reload_ok.set(1);
    }

    /// The users file could not be loaded; the former users stay.
    pub fn users_reload_failed(&self) {
        self.users_reload_failures.inc();
        self.users_reload_ok.set(0);
    }

    /// A changed configuration came into force.
    pub fn config_reloaded(&self) {
        self.config_reload_ok.set(1);
    }

    /// A changed configuration cannot be used; the former one stays.
    pub fn config_reload_failed(&self) {
        self.config_reload_failures.inc();
        self.config_reload_ok.set(0);
    }

    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A client's connection ended.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// The store's clock jumped.
    pub fn store_clock_stepped(&self) {
        self.store_clock_steps.inc();
    }

    /// A WebSocket was cut because its session ended.
    pub fn websocket_cut(&self) {
        self.websockets_cut.inc();
    }

    /// A client was turned away.
    pub fn connection_rejected(&self, reason: Rejection) {
        self.rejections.count(reason);
    }

    /// The budget of wrong TANs over all brokers was found spent. True if it was not so before: a reason for an alarm.
    pub fn guess_breaker_open(&self) -> bool {
        let news = !self.guess_breaker_is_open.swap(true, Ordering::SeqCst);
        if news {
            self.guess_breaker_trips.inc();
        }
        self.guess_breaker.set(1);
        news
    }

    /// The budget of wrong TANs over all brokers has room.
    pub fn guess_breaker_closed(&self) {
        self.guess_breaker_is_open.store(false, Ordering::SeqCst);
        self.guess_breaker.set(0);
    }

    /// Reports the number of log lines lost since the start.
    pub fn log_lines_dropped(&self, since_start: u64) {
        let before = self
            .log_lines_dropped_so_far
            .fetch_max(since_start, Ordering::SeqCst);
        self.log_lines_dropped
            .inc_by(since_start.saturating_sub(before));
    }

    /// A task broke off.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
