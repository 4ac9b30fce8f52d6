//! Every page in a real browser: can it be read, reached and used, by everybody and on every screen.

use crate::support::chromium::{Chromium, Screen};
use crate::support::gallery::Gallery;
use crate::support::users::{ADA_KEY, BEN_KEY, COST, UsersFile};
use crate::support::world::{ADA, BEN, NO_EMAIL, StoreKind, UNKNOWN, World, tan_of};
use crate::support::{Act, Relay, eventually};
use demo::postbox::PostboxFault;
use serde_json::json;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

#[tokio::test]
async fn no_page_keeps_anybody_out_on_a_large_screen() {
    every_page_is_accessible(Screen::Desktop).await;
}

#[tokio::test]
async fn no_page_keeps_anybody_out_on_a_phone() {
    every_page_is_accessible(Screen::Phone).await;
}

async fn every_page_is_accessible(screen: Screen) {
    let folder = TempDir::new().expect("a folder");
    let gallery = Gallery::open("", &folder).await;
    let chromium = Chromium::builder().screen(screen).start().await;
    // The bare ones only leave something out.
    for (name, url) in gallery.pages().filter(|(name, _)| !name.ends_with("-bare")) {
        chromium.open(&url).await;
        chromium
            .eval("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
            .await;
        // Problems differ in their words alone: what a small screen does to one it does to all.
        if screen == Screen::Desktop
            || !name.starts_with("problem-")
            || name == "problem-store-down-sign-out"
        {
            chromium.is_accessible(name).await;
        }
        chromium.fits(name).await;
        picture(&chromium, &format!("{name}-{screen:?}").to_lowercase()).await;
    }
}

#[tokio::test]
async fn nothing_sticks_out_on_the_narrowest_screen() {
    every_page_fits(Chromium::builder().screen(Screen::Narrow).start().await).await;
}

#[tokio::test]
async fn nothing_sticks_out_with_text_twice_as_large() {
    every_page_fits(
        Chromium::builder()
            .screen(Screen::Phone)
            .large_text()
            .start()
            .await,
    )
    .await;
}

async fn every_page_fits(chromium: Chromium) {
    let folder = TempDir::new().expect("a folder");
    let gallery = Gallery::open("", &folder).await;
    for (name, url) in gallery.pages() {
        chromium.open(&url).await;
        chromium
            .eval("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
            .await;
        chromium.fits(name).await;
    }
}

/// Keeps a picture of the page in the folder that `VTNR_SCREENSHOTS` names.
async fn picture(chromium: &Chromium, name: &str) {
    if let Some(folder) = std::env::var_os("VTNR_SCREENSHOTS") {
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(file, chromium.full_screenshot().await).expect("the picture can be written");
    }
}

const TARGET: &str = "/kfz/angebot?id=42#beitrag";
const SIGN_IN: &str = "/ui/login/de/vtnr-login?return_to=%2Fkfz%2Fangebot%3Fid%3D42#beitrag";
const TAN: &str = "/ui/login/de/tan?return_to=%2Fkfz%2Fangebot%3Fid%3D42#beitrag";

/// Fills in the first page and presses Enter.
async fn claim(chromium: &Chromium, (vtnr, email): (&str, &str)) {
    chromium.type_into("#vtnr", vtnr).await;
    chromium.type_into("#email", email).await;
    chromium.press(ENTER).await;
}

/// The next mail's TAN as many people type it.
async fn typed_tan(world: &World, mails_before: usize) -> String {
    let tan = tan_of(&world.postbox.next(mails_before).await).to_lowercase();
    format!(" {} {} ", &tan[..3], &tan[3..])
}

const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
const BACK_TAB: &str = "\u{e008}\u{e004}\u{e008}";
const SPACE: &str = " ";

async fn signs_in_by_hand(world: &World, chromium: &Chromium) {
    chromium.open(&format!("{}{TARGET}", world.base())).await;
    chromium
        .arrives_at(SIGN_IN)
        .await
        .shows("Anmelden mit Vermittlernummer")
        .await;
    claim(chromium, ADA).await;
    chromium
        .arrives_at(TAN)
        .await
        .shows("Überprüfen Sie Ihren Posteingang")
        .await;
    chromium.type_into("#tan", &typed_tan(world, 0).await).await;
    chromium.press(ENTER).await;
    chromium
        .arrives_at(TARGET)
        .await
        .shows("Ihr Kfz-Angebot")
        .await;
}

#[tokio::test]
async fn a_broker_signs_in_by_hand_and_comes_back_to_the_deep_link_with_its_fragment() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    signs_in_by_hand(&world, &chromium).await;
    assert_eq!(chromium.complaints().await, [""; 0]);
}

#[tokio::test]
async fn all_of_it_works_without_javascript() {
    let (world, chromium) = (
        World::start().await,
        Chromium::builder().without_javascript().start().await,
    );
    signs_in_by_hand(&world, &chromium).await;
    chromium
        .open(&format!("{}/ui/login/de/abmelden", world.base()))
        .await;
    chromium.click("button[name=forget_browser]").await;
    chromium.shows("Sie sind abgemeldet").await;
    chromium
        .open(&format!("{}/antrag?id=42#x", world.base()))
        .await;
    claim(&chromium, (NO_EMAIL, "niemand@makler.example")).await;
    chromium.shows("Unbekannte E-Mail-Adresse").await;
    chromium.click("summary").await;
    chromium.click("details button").await;
    chromium.arrives_at("/antrag?id=42#x").await;
    chromium.click("input[type=submit]").await;
    chromium.shows("Antragsversand noch nicht möglich").await;
}

#[tokio::test]
async fn a_double_click_is_one_sign_in_and_no_error() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    chromium.type_into("#vtnr", ADA.0).await;
    chromium.type_into("#email", ADA.1).await;
    chromium.double_click("button").await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    let tan = typed_tan(&world, 0).await;
    chromium.type_into("#tan", &tan).await;
    chromium.double_click("form > button").await;
    chromium.arrives_at("/kfz/angebot").await;
    assert_eq!(world.mails().await.len(), 1);
}

