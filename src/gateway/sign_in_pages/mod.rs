//! The sign-in's pages over HTTP: what a browser sent becomes a step of [`crate::sign_in`], and its answer a page and cookies.

mod certificate;
mod claim;
mod password;
mod portal;
mod sign_out;
mod status;
mod tan;

use crate::gateway::admission::portal::{self as at_portal, AtPortal};
use crate::gateway::context::RequestContext;
use crate::gateway::context::RequestKind;
use crate::gateway::proxy::Gateway;
use crate::gateway::request::cookies::RequestCookies;
use crate::gateway::request::form::Form;
use crate::gateway::request::route::Page;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::pages::View;
use crate::sign_in::{Admission, Answer, Visitor};
use crate::telemetry::metrics::Request;
use domain::browser;
use domain::ids::{FlowToken, FormId};
use domain::return_to::ReturnTo;
use domain::session::Session as BrokerSession;
use domain::time::Timestamp;
use http::header::USER_AGENT;
use http::{Method, StatusCode};
use pingora::proxy::Session;

/// A request for one of our pages, with all that the steps need of it.
pub(crate) struct Visit {
    pub(crate) held: RequestCookies,
    pub(crate) visitor: Visitor,
    return_to: ReturnTo,
    /// The form that the page is about.
    pub(crate) form: Option<FormId>,
    pub(crate) now: Timestamp,
    /// What the insurer's portal says of the browser.
    at_portal: Option<AtPortal>,
    /// Cookies of kept forms that have one of their own.
    apart: Vec<String>,
}

impl Gateway {
    /// Answers a request for one of our pages. Only `POST` changes anything.
    pub(crate) async fn login(
        &self,
        page: Page,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Reply, Failure> {
        context.outcome = Request::LoginPage;
        let mut visit = self.visit(http, context.now)?;
        if self.portal.is_some() {
            visit.at_portal = match page {
                // Whoever wants to leave waits for nobody and needs no slot.
                Page::SignOut => self.known_at_portal(http, context.now),
                _ => self.at_portal(http, context).await?,
            };
        }
        if let Some(id) = visit.form.filter(|_| page == Page::Form) {
            context.about = RequestKind::KeptForm(self.routes.form_page(id));
        }
        let method = http.req_header().method.clone();
        if method == Method::POST {
            let form = Form::read(http, self.scheme(http)).await?;
            if page == Page::SignOut {
                context.about = RequestKind::SignOut {
                    forget_browser: sign_out::forgets_browser(&form),
                };
            }
            return match page {
                Page::SignIn => self.post_claim(&visit, &form).await,
                Page::Tan => self.post_tan(&visit, &form).await,
                Page::UnknownEmail => self.post_without_email(&visit).await,
                Page::Password => self.post_password(&visit, &form).await,
                Page::SignOut => {
                    let reply = self.post_sign_out(&visit, &form).await?;
                    Ok(self
                        .end_application_sessions(reply, http.req_header())
                        .await)
                }
                Page::Form => self.discard_parked(&visit).await,
                Page::Portal => self.post_portal(&visit),
                Page::Start | Page::Help | Page::Certificate | Page::Status => Err(Failure::Method),
                Page::Unknown => Err(Failure::NotFound),
            };
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Failure::Method);
        }
        match page {
            Page::Start => Ok(Reply::see_other(
                &self.routes.page("vtnr-login", visit.return_to.as_str()),
            )),
            Page::SignIn => self.show_claim(&visit).await,
            Page::Tan => self.show_tan(&visit).await,
            Page::UnknownEmail => self.show_unknown_email(&visit).await,
            Page::Password => self.show_password(&visit).await,
            Page::SignOut => self.show_sign_out(&visit).await,
            Page::Form => self.show_parked(&visit).await,
            Page::Help => Ok(self.help_page(&visit)),
            Page::Certificate => self.on_certificates_host(&visit),
            Page::Portal => self.show_portal(&visit),
            Page::Status => self.status(&visit).await,
            Page::Unknown => Err(Failure::NotFound),
        }
    }

