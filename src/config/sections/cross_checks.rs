//! Checks across sections.

use super::super::read::Reader;
use super::super::url::Url;
use super::super::{
    Brand, Certificate, ListenConfig, LoginConfig, LoginMethod, LoginMethods, PortalConfig,
    UpstreamConfig,
};
use domain::submission::index_folder;
use std::net::{IpAddr, SocketAddr};

/// Sections that depend on each other, as far as they are valid.
pub(super) struct Sections<'c> {
    pub(super) listen: Option<&'c ListenConfig>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) upstream: Option<&'c UpstreamConfig>,
    pub(super) submission_paths: &'c [String],
    pub(super) login: Option<&'c LoginConfig>,
    pub(super) certificate: Option<&'c Certificate>,
    pub(super) portal: Option<&'c PortalConfig>,
    pub(super) brand: Option<&'c Brand>,
}

pub(super) fn check(reader: &mut Reader<'_>, sections: &Sections<'_>) {
    listeners_differ(reader, sections);
    let public = sections
        .upstream
        .map(|upstream| upstream.public_paths.as_slice());
    submissions_are_protected(
        reader,
        sections.submission_paths,
        public.unwrap_or_default(),
    );
    if let Some(login) = sections.login {
        login_takes_no_path(
            reader,
            "submission.paths",
            sections.submission_paths,
            &login.prefix,
        );
        login_takes_no_path(
            reader,
            "upstream.public_paths",
            public.unwrap_or_default(),
            &login.prefix,
        );
    }
    if let Some(portal) = sections.portal {
        portal_opens_nothing_else(reader, portal, sections);
    }
    if let Some(public) = public {
        links_lead_somewhere(reader, sections, public);
    }
}

fn listeners_differ(reader: &mut Reader<'_>, sections: &Sections<'_>) {
    let http = sections
        .listen
        .and_then(|listen| listen.http)
        .map(|address| ("listen.http", address));
    let https = sections
        .listen
        .and_then(|listen| listen.https.as_ref())
        .map(|https| ("listen.https", https.address));
    let admin = sections.admin.map(|address| ("admin.listen", address));
    let certificate = sections
        .certificate
        .map(|certificate| ("certificate.listen", certificate.https.address));
    let listeners: Vec<_> = [http, https, certificate, admin]
        .into_iter()
        .flatten()
        .collect();
    for (number, (key, address)) in listeners.iter().enumerate() {
        let earlier = listeners
            .iter()
            .take(number)
            .find(|(_, earlier)| clash(*earlier, *address));
        if let Some((earlier, _)) = earlier {
            reader.mistake(
                key,
                format!("has the same address as {earlier}; choose another port"),
            );
        }
    }
}

/// Whether two listeners exclude each other; port 0 means any free port.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: IpAddr, b: IpAddr| a.is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

fn submissions_are_protected(reader: &mut Reader<'_>, submissions: &[String], public: &[String]) {
    let begins = |path: &str| {
        public
            .iter()
            .any(|public| public.to_lowercase().starts_with(&path.to_lowercase()))
    };
    let is_folder = |folder: &str| {
        public.iter().any(|public| {
            public.trim_end_matches('/').to_lowercase()
                == folder.trim_end_matches('/').to_lowercase()
        })
    };
    let opens = |rule: &str| {
        let path = rule.split('?').next().unwrap_or_default();
        begins(path.trim_end_matches('/')) || index_folder(path).is_some_and(is_folder)
    };
    for path in submissions.iter().filter(|rule| opens(rule)) {
        reader.mistake(
            "submission.paths",
            format!("{path:?} is also in upstream.public_paths, so anybody could submit; remove it there"),
        );
    }
}

/// Keeps the portal's public prefixes off guarded paths and the gateway's own pages.
fn portal_opens_nothing_else(
    reader: &mut Reader<'_>,
    portal: &PortalConfig,
    sections: &Sections<'_>,
) {
    for path in &portal.paths {
        let below = path.to_lowercase();
        let covers = |other: &str| other.to_lowercase().starts_with(&below);
        // A rule guards every path that begins with it, with its query added.
        let is_guarded = |submission: &str| {
            submission
                .split('?')
                .next()
                .is_some_and(|rule| below.starts_with(&rule.to_lowercase()))
        };
        for submission in sections
            .submission_paths
            .iter()
            .filter(|path| covers(path) || is_guarded(path))
        {
            let how = if covers(submission) {
                "covers"
            } else {
                "begins with"
            };
            let mistake = format!(
                "{path:?} {how} {submission:?} in submission.paths, so anybody could submit"
            );
            reader.mistake("portal.paths", mistake);
        }
        if sections
            .login
            .is_some_and(|login| covers(&login.prefix) || is_under(path, &login.prefix))
        {
            reader.mistake(
                "portal.paths",
                format!("{path:?} overlaps login.prefix; choose another prefix"),
            );
        }
    }
    if portal.check_url.starts_with("http://") && !is_loopback(&portal.check_url) {
        reader.warn(
            "portal.check_url",
            "begins with http://: anybody on the network in between can forge who is signed in",
        );
    }
}

fn is_loopback(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.is_loopback())
}

fn login_takes_no_path(reader: &mut Reader<'_>, key: &str, paths: &[String], prefix: &str) {
    for path in paths.iter().filter(|path| is_under(path, prefix)) {
        reader.mistake(
            key,
            format!("{path:?} is below login.prefix, whose paths never reach the calculator"),
        );
    }
}

/// Warns of links on sign-in pages that need a sign-in themselves.
fn links_lead_somewhere(reader: &mut Reader<'_>, sections: &Sections<'_>, public: &[String]) {
    let elsewhere =
        |method: fn(&LoginMethods) -> Option<&LoginMethod>| match method(&sections.login?.methods)?
        {
            LoginMethod::Elsewhere(address) => Some(address),
            LoginMethod::Page(_) | LoginMethod::Host(_) => None,
        };
    let links = [
        (
            "brand.imprint_url",
            sections.brand.map(|brand| &brand.imprint_url),
        ),
        (
            "brand.privacy_url",
            sections.brand.map(|brand| &brand.privacy_url),
        ),
        (
            "login.password_url",
            elsewhere(|methods| methods.password.as_ref()),
        ),
        (
            "login.certificate_url",
            elsewhere(|methods| methods.certificate.as_ref()),
        ),
    ];
    for (key, link) in links {
        let path = link
            .and_then(|link| link.split(['?', '#']).next())
            .filter(|link| link.starts_with('/'));
        if let Some(path) = path.filter(|path| !public.iter().any(|public| public == path)) {
            let warning = format!(
                "{path} is not in upstream.public_paths, so the link leads back to the sign-in page"
            );
            reader.warn(key, &warning);
        }
    }
}

fn is_under(path: &str, prefix: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.starts_with(prefix) || path == prefix.trim_end_matches('/')
}
