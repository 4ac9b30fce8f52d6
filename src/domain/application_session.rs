//! Sessions that the calculator keeps by cookies of its own. Each belongs to the broker under whom it began (product rule): its cookie
//! never goes up with another broker's request, whatever the browser sends.

use super::throttle::{Allowance, Charge, ClientAddress, Counter};
use super::vtnr::Vtnr;
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
}

/// Longer names are compared one by one.
const LONGEST_NAME: usize = 32;

/// A browser's cookie that stands for a session of the calculator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationSessionId<'a> {
    /// The cookie's name.
    pub name: &'a [u8],
    /// Its value as it came.
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
pub enum Origin {
    /// The calculator set it in its answer to this broker.
    Answer,
    /// It came with a request and nobody owns it: a script set it, or it is older than the gateway.
    Request,
}

/// Where a cookie was set: what a browser has to be told to delete it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieScope {
    /// The cookie's name.
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
    pub const USUAL: [&'static str; 57] = [
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
        ".AspNet.*",
        ".AspNetCore.*",
        "FedAuth",
        "FedAuth1",
        // PHP and its applications.
        "PHPSESSID",
        "PHPSESSIONID",
        "CAKEPHP",
        "ci_session",
        "SESS*",
        "SSESS*",
        "fe_typo_user",
        "be_typo_user",
        "wordpress_logged_in_*",
        "wordpress_sec_*",
        // ColdFusion.
        "CFID",
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

    /// Cookies of these names. `*` at the beginning or end of a name stands for any text.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut exact: Vec<Box<[u8]>> = Vec::new();
        let mut prefixes: Vec<Box<[u8]>> = Vec::new();
        let mut suffixes: Vec<Box<[u8]>> = Vec::new();
        for name in names {
            let name = name.to_ascii_lowercase();
            let (list, name) = match (name.strip_suffix('*'), name.strip_prefix('*')) {
                (Some(prefix), _) => (&mut prefixes, prefix),
                (None, Some(suffix)) => (&mut suffixes, suffix),
                (None, None) => (&mut exact, name.as_str()),
            };
            list.push(Box::from(name.as_bytes()));
        }
        let mut initials = [0; LONGEST_NAME];
        for name in &exact {
            if let Some(all) = initials.get_mut(length_class(name)) {
                *all |= initial(name);
            }
        }
        let prefix_initials = prefixes.iter().fold(0, |all, prefix| all | initial(prefix));
        Self { exact: exact.into(), prefixes: prefixes.into(), suffixes: suffixes.into(), initials, prefix_initials }
    }

    /// The same without cookies of these names.
    #[must_use]
    pub fn except(mut self, names: &[String]) -> Self {
        let is_named = |own: &[u8]| names.iter().any(|name| bare(name.as_bytes()).eq_ignore_ascii_case(own));
        self.exact = self.exact.into_iter().filter(|own| !is_named(own)).collect();
        self
    }

    /// Whether a cookie of this name is a session of the calculator's. `__Host-` and `__Secure-` before a name change nothing.
    pub fn contain(&self, name: &[u8]) -> bool {
        let name = bare(name);
        let first = initial(name);
        let may_be_exact = self.initials.get(length_class(name)).is_some_and(|initials| initials & first != 0);
        may_be_exact && self.exact.iter().any(|own| own.eq_ignore_ascii_case(name))
            || self.prefix_initials & first != 0 && self.prefixes.iter().any(|prefix| begins(name, prefix))
            || self.suffixes.iter().any(|suffix| ends(name, suffix))
    }
}

fn bare(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"__Host-").or_else(|| name.strip_prefix(b"__Secure-")).unwrap_or(name)
}

fn begins(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
}