#[tokio::test]
async fn two_answers_at_once_without_javascript_are_one_sign_in_and_no_error() {
    let (world, chromium) = (
        World::start().await,
        Chromium::builder().without_javascript().start().await,
    );
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    chromium.type_into("#vtnr", ADA.0).await;
    chromium.type_into("#email", ADA.1).await;
    chromium.double_click("button").await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium
        .type_into("#tan", &typed_tan(&world, 0).await)
        .await;
    chromium.double_click("form > button").await;
    chromium.arrives_at("/kfz/angebot").await;
    assert_eq!(world.mails().await.len(), 1);
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    for focus in [
        "vtnr",
        "email",
        "ANMELDEN",
        "Impressum",
        "Datenschutz",
        "Unterstützung beim Login",
    ] {
        assert_eq!(chromium.focus().await, focus);
        assert_eq!(
            chromium.eval(FOCUS_IS_SEEN).await,
            true,
            "the focus on {focus} is not seen"
        );
        chromium.press(TAB).await;
    }
    chromium
        .eval("document.querySelector('#email').focus()")
        .await;
    chromium.press(BACK_TAB).await;
    assert_eq!(chromium.focus().await, "vtnr");
    // What is wrong first has the focus, and the summary's links lead to the fields.
    claim(&chromium, ("", "ada")).await;
    chromium.shows("Bitte prüfen Sie Ihre Eingabe").await;
    chromium.is_accessible("both errors").await;
    assert_eq!(chromium.focus().await, "vtnr");
    assert_eq!(chromium.value("#email").await, "ada");
    chromium.click("a[href='#email']").await;
    assert_eq!(chromium.focus().await, "email");
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    claim(&chromium, (ADA.0, "ada")).await;
    chromium.shows("Bitte prüfen Sie Ihre Eingabe").await;
    assert_eq!(chromium.focus().await, "email");
    chromium
        .eval("document.querySelector('#email').value = ''")
        .await;
    chromium.press(&format!("{}{ENTER}", BEN.1)).await;
    chromium.shows("Unbekannte E-Mail-Adresse").await;
    chromium.is_accessible("unknown e-mail").await;
    // The expander opens with the keyboard as well.
    chromium.press(&format!("{TAB}{TAB}")).await;
    assert_eq!(
        chromium.focus().await,
        "Sie möchten sich ohne E-Mail anmelden?"
    );
    assert_eq!(
        chromium.eval(FOCUS_IS_SEEN).await,
        true,
        "the focus on the expander is not seen"
    );
    chromium.hides("WEITER ZUM ONLINE-RECHNER").await;
    chromium.press(SPACE).await;
    chromium.shows("WEITER ZUM ONLINE-RECHNER").await;
    chromium.is_accessible("unknown e-mail, expanded").await;
    chromium.press(TAB).await;
    assert_eq!(chromium.focus().await, "WEITER ZUM ONLINE-RECHNER");
    chromium.press(BACK_TAB).await;
    chromium.press(BACK_TAB).await;
    assert_eq!(chromium.focus().await, "E-MAIL-ADRESSE KORRIGIEREN");
    chromium.press(ENTER).await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    assert_eq!(chromium.value("#vtnr").await, ADA.0);
    assert_eq!(chromium.value("#email").await, BEN.1);
    assert_eq!(chromium.focus().await, "email");
}

/// An outline of at least two pixels, or a border that thick.
const FOCUS_IS_SEEN: &str = "const it = getComputedStyle(document.activeElement); \
                             return it.outlineStyle !== 'none' && parseFloat(it.outlineWidth) >= 2";

#[tokio::test]
async fn a_tan_can_be_pasted() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    chromium.open(&world.base()).await;
    claim(&chromium, ADA).await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium
        .type_into("#tan", &typed_tan(&world, 0).await)
        .await;
    let control = '\u{e009}';
    chromium.press(&format!("{control}a{control}")).await;
    chromium.press(&format!("{control}x{control}")).await;
    assert_eq!(chromium.value("#tan").await, "");
    chromium.press(&format!("{control}v{control}")).await;
    assert_eq!(chromium.value("#tan").await.len(), 9);
    chromium.press(ENTER).await;
    chromium
        .arrives_at("/")
        .await
        .shows("Willkommen im Online-Rechner")
        .await;
}

#[tokio::test]
async fn the_tan_page_tells_by_itself_what_becomes_of_the_mail() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    world
        .postbox
        .set_fault(PostboxFault::BannerDelay(Duration::from_secs(3)));
    chromium.open(&world.base()).await;
    claim(&chromium, ADA).await;
    chromium
        .shows("Wir senden gerade eine TAN an ada@makler.example.")
        .await;
    chromium.is_accessible("sending").await;
    chromium
        .shows("Wir haben eine TAN an ada@makler.example gesendet. Der Mailserver hat sie um")
        .await
        .shows("Sie ist gültig bis")
        .await;
    chromium.is_accessible("accepted").await;
    let told = chromium.text().await;
    chromium.reload().await;
    chromium.shows("Sie ist gültig bis").await;
    assert_eq!(
        mail_line(&told),
        mail_line(&chromium.text().await),
        "the script and the server tell it alike"
    );
    assert_eq!(chromium.complaints().await, [""; 0]);
}

