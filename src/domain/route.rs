//! Classifies the target of a request, by the exact bytes that would be forwarded.

use super::submission::{Intent, Request, SubmissionRules};

/// The target class of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A file of the gateway's own pages.
    Asset(String),
    /// One of the gateway's own pages.
    Page(Page),
    /// A path of the calculator that needs no sign-in.
    Public(PublicRoute),
    /// A path of the insurer's portal, which needs no sign-in here.
    Portal(PublicRoute),
    /// Everything else: the calculator, for signed-in brokers.
    Protected,
}

/// Proof that the operator opened this path to everybody and that nothing sent to it can be the Antragsversand.
///
/// Only [`Routes::of`] creates one, and [`Permit::public`](super::policy::Permit::public) takes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicRoute(());

/// The gateway's own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Start,
    SignIn,
    Tan,
    UnknownEmail,
    Password,
    SignOut,
    Form,
    Help,
    Certificate,
    Portal,
    Status,
    /// A path below the prefix without a page.
    Unknown,
}

/// The servers that answer below the portal's paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortalServers {
    /// The portal has its own servers, which have no Antragsversand.
    Own,
    /// The calculator's servers answer for the portal too.
    Calculator,
}

/// The configured paths: the gateway's pages, and paths that need no sign-in.
#[derive(Clone, Debug)]
pub struct Routes {
    prefix: String,
    public: Vec<String>,
    portal: Vec<String>,
    portal_servers: PortalServers,
}

impl Routes {
    /// Takes `login.prefix`, `upstream.public_paths` and `portal.paths`.
    pub fn new(
        prefix: &str,
        public: &[String],
        portal: &[String],
        portal_servers: PortalServers,
    ) -> Self {
        Self {
            prefix: prefix.to_owned(),
            public: public.to_vec(),
            portal: portal.to_vec(),
            portal_servers,
        }
    }

    /// Classifies a request. A submission rule with a query may match any path, so a request that could be the submission is
    /// never public on the calculator's servers.
    pub fn of(&self, request: &Request<'_>, rules: &SubmissionRules) -> Route {
        let path = request
            .target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        if let Some(page) = path.strip_prefix(self.prefix.as_bytes()) {
            return page_route(page);
        }
        let bare_prefix = self.prefix.strip_suffix('/');
        if bare_prefix.is_some_and(|prefix| path == prefix.as_bytes()) {
            return Route::Page(Page::Start);
        }
        let is_public = self.public.iter().any(|public| path == public.as_bytes());
        if is_public {
            return match rules.classify(request) {
                Intent::Use => Route::Public(PublicRoute(())),
                Intent::Submit | Intent::Unclear(_) => Route::Protected,
            };
        }
        let is_portal = self
            .portal
            .iter()
            .any(|portal| path.starts_with(portal.as_bytes()));
        if is_portal && is_plain(path) {
            let is_open =
                self.portal_servers == PortalServers::Own || rules.classify(request) == Intent::Use;
            if is_open {
                return Route::Portal(PublicRoute(()));
            }
        }
        Route::Protected
    }
}

/// Returns whether all servers read this path alike, so that a path below a prefix stays there: no escapes, no parameters, no
/// empty or dotted segments, nothing but letters, digits and signs without a meaning.
fn is_plain(path: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~!$'()*+,=:@".contains(byte);
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    let mut is_sound = path.iter().all(is_plain);
    while let Some(segment) = segments.next() {
        is_sound &= !segment.ends_with(b".") && (!segment.is_empty() || segments.peek().is_none());
    }
    is_sound
}

