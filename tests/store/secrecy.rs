//! A reader of the whole store and of all its traffic learns nothing (security.md, T14 to T16).

use crate::devices::{device, mark};
use crate::fixture::{Fixture, HOUR, SECRET, eventually, manual_clock, on_redis, sealed};
use crate::samples::{
    Attempt, EMAIL, TAN, another_vtnr, ask_for, bare, begin_session, client, counts, hit, letter,
    session, trust, vtnr,
};
use crate::support;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use domain::challenge::Delivery;
use domain::throttle::{Counter, MailWindow, Span, Subject};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::embedded::Embedded;
use vtnr_gateway::store::{DeviceChange, Due, RateLimits, SignInCommit, WriteOutcome};

/// Secrets that must not be found, with their names.
type Canaries = Vec<(&'static str, Vec<u8>)>;

/// Runs every operation with secrets in its arguments.
async fn use_it_all(on: &Fixture) -> Canaries {
    let (store, now) = (&*on.store, on.now());
    let attempt = Attempt::begun(on).await;
    let all_counters = [
        Counter::Mails(Subject::Broker(vtnr()), MailWindow::Day),
        Counter::ReserveMails(Subject::Broker(vtnr())),
        Counter::WrongTans(Subject::Broker(vtnr()), Span::Month),
        Counter::WrongTans(Subject::Decoy(vtnr(), 7), Span::Day),
        Counter::WrongTansOfKnown(Subject::Broker(vtnr())),
        Counter::WrongTansOfAll,
        Counter::WrongTansFrom(client(7)),
        Counter::FailuresFrom(client(7)),
        Counter::VtnrsFrom(client(7), vtnr()),
        Counter::WrongPasswords(mark(7), Span::Day),
        Counter::WrongPasswordsOfKnown(mark(7)),
        Counter::WithoutEmailFrom(client(7)),
        Counter::WithoutEmailOf(vtnr()),
    ];
    let rate_limits = counts(all_counters.map(|counter| hit(counter, 5)).into());
    assert_eq!(
        attempt.sign_in(store, &rate_limits).await.expect("answers"),
        WriteOutcome::Done
    );
    for delivery in [
        Delivery::Queued,
        Delivery::Delayed {
            next_try_at: now.plus(HOUR),
        },
        Delivery::Accepted { at: now },
    ] {
        let letter = letter(now);
        ask_for(on, &letter, HOUR).await;
        let lease = store
            .lease_letter(Due::All, HOUR)
            .await
            .expect("answers")
            .expect("a letter waits")
            .lease();
        assert!(
            store.renew_lease(lease, HOUR).await.expect("answers"),
            "it is held"
        );
        store.note_delivery(lease, delivery).await.expect("notes");
        store.deliveries(&[letter.id]).await.expect("answers");
    }
    let (ended, forgotten, trusted) = (
        begin_session(on, &session(now), HOUR).await,
        Rng.browser_token(),
        trust(now),
    );
    let token = Rng.session_token();
    let sign_in_session = session(now);
    let sign_in = SignInCommit {
        trust: Some((&forgotten, &trusted)),
        ..bare(&token, &sign_in_session, HOUR)
    };
    assert_eq!(
        store
            .sign_in(sign_in, &RateLimits::none())
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    let (known, user) = (Rng.device_token(), device(&[7], now));
    let change = DeviceChange {
        token: &known,
        next: &user,
        lives: HOUR,
        forgets: None,
    };
    let token_too = Rng.session_token();
    let settled = store
        .sign_in_on_device(
            bare(&token_too, &sign_in_session, HOUR),
            change,
            &RateLimits::none(),
        )
        .await;
    assert_eq!(settled.expect("answers"), WriteOutcome::Done);
    store
        .find_session(&attempt.session)
        .await
        .expect("answers")
        .expect("it lives");
    store
        .touch_session(&attempt.session, &session(now), HOUR)
        .await
        .expect("touches");
    store.end_session(&ended).await.expect("ends");
    store.find_trust(&attempt.browser).await.expect("answers");
    store.forget_browser(&forgotten).await.expect("forgets");
    store
        .find_flow(&attempt.flow)
        .await
        .expect("answers")
        .expect("it is kept");
    store.revoke_broker(vtnr(), now).await.expect("revokes");
    store.revoked_at(vtnr()).await.expect("answers");
    store.revoked_at(another_vtnr()).await.expect("answers");
    store.tidy().await.expect("tidies");
    store.ping().await.expect("answers");

    let mut canaries = Canaries::new();
    for token in [attempt.session, attempt.old_session, ended, token] {
        canaries.push(("a session's token", token.reveal().to_vec()));
    }
    for token in [attempt.browser, attempt.old_browser, forgotten] {
        canaries.push(("a browser's token", token.reveal().to_vec()));
    }
    canaries.push(("a device's token", known.reveal().to_vec()));
    canaries.push(("a user key's mark", mark(7).digest().to_vec()));
    canaries.push(("a sign-in's token", attempt.flow.reveal().to_vec()));
    canaries.push(("the TAN", TAN.into()));
    canaries.push(("the e-mail address", EMAIL.into()));
    canaries.push(("the address's local part", b"ada.lovelace".into()));
    canaries.push(("the address's domain", b"makler-kanari".into()));
    canaries.push(("the broker number", b"60/123/4567".into()));
    canaries.push(("the broker number's digits", b"601234567".into()));
    canaries.push((
        "the broker number's bytes",
        vtnr().number().to_be_bytes().into(),
    ));
    canaries.push((
        "the broker number's bytes",
        vtnr().number().to_le_bytes().into(),
    ));
    canaries.push(("the operator's secret", SECRET.into()));
    canaries
}

/// Returns the encodings in which a canary could appear.
fn spellings(canary: &[u8]) -> Vec<Vec<u8>> {
    let reversed: Vec<u8> = canary.iter().rev().copied().collect();
    let mut spellings = Vec::new();
    for bytes in [canary.to_vec(), reversed] {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
            STANDARD.encode(&bytes),
            hex,
        ] {
            spellings.extend([
                text.chars().rev().collect::<String>().into_bytes(),
                text.into_bytes(),
            ]);
        }
        spellings.push(bytes);
    }
    spellings
}

/// Asserts that no canary occurs, in any letter case.
fn hides(what: &str, haystack: &[u8], canaries: &Canaries) {
    let haystack = haystack.to_ascii_lowercase();
    for (name, canary) in canaries {
        for spelling in spellings(canary) {
            let spelling = spelling.to_ascii_lowercase();
            assert!(
                !haystack
                    .windows(spelling.len())
                    .any(|window| window == spelling),
                "{what} shows {name}"
            );
        }
    }
}

/// Records all commands that Redis receives.
struct Monitor {
    connection: TcpStream,
    heard: Vec<u8>,
}

impl Monitor {
    fn start(server: &support::redis::Redis) -> Self {
        let mut connection = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
        connection
            .set_read_timeout(Some(Duration::from_secs(15)))
            .expect("a timeout");
        connection
            .write_all(b"MONITOR\r\n")
            .expect("it takes commands");
        let mut monitor = Self {
            connection,
            heard: Vec::new(),
        };
        monitor.hear_until(b"+OK\r\n");
        monitor
    }

    fn hear_until(&mut self, end: &[u8]) {
        let mut buffer = [0; 65_536];
        while !self.heard.windows(end.len()).any(|window| window == end) {
            let read = self.connection.read(&mut buffer).expect("Redis tells on");
            assert!(read > 0, "Redis hung up");
            self.heard.extend_from_slice(&buffer[..read]);
        }
    }
}

/// MONITOR escapes non-printable bytes as `\xhh`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((first, tail)) = rest.split_first() {
        let escape = (*first == b'\\')
            .then_some(tail)
            .and_then(|tail| match tail {
                [b'x', high, low, tail @ ..] => {
                    let byte =
                        u8::from_str_radix(std::str::from_utf8(&[*high, *low]).ok()?, 16).ok()?;
                    Some((byte, tail))
                }
                [b'n', tail @ ..] => Some((b'\n', tail)),
                [b'r', tail @ ..] => Some((b'\r', tail)),
                [b't', tail @ ..] => Some((b'\t', tail)),
                [b'a', tail @ ..] => Some((7, tail)),
                [b'b', tail @ ..] => Some((8, tail)),
                [other, tail @ ..] => Some((*other, tail)),
                [] => None,
            });
        let (byte, tail) = escape.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = tail;
    }
    bytes
}

