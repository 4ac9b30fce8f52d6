//! A command, so that it can be sent again.

use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, RedisResult, Script, ServerErrorKind, Value};

/// A script that lies in this program.
pub(super) struct Lua {
    text: &'static str,
    script: Script,
}

impl Lua {
    pub(super) fn new(text: &'static str) -> Self {
        Self {
            text,
            script: Script::new(text),
        }
    }
}

/// What running a command once more does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It reads, so nothing.
    Safe,
    /// It may find what it did itself, and take that for somebody else's doing.
    Unsafe,
}

/// A command, or a call of a script.
pub(super) struct RedisCommand {
    command: Cmd,
    script: Option<&'static Lua>,
    pub(super) retry: Retry,
}

impl RedisCommand {
    pub(super) fn read(command: Cmd) -> Self {
        Self {
            command,
            script: None,
            retry: Retry::Safe,
        }
    }

    pub(super) fn write(command: Cmd) -> Self {
        Self {
            command,
            script: None,
            retry: Retry::Unsafe,
        }
    }

    pub(super) fn call(script: &'static Lua, keys: &[Vec<u8>], arguments: &[Vec<u8>]) -> Self {
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(script.script.get_hash())
            .arg(keys.len())
            .arg(keys)
            .arg(arguments);
        Self {
            command,
            script: Some(script),
            retry: Retry::Unsafe,
        }
    }

    /// Runs it on this connection; a script that the server does not know is sent along.
    pub(super) async fn send(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match (self.command.query_async(connection).await, self.script) {
            (Err(error), Some(script))
                if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) =>
            {
                self.in_full(script).query_async(connection).await
            }
            (answer, _) => answer,
        }
    }

    fn in_full(&self, script: &Lua) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script.text);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}
