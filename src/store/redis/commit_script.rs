//! Translates a change into the instructions of `commit.lua`.

use super::invalidation_channel;
use super::names::Names;
use crate::store::engine::{Change, CounterMode, Expect};
use crate::store::vault::RecordKey;
use std::time::Duration;

/// The keys and arguments of one call of `commit.lua`.
pub(super) struct CommitScript<'a> {
    names: &'a Names,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl<'a> CommitScript<'a> {
    pub(super) fn of(names: &'a Names, change: &Change) -> Self {
        let mut script = Self {
            names,
            keys: names.queue().to_vec(),
            arguments: Vec::new(),
        };
        for (key, expected) in &change.expect {
            let key = script.key(*key);
            match expected {
                Expect::Absent => script.say(b"absent", &[&key]),
                Expect::Present => script.say(b"present", &[&key]),
                Expect::Is(bytes) => script.say(b"is", &[&key, bytes]),
            }
        }
        if let Some((letter, attempt)) = change.leased {
            script.say(
                b"leased",
                &[letter.to_string().as_bytes(), &number(attempt.into())],
            );
        }
        for op in &change.counters {
            let counter = script.key(op.counter);
            let once = op
                .once
                .map_or_else(|| b"0".to_vec(), |once| script.key(once));
            let mode: &[u8] = match op.mode {
                CounterMode::Take => b"take",
                CounterMode::Check => b"check",
                CounterMode::Count => b"count",
            };
            let limit = number(op.limit.into());
            let amount = number(op.amount.into());
            script.say(
                b"counter",
                &[
                    &counter,
                    &once,
                    &limit,
                    &amount,
                    &number(millis(op.window)),
                    mode,
                ],
            );
        }
        for (key, bytes, lives) in &change.write {
            let key = script.key(*key);
            script.say(b"write", &[&key, bytes, &number(millis(*lives))]);
        }
        if let Some((key, time, lives)) = change.advance {
            let key = script.key(key);
            script.say(
                b"advance",
                &[&key, &number(time.as_millis()), &number(millis(lives))],
            );
        }
        for key in &change.delete {
            let key = script.key(*key);
            script.say(b"delete", &[&key]);
        }
        for (letter, due_in) in &change.queue {
            let due_in = number(u64::try_from(due_in.as_millis()).unwrap_or(0));
            script.say(b"queue", &[b"1", letter.to_string().as_bytes(), &due_in]);
        }
        for letter in &change.unqueue {
            script.say(b"unqueue", &[letter.to_string().as_bytes()]);
        }
        for invalidation in &change.announce {
            script.say(
                b"announce",
                &[
                    &names.channel(),
                    &invalidation_channel::encode(*invalidation),
                ],
            );
        }
        script
    }

    fn key(&mut self, key: RecordKey) -> Vec<u8> {
        self.keys.push(self.names.record(key));
        self.keys.len().to_string().into_bytes()
    }

    fn say(&mut self, instruction: &[u8], operands: &[&[u8]]) {
        self.arguments.push(instruction.to_vec());
        self.arguments
            .extend(operands.iter().map(|operand| operand.to_vec()));
    }
}

fn number(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Converts to milliseconds as Redis takes them: it refuses a lifetime of zero.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX / 4)
        .clamp(1, u64::MAX / 4)
}
