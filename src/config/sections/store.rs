//! `[store]`

use super::super::document::Value;
use super::super::kinds::{duration, minutes, number, quoted, text};
use super::super::read::Reader;
use super::super::secret_file::{Places, Shape};
use super::super::servers::{Credentials, Deployment, RedisServers};
use super::super::{Secret, StoreConfig, StoreUrl};
use super::timeout;
use std::time::Duration;

const URL: &str = "store.url";
const PASSWORD: Places = Places {
    key: "store.password",
    file_key: "store.password_file",
};
const SENTINEL_USER: &str = "store.sentinel_user";
const SENTINEL_PASSWORD: Places = Places {
    key: "store.sentinel_password",
    file_key: "store.sentinel_password_file",
};
const REPLICAS: &str = "store.replicas";
const SECRET: Places = Places {
    key: "store.secret",
    file_key: "store.secret_file",
};
/// Strength of the derived keys, in bytes.
const SHORTEST_SECRET: usize = 32;
/// Upper bound: each confirmation adds to a broker's wait.
const MAX_REPLICAS: i64 = 5;

pub(super) fn store(reader: &mut Reader<'_>) -> Option<StoreConfig> {
    let written = reader.required(URL, written);
    let password = reader.secret(&PASSWORD, Shape::Line);
    let sentinels = Credentials {
        user: reader.optional(SENTINEL_USER, user),
        password: reader.secret(&SENTINEL_PASSWORD, Shape::Line),
    };
    let replicas = reader.or(REPLICAS, 0, number(0..=MAX_REPLICAS));
    let secret = reader.secret(&SECRET, Shape::Bytes(SHORTEST_SECRET));
    if !reader.is_given(SECRET.key) && !reader.is_given(SECRET.file_key) {
        reader.missing(
            SECRET.file_key,
            "is missing, and so is store.secret; give one of them",
        );
    }
    let key_prefix = reader.or("store.key_prefix", "vtnr:", key_prefix);
    let timeout = timeout(reader, "store.timeout", "1s");
    let outage_grace = reader.or(
        "store.outage_grace",
        "60s",
        duration(Duration::ZERO..=minutes(30)),
    );
    let url = url(reader, written?, password, sentinels)?;
    Some(StoreConfig {
        url,
        secret: secret?,
        key_prefix: key_prefix?,
        timeout: timeout?,
        replicas: replicas?,
        outage_grace: outage_grace?,
    })
}

enum Written {
    Redis(RedisServers),
    File(String),
    Memory,
}

fn written(value: &Value) -> Result<Written, String> {
    let text = text(value)?;
    if text == "memory:" {
        return Ok(Written::Memory);
    }
    if let Some(path) = text.strip_prefix("file:") {
        let sound = !path.is_empty() && (!path.starts_with("//") || path.starts_with("///"));
        return if sound {
            Ok(Written::File(path.to_owned()))
        } else {
            Err("has no file name; write file:/var/lib/vtnr-gateway/store".into())
        };
    }
    RedisServers::parse(&text).map(Written::Redis)
}

fn url(
    reader: &mut Reader<'_>,
    written: Written,
    password: Option<Secret>,
    sentinels: Credentials,
) -> Option<StoreUrl> {
    let keys_of_sentinels = [
        SENTINEL_USER,
        SENTINEL_PASSWORD.key,
        SENTINEL_PASSWORD.file_key,
    ];
    let mut servers = match written {
        Written::Redis(servers) => servers,
        Written::File(_) | Written::Memory => {
            let keys_of_redis = [PASSWORD.key, PASSWORD.file_key, REPLICAS];
            refuse(reader, keys_of_redis.into_iter().chain(keys_of_sentinels));
            let file = if let Written::File(path) = written {
                Some(reader.path(&path))
            } else {
                None
            };
            return Some(file.map_or(StoreUrl::Memory, StoreUrl::File));
        }
    };
    match &mut servers.deployment {
        Deployment::Sentinel { login, .. } => *login = sentinels,
        Deployment::Single | Deployment::Cluster => refuse(reader, keys_of_sentinels.into_iter()),
    }
    if servers.login.password.is_some() {
        reader.check_exposure(URL, PASSWORD.file_key);
    }
    if password.is_some() && servers.login.password.is_some() {
        reader.mistake(
            URL,
            "has a password, which conflicts with store.password or store.password_file; give only one",
        );
        return None;
    }
    servers.login.password = servers
        .login
        .password
        .map(|password| password.of(URL))
        .or(password);
    Some(StoreUrl::Redis(servers))
}

fn refuse(reader: &mut Reader<'_>, keys: impl Iterator<Item = &'static str>) {
    for key in keys {
        if reader.is_given(key) {
            reader.mistake(key, "has no effect with this kind of store");
        }
    }
}

fn user(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if sound {
        Ok(text)
    } else {
        Err(format!("{} is not a Redis user name", quoted(&text)))
    }
}

fn key_prefix(value: &Value) -> Result<String, String> {
    const LONGEST: usize = 64;
    let text = text(value)?;
    let sound = text.len() <= LONGEST
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":._-{}".contains(&byte));
    if sound {
        Ok(text)
    } else {
        Err(format!(
            "{} must be at most {LONGEST} characters of A-Z a-z 0-9 : . _ - {{ }}",
            quoted(&text)
        ))
    }
}
