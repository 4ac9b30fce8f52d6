//! Whatever is put into our parameters, cookies and addresses: no fault of ours, no other host, no forged line in the log.

use super::house::{FREE, House, LOGIN, Visitor};
use super::redirects;
use crate::support::browser::page;
use crate::support::upstream::latin1;
use crate::support::world::{ADA, BEN, StoreKind};
use crate::support::{Browser, World};
use reqwest::Url;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

#[tokio::test]
async fn no_parameter_of_ours_makes_a_fault_whatever_it_holds() {
    let house = House::open().await;
    let browser = house.behind.world.browser();
    let tan = house.behind.world.ask(&browser, BEN).await;
    let flow = format!(
        "Cookie: __Host-vtnr_flow={}\r\n",
        browser.cookie("__Host-vtnr_flow").expect("a sign-in")
    );
    let long = "9".repeat(100 << 10);
    let mut bodies: Vec<(String, Option<u16>)> = [
        "",
        "=",
        "&&&=&",
        "%",
        "%zz=%",
        "=60/123/4568",
        "a=1;vtnr=2",
        "vtnr[]=1&tan[x]=2",
        "\0",
        "{\"vtnr\":1}",
    ]
    .map(|body| (body.to_owned(), None))
    .into();
    for name in [
        "vtnr",
        "email",
        "tan",
        "action",
        "forget_browser",
        "return_to",
    ] {
        for value in [
            "",
            "%",
            "%0",
            "%00",
            "%0d%0a",
            "+",
            "..",
            "%F0%9F%92%A9",
            "%E2%80%AE",
            "-1",
            "0",
            "99999999999999999999",
            "%00%00%00%00%00%00",
        ] {
            bodies.push((format!("{name}={value}"), None));
        }
        bodies.push((name.to_owned(), None));
        bodies.push((format!("{name}=&{name}="), Some(400)));
        bodies.push((format!("{name}=1&{name}=2"), Some(400)));
        bodies.push((format!("{name}=%ff"), Some(400)));
        bodies.push((format!("{name}={}", &long[..16_000]), None));
        bodies.push((format!("{name}={long}"), Some(413)));
        bodies.push((format!("{}={name}", &long[..16_000]), None));
    }
    for page in [
        "vtnr-login",
        "tan",
        "unbekannte-e-mail",
        "abmelden",
        "eingabe",
    ] {
        for (body, expected) in &bodies {
            let line = format!("POST {LOGIN}{page}");
            let request = house.request(
                Visitor::Nobody,
                &line,
                &format!("{flow}{FORM}Content-Length: {}\r\n", body.len()),
            );
            let status = house.status_of(format!("{request}{body}")).await;
            let what = format!("{line}: {} {status}", &body[..body.len().min(60)]);
            assert!(
                (200..500).contains(&status) && expected.is_none_or(|expected| expected == status),
                "{what}"
            );
        }
        for kind in [
            "",
            "Content-Type: multipart/form-data; boundary=x\r\n",
            "Content-Type: text/plain\r\n",
            "Content-Type: \u{e4}\r\n",
        ] {
            let request = house.request(
                Visitor::Nobody,
                &format!("POST {LOGIN}{page}"),
                &format!("{flow}{kind}Content-Length: 6\r\n"),
            );
            assert_eq!(
                house.status_of(format!("{request}vtnr=1")).await,
                400,
                "{page} {kind}"
            );
        }
    }
    for page in [
        "",
        "vtnr-login",
        "tan",
        "unbekannte-e-mail",
        "abmelden",
        "eingabe",
        "hilfe",
        "status",
        "nichts",
    ] {
        for name in ["return_to", "nr", "vtnr", "tan", "action"] {
            for query in [
                name.to_owned(),
                format!("{name}="),
                format!("{name}=%"),
                format!("{name}=%ff%00"),
                format!("{name}=a&{name}=b"),
                format!("&=&;{name}=0"),
                format!("{name}={}", &long[..60_000]),
            ] {
                let status = house
                    .status(
                        Visitor::Nobody,
                        &format!("GET {LOGIN}{page}?{query}"),
                        &flow,
                    )
                    .await;
                assert!(
                    (200..500).contains(&status),
                    "{page}?{}: {status}",
                    &query[..query.len().min(60)]
                );
            }
        }
    }
    browser.enter_tan(&tan, "/").await.leads_to("/");
    house.still_stands().await;
}