fn mail_line(page: &str) -> &str {
    let from = page.find("Wir haben").expect("it tells of the mail");
    &page[from..page.find("TAN 6 Buchstaben").expect("a field")]
}

#[tokio::test]
async fn the_tan_page_tells_by_itself_that_the_mail_is_late_and_that_it_left_after_all() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    world.postbox.set_fault(PostboxFault::PutOff);
    chromium.open(&world.base()).await;
    claim(&chromium, ADA).await;
    chromium
        .shows("Die E-Mail mit der TAN an ada@makler.example verzögert sich")
        .await;
    chromium.is_accessible("delayed").await;
    world.postbox.set_fault(PostboxFault::None);
    chromium.shows("Sie ist gültig bis").await;
}

#[tokio::test]
async fn the_tan_page_moves_on_by_itself_whatever_becomes_of_the_mail() {
    moves_on_by_itself(Chromium::start().await, "desktop", "#beitrag").await;
    moves_on_by_itself(
        Chromium::builder().screen(Screen::Phone).start().await,
        "phone",
        "#beitrag",
    )
    .await;
}

#[tokio::test]
async fn the_tan_page_moves_on_by_itself_without_javascript_too() {
    moves_on_by_itself(
        Chromium::builder().without_javascript().start().await,
        "bare",
        "",
    )
    .await;
}

async fn moves_on_by_itself(chromium: Chromium, name: &str, fragment: &str) {
    let (target, tan) = (
        TARGET.replace("#beitrag", fragment),
        TAN.replace("#beitrag", fragment),
    );
    let relay = Relay::start();
    relay
        .once("MAIL", Act::Hold)
        .once("RCPT", Act::Say("451 4.7.1 greylisted"))
        .once("RCPT", Act::Hold);
    let world = World::builder()
        .config(&format!(
            "[mail]\nurl = \"smtp://127.0.0.1:{}\"",
            relay.port
        ))
        .start()
        .await;
    chromium.open(&format!("{}{target}", world.base())).await;
    claim(&chromium, ADA).await;
    chromium
        .arrives_at(&tan)
        .await
        .shows("Wir senden gerade eine TAN an ada@makler.example.")
        .await;
    picture(&chromium, &format!("mail-sending-{name}")).await;
    relay.holds().await;
    relay.go_on();
    chromium
        .shows("verzögert sich: Der Mailserver hat sie noch nicht angenommen.")
        .await;
    chromium
        .comes_to(&format!(
            "/versuchen es ab {SECOND} erneut/.test(document.body.innerText)"
        ))
        .await;
    picture(&chromium, &format!("mail-delayed-{name}")).await;
    relay.holds().await;
    chromium.shows("wir versuchen es gerade erneut").await;
    relay.go_on();
    chromium
        .comes_to(&format!(
            "/hat sie um {SECOND} angenommen. Sie ist gültig bis/.test(document.body.innerText)"
        ))
        .await;
    picture(&chromium, &format!("mail-accepted-{name}")).await;
    chromium.arrives_at(&tan).await;
    chromium.type_into("#tan", &relay.taken()[0].tan()).await;
    chromium.press(ENTER).await;
    chromium.arrives_at(&target).await;
    assert_eq!(chromium.complaints().await, [""; 0]);
}

/// A time of day to the second.
const SECOND: &str = r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}\sUhr";

#[tokio::test]
async fn the_tan_page_tells_by_itself_that_the_mail_was_refused() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    world.postbox.set_fault(PostboxFault::Refuse);
    chromium.open(&world.base()).await;
    claim(&chromium, ADA).await;
    chromium
        .shows("Die E-Mail an ada@makler.example konnte nicht zugestellt werden")
        .await;
    chromium.is_accessible("refused").await;
}

#[tokio::test]
async fn the_mail_can_be_sent_again_once_the_countdown_is_over_and_the_older_tan_still_works() {
    let world = World::builder()
        .config("[limits]\nmail_pause = \"1 in 6s\"")
        .start()
        .await;
    let chromium = Chromium::start().await;
    chromium.open(&world.base()).await;
    claim(&chromium, ADA).await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    let tan = typed_tan(&world, 0).await;
    chromium.click("summary").await;
    assert_eq!(
        chromium
            .eval("return document.querySelector('details button').disabled")
            .await,
        true
    );
    chromium
        .comes_to("/Erneut senden ist in [1-4] Sekunden? möglich/.test(document.body.innerText)")
        .await;
    chromium
        .comes_to("!document.querySelector('details button').disabled")
        .await;
    chromium.hides("Erneut senden ist in").await;
    chromium.click("details button").await;
    chromium
        .shows("Sie haben die E-Mail noch einmal angefordert.")
        .await;
    world.postbox.next(1).await;
    chromium.reload().await;
    chromium.type_into("#tan", &tan).await;
    chromium.press(ENTER).await;
    chromium.arrives_at("/").await;
    assert_eq!(world.mails().await.len(), 2);
}

