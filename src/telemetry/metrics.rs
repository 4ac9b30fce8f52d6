//! Prometheus metrics behind typed methods, on a registry of their own.
//!
//! A new metric is a field here, with name and help text in `registration.rs` and, for labels, an enum in
//! `labels.rs`; `make docs` then updates the handbook.

mod family;
mod labels;
mod registration;

pub use labels::{
    Connect, HeldFormOutcome, Label, Lookup, Mail, Outcome, PortalCheck, Refusal, Rejection,
    Request, SessionLevel, Step, StoreOperation, StoreTrouble, Withheld,
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

/// Failure to register or encode the metrics.
#[derive(Debug, thiserror::Error)]
#[error("metrics")]
pub struct Error(#[from] prometheus::Error);

/// All metrics of the gateway; `registration.rs` has their help texts.
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
    forms_parked: Counters<HeldFormOutcome>,
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
    /// Documents all metrics except the usual `process_*`.
    pub fn docs(&self) -> &[MetricDoc] {
        &self.docs
    }

    /// Renders all metrics in Prometheus's text format, version 0.0.4.
    ///
    /// # Errors
    /// The encoder rejects a metric.
    pub fn render(&self) -> Result<String, Error> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }

    /// Counts a completed request.
    pub fn request(&self, outcome: Request, took: Duration) {
        self.requests.count(outcome);
        self.request_time.observe(took.as_secs_f64());
    }

    /// Observes the calculator's latency up to the response header.
    pub fn upstream_answered(&self, after: Duration) {
        self.upstream_time.observe(after.as_secs_f64());
    }

    /// Counts an attempt to connect to the calculator for a request.
    pub fn upstream_connected(&self, outcome: Connect) {
        self.upstream_connects.count(outcome);
    }

    /// Counts a request that got 502 because no server was up.
    pub fn upstream_not_asked(&self) {
        self.upstream_not_asked.inc();
    }

    /// Reports which servers of the calculator are up.
    pub fn upstream_servers(&self, servers: &[(SocketAddr, bool)]) {
        for (address, is_up) in servers {
            self.upstream_up
                .with_label_values(&[&address.to_string()])
                .set(i64::from(*is_up));
        }
        self.upstream_breaker
            .set(i64::from(!servers.iter().any(|(_, is_up)| *is_up)));
    }

    /// Removes a server that is no longer one of the calculator's.
    pub fn upstream_server_gone(&self, address: SocketAddr) {
        // Removing an unknown server is harmless.
        let _ = self
            .upstream_up
            .remove_label_values(&[&address.to_string()]);
    }

    /// Reports the earliest `nextUpdate` of the revocation lists; `None` without lists.
    pub fn certificate_lists_end(&self, at: Option<Timestamp>) {
        self.certificate_lists_end.set(at.map_or(0, |at| {
            i64::try_from(at.as_millis() / 1_000).unwrap_or(i64::MAX)
        }));
    }

    /// Counts a sign-in check at the portal.
    pub fn portal_checked(&self, outcome: PortalCheck) {
        self.portal_checks.count(outcome);
    }

    /// Counts a request refused before routing.
    pub fn request_refused(&self, reason: Refusal) {
        self.refusals.count(reason);
    }

    /// Counts a submission denied for want of a confirmed address.
    pub fn submission_blocked(&self) {
        self.submissions_blocked.inc();
    }

    /// Counts a withheld session cookie of the calculator.
    pub fn cookie_withheld(&self, reason: Withheld) {
        self.cookies_withheld.count(reason);
    }

    /// Counts a step in the life of a held form.
    pub fn form_parked(&self, outcome: HeldFormOutcome) {
        self.forms_parked.count(outcome);
    }

    /// Counts a completed step of a sign-in.
    pub fn sign_in(&self, step: Step, outcome: Outcome) {
        self.sign_ins
            .with_label_values(&[step.as_str(), outcome.as_str()])
            .inc();
    }

    pub fn session_begun(&self, level: impl Into<SessionLevel>) {
        self.sessions_begun.count(level.into());
    }

    /// Counts a session ended by a sign-out.
    pub fn session_ended(&self, level: impl Into<SessionLevel>) {
        self.sessions_ended.count(level.into());
    }

    /// Counts a session cache lookup.
    pub fn session_looked_up(&self, lookup: Lookup) {
        self.cache_lookups.count(lookup);
    }

    /// Reports the size of the session cache.
    pub fn session_cache_holds(&self, sessions: usize) {
        self.cache_size.set(whole(sessions));
    }

    /// Counts an attempt to send a mail.
    pub fn mail(&self, outcome: Mail) {
        self.mails.count(outcome);
    }

    /// Observes the delay from request to acceptance of a mail.
    pub fn mail_accepted(&self, after: Duration) {
        self.mails.count(Mail::Accepted);
        self.mail_delay.observe(after.as_secs_f64());
    }

    /// Marks a mail server as working.
    pub fn mail_relay_works(&self, relay: &str) {
        self.mail_relays.with_label_values(&[relay]).set(1);
    }

    /// Marks a mail server as failing.
    pub fn mail_relay_fails(&self, relay: &str) {
        self.mail_relays.with_label_values(&[relay]).set(0);
    }

    /// Reports the length of the outbox.
    pub fn outbox_holds(&self, letters: u64) {
        self.outbox_length.set(whole(letters));
    }

    /// Observes a store operation, with its failure if any.
    pub fn store_took(&self, operation: StoreOperation, took: Duration) {
        self.store_time.took(operation, took);
    }

    pub fn store_failed(&self, trouble: StoreTrouble) {
        self.store_errors.count(trouble);
    }

    /// Reports that session invalidations arrive.
    pub fn invalidations_heard(&self) {
        self.store_hears.set(1);
    }

    /// Reports that session invalidations do not arrive.
    pub fn invalidations_missed(&self) {
        self.store_hears.set(0);
    }

    /// Reports a successful load of the directory.
    pub fn directory_loaded(&self, brokers: usize, at: Timestamp) {
        self.directory_brokers.set(whole(brokers));
        self.directory_loaded_at.set(whole(at.as_millis() / 1_000));
        self.directory_reload_ok.set(1);
    }

    /// Counts a failed reload of the directory.
    pub fn directory_reload_failed(&self) {
        self.directory_reload_failures.inc();
        self.directory_reload_ok.set(0);
    }

    /// Observes the time to hash a password.
    pub fn password_hashed(&self, took: Duration) {
        self.password_time.observe(took.as_secs_f64());
    }

    /// Counts a password into the queue.
    pub fn password_waits(&self) {
        self.passwords_waiting.inc();
    }

    /// Counts a password out of the queue, hashed or abandoned.
    pub fn password_waits_no_more(&self) {
        self.passwords_waiting.dec();
    }

    /// Reports a successful load of the users file.
    pub fn users_loaded(&self, users: usize) {
        self.users.set(whole(users));
        self.users_reload_ok.set(1);
    }

    /// Counts a failed reload of the users file.
    pub fn users_reload_failed(&self) {
        self.users_reload_failures.inc();
        self.users_reload_ok.set(0);
    }

    /// Reports a successful reload of the configuration.
    pub fn config_reloaded(&self) {
        self.config_reload_ok.set(1);
    }

    /// Counts a failed reload of the configuration.
    pub fn config_reload_failed(&self) {
        self.config_reload_failures.inc();
        self.config_reload_ok.set(0);
    }

    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// Counts a client connection out.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Counts a jump of the store's clock.
    pub fn store_clock_stepped(&self) {
        self.store_clock_steps.inc();
    }

    /// Counts a WebSocket closed because its session ended.
    pub fn websocket_cut(&self) {
        self.websockets_cut.inc();
    }

    /// Counts a rejected client connection.
    pub fn connection_rejected(&self, reason: Rejection) {
        self.rejections.count(reason);
    }

    /// Opens the breaker for guessed TANs; true if it was closed before, which calls for an alarm.
    pub fn guess_breaker_open(&self) -> bool {
        let news = !self.guess_breaker_is_open.swap(true, Ordering::SeqCst);
        if news {
            self.guess_breaker_trips.inc();
        }
        self.guess_breaker.set(1);
        news
    }

    /// Closes the breaker for guessed TANs.
    pub fn guess_breaker_closed(&self) {
        self.guess_breaker_is_open.store(false, Ordering::SeqCst);
        self.guess_breaker.set(0);
    }

    /// Reports the number of log lines dropped since the start.
    pub fn log_lines_dropped(&self, since_start: u64) {
        let before = self
            .log_lines_dropped_so_far
            .fetch_max(since_start, Ordering::SeqCst);
        self.log_lines_dropped
            .inc_by(since_start.saturating_sub(before));
    }

    /// Counts a panicked task.
    pub fn panicked(&self) {
        self.panics.inc();
    }
}

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
