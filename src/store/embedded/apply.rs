//! One change within a write transaction.

use super::letter_queue::LetterQueue;
use super::{COUNTERS, RECORDS, failed};
use crate::store::engine::{Change, CounterMode, CounterOp, Expect, TxOutcome};
use crate::store::vault::RecordKey;
use crate::store::{Result, read_time};
use domain::time::Timestamp;
use redb::{ReadableTable, Table, WriteTransaction};
use std::time::Duration;

type RecordTable<'t> = Table<'t, &'static [u8], (u64, &'static [u8])>;
type CounterTable<'t> = Table<'t, &'static [u8], (u64, i64)>;

/// Checks every condition first, then carries everything out.
pub(super) fn apply(
    write: &WriteTransaction,
    change: &Change,
    now: Timestamp,
) -> Result<TxOutcome> {
    let mut records = write.open_table(RECORDS).map_err(failed)?;
    let mut counters = write.open_table(COUNTERS).map_err(failed)?;
    let mut letters = LetterQueue::open(write)?;
    for (key, expected) in &change.expect {
        if !holds(expected, find(&records, *key, now)?) {
            return Ok(TxOutcome::Conflict);
        }
    }
    if let Some((letter, attempt)) = change.leased
        && letters.leased(letter.bits())? != Some(attempt)
    {
        return Ok(TxOutcome::Conflict);
    }
    for (index, op) in change.counters.iter().enumerate() {
        if let Some(retry_after) = over_limit(&records, &counters, op, now)? {
            return Ok(TxOutcome::Full { index, retry_after });
        }
    }
    let raised = |op: &&CounterOp| op.mode != CounterMode::Check;
    for op in change.counters.iter().filter(raised) {
        raise(&mut records, &mut counters, op, now)?;
    }
    for (key, bytes, lives) in &change.write {
        put(&mut records, *key, bytes, now.plus(*lives))?;
    }
    if let Some((key, time, lives)) = change.advance {
        let before = find(&records, key, now)?.and_then(|bytes| read_time(&bytes));
        if before.is_none_or(|before| time > before) {
            let bytes = time.as_millis().to_string();
            put(&mut records, key, bytes.as_bytes(), now.plus(lives))?;
        }
    }
    for key in &change.delete {
        records.remove(key.to_bytes().as_slice()).map_err(failed)?;
    }
    for (letter, due_in) in &change.queue {
        letters.put(letter.bits(), now.plus(*due_in))?;
    }
    for letter in &change.unqueue {
        letters.remove(letter.bits())?;
    }
    Ok(TxOutcome::Done)
}

/// Reads a record unless it has expired.
pub(super) fn find(
    records: &impl ReadableTable<&'static [u8], (u64, &'static [u8])>,
    key: RecordKey,
    now: Timestamp,
) -> Result<Option<Vec<u8>>> {
    let found = records.get(key.to_bytes().as_slice()).map_err(failed)?;
    Ok(found.and_then(|record| {
        let (ends, bytes) = record.value();
        (ends > now.as_millis()).then(|| bytes.to_vec())
    }))
}

fn holds(expected: &Expect, found: Option<Vec<u8>>) -> bool {
    match expected {
        Expect::Absent => found.is_none(),
        Expect::Present => found.is_some(),
        Expect::Is(bytes) => found.as_ref() == Some(bytes),
    }
}

/// Returns the time until a counter that must have room has room again; `None` if it has room now.
fn over_limit(
    records: &RecordTable<'_>,
    counters: &CounterTable<'_>,
    op: &CounterOp,
    now: Timestamp,
) -> Result<Option<Duration>> {
    if op.mode == CounterMode::Count || counted_before(records, op, now)? {
        return Ok(None);
    }
    let (ends, value) = value(counters, op, now)?;
    let has_room = value >= 0 && value.saturating_add(op.amount.into()) <= op.limit.into();
    Ok((!has_room).then(|| ends.map_or(op.window, |ends| ends.after(now))))
}

fn raise(
    records: &mut RecordTable<'_>,
    counters: &mut CounterTable<'_>,
    op: &CounterOp,
    now: Timestamp,
) -> Result<()> {
    if counted_before(records, op, now)? {
        return Ok(());
    }
    let (ends, value) = value(counters, op, now)?;
    let ends = ends.unwrap_or_else(|| now.plus(op.window));
    if let Some(once) = op.once {
        put(records, once, b"", ends)?;
    }
    let raised = value.saturating_add(op.amount.into());
    counters
        .insert(op.counter.to_bytes().as_slice(), (ends.as_millis(), raised))
        .map_err(failed)?;
    Ok(())
}

fn counted_before(records: &RecordTable<'_>, op: &CounterOp, now: Timestamp) -> Result<bool> {
    op.once
        .map_or(Ok(false), |once| Ok(find(records, once, now)?.is_some()))
}

/// Returns a counter's window end and value; no end and zero once the window has passed.
fn value(
    counters: &CounterTable<'_>,
    op: &CounterOp,
    now: Timestamp,
) -> Result<(Option<Timestamp>, i64)> {
    let found = counters
        .get(op.counter.to_bytes().as_slice())
        .map_err(failed)?;
    let running = found
        .map(|counter| counter.value())
        .filter(|(ends, _)| *ends > now.as_millis());
    Ok(running.map_or((None, 0), |(ends, value)| {
        (Some(Timestamp::from_millis(ends)), value)
    }))
}

fn put(records: &mut RecordTable<'_>, key: RecordKey, bytes: &[u8], ends: Timestamp) -> Result<()> {
    records
        .insert(key.to_bytes().as_slice(), (ends.as_millis(), bytes))
        .map_err(failed)?;
    Ok(())
}
