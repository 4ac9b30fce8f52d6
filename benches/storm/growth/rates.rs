//! More pages a second.

use super::{STEPS, setting};
use crate::crowd::browsing::{Load, browse};
use crate::crowd::figures::Record;
use crate::crowd::stage::Stage;
use crate::crowd::storm::{Meter, signed_in};
use anyhow::{Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const READERS: u32 = 64;
const FEWEST: u32 = 50;
const TIME: Duration = Duration::from_secs(12);

pub(super) async fn run(program: &Path) -> Result<()> {
    println!(
        "{:>14} {:>12} {:>12} {:>9} {:>9}",
        "pages a second", "gateway, us", "Redis, us", "p50, ms", "p99, ms"
    );
    let stage = Stage::start(&setting(program, READERS)).await?;
    let mut readers = signed_in(stage.address, &stage.office, 0..READERS).await?;
    for rate in STEPS.map(|step| f64::from(step * FEWEST)) {
        let (record, meter) = (
            Arc::new(Record::default()),
            Meter::begin((stage.gateway(), stage.redis())),
        );
        let load = Load { rate, time: TIME };
        let (back, pages) = browse(readers, load, "page", &record).await?;
        let ((gateway, redis), mut times) = (meter.end(pages).a_page(), record.times_of("page"));
        println!(
            "{rate:>14} {gateway:>12.0} {redis:>12.1} {:>9.2} {:>9.2}",
            times.quantile(0.5),
            times.quantile(0.99)
        );
        ensure!(record.errors().is_empty(), "{:?}", record.errors());
        readers = back;
    }
    println!();
    Ok(())
}
