//! What the operator changes comes into force while the gateway runs: all of it or nothing.

use crate::support;
use crate::support::world::{ADA, BEN, World};
use crate::support::{StoreKind, eventually};
use std::path::Path;
use std::process::Command;

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
    world
        .metric("vtnr_gateway_config_reload_failures_total")
        .await
}

/// What the listener shows to a new client.
async fn certificate_of(port: u16) -> Vec<u8> {
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .tls_info(true)
        .build()
        .expect("a client");
    let answer = client
        .get(format!("https://localhost:{port}{SIGN_IN}"))
        .send()
        .await
        .expect("an answer");
    let seen = answer
        .extensions()
        .get::<reqwest::tls::TlsInfo>()
        .expect("it was over TLS");
    seen.peer_certificate().expect("a certificate").to_vec()
}

#[tokio::test]
async fn a_changed_submission_rule_holds_from_the_next_request_on_without_a_restart() {
    let world = World::start().await;
    let browser = world.signed_in_without_email().await;
    let send = async || {
        browser
            .post("/kfz/angebot", &[("antrag", "1")])
            .await
            .status
            .as_u16()
    };
    assert_eq!(send().await, 200);
    change(
        &world,
        "paths = [\"/antrag/versand\"]",
        "paths = [\"/antrag/versand\", \"/kfz/angebot\"]",
    );
    eventually("the rule holds", async || {
        (send().await == 403).then_some(())
    })
    .await;
    browser.open("/").await.is(200);
    world.metric_is("vtnr_gateway_config_reload_ok", 1.0).await;
}

#[tokio::test]
async fn limits_pages_and_mails_change_together_and_a_signal_says_when() {
    // So rarely looked at that only the signal can be why.
    let world = World::builder()
        .store(StoreKind::Redis)
        .config("[brand]\nproduct = \"Altes Programm\"")
        .slow_to_look()
        .start()
        .await;
    world
        .browser()
        .open(SIGN_IN)
        .await
        .is(200)
        .shows("Altes Programm");
    change(&world, "Altes Programm", "Neues Programm");
    change(
        &world,
        "[brand]",
        "[limits]\nfailures_client = \"1 in 1h\"\n[brand]",
    );
    world.gateways[0].signal("HUP");
    eventually("the new name is shown", async || {
        world
            .browser()
            .open(SIGN_IN)
            .await
            .text()
            .contains("Neues Programm")
            .then_some(())
    })
    .await;
    world.browser().claim(ADA.0, ADA.1, "/").await.is(303);
    let mail = world.postbox.next(0).await;
    assert!(mail.subject.contains("Neues Programm"), "{}", mail.subject);
    world
        .browser()
        .claim(BEN.0, "wrong@makler.example", "/")
        .await
        .is(303);
    world
        .browser()
        .claim(BEN.0, "wrong@makler.example", "/")
        .await
        .is(429);
}