#[tokio::test]
async fn a_second_tab_moves_on_by_itself_to_its_own_target() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    let first = chromium.tab().await;
    chromium
        .open(&format!("{}/kfz/angebot?id=42#a", world.base()))
        .await;
    claim(&chromium, ADA).await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    let second = chromium.open_tab().await;
    chromium.open(&format!("{}/kurse#b", world.base())).await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    assert_eq!(
        chromium.value("#vtnr").await,
        ADA.0,
        "one sign-in for all tabs"
    );
    chromium.turn_to(&first).await;
    chromium
        .type_into("#tan", &typed_tan(&world, 0).await)
        .await;
    chromium.press(ENTER).await;
    chromium.arrives_at("/kfz/angebot?id=42#a").await;
    chromium.turn_to(&second).await;
    chromium
        .arrives_at("/kurse#b")
        .await
        .shows("verbunden")
        .await;
}

#[tokio::test]
async fn back_and_reload_never_show_an_error() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    claim(&chromium, ("60/123/456", ADA.1)).await;
    chromium.shows("Diese Vermittlernummer ist ungültig.").await;
    chromium.reload().await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    chromium
        .eval("document.querySelectorAll('input').forEach((it) => { it.value = ''; })")
        .await;
    claim(&chromium, ADA).await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    let tan = typed_tan(&world, 0).await;
    chromium.reload().await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium.type_into("#tan", "bbbbbb").await;
    chromium.press(ENTER).await;
    chromium.shows("Sie haben noch 4 Versuche.").await;
    chromium.is_accessible("wrong TAN").await;
    chromium.reload().await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium.hides("3 Versuche").await;
    chromium.back().await;
    chromium.forward().await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium.type_into("#tan", "bbbbbb").await;
    chromium.press(ENTER).await;
    chromium.shows("Sie haben noch 3 Versuche.").await;
    chromium.type_into("#tan", &tan).await;
    chromium.press(ENTER).await;
    chromium.arrives_at("/kfz/angebot").await;
    for _ in 0..2 {
        chromium.back().await;
        chromium
            .arrives_at("/kfz/angebot")
            .await
            .shows("Angebot berechnen")
            .await;
    }
    assert_eq!(world.mails().await.len(), 1);
}

#[tokio::test]
async fn a_page_that_comes_back_from_the_cache_can_be_used_again() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    claim(&chromium, (ADA.0, BEN.1)).await;
    chromium.shows("Unbekannte E-Mail-Adresse").await;
    chromium.back().await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    chromium
        .comes_to("!document.querySelector('button').disabled")
        .await;
}

#[tokio::test]
async fn a_browser_without_cookies_is_told_so() {
    let (world, chromium) = (
        World::start().await,
        Chromium::builder().without_cookies().start().await,
    );
    chromium.open(&world.base()).await;
    claim(&chromium, ADA).await;
    chromium.shows("Ihr Browser hat kein Cookie gesendet").await;
    chromium.is_accessible("cookies blocked").await;
}

#[tokio::test]
async fn signing_out_ends_the_session_and_forgetting_the_browser_ends_its_trust() {
    let world = World::builder()
        .config("[limits]\nmail_pause = \"1 in 1s\"")
        .start()
        .await;
    let chromium = Chromium::start().await;
    let sign_out = format!("{}/ui/login/de/abmelden", world.base());
    signs_in_by_hand(&world, &chromium).await;
    chromium.click("a[href='/ui/login/de/abmelden']").await;
    chromium
        .shows("Sie sind mit der Vermittlernummer 60/123/4567 angemeldet.")
        .await;
    chromium.is_accessible("sign-out").await;
    chromium.click("main form:first-of-type button").await;
    chromium.shows("Sie sind abgemeldet").await;
    chromium.is_accessible("signed out").await;
    chromium.click("main .button").await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    chromium.back().await;
    chromium
        .comes_to("/abgemeldet|nicht angemeldet/.test(document.body.innerText)")
        .await;
    chromium.back().await;
    chromium.shows("Sie sind zurzeit nicht angemeldet.").await;
    // What the calculator showed is not shown to whoever comes next.
    chromium.back().await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    // The browser is still trusted: no TAN.
    chromium.open(&format!("{}/kurse", world.base())).await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    claim(&chromium, ADA).await;
    chromium.arrives_at("/kurse").await;
    chromium.open(&sign_out).await;
    chromium.click("button[name=forget_browser]").await;
    chromium.shows("Diesen Browser haben wir vergessen").await;
    chromium.open(&format!("{}/kurse", world.base())).await;
    claim(&chromium, ADA).await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    world.postbox.next(1).await;
}

#[tokio::test]
async fn a_first_visit_is_light_and_asks_nobody_else() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    chromium
        .comes_to("document.readyState === 'complete'")
        .await;
    let loaded = chromium.eval(LOADED).await;
    let loaded: Vec<(String, f64)> = serde_json::from_value(loaded).expect("names and sizes");
    assert!(loaded.len() >= 3, "page, style and script: {loaded:?}");
    for (url, _) in &loaded {
        assert!(
            url.starts_with(&world.base()),
            "a request to somebody else: {url}"
        );
    }
    let bytes: f64 = loaded.iter().map(|(_, bytes)| bytes).sum();
    assert!(
        bytes > 5_000.0 && bytes < 30.0 * 1_024.0,
        "{bytes} bytes: {loaded:?}"
    );
    assert_eq!(chromium.complaints().await, [""; 0]);
}

const LOADED: &str = "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]\
                      .map((it) => [it.name, it.transferSize])";