fn ends(name: &[u8], suffix: &[u8]) -> bool {
    name.len().checked_sub(suffix.len()).and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

fn length_class(name: &[u8]) -> usize {
    name.len().min(LONGEST_NAME - 1)
}

/// A bit that names share if they begin alike.
fn initial(name: &[u8]) -> u32 {
    name.first().map_or(0, |first| 1 << (first.to_ascii_lowercase() % 32))
}

impl ApplicationSessionId<'_> {
    /// Gives the bytes of the name and the value to `sink` in the one form that all spellings share: servers take quotes and escapes off
    /// a value, and some fold case.
    pub fn canonical(&self, mut sink: impl FnMut(u8)) {
        self.name.iter().for_each(|byte| sink(byte.to_ascii_lowercase()));
        sink(b'=');
        let mut rest = self.value.iter();
        while let Some(byte) = rest.next() {
            let byte = match (*byte, rest.as_slice()) {
                (b'%', [high, low, ..]) => match escaped(*high, *low) {
                    Some(byte) => {
                        rest.nth(1);
                        byte
                    }
                    None => b'%',
                },
                (byte, _) => byte,
            };
            if !matches!(byte, b'"' | b'\\' | b' ' | b'\t') {
                sink(byte.to_ascii_lowercase());
            }
        }
    }

    /// The same bytes, collected.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.name.len() + 1 + self.value.len());
        self.canonical(|byte| bytes.push(byte));
        bytes
    }
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

impl ApplicationSession {
    /// How long its owner is remembered after it was last claimed.
    pub const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
    /// How long the owner of a value is remembered that the calculator has replaced.
    pub const REPLACED_LIFETIME: Duration = Duration::from_secs(86_400);
    /// Sessions that are remembered a day for one client, so that nobody fills the store with them. A broker's number sets no limit: others
    /// can sign in with it. A broker house shares an address, and some applications begin a session with every answer.
    const SET: Allowance = Allowance::per(500_000, 86_400);
    /// The same for sessions that nobody owned: a client can make up any number of them, and an honest one has few.
    const SEEN: Allowance = Allowance::per(2_000, 86_400);
    const MOST_OWNERS: usize = 8;

    /// Belongs to this broker.
    pub fn of(vtnr: Vtnr) -> Self {
        Self { owners: vec![vtnr] }
    }

    /// Belongs to these brokers.
    pub fn from_owners(owners: Vec<Vtnr>) -> Self {
        Self { owners }
    }

    /// Its brokers, the latest last.
    pub fn owners(&self) -> &[Vtnr] {
        &self.owners
    }

    /// Whether this broker may use it.
    pub fn belongs_to(&self, vtnr: Vtnr) -> bool {
        self.owners.contains(&vtnr)
    }

    /// The same when the calculator has given it to this broker as well.
    #[must_use]
    pub fn and(&self, vtnr: Vtnr) -> Self {
        let surplus = (self.owners.len() + 1).saturating_sub(Self::MOST_OWNERS);
        let kept = self.owners.iter().skip(surplus).copied();
        Self { owners: kept.chain([vtnr]).collect() }
    }

    /// What remembering one more is charged to.
    pub const fn charge(client: ClientAddress, origin: Origin) -> Charge {
        match origin {
            Origin::Answer => Charge::one(Counter::ApplicationSessionsSetFor(client), Self::SET),
            Origin::Request => Charge::one(Counter::ApplicationSessionsSeenFrom(client), Self::SEEN),
        }
    }
}

impl CookieScopes {
    /// Enough for an application's parts; beyond, a scope is not learnt.
    const MOST: usize = 64;

    /// From a record.
    pub fn from_scopes(scopes: Vec<CookieScope>) -> Self {
        Self(scopes)
    }

    /// All of them.
    pub fn all(&self) -> &[CookieScope] {
        &self.0
    }