#[tokio::test]
async fn a_configuration_with_a_mistake_changes_nothing_and_says_what_is_wrong() {
    let world = World::builder()
        .store(StoreKind::Redis)
        .config("[brand]\nproduct = \"Altes Programm\"")
        .start()
        .await;
    let ada = world.signed_in(ADA).await;
    change(
        &world,
        "Altes Programm",
        "Neues Programm\"\ncolour = \"#123456",
    );
    eventually("it is refused", async || {
        (reloads_failed(&world).await > 0.0).then_some(())
    })
    .await;
    world.metric_is("vtnr_gateway_config_reload_ok", 0.0).await;
    world.log_has("brand.colour: unknown key").await;
    world
        .browser()
        .open(SIGN_IN)
        .await
        .is(200)
        .shows("Altes Programm");
    ada.open("/").await.is(200);
    assert_eq!(reloads_failed(&world).await, 1.0, "told once");
    change(&world, "\"\ncolour = \"#123456", "");
    eventually("the new name is shown", async || {
        world
            .browser()
            .open(SIGN_IN)
            .await
            .text()
            .contains("Neues Programm")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_comes_into_force() {
    let world = World::builder()
        .store(StoreKind::Redis)
        .config("[brand]\nproduct = \"Altes Programm\"")
        .start()
        .await;
    change(&world, "Altes Programm", "Neues Programm");
    change(&world, "[brand]", "[session]\nidle = \"5m\"\n[brand]");
    eventually("the new name is shown", async || {
        world
            .browser()
            .open(SIGN_IN)
            .await
            .text()
            .contains("Neues Programm")
            .then_some(())
    })
    .await;
    world.log_has("\"needs_restart\":\"session.idle\"").await;
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_one_that_does_not_fit_its_key_is_not() {
    let world = World::builder()
        .store(StoreKind::Redis)
        .https()
        .start()
        .await;
    let port = world.gateways[0].https.expect("https");
    let (cert, key) = (
        world.folder.path().join("cert.pem"),
        world.folder.path().join("key.pem"),
    );
    let before = certificate_of(port).await;
    let renewed =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    replace(&cert, &renewed.cert.pem());
    eventually("it does not fit", async || {
        (reloads_failed(&world).await > 0.0).then_some(())
    })
    .await;
    assert_eq!(certificate_of(port).await, before);
    replace(&key, &renewed.signing_key.serialize_pem());
    eventually("the new one is served", async || {
        (certificate_of(port).await == renewed.cert.der().as_ref()).then_some(())
    })
    .await;
}

/// A world with templates of its operator's own, which begin with this help page.
async fn with_templates(help: &str) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("help.html"), page(help)).expect("written");
    let config = format!("[brand]\ntemplates = \"{}\"", folder.path().display());
    (
        World::builder()
            .store(StoreKind::Redis)
            .config(&config)
            .start()
            .await,
        folder,
    )
}

fn page(text: &str) -> String {
    format!(
        "{{% extends \"base.html\" %}}{{% block heading %}}Hilfe{{% endblock %}}{{% block content %}}<p>{text}</p>{{% endblock %}}"
    )
}

async fn help(world: &World) -> String {
    world.browser().open("/ui/login/de/hilfe").await.text()
}

/// Waits until a line of the log is in these words, one after the other.
async fn told(world: &World, words: &[&str]) {
    let holds = |line: &str| {
        let mut rest = line;
        words.iter().all(|word| {
            rest.split_once(word)
                .map(|(_, after)| rest = after)
                .is_some()
        })
    };
    world
        .log_shows(&format!("{words:?}"), |log| {
            log.lines().any(holds).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_page_of_the_operators_own_changes_and_a_broken_one_does_not() {
    let (world, folder) = with_templates("Rufen Sie an.").await;
    let file = folder.path().join("help.html");
    assert!(help(&world).await.contains("Rufen Sie an."));
    std::fs::write(&file, page("\n{{ broken")).expect("written");
    eventually("it is refused", async || {
        (reloads_failed(&world).await > 0.0).then_some(())
    })
    .await;
    assert!(help(&world).await.contains("Rufen Sie an."));
    told(
        &world,
        &[
            "\"message\":\"failed to reload the configuration",
            &format!("{}:2: ", file.display()),
            "\"}",
        ],
    )
    .await;
    assert!(!world.log().await.contains("valid again"));
    std::fs::write(&file, page("Schreiben Sie uns.")).expect("written");
    eventually("the new page is shown", async || {
        help(&world)
            .await
            .contains("Schreiben Sie uns.")
            .then_some(())
    })
    .await;
    told(
        &world,
        &["\"INFO\"", "configuration reloaded, and valid again"],
    )
    .await;
    std::fs::write(&file, page("Schreiben Sie.")).expect("written");
    eventually("the next one is shown", async || {
        help(&world).await.contains("Schreiben Sie.").then_some(())
    })
    .await;
    // Only then the last reload is in the log.
    world.log_has_times("configuration reloaded", 2).await;
    assert_eq!(
        world
            .log()
            .await
            .matches("configuration reloaded, and valid again")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_template_under_a_name_that_does_not_exist_is_refused_and_a_copy_of_an_editors_is_not() {
    let (world, folder) = with_templates("Rufen Sie an.").await;
    let (unknown, file) = (
        folder.path().join("hilfe.html"),
        folder.path().join("help.html"),
    );
    std::fs::write(&unknown, page("Hilfe.")).expect("written");
    told(
        &world,
        &[
            "keeping the previous",
            "brand.templates: ",
            &unknown.display().to_string(),
            "help.html",
            "mail/tan.html",
        ],
    )
    .await;
    std::fs::rename(&unknown, folder.path().join("help.html~")).expect("renamed");
    told(&world, &["reloaded, and valid again"]).await;
    std::fs::write(&file, page("Schreiben Sie uns.")).expect("written");
    eventually("the new page is shown", async || {
        help(&world)
            .await
            .contains("Schreiben Sie uns.")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_mistake_in_a_folder_that_only_the_refused_configuration_names_is_seen_to_be_mended() {
    let world = World::builder()
        .store(StoreKind::Redis)
        .config("[brand]\nproduct = \"Altes Programm\"")
        .start()
        .await;
    let folder = tempfile::tempdir().expect("a folder");
    let unknown = folder.path().join("hilfe.html");
    std::fs::write(&unknown, page("Schreiben Sie uns.")).expect("written");
    change(
        &world,
        "[brand]",
        &format!("[brand]\ntemplates = \"{}\"", folder.path().display()),
    );
    told(
        &world,
        &[
            "keeping the previous",
            "brand.templates: ",
            &unknown.display().to_string(),
        ],
    )
    .await;
    std::fs::rename(&unknown, folder.path().join("help.html")).expect("renamed");
    eventually("the new page is shown", async || {
        help(&world)
            .await
            .contains("Schreiben Sie uns.")
            .then_some(())
    })
    .await;
    assert_eq!(reloads_failed(&world).await, 1.0, "told once");
}

#[tokio::test]
async fn a_mail_of_the_operators_own_that_is_written_in_place_is_taken() {
    let (world, folder) = with_templates("Rufen Sie an.").await;
    let subject = folder.path().join("mail/subject.txt");
    std::fs::create_dir(folder.path().join("mail")).expect("a folder");
    for (text, broker) in [("Ihr Zugang", ADA), ("Ihre TAN", BEN)] {
        let before = world.log().await.matches("configuration reloaded").count();
        std::fs::write(&subject, text).expect("written");
        world
            .log_has_times("configuration reloaded", before + 1)
            .await;
        let mails = world.postbox.mails().len();
        world.browser().claim(broker.0, broker.1, "/").await.is(303);
        assert_eq!(world.postbox.next(mails).await.subject, text);
    }
}

#[tokio::test]
async fn each_template_that_can_be_replaced_is_read_and_a_mistake_in_it_is_told_with_file_and_line()
{
    let (world, folder) = with_templates("Rufen Sie an.").await;
    for name in vtnr_gateway::config::templates() {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(&file, "\n{{ broken\n").expect("written");
        let mut check = Command::new(env!("CARGO_BIN_EXE_vtnr-gateway"));
        let output = check
            .args(["check", "--config"])
            .arg(world.gateways[0].config())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(&format!("{}:2: ", file.display())), "{said}");
        std::fs::remove_file(file).expect("it is there");
    }
}

#[tokio::test]
async fn that_a_file_can_be_used_again_is_told_once() {
    let users = tempfile::tempdir().expect("a folder");
    let users = users.path().join("users.csv");
    let put = |text: &str| {
        std::fs::create_dir_all(users.parent().expect("a folder")).expect("made");
        std::fs::write(&users, text).expect("written");
        support::world::private(&users);
    };
    put("user;vtnr;hash\n");
    let config = format!("[password]\nfile = \"{}\"", users.display());
    let world = World::builder()
        .store(StoreKind::Redis)
        .config(&config)
        .start()
        .await;
    let brokers = std::fs::read_to_string(world.folder.path().join("brokers.csv")).expect("read");
    world.write_brokers("vtnr;email\n");
    put("nothing\n");
    told(
        &world,
        &[
            "\"ERROR\"",
            "failed to reload the directory, keeping the previous one: ",
            "the file names no broker",
        ],
    )
    .await;
    told(
        &world,
        &[
            "\"ERROR\"",
            "failed to reload the users file, keeping the previous users: ",
            "users.csv",
        ],
    )
    .await;
    world.write_brokers(&brokers);
    put("user;vtnr;hash\n");
    told(&world, &["\"INFO\"", "the directory file is valid again"]).await;
    told(&world, &["\"INFO\"", "users file loaded, and valid again"]).await;
    world.write_brokers(&format!("{brokers}60/123/4570;\n"));
    told(&world, &["directory reloaded\""]).await;
    assert_eq!(world.log().await.matches("valid again").count(), 2);
}