#[tokio::test]
async fn a_tan_that_is_of_no_use_any_more_is_replaced_with_one_click() {
    let limits =
        "[login]\ntan_tries = 2\n[limits]\nmail_pause = \"9 in 1s\"\nwrong_tans_day = \"3 in 24h\"";
    let world = World::builder().config(limits).start().await;
    let chromium = Chromium::builder().screen(Screen::Phone).start().await;
    chromium.open(&format!("{}{TARGET}", world.base())).await;
    claim(&chromium, ADA).await;
    for told in ["Sie haben noch einen Versuch.", "Diese TAN gilt nicht mehr"] {
        chromium.type_into("#tan", "bbbbbb").await;
        chromium.press(ENTER).await;
        chromium.shows(told).await;
    }
    chromium.is_accessible("spent").await;
    chromium.fits("spent").await;
    world.postbox.next(0).await;
    chromium.click("main form button").await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    for told in [
        "Sie haben noch einen Versuch.",
        "Sie benötigen eine längere TAN",
    ] {
        chromium.type_into("#tan", "cccccc").await;
        chromium.press(ENTER).await;
        chromium.shows(told).await;
    }
}

/// Types all of the calculator's form for a car, up to the premium it works out by itself.
async fn fills_in_an_offer(world: &World, chromium: &Chromium) {
    chromium
        .open(&format!("{}/kfz/angebot", world.base()))
        .await;
    let fields = [
        ("name", "Jürgen Groß"),
        ("geburtsdatum", "01.02.1970"),
        ("kennzeichen", "M-AB 123"),
        ("hsn", "0603"),
    ];
    for (field, text) in fields {
        chromium.type_into(&format!("#{field}"), text).await;
    }
    chromium.type_into("input[name=tsn]", "BGU").await;
    chromium.shows("EUR im Jahr, Rate").await;
}

#[tokio::test]
async fn the_calculator_works_behind_the_gateway() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    signs_in_by_hand(&world, &chromium).await;
    chromium.open(&world.base()).await;
    chromium.shows("Meldung 1:").await.shows("Meldung 2:").await;
    chromium.open(&format!("{}/kurse", world.base())).await;
    chromium
        .shows("verbunden")
        .await
        .shows("Wachstum Europa")
        .await;
    fills_in_an_offer(&world, &chromium).await;
    chromium.click("input[type=submit]").await;
    chromium
        .shows("Ihr Kfz-Angebot")
        .await
        .shows("Jürgen Groß")
        .await;
    let csv = chromium.eval_async(DOWNLOAD).await;
    assert_eq!(
        csv["disposition"],
        "attachment; filename=\"angebot-43.csv\""
    );
    assert!(
        csv["text"]
            .as_str()
            .expect("text")
            .contains("\"Versicherungsnehmer\";\"J\u{fc}rgen Gro\u{df}\""),
        "{csv}"
    );
    chromium.click("a[href^='/antrag?']").await;
    chromium.shows("Antrag zum Angebot 43").await;
    chromium.click("input[type=submit]").await;
    chromium
        .shows("Antrag versendet")
        .await
        .shows("AE-000001")
        .await;
    assert_eq!(world.calculator.submissions().len(), 1);
    assert_eq!(chromium.complaints().await, [""; 0]);
}

/// Fetches what the link leads to, as the calculator's character set has it.
const DOWNLOAD: &str = "const done = arguments[arguments.length - 1]; \
    fetch(document.querySelector('a[href*=\".csv\"]').href).then(async (answer) => done({ \
        disposition: answer.headers.get('content-disposition'), \
        text: new TextDecoder('iso-8859-1').decode(await answer.arrayBuffer()) }))";

#[tokio::test]
async fn an_application_that_was_blocked_goes_out_once_when_the_address_is_confirmed() {
    let world = World::start().await;
    let chromium = Chromium::builder().screen(Screen::Phone).start().await;
    chromium
        .open(&format!("{}/antrag?id=42", world.base()))
        .await;
    claim(&chromium, (ADA.0, "falsch@makler.example")).await;
    chromium.shows("Unbekannte E-Mail-Adresse").await;
    chromium.click("summary").await;
    chromium.click("details button").await;
    chromium.arrives_at("/antrag?id=42").await;
    chromium.type_into("#strasse", "Große Straße 1").await;
    chromium
        .type_into("#bemerkung", "Bitte eilig: 100 % & mehr")
        .await;
    picture(&chromium, "unlock-1-application").await;
    chromium.click("input[type=submit]").await;
    chromium
        .shows("Antragsversand noch nicht möglich")
        .await
        .shows("mit einem Klick ab")
        .await;
    looked_at(&chromium, "unlock-2-blocked").await;
    assert!(world.calculator.submissions().is_empty());
    chromium.type_into("#email", "ada@").await;
    chromium.press(ENTER).await;
    chromium
        .shows("E-Mail-Adresse bestätigen")
        .await
        .shows("Bitte geben Sie eine vollständige E-Mail-Adresse ein")
        .await;
    looked_at(&chromium, "unlock-3-confirm").await;
    assert_eq!(chromium.focus().await, "email");
    chromium
        .eval("document.querySelector('#email').value = ''")
        .await;
    chromium.type_into("#email", ADA.1).await;
    chromium.press(ENTER).await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    picture(&chromium, "unlock-4-tan").await;
    chromium
        .type_into("#tan", &typed_tan(&world, 0).await)
        .await;
    chromium.press(ENTER).await;
    chromium.shows("Ihre Eingabe ist noch nicht gesendet").await;
    looked_at(&chromium, "unlock-5-kept").await;
    assert!(world.calculator.submissions().is_empty());
    chromium.double_click("main button").await;
    // Whichever of the two clicks the browser shows the answer to.
    chromium
        .comes_to("/Antrag versendet|bereits gesendet/.test(document.body.innerText)")
        .await;
    picture(&chromium, "unlock-6-sent").await;
    chromium
        .open(&format!("{}/antrag/eingang", world.base()))
        .await;
    chromium.shows("Groß").await;
    chromium.back().await;
    chromium.back().await;
    chromium.comes_to("document.readyState == 'complete'").await;
    let submissions = world.calculator.submissions();
    assert_eq!(submissions.len(), 1, "{submissions:?}");
    let field = |name: &str| {
        submissions[0]
            .fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (field("strasse"), field("bemerkung")),
        (Some("Große Straße 1"), Some("Bitte eilig: 100 % & mehr"))
    );
}

