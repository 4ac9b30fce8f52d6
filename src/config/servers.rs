//! Where Redis is: one server, one that sentinels name, or a cluster.

use super::secret::Secret;
use super::url::{Url, host_and_port};
use percent_encoding::percent_decode_str;

const PORT_OF_REDIS: u16 = 6_379;
const PORT_OF_SENTINELS: u16 = 26_379;

/// The servers that `store.url` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServers {
    /// What they are to each other.
    pub deployment: Deployment,
    /// Redis itself, the sentinels, or nodes of the cluster; at least one.
    pub servers: Vec<Server>,
    /// How Redis, and the sentinels, are spoken to.
    pub transport: Transport,
    /// What Redis itself is told.
    pub login: Credentials,
    /// The number of the database; 0 in a cluster.
    pub database: i64,
}

/// What several servers are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    Single,
    /// `redis+sentinel://`: sentinels say which server is the master of this name.
    Sentinel {
        /// The name that the sentinels have for it.
        master: String,
        /// What the sentinels are told.
        login: Credentials,
    },
    /// `redis+cluster://`: the nodes say which of them has the gateway's records.
    Cluster,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

/// Who the gateway says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user, where it is not the default one.
    pub user: Option<String>,
    /// The password, where one is needed; UTF-8.
    pub password: Option<Secret>,
}

impl RedisServers {
    /// The servers of a URL: `redis://user:password@host:port/database`, `redis+sentinel://host:port,host:port/master/database`
    /// or `redis+cluster://host:port,host:port`; each also with `rediss`, for TLS.
    ///
    /// # Errors
    /// What is wrong; never with a part of the text that may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, others) = Url::parse_several(text)?;
        let (transport, kind) = match first.scheme.split_once('+').unwrap_or((first.scheme, "")) {
            ("redis", kind) => (Transport::Plain, kind),
            ("rediss", kind) => (Transport::Tls, kind),
            _ => return Err(UNKNOWN.to_owned()),
        };
        if first.query.is_some() {
            return Err("has a query, which means nothing here".to_owned());
        }
        let (deployment, database, port) = match kind {
            "" if !others.is_empty() => {
                return Err(
                    "names several servers; redis+sentinel:// and redis+cluster:// do".to_owned(),
                );
            }
            "" => (
                Deployment::Single,
                database(first.path.trim_start_matches('/'))?,
                PORT_OF_REDIS,
            ),
            "sentinel" => {
                let (master, database) = master_and_database(first.path)?;
                (
                    Deployment::Sentinel {
                        master,
                        login: Credentials::default(),
                    },
                    database,
                    PORT_OF_SENTINELS,
                )
            }
            "cluster" if !matches!(first.path, "" | "/" | "/0") => {
                return Err("has a path; a cluster has one database".to_owned());
            }
            "cluster" => (Deployment::Cluster, 0, PORT_OF_REDIS),
            _ => return Err(UNKNOWN.to_owned()),
        };
        let login = Credentials {
            user: decoded(first.user)?,
            password: decoded(first.password)?.map(Secret::new),
        };
        let hosts = std::iter::once((first.host, first.port)).chain(others);
        let servers = distinct(hosts.map(|(host, given)| Server {
            host,
            port: given.unwrap_or(port),
        }))?;
        Ok(Self {
            deployment,
            servers,
            transport,
            login,
            database,
        })
    }
}

const UNKNOWN: &str = "must begin with redis://, redis+sentinel://, redis+cluster://, one of these with rediss, or file:, or be memory:";

fn database(text: &str) -> Result<i64, String> {
    const NONE: &str =
        "has a path that is not the number of a database, such as redis://127.0.0.1:6379/0";
    if text.is_empty() {
        return Ok(0);
    }
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| NONE.to_owned())
}

fn master_and_database(path: &str) -> Result<(String, i64), String> {
    let path = path.strip_prefix('/').unwrap_or_default();
    let (master, number) = path.split_once('/').unwrap_or((path, ""));
    // What Redis itself lets be the name of a master.
    let sound = !master.is_empty()
        && master
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !sound {
        return Err(
            "names no master; write redis+sentinel://a:26379,b:26379,c:26379/mymaster".to_owned(),
        );
    }
    Ok((master.to_owned(), database(number)?))
}

fn decoded(text: Option<&str>) -> Result<Option<String>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(Some(decoded.into_owned())),
        Err(_) => Err("has a user or password that is not UTF-8".to_owned()),
    }
}

fn distinct(servers: impl Iterator<Item = Server>) -> Result<Vec<Server>, String> {
    let mut distinct = Vec::new();
    for server in servers {
        if distinct.contains(&server) {
            return Err(format!("names {server} twice"));
        }
        distinct.push(server);
    }
    Ok(distinct)
}

impl Server {
    /// Reads `host:port` as Redis writes it, also with an IPv6 address that has no brackets.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok((host, Some(port))) = host_and_port(text) {
            return Some(Self { host, port });
        }
        let (host, port) = text.rsplit_once(':')?;
        let host = host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = port.parse().ok()?;
        Some(Self {
            host: host.to_string(),
            port,
        })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
