//! Limits on the mails sent to a broker.

use crate::support::world::{ADA, BEN, World};
use crate::support::{Browser, StoreKind, on_both_stores};

const SIGN_IN: &str = "/ui/login/de/vtnr-login";
const TAN: &str = "/ui/login/de/tan";
const RESEND: [(&str, &str); 1] = [("action", "resend")];

on_both_stores!(
    one_mail_in_half_a_minute_whichever_browsers_ask,
    three_mails_in_a_quarter_of_an_hour,
    twenty_browsers_at_once_get_one_mail,
    a_reserve_of_mails_is_kept_for_browsers_that_are_known,
);

async fn one_mail_in_half_a_minute_whichever_browsers_ask(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    world.ask(&world.browser(), ADA).await;
    let refused = world.browser().claim(ADA.0, ADA.1, "/").await;
    refused
        .is(429)
        .shows("Zurzeit ist keine weitere TAN möglich")
        .shows("Eine neue können Sie ab");
    let after: u64 = refused.headers["retry-after"]
        .to_str()
        .expect("ASCII")
        .parse()
        .expect("seconds");
    assert!((20..=30).contains(&after), "{after}");
    world.ask(&world.browser(), BEN).await;
    assert_eq!(world.mails().await.len(), 2);
}

async fn three_mails_in_a_quarter_of_an_hour(store: StoreKind) {
    let world = World::builder()
        .store(store)
        .config("[limits]\nmail_pause = \"100 in 1s\"")
        .start()
        .await;
    let browser = world.browser();
    world.ask(&browser, ADA).await;
    for _ in 0..2 {
        browser.post(TAN, &RESEND).await.leads_to(TAN);
    }
    let refused = browser.post(TAN, &RESEND).await;
    refused
        .is(429)
        .shows("Vor Kurzem wurde bereits eine E-Mail angefordert");
    let after: u64 = refused.headers["retry-after"]
        .to_str()
        .expect("ASCII")
        .parse()
        .expect("seconds");
    assert!((800..=900).contains(&after), "{after}");
    world.browser().claim(ADA.0, ADA.1, "/").await.is(429);
    world.postbox.next(2).await;
    assert_eq!(world.mails().await.len(), 3);
}

async fn twenty_browsers_at_once_get_one_mail(store: StoreKind) {
    let world = World::builder().store(store).start().await;
    let browsers: Vec<_> = (0..20).map(|_| world.browser()).collect();
    let answers = futures_util::future::join_all(
        browsers
            .iter()
            .map(|browser| browser.claim(ADA.0, ADA.1, "/")),
    )
    .await;
    let count = |status: u16| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(303), count(429)), (1, 19));
    world.postbox.next(0).await;
    assert_eq!(world.mails().await.len(), 1);
}

/// A browser trusted for an address of Ada's that is no longer on file, so that a TAN is required.
async fn known(world: &World) -> Browser {
    let browser = world.signed_in(ADA).await;
    browser.post("/ui/login/de/abmelden", &[]).await.is(200);
    world.write_brokers(&format!("vtnr;email\n{};{}\n", ADA.0, NEW.1));
    world.log_has("directory reloaded").await;
    browser
}

const NEW: (&str, &str) = (ADA.0, "ada.neu@makler.example");

async fn a_reserve_of_mails_is_kept_for_browsers_that_are_known(store: StoreKind) {
    let world = World::builder().store(store).config("[limits]\nmail_pause = \"100 in 1s\"\nmail_burst = \"100 in 1s\"\nmail_day = \"2 in 24h\"\nmail_reserve = \"1 in 24h\"").start().await;
    let own = known(&world).await;
    world.ask(&world.browser(), NEW).await;
    world.browser().claim(NEW.0, NEW.1, "/").await.is(429);
    let tan = world.ask(&own, NEW).await;
    own.post(TAN, &RESEND).await.is(429);
    own.enter_tan(&tan, "/").await.leads_to("/");
}

#[tokio::test]
async fn the_reserve_does_not_shorten_the_wait_before_sending_again() {
    let world = World::builder()
        .config("[limits]\nmail_pause = \"2 in 30s\"")
        .start()
        .await;
    let own = known(&world).await;
    world.ask(&own, NEW).await;
    own.post(TAN, &RESEND).await.is(429);
    own.post(TAN, &RESEND).await.is(429);
    assert_eq!(
        world.mails().await.len(),
        2,
        "one for the first sign-in, one now"
    );
    own.open("/").await.leads_to(SIGN_IN);
}
