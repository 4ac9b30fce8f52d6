//! More sessions and letters in the embedded store.

use super::{STEPS, milliseconds, outbox, sessions, vault};
use anyhow::Result;
use std::sync::Arc;
use std::time::Instant;
use vtnr_gateway::clock::Clock;
use vtnr_gateway::store::embedded::Embedded;
use vtnr_gateway::store::{Sealed, StoreHealth as _};

const FEWEST_SESSIONS: u32 = 1_000;
const FEWEST_LETTERS: u32 = 100;

pub(super) async fn run() -> Result<()> {
    println!(
        "{:>9} {:>12} {:>12} {:>12}   (embedded, in memory)",
        "letters", "put in, us", "taken, us", "noted, us"
    );
    for letters in STEPS.map(|step| step * FEWEST_LETTERS) {
        outbox::row(&store()?, letters).await?;
    }
    println!(
        "\n{:>9} {:>12} {:>25}   (embedded, in memory)",
        "sessions", "tidying, ms", "sign-in meanwhile, ms"
    );
    for number in STEPS.map(|step| step * FEWEST_SESSIONS) {
        let store = Arc::new(store()?);
        sessions::begin(store.as_ref(), number).await?;
        let begun = Instant::now();
        let tidying = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.tidy().await.map(|()| begun.elapsed()) })
        };
        sessions::begin(store.as_ref(), 1).await?;
        let sign_in = begun.elapsed();
        println!(
            "{number:>9} {:>12.2} {:>25.2}",
            milliseconds(tidying.await??),
            milliseconds(sign_in)
        );
    }
    println!();
    Ok(())
}

fn store() -> Result<Sealed<Embedded>> {
    Ok(Sealed::new(
        Embedded::in_memory(Clock::System)?,
        vault(),
        Clock::System,
    ))
}
