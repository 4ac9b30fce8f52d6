//! What the operator changes comes into force while the gateway runs: all of it or nothing.

use crate::support;
use crate::support::world::{ADA, BEN, World};
use crate::support::{StoreKind, eventually};
use std::path::Path;

const SIGN_IN: &str = "/ui/login/de/vtnr-login";

/// Changes the first gateway's configuration.
fn change(world: &World, from: &str, to: &str) {
    let file = world.gateways[0].config();
    let text = std::fs::read_to_string(file).expect("read");
    assert!(text.contains(from), "{text}");
    replace(file, &text.replace(from, to));
}

/// Puts a new file in the place of another, as careful editors do.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("written");
    support::world::private(&new);
    std::fs::rename(new, file).expect("renamed");
}

async fn reloads_failed(world: &World) -> f64 {
    world.metric("vtnr_gateway_config_reload_failures_total").await
}

/// What the listener shows to a new client.
async fn certificate_of(port: u16) -> Vec<u8> {
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).tls_info(true).build().expect("a client");
    let answer = client.get(format!("https://localhost:{port}{SIGN_IN}")).send().await.expect("an answer");
    let seen = answer.extensions().get::<reqwest::tls::TlsInfo>().expect("it was over TLS");
    seen.peer_certificate().expect("a certificate").to_vec()
}

#[tokio::test]
async fn a_changed_submission_rule_holds_from_the_next_request_on_without_a_restart() {
    let world = World::start().await;
    let browser = world.signed_in_without_email().await;
    let send = async || browser.post("/kfz/angebot", &[("antrag", "1")]).await.status.as_u16();
    assert_eq!(send().await, 200);
    change(&world, "paths = [\"/antrag/versand\"]", "paths = [\"/antrag/versand\", \"/kfz/angebot\"]");
    eventually("the rule holds", async || (send().await == 403).then_some(())).await;
    browser.open("/").await.is(200);
    assert_eq!(world.metric("vtnr_gateway_config_reload_ok").await, 1.0);
}

#[tokio::test]
async fn limits_pages_and_mails_change_together_and_a_signal_says_when() {
    // So rarely looked at that only the signal can be why.
    let world =
        World::builder().store(StoreKind::Redis).config("[brand]\nproduct = \"Altes Programm\"").slow_to_look().start().await;
    world.browser().open(SIGN_IN).await.is(200).shows("Altes Programm");
    change(&world, "Altes Programm", "Neues Programm");
    change(&world, "[brand]", "[limits]\nfailures_client = \"1 in 1h\"\n[brand]");
    world.gateways[0].signal("HUP");
    eventually("the new name is shown", async || {
        world.browser().open(SIGN_IN).await.text().contains("Neues Programm").then_some(())
    })
    .await;
    world.browser().claim(ADA.0, ADA.1, "/").await.is(303);
    let mail = world.postbox.next(0).await;
    assert!(mail.subject.contains("Neues Programm"), "{}", mail.subject);
    world.browser().claim(BEN.0, "wrong@makler.example", "/").await.is(303);
    world.browser().claim(BEN.0, "wrong@makler.example", "/").await.is(429);
}

#[tokio::test]
async fn a_configuration_with_a_mistake_changes_nothing_and_says_what_is_wrong() {
    let world = World::builder().store(StoreKind::Redis).config("[brand]\nproduct = \"Altes Programm\"").start().await;
    let ada = world.signed_in(ADA).await;
    change(&world, "Altes Programm", "Neues Programm\"\ncolour = \"#123456");
    eventually("it is refused", async || (reloads_failed(&world).await > 0.0).then_some(())).await;
    assert_eq!(world.metric("vtnr_gateway_config_reload_ok").await, 0.0);
    assert!(world.log().contains("brand.colour: unknown key"), "{}", world.log());
    world.browser().open(SIGN_IN).await.is(200).shows("Altes Programm");
    ada.open("/").await.is(200);
    assert_eq!(reloads_failed(&world).await, 1.0, "told once");
    change(&world, "\"\ncolour = \"#123456", "");
    eventually("the new name is shown", async || {
        world.browser().open(SIGN_IN).await.text().contains("Neues Programm").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_comes_into_force() {
    let world = World::builder().store(StoreKind::Redis).config("[brand]\nproduct = \"Altes Programm\"").start().await;
    change(&world, "Altes Programm", "Neues Programm");
    change(&world, "[brand]", "[session]\nidle = \"5m\"\n[brand]");
    eventually("the new name is shown", async || {
        world.browser().open(SIGN_IN).await.text().contains("Neues Programm").then_some(())
    })
    .await;
    eventually("it is told", async || world.log().contains("\"needs_restart\":\"session\"").then_some(())).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_one_that_does_not_fit_its_key_is_not() {
    let world = World::builder().store(StoreKind::Redis).https().start().await;
    let port = world.gateways[0].https.expect("https");
    let (cert, key) = (world.folder.path().join("cert.pem"), world.folder.path().join("key.pem"));
    let before = certificate_of(port).await;
    let renewed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    replace(&cert, &renewed.cert.pem());
    eventually("it does not fit", async || (reloads_failed(&world).await > 0.0).then_some(())).await;
    assert_eq!(certificate_of(port).await, before);
    replace(&key, &renewed.signing_key.serialize_pem());
    eventually("the new one is served", async || (certificate_of(port).await == renewed.cert.der().as_ref()).then_some(())).await;
}

#[tokio::test]
async fn a_page_of_the_operators_own_changes_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = folder.path().join("help.html");
    let page = |text: &str| {
        format!(
            "{{% extends \"base.html\" %}}{{% block heading %}}Hilfe{{% endblock %}}{{% block content %}}<p>{text}</p>{{% endblock %}}"
        )
    };
    std::fs::write(&help, page("Rufen Sie an.")).expect("written");
    let config = format!("[brand]\ntemplates = \"{}\"", folder.path().display());
    let world = World::builder().store(StoreKind::Redis).config(&config).start().await;
    let shown = async || world.browser().open("/ui/login/de/hilfe").await.text();
    assert!(shown().await.contains("Rufen Sie an."));
    std::fs::write(&help, page("{{ broken")).expect("written");
    eventually("it is refused", async || (reloads_failed(&world).await > 0.0).then_some(())).await;
    assert!(shown().await.contains("Rufen Sie an."));
    std::fs::write(&help, page("Schreiben Sie uns.")).expect("written");
    eventually("the new page is shown", async || shown().await.contains("Schreiben Sie uns.").then_some(())).await;
}