/// Dumps every name and every value.
fn contents(server: &support::redis::Redis) -> Vec<u8> {
    let mut redis = server.admin();
    let mut contents = Vec::new();
    let names: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("*")
        .query(&mut redis)
        .expect("names");
    assert!(
        names.len() > 15,
        "there is something to look at: {}",
        names.len()
    );
    for name in names {
        let kind: String = redis::cmd("TYPE")
            .arg(&name)
            .query(&mut redis)
            .expect("a type");
        let mut read = match kind.as_str() {
            "string" => redis::cmd("GET"),
            "hash" => redis::cmd("HGETALL"),
            "zset" => redis::cmd("ZRANGE"),
            other => panic!("no gateway writes a {other}"),
        };
        read.arg(&name);
        if kind == "zset" {
            read.arg(&["0", "-1", "WITHSCORES"]);
        }
        let value: redis::Value = read.query(&mut redis).expect("a value");
        let dump: Vec<u8> = redis::cmd("DUMP")
            .arg(&name)
            .query(&mut redis)
            .expect("a dump");
        contents.extend([name, flat(value), dump].concat());
    }
    contents
}

fn flat(value: redis::Value) -> Vec<u8> {
    match value {
        redis::Value::BulkString(bytes) => bytes,
        redis::Value::Array(values) => values.into_iter().flat_map(flat).collect(),
        other => format!("{other:?}").into_bytes(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_and_its_wire_show_nothing() {
    let server = support::redis::Redis::start();
    let on = Fixture::on(on_redis(&server, "", SECRET), Clock::System);
    eventually("it listens", async || on.store.subscription().is_some()).await;
    let mut monitor = Monitor::start(&server);
    let canaries = use_it_all(&on).await;
    redis::cmd("ECHO")
        .arg("that was all")
        .exec(&mut server.admin())
        .expect("echoes");
    monitor.hear_until(b"that was all");
    hides("the wire", &monitor.heard, &canaries);
    hides("the wire", &unescaped(&monitor.heard), &canaries);
    hides("Redis", &contents(&server), &canaries);

    let mut redis = server.admin();
    redis::cmd("CONFIG")
        .arg(&["SET", "rdbcompression", "no"])
        .exec(&mut redis)
        .expect("sets");
    redis::cmd("SAVE").exec(&mut redis).expect("saves");
    hides(
        "Redis's file",
        &std::fs::read(server.folder().join("dump.rdb")).expect("saved"),
        &canaries,
    );
}

#[tokio::test]
async fn the_file_shows_nothing() {
    let (clock, folder) = (manual_clock(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("store");
    let on = Fixture::on(
        sealed(
            Embedded::open(&file, clock.clone()).expect("opens"),
            clock.clone(),
        ),
        clock,
    );
    let canaries = use_it_all(&on).await;
    hides(
        "the file of a gateway that runs",
        &std::fs::read(&file).expect("reads"),
        &canaries,
    );
    drop(on);
    hides("the file", &std::fs::read(&file).expect("reads"), &canaries);
}

#[test]
fn the_search_finds_what_is_there() {
    let canaries: Canaries = vec![("the TAN", TAN.into()), ("a token", vec![0xa5; 32])];
    let kinds: [Vec<u8>; 5] = [
        b"..qwxzkv..".to_vec(),
        b"VKZXWQ".to_vec(),
        STANDARD.encode([0xa5; 32]).into_bytes(),
        unescaped(br#""SET" "s:1" "\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5""#),
        b"a5".repeat(32),
    ];
    for shown in kinds {
        assert!(
            std::panic::catch_unwind(|| hides("it", &shown, &canaries)).is_err(),
            "{shown:?}"
        );
    }
    hides("nothing", b"nothing of that kind", &canaries);
}