#[tokio::test]
async fn a_form_that_was_filled_in_too_slowly_is_sent_once_after_the_sign_in() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    signs_in_by_hand(&world, &chromium).await;
    fills_in_an_offer(&world, &chromium).await;
    picture(&chromium, "parked-1-form").await;
    chromium
        .cdp(
            "Network.deleteCookies",
            json!({ "name": "vtnr_session", "url": world.base() }),
        )
        .await;
    let posts = || {
        world
            .calculator
            .requests()
            .iter()
            .filter(|seen| seen.method == http::Method::POST)
            .count()
    };
    chromium.click("input[type=submit]").await;
    chromium
        .shows("Ihre Eingabe ist noch nicht gesendet")
        .await
        .shows("verschlüsselt bis")
        .await;
    looked_at(&chromium, "parked-2-kept").await;
    chromium.click("main .button").await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    claim(&chromium, ADA).await;
    chromium.shows("Ihre Eingabe ist noch nicht gesendet").await;
    looked_at(&chromium, "parked-3-send").await;
    assert_eq!(posts(), 0);
    chromium.click("main button").await;
    chromium
        .shows("Ihr Kfz-Angebot")
        .await
        .shows("Jürgen Groß")
        .await
        .shows("M-AB 123")
        .await;
    picture(&chromium, "parked-4-sent").await;
    let sent = posts();
    // What it calculated is a page like any other: its links and images are found, and going back sends nothing.
    chromium.back().await;
    chromium.shows("Diese Eingabe wurde bereits gesendet").await;
    looked_at(&chromium, "parked-5-again").await;
    assert_eq!((sent, posts()), (1, 1));
    assert_eq!(chromium.complaints().await, [""; 0]);
}

#[tokio::test]
async fn over_https_and_http2_a_browser_keeps_and_sends_a_form_as_well() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .start()
        .await;
    let chromium = Chromium::builder()
        .flag("--ignore-certificate-errors")
        .start()
        .await;
    let base = format!(
        "https://localhost:{}",
        world.gateways[0].https.expect("https")
    );
    chromium.open(&format!("{base}/antrag?id=42")).await;
    claim(&chromium, ADA).await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium
        .type_into("#tan", &typed_tan(&world, 0).await)
        .await;
    chromium.press(ENTER).await;
    chromium.arrives_at("/antrag?id=42").await;
    let protocol = "return performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(chromium.eval(protocol).await, "h2");
    chromium.type_into("#strasse", "Große Straße 1").await;
    chromium
        .cdp(
            "Network.deleteCookies",
            json!({ "name": "__Host-vtnr_session", "url": base }),
        )
        .await;
    chromium.click("input[type=submit]").await;
    chromium.shows("Ihre Eingabe ist noch nicht gesendet").await;
    chromium.click("main .button").await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    claim(&chromium, ADA).await;
    chromium.shows("Eingabe jetzt absenden").await;
    chromium.click("main button").await;
    chromium.shows("Antrag versendet").await;
    let submissions = world.calculator.submissions();
    assert_eq!(submissions.len(), 1);
    assert!(
        submissions[0]
            .fields
            .contains(&("strasse".into(), "Große Straße 1".into())),
        "{submissions:?}"
    );
}

#[tokio::test]
async fn a_form_too_large_to_be_kept_is_still_in_the_browser() {
    let world = World::builder()
        .store(StoreKind::Memory)
        .config("[parking]\nlargest = \"4KiB\"")
        .start()
        .await;
    let chromium = Chromium::builder().screen(Screen::Phone).start().await;
    signs_in_by_hand(&world, &chromium).await;
    chromium
        .open(&format!("{}/antrag?id=42", world.base()))
        .await;
    chromium
        .eval("document.querySelector('#bemerkung').value = 'x'.repeat(3000000)")
        .await;
    chromium
        .cdp(
            "Network.deleteCookies",
            json!({ "name": "vtnr_session", "url": world.base() }),
        )
        .await;
    chromium.click("input[type=submit]").await;
    chromium
        .shows("Ihre Eingabe wurde nicht gesendet")
        .await
        .shows("größer als 4 KB")
        .await;
    looked_at(&chromium, "parked-too-large").await;
    chromium.click("[data-back]").await;
    chromium.arrives_at("/antrag?id=42").await;
    assert_eq!(
        chromium
            .eval("return document.querySelector('#bemerkung').value.length")
            .await,
        3_000_000
    );
}

/// A page of ours within a story, which must be fit for everybody.
async fn looked_at(chromium: &Chromium, name: &str) {
    picture(chromium, name).await;
    chromium.is_accessible(name).await;
    chromium.fits(name).await;
}

