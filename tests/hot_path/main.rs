//! The way of a forwarded request through the gateway: it waits for nothing and allocates little.

mod arrived;
mod steps;

use arrived::{FULL, ONE_SERVER};
use domain::session::Level;
use steps::{STEPS, Stage};

async fn allocates_within_bounds(level: Level) {
    let mut stage = Stage::new(level, ONE_SERVER).await;
    let costs = STEPS.map(|step| (step.what, stage.cost(&step), step.most));
    let over: Vec<_> = costs
        .iter()
        .filter(|(_, cost, most)| cost.0 > most.0 || cost.1 > most.1)
        .collect();
    assert!(
        over.is_empty(),
        "step, allocations and bytes, bounds: {over:#?}"
    );
}

#[tokio::test]
async fn a_forwarded_request_allocates_no_more_than_it_must() {
    allocates_within_bounds(FULL).await;
    allocates_within_bounds(Level::WithoutSubmission).await;
}

/// With three servers, of which the application's cookie names one.
const THREE_SERVERS: &str = r#"
url = ["http://127.0.0.1:9000", "http://127.0.0.1:9001", "http://127.0.0.1:9002"]
affinity_cookie = "JSESSIONID"
routes = ["node-0", "node-1", "node-2"]
"#;

#[tokio::test]
async fn choosing_among_servers_allocates_nothing() {
    let all_hooks = &STEPS[STEPS.len() - 1];
    let mut costs = Vec::new();
    for servers in [ONE_SERVER, THREE_SERVERS] {
        let mut stage = Stage::new(FULL, servers).await;
        // The first one fills what is filled once.
        stage.cost(all_hooks);
        costs.push(stage.cost(all_hooks));
    }
    assert_eq!(
        costs[0], costs[1],
        "allocations and bytes, with one server and with three"
    );
}