#[tokio::test]
async fn no_cookie_field_makes_a_fault_or_a_session_and_none_hides_one() {
    let house = House::open().await;
    let session = house.cookie(Visitor::Broker).to_owned();
    let token = session.split_once('=').expect("a cookie").1;
    let crumbs = "a=b; ".repeat(4_096);
    let sound = [
        format!("; ; =; {session}"),
        format!("{session}; ; ="),
        format!("={session}; {session}"),
        format!("{crumbs}{session}"),
        format!("$Version=1; {session}; $Path=/"),
        format!("a=\"x; {session}; y\""),
        format!("\u{e4}=\u{fc}; {session}"),
        format!("__Host-vtnr_flow=x; {session}; __Host-vtnr_trust=; __Host-vtnr_parked"),
        format!("{session};{session}"),
    ];
    for cookie in &sound {
        let request = format!(
            "GET /kfz HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n",
            house.behind.host
        );
        assert_eq!(
            house.status_of(bytes(&request)).await,
            200,
            "{}",
            &latin1(&bytes(cookie))[..60]
        );
        let seen = house.behind.upstream.last();
        let names = seen
            .values("cookie")
            .into_iter()
            .flat_map(|cookie| cookie.split(';'))
            .map(str::trim);
        assert!(
            names
                .into_iter()
                .all(|name| !name.starts_with("__Host-vtnr_")),
            "{seen:#?}"
        );
    }
    let before = house.arrived();
    let unsound = [
        String::new(),
        "; ; =".to_owned(),
        "=".repeat(1_000),
        ";".repeat(30_000),
        crumbs.clone(),
        format!("{session}x"),
        other_letter(&session, session.len() - 1),
        other_letter(&session, session.len() - 2),
        other_letter(&session, session.len() - token.len()),
        session[..session.len() - 1].to_owned(),
        format!("x{session}"),
        format!("a={session}"),
        session.replace('=', ":"),
        session.replace("__Host-", ""),
        session.replace("__Host-", "__Secure-"),
        session.to_ascii_uppercase(),
        format!("{session}; {session}x"),
        format!("__Host-vtnr_session=; {session}"),
        format!("__Host-vtnr_session=\"{token}\""),
        format!("__Host-vtnr_session={token}%00"),
        format!("__Host-vtnr_session={}", "A".repeat(43)),
        format!("__Host-vtnr_session={}", "A".repeat(8_000)),
        format!("__Host-vtnr_session={}", "\u{ff}".repeat(43)),
        format!("a={}; {session}", "x".repeat(64 << 10)),
        format!("{}{session}", "a=b; ".repeat(14_000)),
    ];
    for cookie in &unsound {
        let request = format!(
            "GET /kfz HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n",
            house.behind.host
        );
        let status = house.status_of(bytes(&request)).await;
        assert!(
            matches!(status, 400 | 401),
            "{}: {status}",
            &cookie.chars().take(80).collect::<String>()
        );
    }
    assert_eq!(house.arrived(), before, "something arrived");
    house.still_stands().await;
}

/// Another token, which differs in one letter and is as well-formed.
fn other_letter(session: &str, at: usize) -> String {
    let other = if &session[at..=at] == "A" { "E" } else { "A" };
    format!("{}{other}{}", &session[..at], &session[at + 1..])
}

/// Characters up to U+00FF as one byte each.
fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|symbol| u8::try_from(u32::from(symbol)).expect("a byte"))
        .collect()
}