    pub(crate) fn visit(&self, http: &Session, now: Timestamp) -> Result<Visit, Failure> {
        let request = http.req_header();
        let target = request.raw_path();
        let form = form_in(target);
        let held = form.map_or_else(|| self.held(http), |form| self.held_for(form, http))?;
        let agent = request
            .headers
            .get(USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default();
        let visitor = Visitor {
            client: self.client_counted(http),
            family: browser::family(agent),
            flow: held.flow,
            browser: held.browser,
            session: held.session,
        };
        let apart = self.cookie_names.apart(&request.headers);
        Ok(Visit {
            held,
            visitor,
            return_to: self.return_to(target),
            form,
            now,
            at_portal: None,
            apart,
        })
    }

    /// Where the broker wants to go; the start page if that is missing, leads elsewhere, or into the sign-in itself.
    pub(crate) fn return_to(&self, target: &[u8]) -> ReturnTo {
        let query = target
            .splitn(2, |byte| *byte == b'?')
            .nth(1)
            .unwrap_or_default();
        let requested_target = form_urlencoded::parse(query).find(|(name, _)| name == "return_to");
        let requested_target = requested_target
            .and_then(|(_, path)| ReturnTo::parse(&path).ok())
            .filter(|path| {
                !self.routes.is_own(path.as_str()) || self.routes.is_form_page(path.as_str())
            });
        requested_target.unwrap_or_else(ReturnTo::start)
    }

    fn page(&self, status: StatusCode, view: &View<'_>, visit: &Visit) -> Reply {
        Reply::page(status, self.pages.now().render(view, visit.now))
    }

    fn on_to(&self, page: &str, visit: &Visit) -> Reply {
        Reply::see_other(&self.routes.page(page, visit.return_to.as_str()))
    }

    pub(crate) fn on_to_calculator(visit: &Visit) -> Reply {
        Reply::see_other(visit.return_to.as_str())
    }

    fn with_flow(&self, reply: Reply, flow: &FlowToken) -> Reply {
        reply.with_cookie(self.cookie_names.set_flow(flow))
    }

    /// The broker is signed in: new cookies, and on to where they wanted to go.
    fn welcome(&self, admission: &Admission, visit: &Visit) -> Reply {
        if let Some(replaced) = visit
            .held
            .session
            .as_ref()
            .filter(|replaced| **replaced != admission.session)
        {
            self.sessions.ended(replaced);
        }
        let reply = Self::on_to_calculator(visit)
            .with_cookie(self.cookie_names.set_session(&admission.session))
            .with_cookie(self.cookie_names.clear(self.cookie_names.flow()));
        // It is another session's; the next page comes with a new one.
        let reply = if visit.held.ticket_as_of.is_some() {
            reply.with_cookie(self.cookie_names.clear(self.cookie_names.ticket()))
        } else {
            reply
        };
        match &admission.browser {
            Some(browser) => reply.with_cookie(
                self.cookie_names
                    .set_browser(browser, self.sign_ins.rules.now().login.trust),
            ),
            None => reply,
        }
    }

    /// Whether the broker signed out here of what the portal knows.
    fn left_portal(visit: &Visit) -> bool {
        visit
            .at_portal
            .as_ref()
            .is_some_and(|at_portal| at_portal.has_left)
    }

    /// Who is signed in, by a session of ours or by the portal; a full session counts before another.
    pub(crate) async fn signed_in(&self, visit: &Visit) -> Result<Option<BrokerSession>, Failure> {
        let own = self.session(visit.held.session.as_ref(), visit.now).await?;
        Ok(at_portal::best(own, visit.at_portal.as_ref()))
    }

    /// What most answers lead to, whichever page they were given on; each page deals with its own first.
    async fn follow(&self, answer: Answer, visit: &Visit) -> Result<Reply, Failure> {
        match answer {
            Answer::SignedIn(admission) => Ok(self.welcome(&admission, visit)),
            Answer::TanAsked(flow) => Ok(self.with_flow(self.on_to("tan", visit), &flow)),
            Answer::UnknownEmail(flow) => {
                Ok(self.with_flow(self.on_to("unbekannte-e-mail", visit), &flow))
            }
            Answer::NoSignIn | Answer::InvalidVtnr | Answer::SwitchedOff => {
                self.start_over(visit).await
            }
            Answer::WrongTan { .. } | Answer::MalformedTan(_) | Answer::TanOver(_) => {
                Ok(self.on_to("tan", visit))
            }
            Answer::MailsExhausted { until } => Err(Failure::MailsExhausted(until)),
            Answer::TooMany { until } => Err(Failure::TooMany(until)),
            Answer::Busy => Err(Failure::Busy),
        }
    }

    /// No sign-in is under way here. Whoever is signed in, perhaps in another tab, goes on; others begin again.
    async fn start_over(&self, visit: &Visit) -> Result<Reply, Failure> {
        if self.signed_in(visit).await?.is_some() {
            Ok(Self::on_to_calculator(visit))
        } else {
            Ok(self.on_to("vtnr-login", visit))
        }
    }
}

/// Which form a page is asked for.
fn form_in(target: &[u8]) -> Option<FormId> {
    let query = target
        .splitn(2, |byte| *byte == b'?')
        .nth(1)
        .unwrap_or_default();
    form_urlencoded::parse(query)
        .find(|(name, _)| name == "nr")
        .and_then(|(_, id)| FormId::parse(&id))
}
