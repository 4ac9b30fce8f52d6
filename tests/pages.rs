//! Every page in a real browser: can it be read, reached and used, by everybody and on every screen.

mod support;

use support::chromium::{Chromium, Screen};
use support::gallery::Gallery;
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
