//! Each metric's name, help text and buckets.

use super::family::Maker;
use super::{Error, Metrics};
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use std::sync::atomic::{AtomicBool, AtomicU64};

// Seconds: the gateway adds fractions of a millisecond, a tariff takes seconds.
const REQUEST_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
// Seconds: a nearby store answers well below a millisecond, or hardly at all.
const STORE_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0,
];
// Seconds: at once, after the first retries, or within the lifetime of a sign-in.
const MAIL_BUCKETS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0,
];
// Seconds: as configured, and longer on a busy machine.
const PASSWORD_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// Two metrics of one name; a mistake in this file.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let mut make = Maker {
            registry: &registry,
            docs: Vec::new(),
        };
        build_info(&mut make)?;
        Ok(Self {
            requests: make.counters("requests_total", "Requests completed, by outcome.", "outcome")?,
            request_time: make.histogram(
                "request_duration_seconds",
                "Time from a request's header to the end of its response, streams and WebSockets included.",
                REQUEST_BUCKETS,
            )?,
            upstream_time: make.histogram(
                "upstream_latency_seconds",
                "Time from forwarding a request to the header of the calculator's response.",
                REQUEST_BUCKETS,
            )?,
            upstream_connects: make.counters(
                "upstream_connects_total",
                "New upstream connections for requests, by outcome; health checks are not counted.",
                "outcome",
            )?,
            upstream_not_asked: make.counter(
                "upstream_unavailable_total",
                "Requests answered with 502 at once because no server of the calculator was up.",
            )?,
            upstream_up: make.gauge_table(
                "upstream_server_up",
                "1 while a server of the calculator is healthy; while 0 it gets no requests.",
                &["server"],
            )?,
            upstream_breaker: make.gauge(
                "upstream_breaker",
                "1 while no server of the calculator is up and its requests get 502 at once.",
            )?,
            portal_checks: make.counters(
                "portal_checks_total",
                "Sign-in checks at the portal, by outcome.",
                "outcome",
            )?,
            refusals: make.counters(
                "requests_refused_total",
                "Requests refused before routing, by reason.",
                "reason",
            )?,
            submissions_blocked: make.counter(
                "submissions_blocked_total",
                "Submissions (Antragsversand) denied to sessions without a confirmed address.",
            )?,
            cookies_withheld: make.counters(
                "calculator_cookies_withheld_total",
                "Session cookies of the calculator that were withheld, by reason.",
                "reason",
            )?,
            forms_parked: make.counters(
                "parked_forms_total",
                "Held forms, by outcome.",
                "outcome",
            )?,
            sign_ins: make.counter_table("sign_ins_total", "Sign-in steps, by outcome.", &["step", "outcome"])?,
            sessions_begun: make.counters("sessions_begun_total", "Sessions started, by level.", "level")?,
            sessions_ended: make.counters(
                "sessions_ended_total",
                "Sessions ended by a sign-out, by level; expired and replaced ones are not counted.",
                "level",
            )?,
            cache_lookups: make.counters(
                "session_cache_lookups_total",
                "Session cache lookups, by result.",
                "result",
            )?,
            cache_size: make.gauge("session_cache_entries", "Entries of the session cache.")?,
            mails: make.counters("mails_total", "Attempts to send a TAN mail, by outcome.", "outcome")?,
            mail_delay: make.histogram(
                "mail_delay_seconds",
                "Time from requesting a TAN to the mail server accepting the mail.",
                MAIL_BUCKETS,
            )?,
            outbox_length: make.gauge("outbox_length", "TAN mails waiting in the store, all gateways together.")?,
            mail_relays: make.gauge_table(
                "mail_relay_ok",
                "0 after the last mail failed at this mail server.",
                &["relay"],
            )?,
            store_time: make.histograms(
                "store_latency_seconds",
                "Duration of store operations, failed ones included.",
                "operation",
                STORE_BUCKETS,
            )?,
            store_errors: make.counters("store_errors_total", "Failed store operations, by kind of failure.", "kind")?,
            store_hears: make.gauge(
                "store_hears_invalidations",
                "1 while this gateway receives session invalidations; while 0 the session cache is off.",
            )?,
            store_clock_steps: make.counter(
                "store_clock_steps_total",
                "Times that the store's clock jumped by more than two seconds.",
            )?,
            directory_brokers: make.gauge("directory_brokers", "Brokers in the directory.")?,
            directory_loaded_at: make
                .gauge("directory_loaded_timestamp_seconds", "Unix time of the last successful load of the directory.")?,
            directory_reload_failures: make.counter(
                "directory_reload_failures_total",
                "Failed reloads of the directory; the previous one was kept.",
            )?,
            directory_reload_ok: make.gauge("directory_reload_ok", "1 if the last load of the directory succeeded.")?,
            password_time: make.histogram(
                "password_hash_seconds",
                "Time to hash a password, without the time in the queue.",
                PASSWORD_BUCKETS,
            )?,
            passwords_waiting: make.gauge("passwords_waiting", "Passwords waiting for a hasher.")?,
            users: make.gauge("users", "User keys in the users file.")?,
            users_reload_failures: make.counter(
                "users_reload_failures_total",
                "Failed reloads of the users file; the previous users were kept.",
            )?,
            users_reload_ok: make.gauge("users_reload_ok", "1 if the last load of the users file succeeded.")?,
            config_reload_failures: make.counter(
                "config_reload_failures_total",
                "Failed reloads of configuration, templates or certificates; the previous ones were kept.",
            )?,
            config_reload_ok: make.gauge("config_reload_ok", "1 if the configuration and its files, as they are now, are in force.")?,
            certificate_lists_end: make.gauge(
                "certificate_lists_end_timestamp_seconds",
                "Unix time of the earliest nextUpdate of the revocation lists; 0 without lists.",
            )?,
            connections: make.gauge("connections_open", "Open client connections.")?,
            rejections: make.counters(
                "connections_rejected_total",
                "Client connections rejected, by reason.",
                "reason",
            )?,
            websockets_cut: make.counter("websockets_cut_total", "WebSockets closed because their session ended.")?,
            guess_breaker: make.gauge(
                "tan_guess_breaker",
                "1 while limits.wrong_tans_all is exhausted and untrusted browsers get long TANs.",
            )?,
            guess_breaker_trips: make.counter(
                "tan_guess_breaker_trips_total",
                "Times that limits.wrong_tans_all was exhausted.",
            )?,
            log_lines_dropped: make
                .counter("log_lines_dropped_total", "Log lines dropped because they arrived faster than they could be written.")?,
            panics: make.counter("panics_total", "Panicked tasks: a bug in the gateway.")?,
            guess_breaker_is_open: AtomicBool::new(false),
            log_lines_dropped_so_far: AtomicU64::new(0),
            docs: make.docs,
            registry,
        })
    }
}

fn build_info(make: &mut Maker<'_>) -> Result<(), prometheus::Error> {
    let info = make.gauge_table(
        "build_info",
        "Always 1; the label has the running version.",
        &["version"],
    )?;
    info.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
        .set(1);
    Ok(())
}
