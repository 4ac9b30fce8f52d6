//! A session without e-mail never gets the Antragsversand, however it is written; all else, and all of a full session, passes.

mod support;

use support::behind::session_of;
use support::raw::whole;
use support::world::{ADA, StoreKind};
use support::{Browser, H2, Raw, World};

/// Spellings that at least one server in use runs as `POST /antrag/versand`, and some that only look like it.
const SPELLINGS: [&str; 44] = [
    "/antrag/versand",
    "/antrag/versand/",
    "/antrag/versand?x=/public",
    "/ANTRAG/VERSAND",
    "/antrag/Versand",
    "/antrag/%76ersand",
    "/%61ntrag/versand",
    "/%61%6e%74%72%61%67/versand",
    "/antrag%2fversand",
    "/antrag%2Fversand",
    "/antrag%5cversand",
    "/antrag%252fversand",
    "//antrag/versand",
    "///antrag/versand",
    "/antrag//versand",
    "/./antrag/versand",
    "/antrag/./versand",
    "/x/../antrag/versand",
    "/x/%2e%2e/antrag/versand",
    "/x/..%2fantrag/versand",
    "/x/..;/antrag/versand",
    "/antrag;x/versand",
    "/antrag;jsessionid=1/versand",
    "/antrag/versand;x",
    "/antrag/;x/versand",
    "/antrag/.;/versand",
    "/antrag/versand.",
    "/antrag/versand..",
    "/antrag/versand.json",
    "/antrag/versand.php::$DATA",
    "/antrag/versand%00",
    "/antrag/versand%0a",
    "/antrag/versand%20",
    "/antrag/versand%3b",
    "/antrag/versand%3fx",
    "/antrag/versand%23x",
    "/antrag%u002fversand",
    "/%u0061ntrag/versand",
    "/antrag%c0%afversand",
    "/antrag/ver%c5%bfand",
    "/antrag%ef%bc%8fversand",
    "/%ef%bd%81ntrag/versand",
    "/antrag/versand?/../x",
    "/antrag/versand%09",
];

async fn status(world: &World, browser: &Browser, request: &str) -> u16 {
    let mut client = Raw::connect(world.gateways[0].port).await;
    let session = browser.cookie("vtnr_session").expect("signed in");
    let body = "fahrer=Ada";
    client
        .send(format!(
            "{request} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: vtnr_session={session}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            world.gateways[0].port,
            body.len()
        ))
        .await;
    client.answer().await.status()
}

#[tokio::test]
async fn no_spelling_of_the_submission_arrives_without_a_confirmed_address() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let browser = world.signed_in_without_email().await;
    let before = world.calculator.requests().len();
    for method in ["POST", "PUT", "post", "JEFF", "GET"] {
        for target in SPELLINGS {
            let status = status(&world, &browser, &format!("{method} {target}")).await;
            assert!(matches!(status, 400 | 403), "{method} {target}: {status}");
        }
    }
    assert_eq!(world.calculator.requests().len(), before, "something arrived");
    assert!(world.calculator.submissions().is_empty());
    assert_eq!(status(&world, &browser, "POST /antrag/versand").await, 403);
    assert_eq!(status(&world, &browser, "POST //antrag/versand").await, 400);
}

#[tokio::test]
async fn over_http2_a_body_that_no_field_announces_is_seen() {
    let world = World::builder().store(StoreKind::Memory).https().start().await;
    let session = session_of(&world.signed_in_without_email().await);
    let before = world.calculator.requests().len();
    let mut client = H2::connect(&world).await;
    let host = format!("localhost:{}", world.gateways[0].https.expect("https"));
    let request = http::Request::builder().method("GET").uri(format!("https://{host}/antrag/versand")).header("cookie", session);
    let (answer, mut body) = client.begin(request.body(()).expect("a request")).await;
    body.send_data("_method=POST".into(), true).expect("sent");
    assert_eq!(whole(answer).await.expect("an answer").status(), 400);
    assert_eq!(world.calculator.requests().len(), before, "it arrived");
}

#[tokio::test]
async fn honest_requests_without_a_confirmed_address_pass() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let browser = world.signed_in_without_email().await;
    for target in [
        "/kfz/angebot?x=a+b%20c&y=//z",
        "/Stra%C3%9Fe/M%C3%BCnchen",
        "/a;jsessionid=0A1B.node-1",
        "/f(1)/[x]/a'b/*,!$&@:~",
        "/antrag",
    ] {
        let before = world.calculator.requests().len();
        status(&world, &browser, &format!("POST {target}")).await;
        assert_eq!(world.calculator.requests()[before..].iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), [target]);
    }
}

#[tokio::test]
async fn with_a_confirmed_address_every_spelling_is_the_calculators_affair() {
    let world = World::builder().store(StoreKind::Memory).start().await;
    let browser = world.signed_in(ADA).await;
    for target in ["/antrag//versand", "/antrag/%76ersand", "/antrag/versand;x", "/x/%2e%2e/antrag/versand"] {
        let before = world.calculator.requests().len();
        status(&world, &browser, &format!("POST {target}")).await;
        assert_eq!(world.calculator.requests()[before..].iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), [target]);
    }
    status(&world, &browser, "POST /antrag/versand").await;
    assert_eq!(world.calculator.submissions().len(), 1);
}
