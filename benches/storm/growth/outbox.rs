//! More letters that wait.

use super::{STEPS, microseconds, store_on};
use crate::crowd::brokers::broker;
use crate::crowd::redis_server;
use anyhow::{Context, Result};
use domain::challenge::{Challenge, Delivery};
use domain::email::Email;
use domain::flow::{Claim, Flow, Stage};
use domain::letter::Letter;
use domain::tan::{Alphabet, TanLength};
use domain::throttle::Subject;
use domain::trust::TrustLevel;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::time::{Duration, Instant};
use vtnr_gateway::clock::{Clock, Rng};
use vtnr_gateway::store::{Due, FlowChange, FullStore, RateLimits};

const FEWEST: u32 = 100;
/// Letters taken while the others wait.
const TAKEN: u32 = 100;
const HOUR: Duration = Duration::from_secs(3_600);

pub(super) async fn run() -> Result<()> {
    println!(
        "{:>9} {:>12} {:>12} {:>12}   (Redis)",
        "letters", "put in, us", "taken, us", "noted, us"
    );
    for letters in STEPS.map(|step| step * FEWEST) {
        let server = redis_server::Redis::start();
        row(&store_on(&server)?, letters).await?;
    }
    println!();
    Ok(())
}

/// Fills the store's outbox, and takes some of it.
///
/// # Errors
/// The store does not answer.
pub(super) async fn row(store: &impl FullStore, letters: u32) -> Result<()> {
    stream::iter(0..letters)
        .map(|number| put(store, number))
        .buffer_unordered(64)
        .try_collect::<()>()
        .await?;
    let mut times = [Duration::ZERO; 3];
    for number in 0..TAKEN {
        let begun = Instant::now();
        put(store, letters + number).await?;
        let put_in = Instant::now();
        let leased = store
            .lease_letter(Due::All, HOUR)
            .await?
            .context("no letter waits")?;
        let taken = Instant::now();
        store
            .note_delivery(
                leased.lease(),
                Delivery::Accepted {
                    at: Clock::System.now(),
                },
            )
            .await?;
        let took = [put_in - begun, taken - put_in, taken.elapsed()];
        for (sum, time) in times.iter_mut().zip(took) {
            *sum += time;
        }
    }
    let [put_in, taken, noted] = times.map(|time| microseconds(time / TAKEN));
    println!("{letters:>9} {put_in:>12.0} {taken:>12.0} {noted:>12.0}");
    Ok(())
}

async fn put(store: &impl FullStore, number: u32) -> Result<()> {
    let (broker, now) = (broker(number), Clock::System.now());
    let email = Email::parse(&broker.email).ok().context("well-formed")?;
    let alphabet = Alphabet::parse(Alphabet::DEFAULT).ok().context("sound")?;
    let (id, tan) = (Rng.letter_id(), Rng.tan(&alphabet, TanLength::Usual));
    let challenge = Challenge {
        tan: tan.clone(),
        tries_left: 5,
        asked_at: now,
        mailed_at: now,
        letters: vec![id],
        trust_level: TrustLevel::Stranger,
        subject: Subject::Broker(broker.vtnr),
    };
    let claim = Claim {
        vtnr: broker.vtnr,
        email: email.clone(),
    };
    let letter = Letter {
        id,
        to: Some(email),
        tan,
        asked_at: now,
        browser: "Firefox unter Windows".into(),
        not_after: now.plus(HOUR),
    };
    let (token, next) = (
        Rng.flow_token(),
        Flow {
            claim,
            stage: Stage::Tan(challenge),
        },
    );
    let change = FlowChange {
        token: &token,
        previous_token: None,
        seen: None,
        next: &next,
        lives: HOUR,
    };
    store
        .ask_for_tan(change, &letter, &RateLimits::none())
        .await?;
    Ok(())
}
