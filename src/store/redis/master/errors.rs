//! Classifies errors of Redis: whether to retry, where, and what to report.

use super::super::super::{Cause, Error};
use super::connector::Connector;
use crate::config::HostPort;
use crate::telemetry::metrics::StoreTrouble;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The consequence of an error for the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// Nothing was done: this server was demoted, does not own the records, or is still loading
    /// them.
    WrongServer,
    /// Nothing was done: the records are migrating to another node, and some have arrived.
    UnderWay,
    /// Nothing was done: all records of the command that exist have arrived at this node.
    Arrived(HostPort),
    /// No answer arrived, and the command may have been carried out.
    Lost,
    /// Redis refuses the command.
    Refused,
}

impl ErrorClass {
    pub(super) fn of(error: &RedisError) -> Self {
        use ServerErrorKind::{
            Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain,
        };
        match error.kind() {
            ErrorKind::Server(ReadOnly | Moved | BusyLoading | MasterDown | ClusterDown) => {
                Self::WrongServer
            }
            ErrorKind::Server(TryAgain) => Self::UnderWay,
            ErrorKind::Server(Ask) => error
                .redirect_node()
                .and_then(|(server, _)| HostPort::parse(server))
                .map_or(Self::UnderWay, Self::Arrived),
            ErrorKind::Io => Self::Lost,
            _ if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() => {
                Self::Lost
            }
            _ => Self::Refused,
        }
    }
}

/// Converts an error, telling an unreachable store from one that refuses.
pub(super) fn failed(error: RedisError) -> Error {
    // Redis errors name themselves as their cause; once is enough.
    Unavailable {
        kind: kind_of(&error),
        said: error.to_string(),
    }
    .into()
}

fn kind_of(error: &RedisError) -> StoreTrouble {
    match ErrorClass::of(error) {
        ErrorClass::Lost if error.is_timeout() => StoreTrouble::Timeout,
        ErrorClass::Lost => StoreTrouble::Unreachable,
        ErrorClass::UnderWay | ErrorClass::Arrived(_) => StoreTrouble::NotReady,
        ErrorClass::WrongServer => match error.kind() {
            ErrorKind::Server(ServerErrorKind::ReadOnly) => StoreTrouble::ReadOnly,
            ErrorKind::Server(ServerErrorKind::Moved) => StoreTrouble::Refused,
            _ => StoreTrouble::NotReady,
        },
        ErrorClass::Refused if error.kind() == ErrorKind::AuthenticationFailed => {
            StoreTrouble::Authentication
        }
        ErrorClass::Refused => refusal(error.code().unwrap_or_default(), &error.to_string()),
    }
}

/// Classifies a refusal by the code that the error begins with, or that a script's error contains.
fn refusal(code: &str, said: &str) -> StoreTrouble {
    const WORDS: [(&str, StoreTrouble); 6] = [
        ("NOAUTH", StoreTrouble::Authentication),
        ("WRONGPASS", StoreTrouble::Authentication),
        ("NOPERM", StoreTrouble::Forbidden),
        ("NOREPLICAS", StoreTrouble::NoReplicas),
        ("MISCONF", StoreTrouble::Disk),
        ("OOM", StoreTrouble::OutOfMemory),
    ];
    WORDS
        .into_iter()
        .find(|(word, _)| code == *word || said.contains(word))
        .map_or(StoreTrouble::Refused, |(_, kind)| kind)
}

/// The reason why no master is available, as reported to every command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unavailable {
    kind: StoreTrouble,
    said: String,
}

impl Unavailable {
    /// Reports that no server can be reached.
    pub(super) fn unreachable(said: impl Into<String>) -> Self {
        Self {
            kind: StoreTrouble::Unreachable,
            said: said.into(),
        }
    }

    /// Reports that no server is master yet.
    pub(super) fn not_ready(said: impl Into<String>) -> Self {
        Self {
            kind: StoreTrouble::NotReady,
            said: said.into(),
        }
    }

    /// Reports that no answer arrived in time.
    pub(super) fn timeout(said: impl Into<String>) -> Self {
        Self {
            kind: StoreTrouble::Timeout,
            said: said.into(),
        }
    }

    /// Reports that a server refuses this gateway.
    pub(super) fn refused(said: impl Into<String>) -> Self {
        Self {
            kind: StoreTrouble::Refused,
            said: said.into(),
        }
    }

