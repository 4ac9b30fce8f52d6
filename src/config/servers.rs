//! Redis deployments: a single server, sentinels, or a cluster.

use super::secret::Secret;
use super::url::{Url, host_and_port};
use percent_encoding::percent_decode_str;

const PORT_OF_REDIS: u16 = 6_379;
const PORT_OF_SENTINELS: u16 = 26_379;

/// Parsed `store.url` of a Redis deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServers {
    pub deployment: Deployment,
    /// Redis itself, sentinels, or cluster nodes; at least one.
    pub servers: Vec<HostPort>,
    pub transport: Transport,
    /// Credentials for Redis, not for sentinels.
    pub login: Credentials,
    /// Database number; 0 in a cluster.
    pub database: i64,
}

/// Topology of the Redis servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    Single,
    /// `redis+sentinel://`: sentinels name the master.
    Sentinel {
        master: String,
        /// Credentials for the sentinels.
        login: Credentials,
    },
    /// `redis+cluster://`: nodes name the one with the gateway's hash slot.
    Cluster,
}

/// Transport security towards Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

/// User and password for a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User name, unless the default one.
    pub user: Option<String>,
    pub password: Option<Secret>,
}

impl RedisServers {
    /// Parses `redis://user:password@host:port/database`, `redis+sentinel://host:port,host:port/master/database` or
    /// `redis+cluster://host:port,host:port`, each also with `rediss` for TLS.
    ///
    /// # Errors
    /// The mistake, never with text that may contain a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (first, others) = Url::parse_several(text)?;
        let (transport, kind) = match first.scheme.split_once('+').unwrap_or((first.scheme, "")) {
            ("redis", kind) => (Transport::Plain, kind),
            ("rediss", kind) => (Transport::Tls, kind),
            _ => return Err(UNKNOWN.to_owned()),
        };
        if first.query.is_some() {
            return Err("has a query, which is not supported".to_owned());
        }
        let (deployment, database, port) = match kind {
            "" if !others.is_empty() => {
                return Err(
                    "has several servers, which only redis+sentinel:// and redis+cluster:// support".to_owned(),
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
                return Err("has a path, but a cluster has only one database; remove it".to_owned());
            }
            "cluster" => (Deployment::Cluster, 0, PORT_OF_REDIS),
            _ => return Err(UNKNOWN.to_owned()),
        };
        let login = Credentials {
            user: decoded(first.user)?,
            password: decoded(first.password)?.map(Secret::new),
        };
        let hosts = std::iter::once((first.host, first.port)).chain(others);
        let servers = distinct(hosts.map(|(host, given)| HostPort {
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

const UNKNOWN: &str = "must begin with redis://, redis+sentinel://, redis+cluster:// (each also with rediss), or file:, or be memory:";

fn database(text: &str) -> Result<i64, String> {
    const NONE: &str = "has a path that is not a database number; write redis://127.0.0.1:6379/0";
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
    // The characters that Redis allows in a master's name.
    let sound = !master.is_empty()
        && master
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if !sound {
        return Err(
            "has no master name; write redis+sentinel://a:26379,b:26379,c:26379/mymaster"
                .to_owned(),
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

fn distinct(servers: impl Iterator<Item = HostPort>) -> Result<Vec<HostPort>, String> {
    let mut distinct = Vec::new();
    for server in servers {
        if distinct.contains(&server) {
            return Err(format!("names {server} twice"));
        }
        distinct.push(server);
    }
    Ok(distinct)
}

impl HostPort {
    /// Parses `host:port` as Redis writes it, IPv6 addresses without brackets included.
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

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