    /// Those in which this cookie is set.
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
            if self.0.len() < Self::MOST && !self.has(scope) {
                self.0.push(scope.clone());
            }
        }
        self.0.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> SessionCookies {
        SessionCookies::new(SessionCookies::USUAL)
    }

    fn canonical(name: &str, value: &str) -> String {
        String::from_utf8(ApplicationSessionId { name: name.as_bytes(), value: value.as_bytes() }.to_bytes()).expect("ASCII")
    }

    fn broker(number: u32) -> Vtnr {
        Vtnr::from_number(601_234_567 + number).expect("nine digits")
    }

    #[test]
    fn session_cookies_are_known_by_name_in_any_case_and_with_any_prefix() {
        for name in [
            "JSESSIONID",
            "jsessionid",
            "__Host-JSESSIONID",
            "__Secure-PHPSESSID",
            "ASPSESSIONIDQQABCDEF",
            "asp.net_sessionid",
            ".AspNetCore.Session",
            "laravel_session",
            "_rechner_session",
            "SESS0123456789abcdef",
            "sid",
            "connect.sid",
            "wordpress_logged_in_0123456789abcdef0123456789abcdef",
        ] {
            assert!(usual().contain(name.as_bytes()), "{name}");
        }
        for name in
            ["theme", "", "xJSESSIONID", "JSESSIONIDX", "ansicht", "_pk_id.7.1fff", "XSRF-TOKEN", "vtnr_sessions", "xsession"]
        {
            assert!(!usual().contain(name.as_bytes()), "{name}");
        }
        let own = SessionCookies::new(["RECHNER", "part*", "*_teil"]);
        assert!(own.contain(b"rechner") && own.contain(b"PARTNER") && own.contain(b"ein_TEIL") && !own.contain(b"JSESSIONID"));
        assert!(!own.clone().except(&["Rechner".to_owned()]).contain(b"RECHNER") && own.contain(b"part"));
    }

    #[test]
    fn a_long_name_is_compared_as_any_other() {
        let long = "x".repeat(100);
        let own = SessionCookies::new([long.as_str()]);
        assert!(own.contain(long.as_bytes()) && !own.contain(&long.as_bytes()[1..]));
    }

    #[test]
    fn every_spelling_of_a_value_is_the_same_session() {
        let one = canonical("JSESSIONID", "0A1B.node-1");
        for value in ["\"0A1B.node-1\"", "0a1b.NODE-1", "%30A1B%2enode-1", " 0A1B.node-1 ", "\"\\0A1B.node-1\""] {
            assert_eq!(canonical("jsessionid", value), one, "{value}");
        }
        for value in ["0A1C.node-1", "0A1B.node-", "%0A1B.node-1", "0A1B.node-1x"] {
            assert_ne!(canonical("JSESSIONID", value), one, "{value}");
        }
        assert_eq!(canonical("a", "100%"), "a=100%");
        assert_eq!(canonical("a", "%zz%4"), "a=%zz%4");
    }

    #[test]
    fn a_session_belongs_to_those_whom_the_calculator_gave_it() {
        let of_one = ApplicationSession::of(broker(0));
        assert!(of_one.belongs_to(broker(0)) && !of_one.belongs_to(broker(1)));
        let of_both = of_one.and(broker(1));
        assert!(of_both.belongs_to(broker(0)) && of_both.belongs_to(broker(1)));
        let of_many = (2..20).fold(of_both, |session, number| session.and(broker(number)));
        assert!(of_many.owners().len() == 8 && of_many.belongs_to(broker(19)) && !of_many.belongs_to(broker(0)));
    }

    #[test]
    fn scopes_are_learnt_once_and_within_bounds() {
        let scope =
            |path: &str| CookieScope { name: "JSESSIONID".into(), path: Some(path.into()), domain: None, partitioned: false };
        let mut scopes = CookieScopes::default();
        assert!(scopes.add(&[scope("/a"), scope("/a"), scope("/b")]) && !scopes.add(&[scope("/b")]));
        assert_eq!((scopes.all().len(), scopes.of("JSESSIONID").count(), scopes.of("x").count()), (2, 2, 0));
        let many: Vec<_> = (0..100).map(|number| scope(&number.to_string())).collect();
        assert!(scopes.add(&many) && scopes.all().len() == 64);
    }
}