    /// Reports an error of this server, with a hint at the configuration if it refuses the
    /// password.
    pub(super) fn with(server: &HostPort, connector: &Connector, error: RedisError) -> Self {
        let kind = kind_of(&error);
        let hint = if kind == StoreTrouble::Authentication {
            connector.password_hint()
        } else {
            String::new()
        };
        Self {
            kind,
            said: format!("{server}: {error}{hint}"),
        }
    }

    /// Returns whether a server refuses this gateway, rather than none being reachable.
    pub(super) fn is_refusal(&self) -> bool {
        !matches!(
            self.kind,
            StoreTrouble::Unreachable | StoreTrouble::Timeout | StoreTrouble::NotReady
        )
    }
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said)
    }
}

impl From<Unavailable> for Error {
    fn from(trouble: Unavailable) -> Self {
        let is_refusal = trouble.is_refusal();
        let cause = Cause::new(trouble.kind, trouble.said);
        if is_refusal {
            Self::Refused(cause)
        } else {
            Self::Unreachable(cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> RedisError {
        let answer =
            redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an answer");
        answer.extract_error().expect_err("an error")
    }

    #[test]
    fn what_redis_says_decides_on_what_follows() {
        let there = HostPort {
            host: "10.0.0.2".into(),
            port: 7_001,
        };
        let cases = [
            (
                "READONLY You can't write against a read only replica.",
                ErrorClass::WrongServer,
            ),
            ("MOVED 93 10.0.0.2:7001", ErrorClass::WrongServer),
            (
                "LOADING Redis is loading the dataset in memory",
                ErrorClass::WrongServer,
            ),
            (
                "MASTERDOWN MasterConnection with MASTER is down",
                ErrorClass::WrongServer,
            ),
            ("CLUSTERDOWN Hash slot not served", ErrorClass::WrongServer),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                ErrorClass::UnderWay,
            ),
            ("ASK 93 10.0.0.2:7001", ErrorClass::Arrived(there)),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                ErrorClass::Refused,
            ),
            ("NOPERM this user has no permissions", ErrorClass::Refused),
            (
                "NOREPLICAS Not enough good replicas to write.",
                ErrorClass::Refused,
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(ErrorClass::of(&said(line)), expected, "{line}");
        }
        assert_eq!(
            ErrorClass::of(&std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()),
            ErrorClass::Lost
        );
    }

    #[test]
    fn a_server_that_cannot_be_asked_yet_does_not_refuse() {
        for line in [
            "LOADING x",
            "MASTERDOWN x",
            "CLUSTERDOWN x",
            "TRYAGAIN x",
            "ASK 1 a:1",
        ] {
            assert!(
                matches!(failed(said(line)), Error::Unreachable(_)),
                "{line}"
            );
        }
        for line in ["READONLY x", "MOVED 1 a:1", "NOAUTH x", "OOM x"] {
            assert!(matches!(failed(said(line)), Error::Refused(_)), "{line}");
        }
    }

    #[test]
    fn each_refusal_has_its_kind_and_what_is_said_is_said_once() {
        let cases = [
            (
                "NOAUTH Authentication required.",
                StoreTrouble::Authentication,
            ),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                StoreTrouble::Authentication,
            ),
            (
                "NOPERM User gateway has no permissions to run the 'set' command",
                StoreTrouble::Forbidden,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                StoreTrouble::OutOfMemory,
            ),
            (
                "ERR Error running script: @user_script:9: -OOM command not allowed",
                StoreTrouble::OutOfMemory,
            ),
            (
                "READONLY You can't write against a read only replica.",
                StoreTrouble::ReadOnly,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                StoreTrouble::NoReplicas,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots, but",
                StoreTrouble::Disk,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                StoreTrouble::NotReady,
            ),
            ("ERR max number of clients reached", StoreTrouble::Refused),
        ];
        for (line, kind) in cases {
            let error = failed(said(line));
            assert_eq!(error.trouble(), kind, "{line}");
            let detail = line.split_once(' ').expect("two words").1;
            assert_eq!(
                crate::telemetry::logging::chain(&error)
                    .matches(detail)
                    .count(),
                1,
                "{line}"
            );
        }
        let lost = failed(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        assert_eq!(lost.trouble(), StoreTrouble::Timeout);
    }
}
