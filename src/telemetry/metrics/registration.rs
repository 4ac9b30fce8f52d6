//! Each metric's name, help text and buckets.

use super::family::Maker;
use super::{Error, Metrics};
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Seconds: a gateway adds fractions of a millisecond, a tariff takes seconds.
const REQUEST_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Seconds: a store in the same building answers well below a millisecond, or hardly at all.
const STORE_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0,
];
/// Seconds: at once, after the first retries, or within the life of a sign-in.
const MAIL_BUCKETS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0,
];
/// Seconds: as long as it is configured to take, and longer on a machine that is busy.
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
            requests: make.counters("requests_total", "Requests answered, by how they ended.", "outcome")?,
            request_time: make.histogram(
                "request_duration_seconds",
                "From a request's header to the end of its answer, streams and WebSockets included.",
                REQUEST_BUCKETS,
            )?,
            upstream_time: make.histogram(
                "upstream_latency_seconds",
                "From handing a request to the calculator to the header of its answer.",
                REQUEST_BUCKETS,
            )?,
            upstream_connects: make.counters(
                "upstream_connects_total",
                "New connections to the calculator's servers that requests asked for, by what became of them; checks are not counted.",
                "outcome",
            )?,
            upstream_not_asked: make.counter(
                "upstream_unavailable_total",
                "Requests answered with 502 at once, since no server of the calculator was up.",
            )?,
            upstream_up: make.gauge_table(
                "upstream_server_up",
                "1 while requests and checks find a server of the calculator well; while 0 it gets no requests.",
                &["server"],
            )?,
            upstream_breaker: make.gauge(
                "upstream_breaker",
                "1 while no server of the calculator is up and requests for it are answered with 502 at once.",
            )?,
            portal_checks: make.counters(
                "portal_checks_total",
                "Questions to the portal who is signed in there, by what it said.",
                "outcome",
            )?,
            refusals: make.counters(
                "requests_refused_total",
                "Requests refused before they were routed, by reason.",
                "reason",
            )?,
            submissions_blocked: make.counter(
                "submissions_blocked_total",
                "Requests for the Antragsversand that a session without submission was denied.",
            )?,
            cookies_withheld: make.counters(
                "calculator_cookies_withheld_total",
                "Session cookies of the calculator that were not passed on, by reason.",
                "reason",
            )?,
            forms_parked: make.counters(
                "parked_forms_total",
                "Forms that could not be forwarded when they came, by what became of them.",
                "outcome",
            )?,
            sign_ins: make.counter_table("sign_ins_total", "Steps of sign-ins, by what became of them.", &["step", "outcome"])?,
            sessions_begun: make.counters("sessions_begun_total", "Sessions begun, by what they entitle to.", "level")?,
            sessions_ended: make.counters(
                "sessions_ended_total",
                "Sessions ended by a sign-out; those that ran out or were replaced by a new sign-in are not counted.",
                "level",
            )?,
            cache_lookups: make.counters(
                "session_cache_lookups_total",
                "Sessions looked for, by whether the gateway's cache had them.",
                "result",
            )?,
            cache_size: make.gauge("session_cache_entries", "Sessions in the gateway's cache.")?,
            mails: make.counters("mails_total", "TAN mails, by what became of an attempt to send them.", "outcome")?,
            mail_delay: make.histogram(
                "mail_delay_seconds",
                "From asking for a TAN to the mail server taking the mail.",
                MAIL_BUCKETS,
            )?,
            outbox_length: make.gauge("outbox_length", "TAN mails that wait, of all gateways that share the store.")?,
            mail_relays: make.gauge_table(
                "mail_relay_ok",
                "0 while the last mail for this mail server met with trouble there.",
                &["relay"],
            )?,
            store_time: make.histograms(
                "store_latency_seconds",
                "Time of the store's operations, failed ones included.",
                "operation",
                STORE_BUCKETS,
            )?,
            store_errors: make.counters("store_errors_total", "Operations that the store failed to do, by kind.", "kind")?,
            store_hears: make.gauge(
                "store_hears_invalidations",
                "1 while this gateway hears which sessions others end; while 0 its cache is not used.",
            )?,
            store_clock_steps: make.counter(
                "store_clock_steps_total",
                "Times that the store's clock was found set forward or back by more than two seconds.",
            )?,
            directory_brokers: make.gauge("directory_brokers", "Brokers in the directory.")?,
            directory_loaded_at: make
                .gauge("directory_loaded_timestamp_seconds", "When the directory was last loaded, in Unix time.")?,
            directory_reload_failures: make.counter(
                "directory_reload_failures_total",
                "Times that a changed directory could not be loaded and the former one was kept.",
            )?,
            directory_reload_ok: make.gauge("directory_reload_ok", "1 if the last attempt to load the directory succeeded.")?,
            password_time: make.histogram(
                "password_hash_seconds",
                "Time that hashing a password took, without waiting for a turn.",
                PASSWORD_BUCKETS,
            )?,
            passwords_waiting: make.gauge("passwords_waiting", "Passwords that wait to be compared.")?,
            users: make.gauge("users", "User keys in the users file.")?,
            users_reload_failures: make.counter(
                "users_reload_failures_total",
                "Times that a changed users file could not be loaded and the former users were kept.",
            )?,
            users_reload_ok: make.gauge("users_reload_ok", "1 if the last attempt to load the users file succeeded.")?,
            config_reload_failures: make.counter(
                "config_reload_failures_total",
                "Times that a changed configuration, page template or certificate could not be used and the former one was kept.",
            )?,
            config_reload_ok: make.gauge("config_reload_ok", "1 if what the configuration and its files say is in force.")?,
            certificate_lists_end: make.gauge(
                "certificate_lists_end_timestamp_seconds",
                "When the first of the lists of revoked certificates is too old to be believed, in Unix time; 0 without such lists.",
            )?,
            connections: make.gauge("connections_open", "Connections of clients that are open.")?,
            rejections: make.counters(
                "connections_rejected_total",
                "Connections of clients turned away, by reason.",
                "reason",
            )?,
            websockets_cut: make.counter("websockets_cut_total", "WebSockets cut because their session ended.")?,
            guess_breaker: make.gauge(
                "tan_guess_breaker",
                "1 while the budget of wrong TANs over all brokers is spent and untrusted browsers get long TANs.",
            )?,
            guess_breaker_trips: make.counter(
                "tan_guess_breaker_trips_total",
                "Times that the budget of wrong TANs over all brokers was found spent.",
            )?,
            log_lines_dropped: make
                .counter("log_lines_dropped_total", "Log lines lost because they came faster than they could be written.")?,
            panics: make.counter("panics_total", "Tasks of the gateway that broke off at a programming mistake.")?,
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
        "Always 1; the label names the version that runs.",
        &["version"],
    )?;
    info.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?
        .set(1);
    Ok(())
}
