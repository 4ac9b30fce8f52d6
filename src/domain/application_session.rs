//! The calculator's own sessions, identified by its cookies. Each belongs to the broker under whom it began (product rule): its cookie
//! is never forwarded with another broker's request, whatever the browser sends.

use super::throttle::{Allowance, ClientAddress, Counter, RateLimitHit};
use super::vtnr::Vtnr;
use std::borrow::Cow;
use std::time::Duration;

/// Names of the calculator's session cookies. Case is ignored, as some servers ignore it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookies {
    exact: Box<[Box<[u8]>]>,
    prefixes: Box<[Box<[u8]>]>,
    suffixes: Box<[Box<[u8]>]>,
    /// For each length of an exact name, the set of first letters, as a bit mask: rejects most cookies at once.
    initials: [u32; LONGEST_NAME],
    /// The set of first letters of the prefixes, as a bit mask.
    prefix_initials: u32,
    /// Values with fewer letters and digits are not secret, and so not sessions.
    min_value: usize,
}

/// The minimum number of letters and digits in a cookie with a usual name: shorter values are flags set by scripts.
const MIN_USUAL_VALUE: usize = 8;

/// The prefilter treats longer names alike.
const LONGEST_NAME: usize = 32;

/// A browser's cookie that identifies a session of the calculator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationSessionId<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// The owners of a session of the calculator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationSession {
    /// The calculator may issue one value to several brokers, such as an empty session stored in the cookie itself.
    owners: Vec<Vtnr>,
}

/// How the gateway learned of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOrigin {
    /// The calculator set it in a response to this broker.
    Answer,
    /// Seen in a request, without an owner: a script set it, or the session is older than the gateway.
    Request,
}

/// The scope of a cookie, needed to delete it in a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieScope {
    pub name: String,
    /// The `Path` attribute, if any.
    pub path: Option<String>,
    /// The `Domain` attribute, if any.
    pub domain: Option<String>,
    pub partitioned: bool,
}

/// All scopes in which the calculator sets session cookies; the same for all brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieScopes(Vec<CookieScope>);

impl SessionCookies {
    /// Default names of servers and frameworks.
    pub const USUAL: [&'static str; 56] = [
        // Servlet containers, Spring Session, WebSphere, WebLogic, Domino.
        "JSESSIONID",
        "JSESSIONIDSSO",
        "SESSION",
        "LtpaToken",
        "LtpaToken2",
        "_WL_AUTHCOOKIE_*",
        "DomAuthSessId",
        "PLAY_SESSION",
        // ASP, ASP.NET, ASP.NET Core, Windows Identity Foundation.
        "ASPSESSIONID*",
        "ASP.NET_SessionId",
        ".ASPXAUTH",
        ".ASPXFORMSAUTH",
        ".ASPXROLES",
        ".AspNet.ApplicationCookie*",
        ".AspNetCore.Session",
        ".AspNetCore.Cookies*",
        ".AspNetCore.Identity.*",
        "FedAuth",
        "FedAuth1",
        // PHP and its applications.
        "PHPSESSID",
        "PHPSESSIONID",
        "CAKEPHP",
        "ci_session",
        "fe_typo_user",
        "be_typo_user",
        "wordpress_logged_in_*",
        "wordpress_sec_*",
        // ColdFusion.
        "CFTOKEN",
        "CFAUTHORIZATION_*",
        // Node.js.
        "connect.sid",
        "express.sid",
        "sails.sid",
        "koa.sess",
        "koa.sess.sig",
        "session.sig",
        "adonis-session",
        // Python, Zope.
        "sessionid",
        "session_id",
        "beaker.session.id",
        "TWISTED_SESSION",
        "_ZopeId",
        "__ac",
        // Ruby; also Laravel and others.
        "*_session",
        "_session_id",
        "rack.session",
        // Perl.
        "CGISESSID",
        "mojolicious",
        "plack_session",
        "dancer.session",
        // SAP, Oracle.
        "SAP_SESSIONID_*",
        "MYSAPSSO2",
        "sap-appcontext",
        "sap-contextid",
        "ORA_WWV_APP_*",
        "OAMAuthnCookie*",
        // Custom applications.
        "sid",
    ];

