//! Mails are delivered once, whatever happens to gateways and mail servers.

use crate::support;
use crate::support::browser::page;
use crate::support::world::{ADA, BEN, World};
use crate::support::{Act, Browser, Relay, StoreKind, eventually};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const TAN: &str = "/ui/login/de/tan";
const STATUS: &str = "/ui/login/de/status";
const RESEND: [(&str, &str); 1] = [("action", "resend")];
/// The lease of a dead gateway, plus the time to notice its expiry.
const TAKEN_OVER: Duration = Duration::from_secs(16);
/// The longer time on a busy machine, with three gateways killed in turn.
const TAKEN_OVER_AT_LAST: Duration = Duration::from_secs(60);

/// Starts two gateways on one Redis that mail over this server.
async fn two_gateways(relay: &Relay) -> World {
    World::builder()
        .gateways(2)
        .config(&mail_to(&[relay.port]))
        .start()
        .await
}

/// Returns the configuration key for mail servers at these ports.
fn mail_to(ports: &[u16]) -> String {
    let urls: Vec<_> = ports
        .iter()
        .map(|port| format!("smtp://127.0.0.1:{port}"))
        .collect();
    format!("[mail]\nurl = {urls:?}")
}

/// Polls for a condition with a longer deadline than usual.
async fn within<T>(time: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < time, "{what}: not within {time:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the number of queued letters in Redis.
fn waiting(world: &World) -> usize {
    let redis = world
        .redis
        .as_ref()
        .expect("it is on Redis")
        .lock()
        .expect("no panic");
    redis.command(&["ZCARD", &format!("{}queue", world.key_prefix)])
}

async fn nothing_waits(world: &World) {
    eventually("no letter waits", async || {
        (waiting(world) == 0).then_some(())
    })
    .await;
}

/// Claims to be Ada at the first gateway while the second is suspended, so that the first leases
/// the letter.
async fn asked_at_the_first(world: &World) -> Browser {
    world.gateways[1].signal("STOP");
    let browser = world.browser();
    browser
        .claim(ADA.0, ADA.1, "/kfz")
        .await
        .leads_to(&page("tan", "/kfz"));
    browser
}

/// Kills the first gateway; the browser continues at the second.
fn killed(world: &mut World, browser: &Browser) -> Browser {
    world.gateways[0].kill();
    world.gateways[1].signal("CONT");
    browser.at(&world.gateways[1].base())
}

#[tokio::test]
async fn a_mail_that_a_killed_gateway_had_in_hand_is_handed_over_by_another_within_seconds() {
    for stage in ["RCPT", "DATA", "."] {
        let relay = Relay::start();
        relay.once(stage, Act::Hold);
        let mut world = two_gateways(&relay).await;
        let browser = asked_at_the_first(&world).await;
        relay.holds().await;
        let (browser, killed_at) = (killed(&mut world, &browser), Instant::now());
        browser
            .get(&page("tan", "/kfz"))
            .await
            .shows("Wir senden gerade eine TAN");
        let mail = within(
            TAKEN_OVER_AT_LAST,
            "another gateway takes over",
            async || relay.taken().first().cloned(),
        )
        .await;
        println!(
            "killed at {stage}: taken over after {:?}",
            killed_at.elapsed()
        );
        nothing_waits(&world).await;
        assert_eq!(
            (relay.taken().len(), relay.asked().len()),
            (1, 2),
            "{stage}"
        );
        browser
            .enter_tan(&mail.tan(), "/kfz")
            .await
            .leads_to("/kfz");
    }
}

#[tokio::test]
async fn a_greylisted_mail_goes_out_once_though_its_gateway_is_killed_and_the_sign_in_goes_on_at_another()
 {
    let relay = Relay::start();
    relay.once("RCPT", Act::Say("451 4.7.1 greylisted"));
    let mut world = two_gateways(&relay).await;
    let browser = asked_at_the_first(&world).await;
    eventually("the mail is delayed", async || {
        browser
            .get(&page("tan", "/kfz"))
            .await
            .text()
            .contains("verzögert sich")
            .then_some(())
    })
    .await;
    let browser = killed(&mut world, &browser);
    let flow = browser.cookie("vtnr_flow");
    browser
        .get(&page("tan", "/kfz"))
        .await
        .is(200)
        .shows("verzögert sich");
    let mail = within(TAKEN_OVER_AT_LAST, "another gateway sends it", async || {
        relay.taken().first().cloned()
    })
    .await;
    nothing_waits(&world).await;
    browser
        .get(&page("tan", "/kfz"))
        .await
        .is(200)
        .shows("gültig bis");
    assert_eq!(
        (relay.taken().len(), browser.cookie("vtnr_flow")),
        (1, flow)
    );
    browser
        .enter_tan(&mail.tan(), "/kfz")
        .await
        .leads_to("/kfz");
}

#[tokio::test]
async fn a_gateway_that_hung_while_another_took_over_sends_nothing_when_it_goes_on() {
    let relay = Relay::start();
    relay.once("DATA", Act::Hold);
    let world = World::builder()
        .gateways(2)
        .config(&format!("{}\ntimeout = \"40s\"", mail_to(&[relay.port])))
        .start()
        .await;
    let browser = asked_at_the_first(&world).await;
    relay.holds().await;
    world.gateways[0].signal("STOP");
    world.gateways[1].signal("CONT");
    let mail = within(
        TAKEN_OVER_AT_LAST,
        "another gateway takes over",
        async || relay.taken().first().cloned(),
    )
    .await;
    nothing_waits(&world).await;
    // The reply that the first gateway waits for arrives before it resumes.
    relay.go_on();
    world.gateways[0].signal("CONT");
    let withdrawn = async || {
        (world
            .metric("vtnr_gateway_mails_total{outcome=\"withdrawn\"}")
            .await
            == 1.0)
            .then_some(())
    };
    eventually("it finds out", withdrawn).await;
    assert_eq!(relay.taken().len(), 1);
    browser.get(&page("tan", "/kfz")).await.shows("gültig bis");
    browser
        .enter_tan(&mail.tan(), "/kfz")
        .await
        .leads_to("/kfz");
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_the_conversation() {
    let relay = Relay::start();
    relay.once(".", Act::Hold);
    let world = World::builder()
        .gateways(2)
        .config(&format!("{}\ntimeout = \"40s\"", mail_to(&[relay.port])))
        .start()
        .await;
    world.browser().claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    relay.holds().await;
    let begun = Instant::now();
    within(2 * TAKEN_OVER, "a lease would have run out", async || {
        (begun.elapsed() > TAKEN_OVER).then_some(())
    })
    .await;
    relay.go_on();
    nothing_waits(&world).await;
    assert_eq!((relay.taken().len(), relay.asked().len()), (1, 1));
}

#[tokio::test]
async fn a_mail_that_was_taken_while_redis_hung_is_not_sent_again_by_another_gateway() {
    let relay = Relay::start();
    relay.once(".", Act::Hold);
    let builder = World::builder().store(StoreKind::OwnRedis).gateways(2);
    let world = builder
        .config(&format!("{}\ntimeout = \"40s\"", mail_to(&[relay.port])))
        .start()
        .await;
    world.browser().claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    relay.holds().await;
    let signal = |signal| {
        world
            .redis
            .as_ref()
            .expect("its own")
            .lock()
            .expect("no panic")
            .signal(signal)
    };
    signal("STOP");
    relay.go_on();
    let begun = Instant::now();
    within(2 * TAKEN_OVER, "a lease has run out", async || {
        (begun.elapsed() > TAKEN_OVER).then_some(())
    })
    .await;
    signal("CONT");
    nothing_waits(&world).await;
    assert_eq!((relay.taken().len(), relay.asked().len()), (1, 1));
}

#[tokio::test]
async fn of_200_letters_two_gateways_hand_each_over_once_whatever_the_mail_server_does() {
    const LETTERS: usize = 200;
    let relay = Relay::start();
    // If no reply to the end of a mail is lost, it is known which mails were accepted.
    let stages = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"];
    let acts = [
        Act::Say("451 4.7.1 later"),
        Act::HangUp,
        Act::Say("421 4.3.2 closing"),
    ];
    let mut chance: u64 = 0x2545_f491_4f6c_dd1d;
    for _ in 0..30 {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        relay.once(
            stages[(chance % 5) as usize],
            acts[(chance / 5 % 3) as usize].clone(),
        );
    }
    let limits = "[limits]\nmail_pause = \"9 in 1s\"";
    let world = World::builder()
        .gateways(2)
        .config(&mail_to(&[relay.port]))
        .config(limits)
        .start()
        .await;
    let address = |number: usize| format!("makler{number}@makler.example");
    let lines: String = (0..LETTERS)
        .map(|number| format!("60/200/{number:04};{}\n", address(number)))
        .collect();
    world.write_brokers(&format!("vtnr;email\n{lines}"));
    for gateway in &world.gateways {
        gateway.log_has("directory reloaded").await;
    }
    let bases: Vec<_> = world.gateways.iter().map(support::Gateway::base).collect();
    let claims = (0..LETTERS).map(|number| {
        let browser = Browser::new(&bases[number % 2]);
        async move {
            browser
                .claim(&format!("60/200/{number:04}"), &address(number), "/")
                .await
                .leads_to(TAN)
                .status
        }
    });
    futures_util::future::join_all(claims).await;
    within(
        Duration::from_secs(60),
        "all letters have left",
        async || (waiting(&world) == 0).then_some(()),
    )
    .await;
    let mut mails = BTreeMap::new();
    for mail in relay.taken() {
        *mails.entry(mail.to).or_insert(0) += 1;
    }
    let once: BTreeMap<_, _> = (0..LETTERS).map(|number| (address(number), 1)).collect();
    assert_eq!(mails, once);
    let mut by_each = Vec::new();
    for gateway in &world.gateways {
        by_each.push(
            gateway
                .log()
                .await
                .matches("\"outcome\":\"accepted\"")
                .count(),
        );
    }
    println!("handed over by each gateway: {by_each:?}");
    assert!(
        by_each.iter().all(|mails| *mails > 0),
        "both take part: {by_each:?}"
    );
}

/// A short pause before another mail, so that tests need not wait for half a minute.
const SHORT_PAUSE: &str = "[limits]\nmail_pause = \"1 in 1s\"";

/// Requests the mail again as soon as that is allowed.
async fn resent(browser: &Browser) {
    eventually("it can be sent again", async || {
        (browser.post(TAN, &RESEND).await.status == 303).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_letter_that_waits_is_not_sent_once_another_one_has_led_to_a_session() {
    let relay = Relay::start();
    relay.once("RCPT", Act::Say("451 4.7.1 later"));
    let world = World::builder()
        .config(&mail_to(&[relay.port]))
        .config(SHORT_PAUSE)
        .start()
        .await;
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    eventually("the first one was put off", async || {
        (relay.asked().len() == 1).then_some(())
    })
    .await;
    resent(&browser).await;
    let mail = eventually("the second one is taken", async || {
        relay.taken().first().cloned()
    })
    .await;
    browser.enter_tan(&mail.tan(), "/").await.leads_to("/");
    assert_eq!((waiting(&world), relay.taken().len()), (0, 1));
}

#[tokio::test]
async fn a_letter_under_way_is_not_sent_once_another_one_has_led_to_a_session() {
    let relay = Relay::start();
    relay.once("DATA", Act::Hold);
    let world = World::builder()
        .config(&mail_to(&[relay.port]))
        .config(SHORT_PAUSE)
        .start()
        .await;
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    relay.holds().await;
    resent(&browser).await;
    let mail = eventually("the second one is taken", async || {
        relay.taken().first().cloned()
    })
    .await;
    browser.enter_tan(&mail.tan(), "/").await.leads_to("/");
    relay.go_on();
    let withdrawn = async || {
        (world
            .metric("vtnr_gateway_mails_total{outcome=\"withdrawn\"}")
            .await
            == 1.0)
            .then_some(())
    };
    eventually("the first one is given up", withdrawn).await;
    assert_eq!(relay.taken().len(), 1);
}

#[tokio::test]
async fn a_letter_is_not_sent_once_its_browser_has_begun_another_sign_in() {
    let relay = Relay::start();
    relay.once("RCPT", Act::Say("451 4.7.1 later"));
    let world = World::builder()
        .config(&mail_to(&[relay.port]))
        .start()
        .await;
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    eventually("it was put off", async || {
        (relay.asked().len() == 1).then_some(())
    })
    .await;
    browser.claim(BEN.0, BEN.1, "/").await.leads_to(TAN);
    let mail = eventually("the other one is taken", async || {
        relay.taken().first().cloned()
    })
    .await;
    nothing_waits(&world).await;
    assert_eq!(relay.asked(), [ADA.1, BEN.1]);
    browser.enter_tan(&mail.tan(), "/").await.leads_to("/");
}

#[tokio::test]
async fn a_letter_is_not_sent_once_its_browser_is_signed_in_without_a_mail() {
    let relay = Relay::start();
    let world = World::builder()
        .config(&mail_to(&[relay.port]))
        .start()
        .await;
    let browser = world.browser();
    browser.claim(BEN.0, BEN.1, "/").await.leads_to(TAN);
    let mail = eventually("the mail is taken", async || relay.taken().first().cloned()).await;
    browser.enter_tan(&mail.tan(), "/").await.leads_to("/");
    relay.once("RCPT", Act::Say("451 4.7.1 later"));
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    eventually("it was put off", async || {
        (relay.asked().len() == 2).then_some(())
    })
    .await;
    browser.claim(BEN.0, BEN.1, "/").await.leads_to("/");
    assert_eq!((waiting(&world), relay.taken().len()), (0, 1));
}

#[tokio::test]
async fn a_mail_server_that_does_not_offer_the_protection_asked_for_gets_no_mail_and_operators_are_told()
 {
    let relay = Relay::start();
    let config = format!(
        "[mail]\nurl = \"smtp://127.0.0.1:{}?tls=required\"",
        relay.port
    );
    let world = World::builder().config(&config).start().await;
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    eventually("the mail is delayed", async || {
        browser
            .get(TAN)
            .await
            .text()
            .contains("verzögert sich")
            .then_some(())
    })
    .await;
    let ready = world
        .browser()
        .open(&format!(
            "http://127.0.0.1:{}/readyz",
            world.gateways[0].admin
        ))
        .await;
    let told = format!(
        "127.0.0.1:{}: STARTTLS: the server does not offer it",
        relay.port
    );
    assert!(
        ready.status == 200 && ready.body.contains(&told),
        "{ready:?}"
    );
    assert_eq!((relay.asked().len(), waiting(&world)), (0, 1));
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_offered_once() {
    let relay = Relay::start();
    relay.once("RCPT", Act::Say("550 5.1.1 unknown"));
    let world = World::builder()
        .config(&mail_to(&[relay.port]))
        .start()
        .await;
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    nothing_waits(&world).await;
    browser
        .get(TAN)
        .await
        .shows("konnte nicht zugestellt werden");
    assert_eq!((relay.asked().len(), relay.taken().len()), (1, 0));
}

#[tokio::test]
async fn where_one_mail_server_is_down_the_next_one_gets_the_mail_at_once_and_operators_are_told() {
    let (nobody, relay) = (support::ports::free(), Relay::start());
    let world = World::builder()
        .config(&mail_to(&[nobody, relay.port]))
        .start()
        .await;
    let browser = world.browser();
    browser.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    let mail = eventually("it is taken", async || relay.taken().first().cloned()).await;
    browser.enter_tan(&mail.tan(), "/").await.leads_to("/");
    let admin = format!("http://127.0.0.1:{}", world.gateways[0].admin);
    let ready = world.browser().open(&format!("{admin}/readyz")).await;
    assert!(
        ready.status == 200
            && ready
                .body
                .contains(&format!("127.0.0.1:{nobody}: connecting: no connection")),
        "{ready:?}"
    );
    assert!(!ready.body.contains(&relay.port.to_string()), "{ready:?}");
    for (port, works) in [(relay.port, 1.0), (nobody, 0.0)] {
        world
            .metric_is(
                &format!("vtnr_gateway_mail_relay_ok{{relay=\"127.0.0.1:{port}\"}}"),
                works,
            )
            .await;
    }
}

#[tokio::test]
async fn only_the_browser_that_asked_learns_what_becomes_of_the_mail() {
    let relay = Relay::start();
    relay
        .once("RCPT", Act::Say("451 4.7.1 later"))
        .once("RCPT", Act::Hold);
    let world = World::builder()
        .config(&mail_to(&[relay.port]))
        .start()
        .await;
    let (asked, other) = (world.browser(), world.browser());
    asked.claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
    for state in ["delayed", "accepted"] {
        eventually(state, async || {
            asked
                .fetch(STATUS)
                .await
                .body
                .contains(&format!("\"mail\":\"{state}\""))
                .then_some(())
        })
        .await;
        let told = other.fetch(STATUS).await;
        assert!(
            told.is(200).body.contains("\"mail\":\"none\"") && !told.body.contains("Uhr"),
            "{}",
            told.body
        );
        other
            .get(TAN)
            .await
            .shows("Anmelden mit Vermittlernummer")
            .hides("ada@");
        if state == "delayed" {
            relay.holds().await;
            relay.go_on();
        }
    }
}

#[tokio::test]
async fn a_gateway_that_ends_waits_for_the_yes_of_a_mail_that_may_be_out_and_no_other_sends_it_meanwhile()
 {
    const PATIENCE: Duration = Duration::from_secs(8);
    let relay = Relay::start();
    relay.once("RCPT", Act::Hold).once(".", Act::Hold);
    let further = format!(
        "{}\ntimeout = \"{}s\"\n[shutdown]\ngrace = \"30s\"",
        mail_to(&[relay.port]),
        PATIENCE.as_secs()
    );
    let mut world = World::builder().gateways(2).config(&further).start().await;
    let browser = asked_at_the_first(&world).await;
    relay.holds().await;
    world.gateways[0].signal("TERM");
    world.gateways[0].log_has("shutting down").await;
    let begun = Instant::now();
    // So that the acceptance is still awaited when the time for unsent mails is over.
    tokio::time::sleep(PATIENCE / 2).await;
    relay.go_on();
    relay.holds().await;
    world.gateways[1].signal("CONT");
    tokio::time::sleep((PATIENCE + PATIENCE / 4).saturating_sub(begun.elapsed())).await;
    assert_eq!(
        (relay.asked().len(), relay.taken().len()),
        (1, 0),
        "nobody else sends it"
    );
    relay.go_on();
    assert_eq!(world.gateways[0].end().await, Some(0));
    nothing_waits(&world).await;
    assert_eq!((relay.asked().len(), relay.taken().len()), (1, 1));
    browser
        .at(&world.gateways[1].base())
        .enter_tan(&relay.taken()[0].tan(), "/kfz")
        .await
        .leads_to("/kfz");
}
