//! What it means that Redis did not do what was asked.

use super::super::super::Error;
use crate::config::Server;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What follows from an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was done: this server was demoted, has not got the records, or has not read them in yet.
    WrongServer,
    /// Nothing was done: the records are on their way to another node, and some have arrived.
    UnderWay,
    /// Nothing was done: the records that it takes, if there are any, have arrived at this node.
    Arrived(Server),
    /// There was no answer. Whether anything was done is not known.
    Lost,
    /// Redis refuses.
    Refused,
}

impl Fault {
    pub(super) fn of(error: &RedisError) -> Self {
        use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
        match error.kind() {
            ErrorKind::Server(ReadOnly | Moved | BusyLoading | MasterDown | ClusterDown) => Self::WrongServer,
            ErrorKind::Server(TryAgain) => Self::UnderWay,
            ErrorKind::Server(Ask) => {
                error.redirect_node().and_then(|(server, _)| Server::parse(server)).map_or(Self::UnderWay, Self::Arrived)
            }
            ErrorKind::Io => Self::Lost,
            _ if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() => Self::Lost,
            _ => Self::Refused,
        }
    }
}

/// Tells "cannot be asked" from "refuses".
pub(super) fn failed(error: RedisError) -> Error {
    let refused = match Fault::of(&error) {
        Fault::Refused => true,
        Fault::WrongServer => matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::Moved)),
        Fault::UnderWay | Fault::Arrived(_) | Fault::Lost => false,
    };
    if refused { Error::Refused(Box::new(error)) } else { Error::Unreachable(Box::new(error)) }
}

/// Why there is no master at present, to be told to everybody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody can be asked.
    Unreachable(String),
    /// We are refused.
    Refused(String),
}

impl Trouble {
    /// The trouble with this server.
    pub(super) fn with(server: &Server, error: RedisError) -> Self {
        let said = format!("{server}: {error}");
        match failed(error) {
            Error::Refused(_) => Self::Refused(said),
            _ => Self::Unreachable(said),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable(why) => Self::Unreachable(why.into()),
            Trouble::Refused(why) => Self::Refused(why.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> RedisError {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an answer");
        answer.extract_error().expect_err("an error")
    }

    #[test]
    fn what_redis_says_decides_on_what_follows() {
        let there = Server { host: "10.0.0.2".into(), port: 7_001 };
        let cases = [
            ("READONLY You can't write against a read only replica.", Fault::WrongServer),
            ("MOVED 93 10.0.0.2:7001", Fault::WrongServer),
            ("LOADING Redis is loading the dataset in memory", Fault::WrongServer),
            ("MASTERDOWN Link with MASTER is down", Fault::WrongServer),
            ("CLUSTERDOWN Hash slot not served", Fault::WrongServer),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Fault::UnderWay),
            ("ASK 93 10.0.0.2:7001", Fault::Arrived(there)),
            ("OOM command not allowed when used memory > 'maxmemory'.", Fault::Refused),
            ("NOPERM this user has no permissions", Fault::Refused),
            ("NOREPLICAS Not enough good replicas to write.", Fault::Refused),
        ];
        for (line, expected) in cases {
            assert_eq!(Fault::of(&said(line)), expected, "{line}");
        }
        assert_eq!(Fault::of(&std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()), Fault::Lost);
    }

    #[test]
    fn a_server_that_cannot_be_asked_yet_does_not_refuse() {
        for line in ["LOADING x", "MASTERDOWN x", "CLUSTERDOWN x", "TRYAGAIN x", "ASK 1 a:1"] {
            assert!(matches!(failed(said(line)), Error::Unreachable(_)), "{line}");
        }
        for line in ["READONLY x", "MOVED 1 a:1", "NOAUTH x", "OOM x"] {
            assert!(matches!(failed(said(line)), Error::Refused(_)), "{line}");
        }
    }
}