#[tokio::test]
async fn every_problem_has_a_page_of_its_own() {
    let limits = "[limits]\nfailures_client = \"3 in 1h\"";
    let mut world = World::builder()
        .store(StoreKind::OwnRedis)
        .config(limits)
        .start()
        .await;
    let chromium = Chromium::start().await;
    chromium
        .open(&format!("{}/ui/login/de/gibt-es-nicht", world.base()))
        .await;
    chromium.shows("Diese Seite gibt es nicht").await;
    chromium.is_accessible("404").await;
    chromium.click("footer li:last-child a").await;
    chromium.shows("Wozu werden Cookies benötigt?").await;
    chromium.is_accessible("help").await;
    signs_in_by_hand(&world, &chromium).await;
    chromium
        .open(&format!("{}/ui/login/de/abmelden", world.base()))
        .await;
    chromium.click("main form:first-of-type button").await;
    chromium.shows("Sie sind abgemeldet").await;
    for _ in 0..4 {
        chromium.open(&format!("{}/", world.base())).await;
        chromium.shows("Anmelden mit Vermittlernummer").await;
        chromium
            .eval("document.querySelectorAll('input').forEach((it) => { it.value = ''; })")
            .await;
        claim(&chromium, (UNKNOWN, ADA.1)).await;
        chromium
            .comes_to("/ungültig|Zu viele/.test(document.body.innerText)")
            .await;
    }
    chromium.shows("Zu viele Versuche").await;
    chromium.is_accessible("429").await;
    world
        .redis
        .as_mut()
        .expect("a redis")
        .lock()
        .expect("no panic")
        .kill();
    chromium
        .open(&format!("{}/ui/login/de/vtnr-login", world.base()))
        .await;
    chromium
        .eval("document.querySelectorAll('input').forEach((it) => { it.value = ''; })")
        .await;
    claim(&chromium, ADA).await;
    chromium
        .shows("Die Anmeldung ist zurzeit nicht möglich")
        .await;
    chromium.is_accessible("503").await;
}

#[tokio::test]
async fn a_sign_in_that_is_forgotten_begins_again_without_promising_what_is_not_there() {
    let world = World::builder().store(StoreKind::OwnRedis).start().await;
    let browser = world.browser();
    browser
        .claim(ADA.0, ADA.1, "/")
        .await
        .leads_to("/ui/login/de/tan");
    let redis = world.redis.as_ref().expect("a redis");
    redis.lock().expect("no panic").kill();
    redis.lock().expect("no panic").restart();
    let page = eventually("the sign-in begins again", async || {
        let page = browser.open("/ui/login/de/tan").await;
        page.status.is_success().then_some(page)
    })
    .await;
    page.shows("Ihre Anmeldung hat zu lange gedauert")
        .hides("stehen bereits in den Feldern");
}

#[tokio::test]
async fn a_calculator_that_is_down_or_slow_has_a_page_too() {
    for (upstream, told) in [
        (Upstream::Down, "zurzeit nicht erreichbar"),
        (Upstream::Silent, "antwortet nicht"),
    ] {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = silent.local_addr().expect("bound");
        if upstream == Upstream::Down {
            drop(silent);
        }
        let world = World::builder()
            .upstream(&format!("http://{address}"))
            .config("[upstream]\nread_timeout = \"1s\"")
            .start()
            .await;
        let chromium = Chromium::start().await;
        chromium.open(&world.base()).await;
        claim(&chromium, ADA).await;
        chromium
            .type_into("#tan", &typed_tan(&world, 0).await)
            .await;
        chromium.press(ENTER).await;
        chromium.shows(told).await;
        chromium.is_accessible(told).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    Down,
    Silent,
}

#[tokio::test]
async fn forced_colours_and_more_contrast_keep_every_outline() {
    let folder = TempDir::new().expect("a folder");
    let gallery = Gallery::open("", &folder).await;
    let chromium = Chromium::start().await;
    let features = [("forced-colors", "active"), ("prefers-contrast", "more")];
    for (feature, value) in features {
        let parameters = serde_json::json!({ "features": [{ "name": feature, "value": value }] });
        chromium.cdp("Emulation.setEmulatedMedia", parameters).await;
        for (name, url) in gallery
            .pages()
            .filter(|(name, _)| matches!(*name, "sign-in-both-errors" | "tan-sent-again"))
        {
            chromium.open(&url).await;
            assert_eq!(
                chromium
                    .eval(&format!(
                        "return matchMedia('({feature}: {value})').matches"
                    ))
                    .await,
                true
            );
            assert_eq!(
                chromium.eval(OUTLINES).await,
                serde_json::json!([]),
                "{name} with {feature}"
            );
            chromium.is_accessible(name).await;
            picture(&chromium, &format!("{feature}-{name}")).await;
        }
    }
}

#[tokio::test]
async fn a_pale_brand_with_a_logo_can_be_read_too() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("logo.svg"), LOGO).expect("written");
    let gallery = Gallery::open(
        "name = \"Löwenzahn\"\ncolor = \"#ffd84d\"\non_color = \"#1b222b\"\nlogo = \"logo.svg\"",
        &folder,
    )
    .await;
    for screen in [Screen::Desktop, Screen::Phone] {
        let chromium = Chromium::builder().screen(screen).start().await;
        let some = [
            "sign-in-both-errors",
            "tan-sent-again",
            "unknown-email",
            "sign-out",
            "help",
        ];
        for (name, url) in gallery.pages().filter(|(name, _)| some.contains(name)) {
            chromium.open(&url).await;
            chromium.is_accessible(name).await;
            chromium.fits(name).await;
            picture(&chromium, &format!("pale-{screen:?}-{name}").to_lowercase()).await;
        }
    }
}

