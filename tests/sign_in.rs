//! Brokers sign in.

mod support;

use support::world::{ADA, World, tan_of};

#[tokio::test]
async fn a_broker_comes_back_to_the_deep_link_after_the_tan() {
    let world = World::start().await;
    let browser = world.browser();
    browser.get("/kfz/angebot?id=42").await.is(200).shows("Anmelden mit Vermittlernummer");
    browser.claim(ADA.0, ADA.1, "/kfz/angebot?id=42").await.leads_to("/ui/login/de/tan?return_to=%2Fkfz%2Fangebot%3Fid%3D42");
    let letter = world.postbox.next(0).await;
    browser.enter_tan(&tan_of(&letter), "/kfz/angebot?id=42").await.leads_to("/kfz/angebot?id=42");
    browser.get("/kfz/angebot?id=42").await.is(200);
}
