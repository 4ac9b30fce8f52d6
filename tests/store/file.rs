//! The embedded store in a file: locking, restarts and disk errors.

use crate::fixture::Fixture;
use crate::fixture::{HOUR, SHORT, manual_clock, sealed};
use crate::samples::{Attempt, ask_for, failures, letter, standing_at, vtnr};
use redb::{ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};
use std::path::Path;
use std::time::Duration;
use vtnr_gateway::store::embedded::Embedded;
use vtnr_gateway::store::{Due, Error, RateLimits, WriteOutcome};

#[tokio::test]
async fn everything_survives_a_restart() {
    let (clock, folder) = (manual_clock(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("store");
    let open = || {
        Fixture::on(
            sealed(
                Embedded::open(&file, clock.clone()).expect("opens"),
                clock.clone(),
            ),
            clock.clone(),
        )
    };
    let on = open();
    let (attempt, letter) = (Attempt::begun(&on).await, letter(on.now()));
    assert_eq!(
        attempt
            .sign_in(&*on.store, &RateLimits::take(vec![failures(5)]))
            .await
            .expect("answers"),
        WriteOutcome::Done
    );
    ask_for(&on, &letter, HOUR).await;
    on.store
        .lease_letter(Due::All, SHORT)
        .await
        .expect("answers")
        .expect("a letter waits");
    on.store
        .revoke_broker(vtnr(), on.now())
        .await
        .expect("revokes");
    drop(on);

    let on = open();
    assert!(
        on.store
            .find_session(&attempt.session)
            .await
            .expect("answers")
            .is_some()
    );
    assert!(
        on.store
            .find_session(&attempt.old_session)
            .await
            .expect("answers")
            .is_none()
    );
    assert!(
        on.store
            .find_flow(&attempt.flow)
            .await
            .expect("answers")
            .is_some()
    );
    assert_eq!(
        on.store
            .find_trust(&attempt.browser)
            .await
            .expect("answers")
            .entries()
            .len(),
        1
    );
    assert_eq!(
        on.store.revoked_at(vtnr()).await.expect("answers"),
        Some(on.now())
    );
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 1);
    clock.advance(SHORT);
    let leased = on
        .store
        .lease_letter(Due::All, HOUR)
        .await
        .expect("answers")
        .expect("the letter waits on");
    assert_eq!((leased.letter.id, leased.attempt), (letter.id, 2));
}

#[test]
fn a_second_gateway_on_the_same_file_is_told_so_at_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store");
    let first = Embedded::open(&file, manual_clock()).expect("opens");
    let Err(Error::Setup(message)) = Embedded::open(&file, manual_clock()) else {
        panic!("one at a time")
    };
    assert!(message.contains(&file.display().to_string()), "{message}");
    drop(first);
    assert!(
        Embedded::open(&file, manual_clock()).is_ok(),
        "it can be opened once the first has ended"
    );
}

#[test]
fn a_file_that_is_no_store_is_a_setup_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("brokers.csv");
    std::fs::write(&file, "vtnr;email\n".repeat(1_000)).expect("writes");
    for wrong in [
        file.as_path(),
        folder.path(),
        &folder.path().join("absent/store"),
    ] {
        let Err(error) = Embedded::open(wrong, manual_clock()) else {
            panic!("{}", wrong.display())
        };
        assert!(
            matches!(&error, Error::Setup(message) if message.contains(&wrong.display().to_string())),
            "{error}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(&file).expect("reads"),
        "vtnr;email\n".repeat(1_000)
    );
}

#[tokio::test]
async fn tidying_deletes_what_has_ended_and_nothing_else() {
    let (clock, folder) = (manual_clock(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("store");
    let open = || {
        Fixture::on(
            sealed(
                Embedded::open(&file, clock.clone()).expect("opens"),
                clock.clone(),
            ),
            clock.clone(),
        )
    };
    let on = open();
    let attempt = Attempt::begun(&on).await;
    on.store
        .hit_limits(&RateLimits::take(vec![failures(5)]))
        .await
        .expect("counts");
    on.store.tidy().await.expect("tidies");
    attempt.left_no_trace(&*on.store).await;
    assert_eq!(standing_at(&*on.store, failures(5).counter).await, 1);
    drop(on);
    assert_eq!(
        rows(&file),
        5,
        "a session, a sign-in, a trusted browser, a counter, and when the newest session began"
    );
    clock.advance(HOUR);
    let on = open();
    on.store.tidy().await.expect("tidies");
    drop(on);
    assert_eq!(rows(&file), 1, "when the newest session began");
}

#[tokio::test]
async fn tidying_writes_nothing_where_nothing_has_ended() {
    let (clock, folder) = (manual_clock(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("store");
    let on = Fixture::on(
        sealed(
            Embedded::open(&file, clock.clone()).expect("opens"),
            clock.clone(),
        ),
        clock,
    );
    Attempt::begun(&on).await;
    let before = std::fs::read(&file).expect("reads");
    on.store.tidy().await.expect("tidies");
    assert!(
        std::fs::read(&file).expect("reads") == before,
        "a write keeps sign-ins waiting"
    );
}

#[tokio::test]
async fn letters_that_a_version_without_an_order_left_are_sent_in_their_order() {
    let (clock, folder) = (manual_clock(), tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("store");
    let open = || {
        Fixture::on(
            sealed(
                Embedded::open(&file, clock.clone()).expect("opens"),
                clock.clone(),
            ),
            clock.clone(),
        )
    };
    let (on, mut letters) = (open(), Vec::new());
    for _ in 0..5 {
        let letter = letter(on.now());
        ask_for(&on, &letter, HOUR).await;
        letters.push(letter.id);
        clock.advance(Duration::from_millis(1));
    }
    drop(on);
    let database = redb::Database::open(&file).expect("opens");
    let write = database.begin_write().expect("writes");
    assert!(
        write
            .delete_table(TableDefinition::<(u64, u128), ()>::new("due"))
            .expect("deletes"),
        "there is an order"
    );
    write.commit().expect("commits");
    drop(database);

    let on = open();
    for letter in letters {
        assert_eq!(
            on.store
                .lease_letter(Due::All, HOUR)
                .await
                .expect("answers")
                .map(|leased| leased.letter.id),
            Some(letter)
        );
    }
}

fn rows(file: &Path) -> u64 {
    let database = redb::Database::open(file).expect("opens");
    let read = database.begin_read().expect("reads");
    let records = read
        .open_table(TableDefinition::<&[u8], (u64, &[u8])>::new("records"))
        .expect("there")
        .len();
    let counters = read
        .open_table(TableDefinition::<&[u8], (u64, i64)>::new("counters"))
        .expect("there")
        .len();
    records.expect("counts") + counters.expect("counts")
}
