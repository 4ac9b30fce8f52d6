//! `[login]`

use super::super::document::Value;
use super::super::kinds::{days, duration, flag, hours, line, minutes, number, quoted, text, word};
use super::super::read::Reader;
use super::super::url::Url;
use super::super::{Enumeration, LoginConfig, LoginMethod, LoginMethods};
use domain::challenge::TanLimits;
use domain::tan::{Alphabet, BadAlphabet};
use jiff::tz::TimeZone;
use std::time::Duration;

const ATTEMPT: &str = "login.attempt_lifetime";
const WITHOUT_EMAIL: &str = "login.without_email";

pub(super) fn login(reader: &mut Reader<'_>) -> Option<LoginConfig> {
    let prefix = reader.or("login.prefix", "/ui/login/de/", prefix);
    let alphabet = reader.or("login.tan_alphabet", Alphabet::DEFAULT, alphabet);
    let tan = tan(reader);
    let tries = reader.or("login.tan_tries", 5, number(1..=10));
    let trust = reader.or(
        "login.trust_lifetime",
        "30d",
        duration(Duration::ZERO..=days(90)),
    );
    let enumeration = reader.or(
        "login.enumeration",
        "open",
        word(&[
            ("open", Enumeration::Open),
            ("neutral", Enumeration::Neutral),
        ]),
    );
    let without_email = reader.or_documented(WITHOUT_EMAIL, "true", flag);
    let password_url = reader
        .optional("login.password_url", link)
        .map(LoginMethod::Elsewhere);
    let certificate_url = reader
        .optional("login.certificate_url", link)
        .map(LoginMethod::Elsewhere);
    let entry_origins = reader.list("login.entry_origins", origin);
    let time_zone = reader.or("login.time_zone", "Europe/Berlin", time_zone);
    let enumeration = enumeration?;
    if enumeration == Enumeration::Neutral && without_email == Some(true) {
        reader.mistake(
            WITHOUT_EMAIL,
            "cannot be true with login.enumeration = \"neutral\": sign-in without e-mail reveals whether a VTNR exists",
        );
    }
    Some(LoginConfig {
        prefix: prefix?,
        alphabet: alphabet?,
        tan: tan?,
        tries: tries?,
        trust: trust?,
        without_email: without_email.unwrap_or(enumeration == Enumeration::Open),
        enumeration,
        methods: LoginMethods {
            password: password_url,
            certificate: certificate_url,
            portal: None,
            portal_sign_out: None,
        },
        entry_origins: entry_origins?,
        time_zone: time_zone?,
    })
}

fn tan(reader: &mut Reader<'_>) -> Option<TanLimits> {
    let lifetime = reader.or(
        "login.tan_lifetime",
        "15m",
        duration(minutes(5)..=minutes(15)),
    );
    let attempt = reader.or(ATTEMPT, "1h", duration(minutes(5)..=hours(4)));
    let limits = TanLimits {
        lifetime: lifetime?,
        attempt: attempt?,
    };
    if limits.attempt < limits.lifetime {
        reader.mistake(ATTEMPT, "must not be shorter than login.tan_lifetime");
    }
    Some(limits)
}

fn prefix(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let wrong = |what: &str| Err(format!("{} {what}", quoted(&text)));
    if !text.starts_with('/') || !text.ends_with('/') {
        return wrong("must begin and end with /");
    }
    if text == "/" {
        return wrong(
            "would hide every path of the calculator; use a prefix such as \"/ui/login/de/\"",
        );
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-".contains(&byte))
    {
        return wrong("may only contain a-z 0-9 / . _ -");
    }
    if text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return wrong("has empty or dot segments, which servers interpret differently");
    }
    Ok(text)
}

fn alphabet(value: &Value) -> Result<Alphabet, String> {
    Alphabet::parse(&text(value)?).map_err(|bad| match bad {
        BadAlphabet::TooFew => format!("has fewer than {} symbols", Alphabet::FEWEST),
        BadAlphabet::Repeated(letter) => format!("repeats the letter {letter:?}"),
        BadAlphabet::NotACapitalLetter(letter) => {
            format!("contains {letter:?}; only the capital letters A to Z are allowed")
        }
    })
}

fn time_zone(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let known = TimeZone::get(&name).is_ok();
    if known {
        Ok(name)
    } else {
        Err(format!(
            "{} is not a known time zone, such as \"Europe/Berlin\"",
            quoted(&name)
        ))
    }
}

/// Reads another site's origin, as browsers write it.
fn origin(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    let wrong = |what: &str| Err(format!("{} {what}", quoted(&text)));
    let url = match Url::parse(&text) {
        Ok(url) => url,
        Err(what) => return wrong(what),
    };
    let usual_port = match url.scheme {
        "https" => 443,
        "http" if url.is_loopback() => 80,
        "http" => {
            return wrong(
                "must begin with https://: over http:// anybody on the network could post forms",
            );
        }
        _ => return wrong("must begin with https://"),
    };
    if !url.path.is_empty() || url.query.is_some() || url.user.is_some() {
        return wrong("must have scheme and host only, such as \"https://vergleich.example\"");
    }
    let port = url
        .port
        .filter(|port| *port != usual_port)
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Ok(format!("{}://{}{port}", url.scheme, url.bracketed_host()))
}

/// Reads a link target: a path of this host, or an http(s) URL.
pub(super) fn link(value: &Value) -> Result<String, String> {
    let text = line(value)?;
    let is_path = text.starts_with('/') && !text.starts_with("//");
    let address = text.split('#').next().unwrap_or_default();
    let is_url = Url::parse(address)
        .is_ok_and(|url| matches!(url.scheme, "http" | "https") && url.user.is_none());
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    if plain && (is_path || is_url) {
        return Ok(text);
    }
    Err(format!(
        "{} is neither a path such as \"/impressum\" nor an https:// or http:// URL",
        quoted(&text)
    ))
}
