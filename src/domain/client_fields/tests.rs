//! What is dropped, and what arrives.

use super::*;
use std::collections::BTreeSet;

/// What browsers, their scripts and honest applications send.
#[rustfmt::skip]
const HONEST: &[&str] = &[
    "accept", "accept-charset", "accept-datetime", "accept-encoding", "accept-language", "access-control-request-headers",
    "access-control-request-method", "adf-ads-page-id", "adf-rich-message", "ajax-request", "api-key", "authorization", "cache-control",
    "connection", "content-disposition", "content-encoding", "content-language", "content-length", "content-type", "cookie", "date",
    "depth", "destination", "device-memory", "dnt", "downlink", "dpop", "dpr", "early-data", "ect", "expect", "faces-request", "from",
    "host", "hx-current-url", "hx-request", "hx-target", "idempotency-key", "if", "if-match", "if-modified-since", "if-none-match",
    "if-range", "if-unmodified-since", "keep-alive", "last-event-id", "lock-token", "max-forwards", "next-action", "next-router-state-tree",
    "origin", "overwrite", "pragma", "prefer", "priority", "purpose", "range", "referer", "rsc", "rtt", "save-data", "sec-ch-ua",
    "sec-fetch-dest", "sec-fetch-mode", "sec-gpc", "sec-websocket-key", "service-worker", "slug", "soapaction", "te", "timeout",
    "traceparent", "tracestate", "translate", "tus-resumable", "upgrade", "upgrade-insecure-requests", "upload-length", "upload-offset",
    "user-agent", "via", "viewport-width", "want-digest", "width", "x-ajax-engine", "x-ajaxpro-method", "x-api-key", "x-auth-token",
    "x-csrf-token", "x-gwt-permutation", "x-microsoftajax", "x-nextjs-data", "x-prototype-version", "x-request-id",
    "x-requested-with", "x-xsrf-token",
];

fn fields() -> ClientFields {
    let strip = ["X-Internal-*", "X_Role", "Kundennummer"].map(str::to_owned);
    ClientFields::new(
        ["X-VTNR", "X_VTNR_Level"],
        &strip,
        &["X_Legacy_Token".to_owned()],
    )
}

fn all_patterns() -> impl Iterator<Item = &'static str> {
    UNTRUSTED
        .iter()
        .flat_map(|(_, patterns)| patterns.iter().copied())
}

#[test]
fn no_untrusted_field_arrives_in_any_spelling() {
    let fields = fields();
    for pattern in all_patterns() {
        let endings: &[&str] = if pattern.ends_with('*') {
            &["", "x", "-user", "0"]
        } else {
            &[""]
        };
        for ending in endings {
            let name = format!("{}{ending}", pattern.trim_end_matches('*'));
            for separator in ["-", "_", ".", "~", "!", "$", "'", "+", "|", "`"] {
                assert!(
                    fields.drops(name.replace('-', separator).as_bytes()),
                    "{name} with {separator}"
                );
                assert!(
                    fields.drops(name.replacen('-', separator, 1).as_bytes()),
                    "{name} with one {separator}"
                );
            }
        }
    }
}

#[test]
fn a_whole_name_covers_no_longer_one_and_a_beginning_no_shorter_one() {
    let fields = fields();
    for pattern in all_patterns() {
        let name = match pattern.strip_suffix('*') {
            Some(beginning) => beginning[..beginning.len() - 1].to_owned(),
            None => format!("{pattern}zz"),
        };
        let by_another = all_patterns().any(|other| covers(other, &name));
        assert_eq!(
            fields.drops(name.as_bytes()),
            by_another,
            "{name}, of {pattern}"
        );
    }
}

#[test]
fn what_browsers_and_their_scripts_send_arrives() {
    let fields = fields();
    let dropped: Vec<_> = HONEST
        .iter()
        .filter(|name| fields.drops(name.as_bytes()))
        .collect();
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn the_gateways_own_fields_and_the_operators_are_dropped_and_those_like_them_arrive() {
    let fields = fields();
    for name in [
        "x-vtnr",
        "x_vtnr",
        "x-vtnr-level",
        "x.vtnr_level",
        "x-internal-",
        "x-internal-a",
        "x-role",
        "x_role",
        "kundennummer",
    ] {
        assert!(fields.drops(name.as_bytes()), "{name}");
    }
    for name in [
        "x-vtnr-other",
        "xvtnr",
        "x-internal",
        "x-roles",
        "kundennummern",
        "x_legacy_token",
    ] {
        assert!(!fields.drops(name.as_bytes()), "{name}");
    }
    for name in [
        "x_legacy.token",
        "x_legacy_token2",
        "x_legacy_toke",
        "_",
        "$wsra",
        "a.b",
        "x,y",
    ] {
        assert!(fields.drops(name.as_bytes()), "{name}");
    }
}

#[test]
fn each_character_is_told_from_each_other_at_each_place() {
    for byte in 0..=u8::MAX {
        let expected = byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        for (before, after) in (0..18).map(|at| (at, 17 - at)) {
            let name = [vec![b'z'; before], vec![byte], vec![b'0'; after]].concat();
            assert_eq!(is_plain(&name), expected, "{byte:#x} at {before}");
            assert_eq!(
                is_plain(&name[..=before]),
                expected,
                "{byte:#x} at the end, {before}"
            );
        }
    }
    assert!(is_plain(b"") && is_plain_name("X-VTNR") && !is_plain_name("X_VTNR"));
}

#[test]
fn a_pattern_of_one_or_two_characters_covers_what_begins_so() {
    for (pattern, name) in [
        ("q*", "quelle"),
        ("x-*", "x-requested-with"),
        ("x-*", "x-"),
        ("ab", "ab"),
    ] {
        assert!(
            ClientFields::new([], &[pattern.to_owned()], &[]).drops(name.as_bytes()),
            "{pattern} {name}"
        );
    }
    assert!(!ClientFields::new([], &["q*".to_owned()], &[]).drops(b"accept"));
}

#[test]
fn the_list_is_written_as_it_says_and_names_nothing_twice() {
    let (mut seen, all) = (BTreeSet::new(), all_patterns().collect::<Vec<_>>());
    for pattern in &all {
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        let is_normal = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(
            is_normal && name.len() >= 3 && seen.insert(name),
            "{pattern}"
        );
        let covering = all
            .iter()
            .find(|other| *other != pattern && covers(other, name));
        assert_eq!(covering, None, "{pattern} is covered");
    }
    assert!(all.len() > 200, "{}", all.len());
    assert_eq!(
        untrusted("SCRIPT~name").map(|(pattern, _)| pattern),
        Some("script-*")
    );
    assert_eq!(untrusted("X-Requested-With"), None);
}