#[tokio::test]
async fn what_strangers_send_stays_within_its_line_of_the_log() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(FREE)
        .start()
        .await;
    let port = world.gateways[0].port;
    let forged = "{\"level\":\"ERROR\",\"forged\":true}";
    let breaks = [
        "\r\n",
        "\n",
        "\r",
        "%0d%0a",
        "\u{1b}[2J",
        "\"},",
        "\\",
        "\\n",
        "\u{e2}\u{80}\u{a8}",
        "\u{9b}31m",
        "\0",
        "'",
        "\"\n",
    ];
    for cut in breaks {
        let hostile = format!("{cut}{forged}{cut}");
        let escaped: String = form_urlencoded::byte_serialize(&bytes(&hostile)).collect();
        for head in [
            format!("GET /{hostile} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/html\r\n"),
            format!("GET /{escaped} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/html\r\n"),
            format!(
                "GET {LOGIN}tan?return_to={hostile} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/html\r\n"
            ),
            format!("{hostile} / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {hostile}\r\n"),
            format!(
                "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: {hostile}\r\nReferer: {hostile}\r\n"
            ),
            format!(
                "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Forwarded-For: {hostile}\r\nCookie: vtnr_session={hostile}\r\n"
            ),
            format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{hostile}: x\r\n"),
            format!("GET / {hostile}\r\nHost: 127.0.0.1:{port}\r\n"),
        ] {
            let mut client = crate::support::Raw::connect(port).await;
            client
                .send(bytes(&format!("{head}Connection: close\r\n\r\n")))
                .await;
            client.drain().await;
        }
        let agent = [
            ("user-agent", "Mozilla/5.0 \"\\ Firefox/140.0".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".into()),
        ];
        for (vtnr, email) in [
            (hostile.as_str(), ADA.1),
            (ADA.0, hostile.as_str()),
            ("60/999/9999", ADA.1),
            (ADA.0, "x@makler.example"),
        ] {
            let form = form_urlencoded::Serializer::new(String::new())
                .append_pair("vtnr", vtnr)
                .append_pair("email", email)
                .finish();
            world
                .browser()
                .send(
                    reqwest::Method::POST,
                    &format!("{LOGIN}vtnr-login"),
                    &agent,
                    Some(form.into()),
                )
                .await;
        }
    }
    world
        .browser()
        .open("/zuletzt")
        .await
        .leads_to(&page("vtnr-login", "/zuletzt"));
    let log = world.log().await;
    assert!(
        log.lines().count() > breaks.len() * 8,
        "{} lines",
        log.lines().count()
    );
    // What is said of the configuration comes before there is a log.
    for line in log.lines().skip_while(|line| line.starts_with("warning: ")) {
        let read: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(
            read["timestamp"].is_string() && read["fields"].is_object() && read["forged"].is_null(),
            "{line}"
        );
        assert!(
            !line.contains(|symbol: char| symbol.is_control()),
            "{line:?}"
        );
        assert!(
            !line.contains(ADA.1) && !line.contains("60/999/9999"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn after_the_sign_in_nobody_lands_on_another_host() {
    let house = House::open().await;
    let world = &house.behind.world;
    let base = Url::parse(&format!("{}{LOGIN}vtnr-login", world.base())).expect("a URL");
    let all = redirects::all(&house.behind.host);
    assert!(all.len() >= 200, "{} values", all.len());
    let browser = &house.behind.browser;
    for target in &all {
        stays(
            &base,
            &browser.open(&page("vtnr-login", target)).await,
            target,
        );
    }
    // As they are, without the escapes that a form would put in; and as the address itself, whole and with the mark of a kept form.
    let mut sent_on = 0;
    for target in all
        .iter()
        .filter(|target| !target.contains(['\r', '\n', '\0']) && !target.is_empty())
    {
        for line in [
            format!("GET {LOGIN}vtnr-login?return_to={target}"),
            format!("GET {LOGIN}tan?x&return_to={target}"),
            format!("GET {target}"),
            format!("GET {target}?vtnr-eingabe=00000000000000ab"),
        ] {
            let (who, fields) = (
                if line.contains(LOGIN) {
                    Visitor::Broker
                } else {
                    Visitor::Nobody
                },
                "Accept: text/html\r\n",
            );
            let head = house
                .behind
                .connect()
                .await
                .send(house.request(who, &line, fields))
                .await
                .head()
                .await;
            let Some(head) = head else { continue };
            assert!(
                matches!(head.status(), 200 | 303 | 400 | 404 | 421),
                "{line}: {head:?}"
            );
            if let [location] = head.values("location")[..] {
                is_here(&base, location, target);
                sent_on += 1;
            }
        }
    }
    assert!(sent_on > all.len(), "{sent_on} were sent on");
    // The whole way: as the target of the sign-in that ends with a TAN, or with trust.
    for target in all.iter().step_by(20) {
        let stranger = world.browser();
        let before = world.postbox.mails().len();
        stays(&base, &stranger.claim(BEN.0, BEN.1, target).await, target);
        let tan = crate::support::world::tan_of(&world.postbox.next(before).await);
        stays(&base, &stranger.enter_tan(&tan, target).await, target);
        stays(&base, &stranger.claim(BEN.0, BEN.1, target).await, target);
    }
}

fn stays(base: &Url, answer: &crate::support::Answer, target: &str) {
    let location = answer
        .location()
        .unwrap_or_else(|| panic!("{target:?}: {}", answer.status));
    is_here(base, &location, target);
}

/// By the rules that browsers read addresses by (WHATWG), and by stricter ones for those that never read them.
fn is_here(base: &Url, location: &str, target: &str) {
    let landed = base.join(location).expect("an address");
    assert_eq!(
        landed.origin(),
        base.origin(),
        "{target:?} leads to {location:?}"
    );
    let plain = location
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    assert!(
        location.starts_with('/') && !location.starts_with("//") && plain,
        "{target:?} leads to {location:?}"
    );
}

#[tokio::test]
async fn a_mail_goes_to_the_stored_address_alone_or_nowhere() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(FREE)
        .start()
        .await;
    let (local, domain) = ADA.1.split_once('@').expect("an address");
    let kelvin = ADA.1.replace('k', "\u{212a}");
    let confirmed = [
        ADA.1.to_owned(),
        ADA.1.to_uppercase(),
        format!(" {} ", ADA.1),
        format!("\u{feff}{}\u{a0}", ADA.1),
        kelvin,
    ];
    let hostile = [
        format!("evil@{}", ADA.1),
        format!("{}@evil.example", ADA.1),
        format!("{local}@evil.example@{domain}"),
        format!("{},evil@evil.example", ADA.1),
        format!("evil@evil.example,{}", ADA.1),
        format!("{};evil@evil.example", ADA.1),
        format!("{} evil@evil.example", ADA.1),
        format!("{}\r\nBcc: evil@evil.example", ADA.1),
        format!("{}\nRCPT TO:<evil@evil.example>", ADA.1),
        format!("{}>\r\nRCPT TO:<evil@evil.example", ADA.1),
        format!("{}\r\n.\r\nMAIL FROM:<evil@evil.example>", ADA.1),
        format!("{}%0d%0aBcc:evil@evil.example", ADA.1),
        format!("<{}>", ADA.1),
        format!("Ada <{}>", ADA.1),
        format!("{local}(x)@{domain}"),
        format!("{local}@{domain}(x)"),
        format!("(x){}", ADA.1),
        format!("\"{local}\"@{domain}"),
        format!("\"{local}@evil.example\"@{domain}"),
        format!("{local}+x@{domain}"),
        format!("{local}@{domain}."),
        format!("{local}@sub.{domain}"),
        format!("{local}@[127.0.0.1]"),
        format!("{local}@{domain}\0.evil.example"),
        format!("{local}\0@{domain}"),
        format!("{local}@{domain}\u{2028}"),
        format!("{local}%evil.example@{domain}"),
        format!("{local}!evil@{domain}"),
        format!("@evil.example:{}", ADA.1),
        format!("{}{local}@{domain}", "a".repeat(300)),
        format!("{local}@{domain}{}", ".example".repeat(60)),
        "@".repeat(300),
        "\u{430}da@makler.example".to_owned(),
        "ada\u{ff20}makler.example".to_owned(),
    ];
    for email in &hostile {
        let answer = world.browser().claim(ADA.0, email, "/").await;
        let refused = answer.status == 200
            || answer
                .location()
                .is_some_and(|to| to.ends_with("unbekannte-e-mail"));
        // What browsers trim, and what is only blank, may be forgiven.
        assert!(refused || email.trim() == ADA.1, "{email:?}: {answer:?}");
    }
    for email in &confirmed {
        world
            .browser()
            .claim(ADA.0, email, "/")
            .await
            .leads_to(&format!("{LOGIN}tan"));
    }
    world
        .browser()
        .claim(BEN.0, BEN.1, "/")
        .await
        .leads_to(&format!("{LOGIN}tan"));
    let forgiven = hostile.iter().filter(|email| email.trim() == ADA.1).count();
    let expected = confirmed.len() + forgiven + 1;
    let mails = world.mails().await;
    assert_eq!(mails.len(), expected);
    for mail in &mails {
        assert!(mail.to == [ADA.1] || mail.to == [BEN.1], "{:?}", mail.to);
        assert!(!latin1(&mail.raw).contains("evil"), "{}", mail.text);
    }
    assert_eq!(mails.iter().filter(|mail| mail.to == [BEN.1]).count(), 1);
}

/// Every address of ours and of the calculator's, looked at twice by GET and by HEAD in the midst of a sign-in: nothing opens, and
/// nothing is changed.
#[tokio::test]
async fn with_half_a_sign_in_every_address_leads_to_the_sign_in_and_looking_changes_nothing() {
    let house = House::open().await;
    let world = &house.behind.world;
    let browser = world.browser();
    let tan = world.ask(&browser, BEN).await;
    let before = house.arrived();
    let (cookie, mails) = (
        browser.cookie("__Host-vtnr_flow"),
        world.postbox.mails().len(),
    );
    let marked = "/kfz?vtnr-eingabe=00000000000000ab";
    let own = [
        "",
        "vtnr-login",
        "tan",
        "unbekannte-e-mail",
        "abmelden",
        "eingabe",
        "eingabe?nr=00000000000000ab",
        "hilfe",
        "status",
        "nichts",
    ];
    let own = own.into_iter().chain([
        "tan?action=resend",
        "tan?tan=BCDFGH",
        "abmelden?forget_browser=1",
        "unbekannte-e-mail?action=without-email",
    ]);
    let addresses: Vec<String> = own
        .map(|page| format!("{LOGIN}{page}"))
        .chain(["/", "/kfz", "/antrag/versand", "/ws/kurse", marked].map(str::to_owned))
        .collect();
    let navigation = [
        ("accept", "text/html".to_owned()),
        ("sec-fetch-mode", "navigate".into()),
    ];
    for address in addresses.iter().flat_map(|address| [address, address]) {
        for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
            let answer = browser
                .send(method.clone(), address, &navigation, None)
                .await;
            assert!(
                answer.set_cookies().is_empty(),
                "{method} {address}: {:?}",
                answer.set_cookies()
            );
            if !address.starts_with(LOGIN) {
                let to = if address == marked {
                    "/kfz".to_owned()
                } else {
                    page("vtnr-login", address).replace(
                        "?return_to=%2F",
                        if address == "/" { "" } else { "?return_to=%2F" },
                    )
                };
                answer.leads_to(&to);
            }
        }
    }
    for address in ["/", "/kfz", "/antrag/versand", marked] {
        for method in [
            reqwest::Method::POST,
            reqwest::Method::PUT,
            reqwest::Method::OPTIONS,
        ] {
            let answer = browser
                .send(
                    method.clone(),
                    address,
                    &[("content-length", "0".into())],
                    None,
                )
                .await;
            assert!(
                answer.status.is_client_error(),
                "{method} {address}: {}",
                answer.status
            );
        }
    }
    assert_eq!(
        (house.arrived(), world.mails().await.len()),
        (before, mails),
        "something went out"
    );
    assert_eq!(browser.cookie("__Host-vtnr_flow"), cookie);
    browser.enter_tan(&tan, "/").await.leads_to("/");
    is_in(&browser).await;
}

async fn is_in(browser: &Browser) {
    browser.open("/").await.is(200);
}