    /// Matches the usual names and these. `*` at the beginning or end of a name matches any text.
    pub fn usual<'n>(further: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            min_value: MIN_USUAL_VALUE,
            ..Self::new(Self::USUAL.into_iter().chain(further))
        }
    }

    /// Matches these names, whatever the values.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut exact: Vec<Box<[u8]>> = Vec::new();
        let mut prefixes: Vec<Box<[u8]>> = Vec::new();
        let mut suffixes: Vec<Box<[u8]>> = Vec::new();
        for name in names {
            let (name, ends_open, begins_open) = parts(name);
            let list = match (ends_open, begins_open) {
                (true, _) => &mut prefixes,
                (false, true) => &mut suffixes,
                (false, false) => &mut exact,
            };
            list.push(name);
        }
        let mut initials = [0; LONGEST_NAME];
        for name in &exact {
            if let Some(all) = initials.get_mut(length_class(name)) {
                *all |= initial(name);
            }
        }
        let prefix_initials = prefixes.iter().fold(0, |all, prefix| all | initial(prefix));
        Self {
            exact: exact.into(),
            prefixes: prefixes.into(),
            suffixes: suffixes.into(),
            initials,
            prefix_initials,
            min_value: 1,
        }
    }

    /// Excludes these names.
    #[must_use]
    pub fn except(mut self, names: &[String]) -> Self {
        let is_named = |candidate: &[u8]| {
            names
                .iter()
                .any(|name| is_alike(bare(name.as_bytes()), candidate))
        };
        self.exact = self
            .exact
            .into_iter()
            .filter(|name| !is_named(name))
            .collect();
        self
    }

    /// Returns whether a cookie is a session of the calculator. The prefixes `__Host-` and `__Secure-` are ignored, and all signs are
    /// equal: PHP takes `.` for `_`. Escapes are decoded and non-ASCII bytes skipped, as some servers do.
    pub fn contain(&self, id: &ApplicationSessionId<'_>) -> bool {
        let is_one = match plain_name(id.name) {
            Cow::Borrowed(name) => self.name_is_one(bare(name)),
            Cow::Owned(name) => self.name_is_one(bare(&name)),
        };
        is_one
            && id
                .value
                .iter()
                .filter(|byte| byte.is_ascii_alphanumeric())
                .take(self.min_value)
                .count()
                == self.min_value
    }

    fn name_is_one(&self, name: &[u8]) -> bool {
        let first = initial(name);
        let may_be_exact = self
            .initials
            .get(length_class(name))
            .is_some_and(|initials| initials & first != 0);
        may_be_exact && self.exact.iter().any(|exact| is_alike(name, exact))
            || self.prefix_initials & first != 0
                && self.prefixes.iter().any(|prefix| begins(name, prefix))
            || self.suffixes.iter().any(|suffix| ends(name, suffix))
    }
}

/// Splits a pattern into its text and whether any text may follow or precede it.
fn parts(pattern: &str) -> (Box<[u8]>, bool, bool) {
    let ends_open = pattern.ends_with('*');
    let begins_open = pattern.starts_with('*');
    let text = pattern.trim_matches('*').bytes().map(normal);
    (text.collect(), ends_open, begins_open)
}

fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"__Host-")
        .or_else(|| name.strip_prefix(b"__Secure-"))
        .unwrap_or(name)
}

/// Decodes escapes and removes everything but visible ASCII.
fn plain_name(name: &[u8]) -> Cow<'_, [u8]> {
    if name
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'%')
    {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    unescape(name, |byte| {
        plain.extend(byte.is_ascii_graphic().then_some(byte))
    });
    Cow::Owned(plain)
}

/// Maps bytes to a common form, equal for names that some server confuses.
const fn normal(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'_'
    }
}

/// Returns whether two names are equal by [`normal`].
fn is_alike(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len()
        && name
            .iter()
            .zip(other)
            .all(|(byte, other)| normal(*byte) == normal(*other))
}

fn begins(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len())
        .is_some_and(|beginning| is_alike(beginning, prefix))
}

fn ends(name: &[u8], suffix: &[u8]) -> bool {
    name.len()
        .checked_sub(suffix.len())
        .and_then(|at| name.get(at..))
        .is_some_and(|end| is_alike(end, suffix))
}

fn length_class(name: &[u8]) -> usize {
    name.len().min(LONGEST_NAME - 1)
}

/// Returns a bit shared by all names with the same first letter.
fn initial(name: &[u8]) -> u32 {
    name.first().map_or(0, |first| 1 << (normal(*first) % 32))
}

