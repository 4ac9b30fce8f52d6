//! Sessions that the calculator keeps by cookies of its own. Each belongs to the broker under whom it began (product rule): its cookie
//! never goes up with another broker's request, whatever the browser sends.

use super::throttle::{Allowance, ClientAddress, Counter, RateLimitHit};
use super::vtnr::Vtnr;
use std::borrow::Cow;
use std::time::Duration;

/// Names of the calculator's session cookies, compared without regard to case: some servers do not tell upper from lower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookies {
    exact: Box<[Box<[u8]>]>,
    prefixes: Box<[Box<[u8]>]>,
    suffixes: Box<[Box<[u8]>]>,
    /// For each length of an exact name, the first letters that such names have: rejects most cookies at once.
    initials: [u32; LONGEST_NAME],
    /// The first letters of the prefixes.
    prefix_initials: u32,
    /// Values with fewer letters and digits are no secret, and so no session.
    min_value: usize,
}

/// What a value must have to be a session of a cookie that only goes by a usual name: short ones are flags that scripts set.
const MIN_USUAL_VALUE: usize = 8;

/// Longer names are compared one by one.
const LONGEST_NAME: usize = 32;

/// A browser's cookie that stands for a session of the calculator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationSessionId<'a> {
    pub name: &'a [u8],
    /// Value as received.
    pub value: &'a [u8],
}

/// Who may use a session of the calculator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationSession {
    /// The calculator may give one value to several brokers, such as that of an empty session that lies in the cookie itself.
    owners: Vec<Vtnr>,
}

/// How the gateway learnt of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOrigin {
    /// The calculator set it in its answer to this broker.
    Answer,
    /// Seen in a request without an owner: a script set it, or the session is older than the gateway.
    Request,
}

/// Where a cookie was set: what a browser has to be told to delete it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieScope {
    pub name: String,
    /// `Path`, where it was given.
    pub path: Option<String>,
    /// `Domain`, where it was given.
    pub domain: Option<String>,
    /// Whether it was set with `Partitioned`.
    pub partitioned: bool,
}

/// All scopes in which the calculator sets session cookies; the same for all brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieScopes(Vec<CookieScope>);

impl SessionCookies {
    /// The names that servers and frameworks use by default.
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
        // Ruby; also Laravel and others that call it so.
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
        // What applications of their own call it.
        "sid",
    ];

    /// Cookies of the usual names and these. `*` at the beginning or end of a name stands for any text.
    pub fn usual<'n>(further: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            min_value: MIN_USUAL_VALUE,
            ..Self::new(Self::USUAL.into_iter().chain(further))
        }
    }

    /// Cookies of these names, whatever their values.
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

    /// Leaves out cookies of these names.
    #[must_use]
    pub fn except(mut self, names: &[String]) -> Self {
        let is_named = |own: &[u8]| {
            names
                .iter()
                .any(|name| is_alike(bare(name.as_bytes()), own))
        };
        self.exact = self
            .exact
            .into_iter()
            .filter(|own| !is_named(own))
            .collect();
        self
    }

    /// Whether a cookie is a session of the calculator's. `__Host-` and `__Secure-` before a name change nothing, nor does a sign in the place
    /// of another: PHP takes `.` for `_`. Escapes and what is not ASCII are passed over, as some servers do.
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
        may_be_exact && self.exact.iter().any(|own| is_alike(name, own))
            || self.prefix_initials & first != 0
                && self.prefixes.iter().any(|prefix| begins(name, prefix))
            || self.suffixes.iter().any(|suffix| ends(name, suffix))
    }
}

/// A pattern's text, and whether any text may follow or precede it.
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

/// A name without escapes and without what is not visible ASCII.
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

/// What names have in common that some server takes for one.
const fn normal(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'_'
    }
}

/// Whether a name is this one, which is given as [`normal`] makes it.
fn is_alike(name: &[u8], own: &[u8]) -> bool {
    name.len() == own.len()
        && name
            .iter()
            .zip(own)
            .all(|(byte, own)| normal(*byte) == normal(*own))
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

/// A bit that names share if they begin alike.
fn initial(name: &[u8]) -> u32 {
    name.first().map_or(0, |first| 1 << (normal(*first) % 32))
}

impl ApplicationSessionId<'_> {
    /// Gives the bytes of the name and the value to `sink` in the one form that all spellings share: servers take quotes and escapes off a
    /// value, some fold case, and decoders of base64 pass over other signs. So a value is its letters and digits. What servlet containers
    /// put after a session's number names a node of theirs.
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

    /// Collects name and value into one key.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.name.len() + 1 + self.value.len());
        self.canonical(|byte| bytes.push(byte));
        bytes
    }
}

/// Gives each byte to `sink`, escapes decoded once.
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
    /// How long its owner is remembered after it was last claimed.
    pub const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
    /// How long the owner of a value is remembered that no request has brought yet, or that the calculator has replaced.
    pub const UNUSED_LIFETIME: Duration = Duration::from_secs(86_400);
    /// Sessions that are remembered a day for one client, so that nobody fills the store with them. A broker's number sets no limit: others
    /// can sign in with it. A broker house shares an address, and some applications begin a session with every answer.
    const SET: Allowance = Allowance::per(500_000, 86_400);
    /// Limits sessions without an owner: a client can make up any number of them, an honest one has few.
    const SEEN: Allowance = Allowance::per(2_000, 86_400);
    const MAX_OWNERS: usize = 8;

    /// Belongs to this broker.
    pub fn of(vtnr: Vtnr) -> Self {
        Self { owners: vec![vtnr] }
    }

    /// Belongs to these brokers.
    pub fn from_owners(owners: Vec<Vtnr>) -> Self {
        Self { owners }
    }

    /// Owners, the latest last.
    pub fn owners(&self) -> &[Vtnr] {
        &self.owners
    }

    /// Whether this broker may use it.
    pub fn belongs_to(&self, vtnr: Vtnr) -> bool {
        self.owners.contains(&vtnr)
    }

    /// Adds a broker whom the calculator has given the session too.
    #[must_use]
    pub fn and(&self, vtnr: Vtnr) -> Self {
        let surplus = (self.owners.len() + 1).saturating_sub(Self::MAX_OWNERS);
        let kept = self.owners.iter().skip(surplus).copied();
        Self {
            owners: kept.chain([vtnr]).collect(),
        }
    }

    /// What remembering one more is charged to.
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
    /// Enough for an application's parts; beyond, a scope is not learnt.
    const MAX: usize = 64;

    pub fn from_scopes(scopes: Vec<CookieScope>) -> Self {
        Self(scopes)
    }

    pub fn all(&self) -> &[CookieScope] {
        &self.0
    }

    /// Scopes in which this cookie is set.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &CookieScope> {
        self.0.iter().filter(move |scope| scope.name == name)
    }

    /// Whether this one is among them.
    pub fn has(&self, scope: &CookieScope) -> bool {
        self.0.contains(scope)
    }

    /// Adds what is missing. False if nothing was added.
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
