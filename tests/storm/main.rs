//! A small storm of sign-ins: the bench `storm` measures a large one.

#[path = "../../benches/storm/crowd/mod.rs"]
mod crowd;

use crowd::storm::{Plan, run};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_signs_in_at_once_gets_in_with_one_mail_each() {
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_vtnr-gateway").into(),
        brokers: 100,
        within: Duration::from_secs(2),
        readers: 20,
        browsing: 50.0,
        calm: Duration::from_millis(500),
        think: Duration::from_millis(50),
        mail_takes: Duration::ZERO,
        seed: 1,
    };
    let outcome = run(&plan).await.expect("everything starts");
    assert_eq!(outcome.record.errors(), [""; 0]);
    let each = [
        "deep link",
        "sign-in page",
        "VTNR and e-mail sent",
        "TAN page",
        "form to SMTP 250",
        "TAN sent",
        "calculator, first page",
    ];
    for step in each {
        assert_eq!(outcome.record.times_of(step).len(), 100, "{step}");
    }
    assert!(
        outcome.record.times_of("browsing beside it").len() >= 99,
        "others were served meanwhile"
    );
}
