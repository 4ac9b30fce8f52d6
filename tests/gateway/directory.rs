//! The directory file: reloaded as a whole, or not at all.

use crate::support::eventually;
use crate::support::world::{ADA, BEN, UNKNOWN, World};

const TAN: &str = "/ui/login/de/tan";

#[tokio::test]
async fn a_new_file_is_in_force_as_a_whole() {
    let world = World::start().await;
    let new = format!(
        "name;vtnr;email\n\"Neu; Makler\";{UNKNOWN};neu@makler.example\n;{};eins@makler.example\n;{};zwei@makler.example\n",
        BEN.0, BEN.0
    );
    world.write_brokers(&new);
    world.log_has_times("directory reloaded", 1).await;
    world
        .browser()
        .claim(ADA.0, ADA.1, "/")
        .await
        .shows("ungültig");
    world
        .browser()
        .claim(UNKNOWN, "neu@makler.example", "/")
        .await
        .leads_to(TAN);
    world
        .browser()
        .claim(BEN.0, BEN.1, "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    world
        .browser()
        .claim(BEN.0, "zwei@makler.example", "/")
        .await
        .leads_to(TAN);
    assert_eq!(world.metric("vtnr_gateway_directory_brokers").await, 2.0);
    assert_eq!(world.metric("vtnr_gateway_directory_reload_ok").await, 1.0);
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_brokers_and_its_lines_are_named_without_what_stands_there() {
    let world = World::start().await;
    let browser = world.signed_in(ADA).await;
    let bad = format!(
        "vtnr;email\n{UNKNOWN};geheim@privat.example\n60/12;verraten@privat.example\n{};keine-adresse-privat\n",
        BEN.0
    );
    world.write_brokers(&bad);
    world.log_has_times("keeping the previous one", 1).await;
    let log = world.log().await;
    assert!(
        log.contains("line 3: not a VTNR") && log.contains("line 4: not an e-mail address"),
        "the lines are named"
    );
    for secret in ["geheim", "verraten", "privat", "60/12", "60/999"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert_eq!(
        world
            .metric("vtnr_gateway_directory_reload_failures_total")
            .await,
        1.0
    );
    assert_eq!(world.metric("vtnr_gateway_directory_reload_ok").await, 0.0);
    assert_eq!(world.metric("vtnr_gateway_directory_brokers").await, 3.0);
    browser.open("/").await.is(200);
    world
        .browser()
        .claim(UNKNOWN, "geheim@privat.example", "/")
        .await
        .shows("ungültig");
    world.browser().claim(BEN.0, BEN.1, "/").await.leads_to(TAN);
    world.write_brokers(&format!("vtnr;email\n{};{}\n", ADA.0, ADA.1));
    world.log_has_times("directory reloaded", 1).await;
    eventually("it is well again", async || {
        (world.metric("vtnr_gateway_directory_reload_ok").await == 1.0).then_some(())
    })
    .await;
    world
        .browser()
        .claim(BEN.0, BEN.1, "/")
        .await
        .shows("ungültig");
}

#[tokio::test]
async fn files_that_would_lock_everybody_out_are_not_taken() {
    let world = World::start().await;
    for (times, text) in [
        "",
        "vtnr;email\n",
        "vtnr,email\n60/123/4567,a@b.example\n",
        "nummer;email\n",
    ]
    .iter()
    .enumerate()
    {
        world.write_brokers(text);
        world
            .log_has_times("keeping the previous one", times + 1)
            .await;
    }
    std::fs::remove_file(world.folder.path().join("brokers.csv")).expect("it is there");
    world.log_has_times("keeping the previous one", 5).await;
    world.browser().claim(ADA.0, ADA.1, "/").await.leads_to(TAN);
}

#[tokio::test]
async fn an_address_that_changes_while_the_tan_is_on_its_way_gets_nobody_in() {
    let world = World::start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    world.write_brokers(&format!("vtnr;email\n{};neu@makler.example\n", ADA.0));
    world.log_has_times("directory reloaded", 1).await;
    browser
        .enter_tan(&tan, "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    browser.open("/").await.leads_to("/ui/login/de/vtnr-login");
    assert_eq!(world.calculator.requests().len(), 0);
}

#[tokio::test]
async fn a_broker_removed_while_the_tan_is_on_its_way_gets_nobody_in() {
    let world = World::start().await;
    let browser = world.browser();
    let tan = world.ask(&browser, ADA).await;
    world.write_brokers(&format!("vtnr;email\n{};{}\n", BEN.0, BEN.1));
    world.log_has_times("directory reloaded", 1).await;
    browser
        .enter_tan(&tan, "/")
        .await
        .leads_to("/ui/login/de/vtnr-login");
    browser.open("/").await.leads_to("/ui/login/de/vtnr-login");
    assert_eq!(world.calculator.requests().len(), 0);
}
