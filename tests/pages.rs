//! Every page in a real browser: can it be read, reached and used, by everybody and on every screen.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use support::chromium::{Chromium, Screen};
use support::gallery::Gallery;
use support::world::{ADA, BEN, NO_EMAIL, World, tan_of};
use tempfile::TempDir;

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
    for (name, url) in gallery.pages() {
        chromium.open(&url).await;
        chromium.eval("document.querySelectorAll('details').forEach((it) => { it.open = true; })").await;
        chromium.is_accessible(name).await;
        chromium.fits(name).await;
        picture(&chromium, screen, name).await;
    }
}

#[tokio::test]
async fn nothing_sticks_out_on_the_narrowest_screen() {
    every_page_fits(Chromium::builder().screen(Screen::Narrow).start().await).await;
}

#[tokio::test]
async fn nothing_sticks_out_with_text_twice_as_large() {
    every_page_fits(Chromium::builder().screen(Screen::Phone).large_text().start().await).await;
}

async fn every_page_fits(chromium: Chromium) {
    let folder = TempDir::new().expect("a folder");
    let gallery = Gallery::open("", &folder).await;
    for (name, url) in gallery.pages() {
        chromium.open(&url).await;
        chromium.eval("document.querySelectorAll('details').forEach((it) => { it.open = true; })").await;
        chromium.fits(name).await;
    }
}

/// Keeps a picture of the page in the folder that `VTNR_SCREENSHOTS` names.
async fn picture(chromium: &Chromium, screen: Screen, name: &str) {
    if let Some(folder) = std::env::var_os("VTNR_SCREENSHOTS") {
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let file = std::path::Path::new(&folder).join(format!("{name}-{screen:?}.png").to_lowercase());
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
    chromium.arrives_at(SIGN_IN).await.shows("Anmelden mit Vermittlernummer").await;
    claim(chromium, ADA).await;
    chromium.arrives_at(TAN).await.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium.type_into("#tan", &typed_tan(world, 0).await).await;
    chromium.press(ENTER).await;
    chromium.arrives_at(TARGET).await.shows("Ihr Kfz-Angebot").await;
}

#[tokio::test]
async fn a_broker_signs_in_by_hand_and_comes_back_to_the_deep_link_with_its_fragment() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    signs_in_by_hand(&world, &chromium).await;
    assert_eq!(chromium.complaints().await, [""; 0]);
}

#[tokio::test]
async fn all_of_it_works_without_javascript() {
    let (world, chromium) = (World::start().await, Chromium::builder().without_javascript().start().await);
    signs_in_by_hand(&world, &chromium).await;
    chromium.open(&format!("{}/ui/login/de/abmelden", world.base())).await;
    chromium.click("button[name=forget_browser]").await;
    chromium.shows("Sie sind abgemeldet").await;
    chromium.open(&format!("{}/antrag?id=42#x", world.base())).await;
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
    chromium.open(&format!("{}/kfz/angebot", world.base())).await;
    chromium.type_into("#vtnr", ADA.0).await;
    chromium.type_into("#email", ADA.1).await;
    chromium.double_click("button").await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    let tan = typed_tan(&world, 0).await;
    chromium.type_into("#tan", &tan).await;
    chromium.double_click("form > button").await;
    chromium.arrives_at("/kfz/angebot").await;
    assert_eq!(world.postbox.mails().len(), 1);
}

#[tokio::test]
async fn two_answers_at_once_without_javascript_are_one_sign_in_and_no_error() {
    let (world, chromium) = (World::start().await, Chromium::builder().without_javascript().start().await);
    chromium.open(&format!("{}/kfz/angebot", world.base())).await;
    chromium.type_into("#vtnr", ADA.0).await;
    chromium.type_into("#email", ADA.1).await;
    chromium.double_click("button").await;
    chromium.shows("Überprüfen Sie Ihren Posteingang").await;
    chromium.type_into("#tan", &typed_tan(&world, 0).await).await;
    chromium.double_click("form > button").await;
    chromium.arrives_at("/kfz/angebot").await;
    assert_eq!(world.postbox.mails().len(), 1);
}

#[tokio::test]
async fn the_keyboard_is_enough() {
    let (world, chromium) = (World::start().await, Chromium::start().await);
    chromium.open(&format!("{}/kfz/angebot", world.base())).await;
    for focus in ["vtnr", "email", "ANMELDEN", "Impressum", "Datenschutz", "Unterstützung beim Login"] {
        assert_eq!(chromium.focus().await, focus);
        assert_eq!(chromium.eval(FOCUS_IS_SEEN).await, true, "the focus on {focus} is not seen");
        chromium.press(TAB).await;
    }
    chromium.eval("document.querySelector('#email').focus()").await;
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
    chromium.open(&format!("{}/kfz/angebot", world.base())).await;
    claim(&chromium, (ADA.0, "ada")).await;
    chromium.shows("Bitte prüfen Sie Ihre Eingabe").await;
    assert_eq!(chromium.focus().await, "email");
    chromium.eval("document.querySelector('#email').value = ''").await;
    chromium.press(&format!("{}{ENTER}", BEN.1)).await;
    chromium.shows("Unbekannte E-Mail-Adresse").await;
    chromium.is_accessible("unknown e-mail").await;
    // The expander opens with the keyboard as well.
    chromium.press(&format!("{TAB}{TAB}")).await;
    assert_eq!(chromium.focus().await, "Sie möchten sich ohne E-Mail anmelden?");
    assert_eq!(chromium.eval(FOCUS_IS_SEEN).await, true, "the focus on the expander is not seen");
    chromium.hides("WEITER ZUM ONLINE-RECHNER").await;
    chromium.press(SPACE).await;
    chromium.shows("WEITER ZUM ONLINE-RECHNER").await;
    chromium.is_accessible("unknown e-mail, expanded").await;
    chromium.press(TAB).await;
    assert_eq!(chromium.focus().await, "WEITER ZUM ONLINE-RECHNER");
    chromium.press(&format!("{BACK_TAB}")).await;
    chromium.press(&format!("{BACK_TAB}")).await;
    assert_eq!(chromium.focus().await, "E-MAIL-ADRESSE KORRIGIEREN");
    chromium.press(ENTER).await;
    chromium.shows("Anmelden mit Vermittlernummer").await;
    assert_eq!(chromium.value("#vtnr").await, ADA.0);
    assert_eq!(chromium.value("#email").await, BEN.1);
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
    chromium.type_into("#tan", &typed_tan(&world, 0).await).await;
    let control = '\u{e009}';
    chromium.press(&format!("{control}a{control}")).await;
    chromium.press(&format!("{control}x{control}")).await;
    assert_eq!(chromium.value("#tan").await, "");
    chromium.press(&format!("{control}v{control}")).await;
    assert_eq!(chromium.value("#tan").await.len(), 9);
    chromium.press(ENTER).await;
    chromium.arrives_at("/").await.shows("Willkommen im Online-Rechner").await;
}
