//! The way of a forwarded request through the gateway: it waits for nothing and allocates little.

#[path = "hot_path/arrived.rs"]
mod arrived;
#[path = "hot_path/steps.rs"]
mod steps;

use arrived::FULL;
use steps::{STEPS, Stage};
use vtnr_gateway::domain::session::Level;

async fn allocates_within_bounds(level: Level) {
    let mut stage = Stage::new(level).await;
    let costs = STEPS.map(|step| (step.what, stage.cost(&step), step.most));
    let over: Vec<_> = costs.iter().filter(|(_, cost, most)| cost.0 > most.0 || cost.1 > most.1).collect();
    assert!(over.is_empty(), "step, allocations and bytes, bounds: {over:#?}");
}

#[tokio::test]
async fn a_forwarded_request_allocates_no_more_than_it_must() {
    allocates_within_bounds(FULL).await;
    allocates_within_bounds(Level::WithoutSubmission).await;
}
