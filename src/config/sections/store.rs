//! `[store]`

use super::super::document::Value;
use super::super::kinds::{duration, minutes, quoted, text};
use super::super::read::Reader;
use super::super::secret_file::{Places, Shape};
use super::super::url::Url;
use super::super::{Secret, SecretUrl, Store, StoreUrl};
use super::timeout;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use std::time::Duration;

const URL: &str = "store.url";
const PASSWORD: Places = Places { key: "store.password", file_key: "store.password_file" };
const SECRET: Places = Places { key: "store.secret", file_key: "store.secret_file" };
/// The strength of the keys that are derived from it.
const SHORTEST_SECRET: usize = 32;

pub(super) fn store(reader: &mut Reader<'_>) -> Option<Store> {
    let written = reader.required(URL, written);
    let password = reader.secret(&PASSWORD, Shape::Line);
    let secret = reader.secret(&SECRET, Shape::Bytes(SHORTEST_SECRET));
    if !reader.is_given(SECRET.key) && !reader.is_given(SECRET.file_key) {
        reader.missing(SECRET.file_key, "is missing, and so is store.secret; one of the two is needed");
    }
    let key_prefix = reader.or("store.key_prefix", "vtnr:", key_prefix);
    let timeout = timeout(reader, "store.timeout", "1s");
    let outage_grace = reader.or("store.outage_grace", "60s", duration(Duration::ZERO..=minutes(30)));
    let url = url(reader, written?, password)?;
    Some(Store { url, secret: secret?, key_prefix: key_prefix?, timeout: timeout?, outage_grace: outage_grace? })
}

enum Written {
    Redis(String),
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
            Err("names no file; write file:/var/lib/vtnr-gateway/store".into())
        };
    }
    for scheme in ["redis+sentinel", "redis+cluster"] {
        if text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')) {
            return Err(format!("{scheme}:// is not supported by this version"));
        }
    }
    let url = Url::parse(&text)?;
    if !matches!(url.scheme, "redis" | "rediss") {
        return Err("must begin with redis://, rediss:// or file:, or be memory:".to_owned());
    }
    if url.query.is_some() {
        return Err("has a query, which means nothing here".to_owned());
    }
    let database = url.path.trim_start_matches('/');
    if !database.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("has a path that is not the number of a database, such as redis://127.0.0.1:6379/0".to_owned());
    }
    Ok(Written::Redis(text))
}

fn url(reader: &mut Reader<'_>, written: Written, password: Option<Secret>) -> Option<StoreUrl> {
    let text = match written {
        Written::Redis(text) => text,
        Written::File(path) => return without_password(reader, StoreUrl::File(reader.path(&path))),
        Written::Memory => return without_password(reader, StoreUrl::Memory),
    };
    let url = Url::parse(&text).ok()?;
    if url.password.is_some() {
        reader.warn_if_exposed(URL, PASSWORD.file_key);
    }
    let Some(password) = password else { return Some(StoreUrl::Redis(SecretUrl::new(text))) };
    if url.password.is_some() {
        reader.mistake(URL, "has a password, and so has store.password or store.password_file; give one");
        return None;
    }
    let user = url.user.unwrap_or_default();
    let password = percent_encode(password.reveal(), NON_ALPHANUMERIC);
    let port = url.port.map(|port| format!(":{port}")).unwrap_or_default();
    let filled_in = format!("{}://{user}:{password}@{}{port}{}", url.scheme, url.bracketed_host(), url.path);
    Some(StoreUrl::Redis(SecretUrl::new(filled_in)))
}

fn without_password(reader: &mut Reader<'_>, url: StoreUrl) -> Option<StoreUrl> {
    for key in [PASSWORD.key, PASSWORD.file_key] {
        if reader.is_given(key) {
            reader.mistake(key, "is of no use to this kind of store");
        }
    }
    Some(url)
}

fn key_prefix(value: &Value) -> Result<String, String> {
    const LONGEST: usize = 64;
    let text = text(value)?;
    let sound = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":._-{}".contains(&byte));
    if sound { Ok(text) } else { Err(format!("{} is not up to {LONGEST} of A-Z a-z 0-9 : . _ - {{ }}", quoted(&text))) }
}
