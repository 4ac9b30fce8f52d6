//! More brokers in the directory.

use super::{STEPS, milliseconds, setting};
use crate::crowd::brokers::{broker, directory};
use crate::crowd::browsing::{Load, SignedIn, browse};
use crate::crowd::figures::Record;
use crate::crowd::stage::Stage;
use crate::crowd::storm::signed_in;
use anyhow::{Result, ensure};
use domain::email::Email;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vtnr_gateway::clock::Clock;
use vtnr_gateway::config;
use vtnr_gateway::identity::directory::{Directory, Reload};

const FEWEST: u32 = 10_000;
const READERS: u32 = 64;
const LOOK_UPS: u32 = 100_000;
const BEFORE: Load = Load {
    rate: 500.0,
    time: Duration::from_secs(4),
};
/// Longer than the gateway takes to see another file, and to read it.
const WHILE: Load = Load {
    rate: 500.0,
    time: Duration::from_secs(8),
};

pub(super) async fn run(program: &Path) -> Result<()> {
    println!(
        "{:>9} {:>9} {:>11} {:>12} {:>12} {:>18} {:>9} {:>16} {:>9}",
        "brokers",
        "load, ms",
        "reload, ms",
        "look-up, ns",
        "gateway, MiB",
        "after reload, MiB",
        "p99, ms",
        "in a reload, ms",
        "most, ms"
    );
    for brokers in STEPS.map(|step| step * FEWEST) {
        row(program, brokers).await?;
    }
    println!();
    Ok(())
}

async fn row(program: &Path, brokers: u32) -> Result<()> {
    let (load, reload, look_up) = by_itself(brokers)?;
    let stage = Stage::start(&setting(program, brokers)).await?;
    let readers = signed_in(stage.address, &stage.office, 0..READERS).await?;
    let resident = stage.gateway().resident();
    let (readers, mut before) = times(readers, BEFORE).await?;
    stage.write_directory(&directory(brokers + 1))?;
    let (_, mut meanwhile) = times(readers, WHILE).await?;
    ensure!(
        stage.metric("vtnr_gateway_directory_brokers").await? == f64::from(brokers + 1),
        "the directory was not reloaded"
    );
    println!(
        "{brokers:>9} {:>9.1} {:>11.1} {look_up:>12.0} {:>12.1} {:>18.1} {:>9.2} {:>16.2} {:>9.2}",
        milliseconds(load),
        milliseconds(reload),
        mebibytes(resident),
        mebibytes(stage.gateway().resident()),
        before.quantile(0.99),
        meanwhile.quantile(0.99),
        meanwhile.quantile(1.0)
    );
    Ok(())
}

/// How long it takes to load the file and to load another one, and nanoseconds to look up a broker and compare the address.
fn by_itself(brokers: u32) -> Result<(Duration, Duration, f64)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("brokers.csv");
    std::fs::write(&file, directory(brokers))?;
    let (config, now) = (
        config::DirectoryConfig {
            file: file.clone(),
            poll: Duration::from_secs(2),
            certificates: None,
        },
        Clock::System.now(),
    );
    let begun = Instant::now();
    let open = Directory::open(&config, now)?;
    let load = begun.elapsed();
    std::fs::write(&file, directory(brokers + 1))?;
    let begun = Instant::now();
    ensure!(
        matches!(
            open.reload(now)?,
            Reload::Swapped {
                added: 1,
                removed: 0,
                ..
            }
        ),
        "the file is not taken"
    );
    let reload = begun.elapsed();

    let mut rng = StdRng::seed_from_u64(1);
    let wanted: Vec<_> = (0..LOOK_UPS)
        .map(|_| broker(rng.random_range(0..brokers)))
        .collect();
    let wanted: Vec<_> = wanted
        .into_iter()
        .filter_map(|broker| Some((broker.vtnr, Email::parse(&broker.email).ok()?)))
        .collect();
    let begun = Instant::now();
    for (vtnr, email) in &wanted {
        let snapshot = open.snapshot();
        ensure!(
            black_box(
                snapshot
                    .find(*vtnr)
                    .and_then(|broker| broker.confirms(email))
            )
            .is_some(),
            "a broker is missing"
        );
    }
    Ok((
        load,
        reload,
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOK_UPS),
    ))
}

async fn times(
    readers: Vec<SignedIn>,
    load: Load,
) -> Result<(Vec<SignedIn>, crate::crowd::figures::Times)> {
    let record = Arc::new(Record::default());
    let (readers, _) = browse(readers, load, "page", &record).await?;
    ensure!(record.errors().is_empty(), "{:?}", record.errors());
    Ok((readers, record.times_of("page")))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