/// A logo on a transparent ground, wider than it is high.
const LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 260 60" width="260" height="60"><circle cx="30" cy="30" r="24" fill="#1b222b"/><path d="M30 12v36M12 30h36M17 17l26 26M43 17L17 43" stroke="#ffd84d" stroke-width="4"/><text x="68" y="41" font-family="sans-serif" font-size="32" font-weight="700" fill="#1b222b">Löwenzahn</text></svg>"##;

/// Fields, buttons and notes that nothing but their ground sets apart.
const OUTLINES: &str = "return [...document.querySelectorAll('input:not([type=hidden]), button, .note')] \
    .filter((it) => parseFloat(getComputedStyle(it).borderLeftWidth) < 1).map((it) => it.outerHTML)";

const PASSWORD: &str = "/ui/login/de/benutzerschluessel?return_to=/kfz/angebot%3Fid%3D42#beitrag";

async fn signs_in_with_a_password(world: &World, chromium: &Chromium) {
    chromium.open(&format!("{}{TARGET}", world.base())).await;
    chromium.arrives_at(SIGN_IN).await;
    chromium.click("nav.ways a[href*=benutzerschluessel]").await;
    chromium
        .shows("Anmelden mit Benutzerschlüssel und Passwort")
        .await;
    chromium.type_into("#user", ADA_KEY.0).await;
    chromium.type_into("#password", "falsch").await;
    chromium.press(ENTER).await;
    chromium
        .shows("Benutzerschlüssel oder Passwort ist falsch.")
        .await;
    assert_eq!(
        (
            chromium.value("#user").await.as_str(),
            chromium.value("#password").await.as_str()
        ),
        (ADA_KEY.0, "")
    );
    assert_eq!(chromium.focus().await, "password");
    chromium.type_into("#password", ADA_KEY.1).await;
    chromium.press(ENTER).await;
    chromium
        .arrives_at(TARGET)
        .await
        .shows("Ihr Kfz-Angebot")
        .await;
}

#[tokio::test]
async fn a_broker_with_a_password_comes_to_the_deep_link_with_its_fragment_and_needs_no_tan() {
    let (users, chromium) = (UsersFile::of_two(), Chromium::start().await);
    let world = users.world(COST).start().await;
    signs_in_with_a_password(&world, &chromium).await;
    assert_eq!(
        (chromium.complaints().await, world.mails().await.len()),
        (Vec::new(), 0)
    );
}

#[tokio::test]
async fn the_password_page_serves_password_managers_and_shows_what_was_typed_if_asked() {
    let (users, chromium) = (UsersFile::of_two(), Chromium::start().await);
    let world = users.world(COST).start().await;
    chromium.open(&format!("{}{PASSWORD}", world.base())).await;
    for (field, purpose) in [("user", "username"), ("password", "current-password")] {
        let said = chromium
            .eval(&format!(
                "return document.getElementById('{field}').autocomplete"
            ))
            .await;
        assert_eq!(said, json!(purpose));
    }
    assert_eq!(chromium.focus().await, "user");
    let kind = async || {
        chromium
            .eval("return document.getElementById('password').type")
            .await
    };
    chromium.type_into("#password", "geheim").await;
    for (words, shown) in [
        ("Passwort verbergen", "text"),
        ("Passwort anzeigen", "password"),
        ("Passwort verbergen", "text"),
    ] {
        chromium.click("[data-reveal]").await;
        chromium.shows(words).await;
        assert_eq!(
            (kind().await, chromium.focus().await),
            (json!(shown), "password".to_owned())
        );
    }
    chromium.is_accessible("password-shown").await;
    // It goes out as a password, or the browser would remember it as a text.
    chromium.eval("document.querySelector('form').addEventListener('submit', (event) => event.preventDefault())").await;
    chromium.click("form > button").await;
    assert_eq!(
        (kind().await, chromium.value("#password").await),
        (json!("password"), "geheim".to_owned())
    );
    assert_eq!(chromium.complaints().await, [""; 0]);
}

#[tokio::test]
async fn the_password_page_works_without_javascript_and_promises_nothing_that_needs_it() {
    let (users, chromium) = (
        UsersFile::of_two(),
        Chromium::builder().without_javascript().start().await,
    );
    let world = users.world(COST).start().await;
    chromium.open(&format!("{}{PASSWORD}", world.base())).await;
    chromium
        .shows("Anmelden mit Benutzerschlüssel und Passwort")
        .await;
    chromium.hides("Passwort anzeigen").await;
    chromium.type_into("#user", ADA_KEY.0).await;
    chromium.type_into("#password", ADA_KEY.1).await;
    chromium.press(ENTER).await;
    chromium.arrives_at(TARGET).await;
}

#[tokio::test]
async fn a_tab_left_on_the_password_page_moves_on_by_itself() {
    let (users, chromium) = (UsersFile::of_two(), Chromium::start().await);
    let world = users.world(COST).start().await;
    chromium.open(&format!("{}{PASSWORD}", world.base())).await;
    let first = chromium.tab().await;
    let second = chromium.open_tab().await;
    chromium.turn_to(&second).await;
    chromium
        .open(&format!("{}/ui/login/de/benutzerschluessel", world.base()))
        .await;
    chromium.type_into("#user", BEN_KEY.0).await;
    chromium.type_into("#password", BEN_KEY.1).await;
    chromium.press(ENTER).await;
    chromium.arrives_at("/").await;
    chromium.turn_to(&first).await;
    chromium.arrives_at(TARGET).await;
}
