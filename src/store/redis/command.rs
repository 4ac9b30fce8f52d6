//! Commands that can be sent again.

use redis::aio::ConnectionLike;
use redis::{Arg, Cmd, ErrorKind, RedisResult, Script, ServerErrorKind, Value};

/// A Lua script compiled into this program.
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

/// Tells whether a command may be repeated when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The command only reads.
    Safe,
    /// The command writes: repeated, it may find its own effect and mistake it for another
    /// request's.
    Unsafe,
}

/// A command or a script call, with its retry policy.
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

    /// Runs the command on this connection, sending the script's text along if the server does not
    /// know it.
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
