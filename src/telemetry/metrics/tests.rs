use super::*;
use std::collections::{BTreeMap, BTreeSet};

fn metrics() -> Metrics {
    Metrics::new().expect("registered")
}

fn values_of<L: Label>() -> BTreeSet<&'static str> {
    L::ALL.iter().map(|value| value.as_str()).collect()
}

const SERVER: &str = "192.0.2.1:8080";

/// Touches every time series that can come about.
fn touch_everything(metrics: &Metrics) {
    let took = Duration::from_millis(3);
    Request::ALL
        .iter()
        .for_each(|outcome| metrics.request(*outcome, took));
    Refusal::ALL
        .iter()
        .for_each(|reason| metrics.request_refused(*reason));
    StoreOperation::ALL
        .iter()
        .for_each(|operation| metrics.store_took(*operation, took));
    StoreTrouble::ALL
        .iter()
        .for_each(|trouble| metrics.store_failed(*trouble));
    Rejection::ALL
        .iter()
        .for_each(|reason| metrics.connection_rejected(*reason));
    Connect::ALL
        .iter()
        .for_each(|outcome| metrics.upstream_connected(*outcome));
    PortalCheck::ALL
        .iter()
        .for_each(|outcome| metrics.portal_checked(*outcome));
    metrics.upstream_servers(&[(SERVER.parse().expect("an address"), true)]);
    metrics.mail_relay_fails("mail.insurer.example:587");
    for step in Step::ALL {
        Outcome::ALL
            .iter()
            .for_each(|outcome| metrics.sign_in(*step, *outcome));
    }
}

#[test]
fn every_metric_has_the_prefix_and_a_help_text() {
    let metrics = metrics();
    touch_everything(&metrics);
    let families = metrics.registry.gather();
    for family in &families {
        assert!(
            family.help().ends_with('.') && family.help().len() > 12,
            "{}: {:?}",
            family.name(),
            family.help()
        );
    }
    let shown: BTreeSet<&str> = families
        .iter()
        .map(|family| family.name())
        .filter(|name| !name.starts_with("process_"))
        .collect();
    let named: BTreeSet<&str> = metrics.docs().iter().map(|doc| doc.name.as_str()).collect();
    assert_eq!(shown, named);
    assert!(
        named.iter().all(|name| name.starts_with(family::PREFIX)),
        "{named:?}"
    );
}

#[test]
fn no_label_has_a_value_from_outside_its_enum() {
    let metrics = metrics();
    touch_everything(&metrics);
    let allowed = BTreeMap::from([
        ("requests_total outcome", values_of::<Request>()),
        ("requests_refused_total reason", values_of::<Refusal>()),
        (
            "calculator_cookies_withheld_total reason",
            values_of::<Withheld>(),
        ),
        ("parked_forms_total outcome", values_of::<HeldFormOutcome>()),
        ("sign_ins_total step", values_of::<Step>()),
        ("sign_ins_total outcome", values_of::<Outcome>()),
        ("sessions_begun_total level", values_of::<SessionLevel>()),
        ("sessions_ended_total level", values_of::<SessionLevel>()),
        ("session_cache_lookups_total result", values_of::<Lookup>()),
        ("mails_total outcome", values_of::<Mail>()),
        (
            "store_latency_seconds operation",
            values_of::<StoreOperation>(),
        ),
        ("store_errors_total kind", values_of::<StoreTrouble>()),
        ("upstream_connects_total outcome", values_of::<Connect>()),
        ("portal_checks_total outcome", values_of::<PortalCheck>()),
        ("upstream_server_up server", BTreeSet::from([SERVER])),
        (
            "connections_rejected_total reason",
            values_of::<Rejection>(),
        ),
        (
            "build_info version",
            BTreeSet::from([env!("CARGO_PKG_VERSION")]),
        ),
        // As many as are configured.
        (
            "mail_relay_ok relay",
            BTreeSet::from(["mail.insurer.example:587"]),
        ),
    ]);
    for family in metrics.registry.gather() {
        for label in family
            .get_metric()
            .iter()
            .flat_map(|metric| metric.get_label())
        {
            let key = format!(
                "{} {}",
                family.name().trim_start_matches(family::PREFIX),
                label.name()
            );
            let values = allowed
                .get(key.as_str())
                .unwrap_or_else(|| panic!("{key} is not a known label"));
            assert!(values.contains(label.value()), "{key}: {}", label.value());
        }
    }
}

#[test]
fn what_never_happened_shows_as_zero() {
    let text = metrics().render().expect("rendered");
    for line in [
        "mails_total{outcome=\"refused\"} 0",
        "requests_total{outcome=\"failed\"} 0",
        "panics_total 0",
    ] {
        assert!(
            text.contains(&format!("\nvtnr_gateway_{line}\n")),
            "{line} is missing from\n{text}"
        );
    }
}

#[test]
fn what_happened_is_counted_once() {
    let metrics = metrics();
    metrics.sign_in(Step::Tan, Outcome::Wrong);
    metrics.mail_accepted(Duration::from_millis(400));
    metrics.directory_loaded(4_000, Timestamp::from_millis(1_700_000_000_900));
    metrics.log_lines_dropped(7);
    metrics.log_lines_dropped(7);
    let text = metrics.render().expect("rendered");
    for line in [
        "sign_ins_total{outcome=\"wrong\",step=\"tan\"} 1",
        "mails_total{outcome=\"accepted\"} 1",
        "mail_delay_seconds_bucket{le=\"0.5\"} 1",
        "mail_delay_seconds_bucket{le=\"0.25\"} 0",
        "directory_brokers 4000",
        "directory_loaded_timestamp_seconds 1700000000",
        "log_lines_dropped_total 7",
    ] {
        assert!(
            text.contains(&format!("\nvtnr_gateway_{line}\n")),
            "{line} is missing from\n{text}"
        );
    }
}

#[test]
fn the_breaker_of_guesses_is_news_only_when_it_opens() {
    let metrics = metrics();
    assert!(metrics.guess_breaker_open());
    assert!(!metrics.guess_breaker_open());
    metrics.guess_breaker_closed();
    assert!(metrics.guess_breaker_open());
    assert_eq!(metrics.guess_breaker_trips.get(), 2);
}