fn page_route(page: &[u8]) -> Route {
    if let Some(asset) = page.strip_prefix(b"assets/") {
        return Route::Asset(String::from_utf8_lossy(asset).into_owned());
    }
    Route::Page(match page {
        b"" => Page::Start,
        b"vtnr-login" => Page::SignIn,
        b"tan" => Page::Tan,
        b"unbekannte-e-mail" => Page::UnknownEmail,
        b"benutzerschluessel" => Page::Password,
        b"abmelden" => Page::SignOut,
        b"eingabe" => Page::Form,
        b"hilfe" => Page::Help,
        b"zertifikat" => Page::Certificate,
        b"portal" => Page::Portal,
        b"status" => Page::Status,
        _ => Page::Unknown,
    })
}

/// A public route for tests.
#[cfg(test)]
pub(crate) const fn public_route() -> PublicRoute {
    PublicRoute(())
}

#[cfg(test)]
mod tests {
    use super::super::submission::samples::{get, post, rules};
    use super::*;

    const PUBLIC: Route = Route::Public(PublicRoute(()));
    const PORTAL: Route = Route::Portal(PublicRoute(()));

    fn routes(portal_servers: PortalServers) -> Routes {
        let public = ["/favicon.ico".to_owned()];
        let portal = ["/portal/".to_owned()];
        Routes::new("/ui/login/de/", &public, &portal, portal_servers)
    }

    fn route(target: &str) -> Route {
        routes(PortalServers::Calculator).of(&get(target), &rules(&["/antrag/versand"]))
    }

    #[test]
    fn our_paths_are_ours_and_all_others_are_protected() {
        let cases = [
            (
                "/ui/login/de/vtnr-login?return_to=%2Fx",
                Route::Page(Page::SignIn),
            ),
            ("/ui/login/de", Route::Page(Page::Start)),
            ("/ui/login/de/", Route::Page(Page::Start)),
            ("/ui/login/de/tan", Route::Page(Page::Tan)),
            (
                "/ui/login/de/benutzerschluessel?return_to=%2Fx",
                Route::Page(Page::Password),
            ),
            ("/ui/login/de/../../antrag", Route::Page(Page::Unknown)),
            ("/ui/login/de/assets/a.css", Route::Asset("a.css".into())),
            ("/ui/login/", Route::Protected),
            ("/", Route::Protected),
            ("/favicon.ico?x", PUBLIC),
            ("/favicon.ico/x", Route::Protected),
            ("/antrag/versand?x=/favicon.ico", Route::Protected),
            ("/x?/ui/login/de/tan", Route::Protected),
            ("/portal/anmelden?x=%2f..", PORTAL),
            ("/portal/", PORTAL),
            ("/portal/a/b.css", PORTAL),
            ("/portal", Route::Protected),
            ("/Portal/", Route::Protected),
            ("/portal/../antrag", Route::Protected),
            ("/portal/..;/antrag", Route::Protected),
            ("/portal/;x/antrag", Route::Protected),
            ("/portal/%2e%2e/antrag", Route::Protected),
            ("/portal/..%2fantrag", Route::Protected),
            ("/portal/.../antrag", Route::Protected),
            ("/portal//antrag", Route::Protected),
            ("//portal/antrag", Route::Protected),
            ("/portal/a\\..\\..\\antrag", Route::Protected),
        ];
        for (target, expected) in cases {
            assert_eq!(route(target), expected, "{target}");
        }
    }

    #[test]
    fn what_could_be_the_submission_is_public_on_no_server_of_the_calculator() {
        let rules = rules(&["/favicon.ico", "/portal/versand"]);
        for (servers, in_portal) in [
            (PortalServers::Calculator, Route::Protected),
            (PortalServers::Own, PORTAL),
        ] {
            let routes = routes(servers);
            for (target, expected) in [
                ("/favicon.ico", Route::Protected),
                ("/favicon.ico?x", Route::Protected),
                ("/portal/versand", in_portal.clone()),
                ("/portal/Versand?x", in_portal.clone()),
                ("/portal/x", PORTAL),
            ] {
                assert_eq!(routes.of(&post(target), &rules), expected, "{target}");
            }
            assert_eq!(routes.of(&get("/portal/versand"), &rules), PORTAL);
        }
    }
}