impl ApplicationSessionId<'_> {
    /// Writes name and value to `sink` in a canonical form, equal for all spellings. Servers remove quotes and escapes, some fold case, and
    /// base64 decoders skip other signs, so only letters and digits of the value count. The suffix that servlet containers append to a
    /// session id names one of their nodes, and is dropped.
    pub fn canonical(&self, mut sink: impl FnMut(u8)) {
        let name = plain_name(self.name);
        bare(&name).iter().for_each(|byte| sink(normal(*byte)));
        sink(b'=');
        let names_a_node = is_alike(bare(&name), b"jsessionid");
        let mut is_over = false;
        unescape(self.value, |byte| {
            is_over |= names_a_node && matches!(byte, b'.' | b'!' | b':');
            if byte.is_ascii_alphanumeric() && !is_over {
                sink(byte.to_ascii_lowercase());
            }
        });
    }

    /// Returns the canonical form as a key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.name.len() + 1 + self.value.len());
        self.canonical(|byte| bytes.push(byte));
        bytes
    }
}

/// Writes each byte to `sink`, with escapes decoded once.
fn unescape(text: &[u8], mut sink: impl FnMut(u8)) {
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        let decoded = match rest.as_slice() {
            [high, low, ..] if *byte == b'%' => escaped(*high, *low),
            _ => None,
        };
        if decoded.is_some() {
            rest.nth(1);
        }
        sink(decoded.unwrap_or(*byte));
    }
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

impl ApplicationSession {
    /// How long the owner is remembered after the last claim.
    pub const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
    /// How long the owner is remembered of a value that no request has used yet, or that the calculator has replaced.
    pub const UNUSED_LIFETIME: Duration = Duration::from_secs(86_400);
    /// Limits the sessions remembered per client and day, so that nobody fills the store. There is no limit per broker, whose number others
    /// can use, too. The limit is high: a broker house shares an address, and some applications begin a session with every response.
    const SET: Allowance = Allowance::per(500_000, 86_400);
    /// Limits sessions without an owner: a client can invent any number of them; an honest one has few.
    const SEEN: Allowance = Allowance::per(2_000, 86_400);
    const MAX_OWNERS: usize = 8;

    /// Creates a session of this broker.
    pub fn of(vtnr: Vtnr) -> Self {
        Self { owners: vec![vtnr] }
    }

    /// Creates a session of these brokers.
    pub fn from_owners(owners: Vec<Vtnr>) -> Self {
        Self { owners }
    }

    /// Returns the owners, latest last.
    pub fn owners(&self) -> &[Vtnr] {
        &self.owners
    }

    /// Returns whether this broker may use the session.
    pub fn belongs_to(&self, vtnr: Vtnr) -> bool {
        self.owners.contains(&vtnr)
    }

    #[must_use]
    pub fn and(&self, vtnr: Vtnr) -> Self {
        let surplus = (self.owners.len() + 1).saturating_sub(Self::MAX_OWNERS);
        let kept = self.owners.iter().skip(surplus).copied();
        Self {
            owners: kept.chain([vtnr]).collect(),
        }
    }

    /// Returns the rate limit that remembering a session counts in.
    pub const fn hit(client: ClientAddress, origin: SessionOrigin) -> RateLimitHit {
        match origin {
            SessionOrigin::Answer => {
                RateLimitHit::one(Counter::ApplicationSessionsSetFor(client), Self::SET)
            }
            SessionOrigin::Request => {
                RateLimitHit::one(Counter::ApplicationSessionsSeenFrom(client), Self::SEEN)
            }
        }
    }
}

impl CookieScopes {
    /// Enough for all parts of an application; further scopes are ignored.
    const MAX: usize = 64;

    pub fn from_scopes(scopes: Vec<CookieScope>) -> Self {
        Self(scopes)
    }

    pub fn all(&self) -> &[CookieScope] {
        &self.0
    }

    /// Returns the scopes in which this cookie is set.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &CookieScope> {
        self.0.iter().filter(move |scope| scope.name == name)
    }

    pub fn has(&self, scope: &CookieScope) -> bool {
        self.0.contains(scope)
    }

    /// Adds missing scopes. Returns false if nothing was added.
    pub fn add(&mut self, scopes: &[CookieScope]) -> bool {
        let before = self.0.len();
        for scope in scopes {
            if self.0.len() < Self::MAX && !self.has(scope) {
                self.0.push(scope.clone());
            }
        }
        self.0.len() > before
    }
}

#[cfg(test)]
mod tests;
