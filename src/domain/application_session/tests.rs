//! Which cookies are sessions, whose, and where they are set.

use super::*;

fn usual() -> SessionCookies {
    SessionCookies::usual([])
}

fn canonical(name: &str, value: &str) -> String {
    String::from_utf8(
        ApplicationSessionId {
            name: name.as_bytes(),
            value: value.as_bytes(),
        }
        .to_bytes(),
    )
    .expect("ASCII")
}

fn broker(number: u32) -> Vtnr {
    Vtnr::from_number(601_234_567 + number).expect("nine digits")
}

fn is_session(cookies: &SessionCookies, name: &[u8]) -> bool {
    cookies.contain(&ApplicationSessionId {
        name,
        value: b"0A1B2C3D4E5F",
    })
}

#[test]
fn session_cookies_are_known_by_name_in_every_spelling() {
    for name in [
        &b"JSESSIONID"[..],
        b"jsessionid",
        b"__Host-JSESSIONID",
        b"__Secure-PHPSESSID",
        b"ASPSESSIONIDQQABCDEF",
        b"asp.net_sessionid",
        b"asp_net_sessionid",
        b".AspNetCore.Session",
        b"laravel_session",
        b"laravel.session",
        b"ci[session",
        b"_rechner_session",
        b"sid",
        b"connect.sid",
        b"wordpress_logged_in_0123456789abcdef0123456789abcdef",
        b"%50HPSESSID",
        b"\xe2\x80\x80sessionid",
        b"session\xc2\xa0id",
    ] {
        assert!(
            is_session(&usual(), name),
            "{}",
            String::from_utf8_lossy(name)
        );
    }
    for name in [
        "theme",
        "",
        "xJSESSIONID",
        "JSESSIONIDX",
        "ansicht",
        "_pk_id.7.1fff",
        "XSRF-TOKEN",
        "vtnr_sessions",
        "xsession",
        "sessionTheme",
        ".AspNet.Consent",
        ".AspNetCore.Culture",
    ] {
        assert!(!is_session(&usual(), name.as_bytes()), "{name}");
    }
    let own = SessionCookies::new(["RECHNER", "part*", "*_teil"]);
    assert!(
        is_session(&own, b"rechner")
            && is_session(&own, b"PARTNER")
            && is_session(&own, b"ein.TEIL")
    );
    assert!(!is_session(&own, b"JSESSIONID"));
    assert!(
        !is_session(&own.clone().except(&["Rechner".to_owned()]), b"RECHNER")
            && is_session(&own, b"part")
    );
}

#[test]
fn a_value_too_short_to_be_a_secret_is_no_session_unless_its_cookie_was_named() {
    let with = |cookies: &SessionCookies, value: &[u8]| {
        cookies.contain(&ApplicationSessionId {
            name: b"SID",
            value,
        })
    };
    for (value, by_usual_name, by_its_own) in [
        (&b""[..], false, false),
        (b"\"\"", false, false),
        (b"deleted", false, true),
        (b"48213", false, true),
        (b"4821-3abc", true, true),
    ] {
        let named = SessionCookies::new(["SID"]);
        assert_eq!(
            (with(&usual(), value), with(&named, value)),
            (by_usual_name, by_its_own),
            "{value:?}"
        );
    }
}

#[test]
fn a_long_name_is_compared_as_any_other() {
    let long = "x".repeat(100);
    let own = SessionCookies::new([long.as_str()]);
    assert!(is_session(&own, long.as_bytes()) && !is_session(&own, &long.as_bytes()[1..]));
}

#[test]
fn every_spelling_of_a_value_is_the_same_session() {
    let one = canonical("PHPSESSID", "0A1B/c+d=");
    for (name, value) in [
        ("PHPSESSID", "\"0A1B/c+d=\""),
        ("phpsessid", "0a1b/c+d"),
        ("%50HPSESSID", "%30A1B%2fc+d"),
        ("PHPSESSID", " 0A1*Bcd "),
        ("__Host-PHPSESSID", "\"\\0A1Bcd\""),
    ] {
        assert_eq!(canonical(name, value), one, "{name} {value}");
    }
    for value in ["0A1C/c+d=", "0A1B", "%0A1Bcd", "0A1Bcdx"] {
        assert_ne!(canonical("PHPSESSID", value), one, "{value}");
    }
    assert_eq!(canonical("a.b", "%zz%4"), "a_b=zz4");
}

#[test]
fn the_node_that_servlet_containers_name_after_a_session_does_not_count() {
    let one = canonical("JSESSIONID", "node0abc");
    for value in [
        "node0abc.node0",
        "node0abc.zzz",
        "node0abc!1234!5678",
        "node0abc:clone",
        "node0abc%2enode1",
        "\"node0abc.n\"",
    ] {
        assert_eq!(canonical("JSESSIONID", value), one, "{value}");
    }
    assert_ne!(canonical("JSESSIONID", "node0abd.node0"), one);
    assert_ne!(
        canonical("connect.sid", "s:one.signature"),
        canonical("connect.sid", "s:two.signature")
    );
}

#[test]
fn a_session_belongs_to_those_whom_the_calculator_gave_it() {
    let of_one = ApplicationSession::of(broker(0));
    assert!(of_one.belongs_to(broker(0)) && !of_one.belongs_to(broker(1)));
    let of_both = of_one.and(broker(1));
    assert!(of_both.belongs_to(broker(0)) && of_both.belongs_to(broker(1)));
    let of_many = (2..20).fold(of_both, |session, number| session.and(broker(number)));
    assert!(
        of_many.owners().len() == 8
            && of_many.belongs_to(broker(19))
            && !of_many.belongs_to(broker(0))
    );
}

#[test]
fn scopes_are_learnt_once_and_within_bounds() {
    let scope = |path: &str| CookieScope {
        name: "JSESSIONID".into(),
        path: Some(path.into()),
        domain: None,
        partitioned: false,
    };
    let mut scopes = CookieScopes::default();
    assert!(scopes.add(&[scope("/a"), scope("/a"), scope("/b")]) && !scopes.add(&[scope("/b")]));
    assert_eq!(
        (
            scopes.all().len(),
            scopes.of("JSESSIONID").count(),
            scopes.of("x").count()
        ),
        (2, 2, 0)
    );
    let many: Vec<_> = (0..100).map(|number| scope(&number.to_string())).collect();
    assert!(scopes.add(&many) && scopes.all().len() == 64);
}

#[test]
fn scopes_are_those_of_the_record_and_owners_are_remembered_for_thirty_days() {
    let scope = CookieScope {
        name: "JSESSIONID".into(),
        path: Some("/app".into()),
        domain: None,
        partitioned: false,
    };
    let scopes = CookieScopes::from_scopes(vec![scope.clone()]);
    assert!(scopes.has(&scope));
    assert_eq!(scopes.all().len(), 1);
    let days = |lifetime: Duration| lifetime.as_secs() / 86_400;
    assert_eq!(days(ApplicationSession::LIFETIME), 30);
    assert_eq!(days(ApplicationSession::UNUSED_LIFETIME), 1);
}
