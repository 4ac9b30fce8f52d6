//! The sign-in's pages over HTTP: what a browser sent becomes a step of [`crate::sign_in`], and its answer a page and cookies.

mod certificate;
mod claim;
mod password;
mod portal;
mod sign_out;
mod status;
mod tan;

use crate::gateway::admission::Admission;
use crate::gateway::admission::portal::{AtPortal, best};
use crate::gateway::context::{RequestContext, RequestKind};
use crate::gateway::request::cookies::{CookieNames, RequestCookies};
use crate::gateway::request::form::Form;
use crate::gateway::request::links::Links;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::upstream::application_cookies::ApplicationCookies;
use crate::live::Live;
use crate::pages::{Pages, View};
use crate::sign_in::{Answer, NewSession as SignInAdmission, SignIns, Visitor};
use crate::store::cache::Sessions;
use crate::telemetry::metrics::{Metrics, Request};
use domain::browser;
use domain::ids::{FlowToken, FormId};
use domain::return_to::ReturnTo;
use domain::route::Page;
use domain::session::Session as BrokerSession;
use domain::time::Timestamp;
use http::header::USER_AGENT;
use http::{Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use std::sync::Arc;

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

/// Answers requests for the gateway's own pages.
pub(crate) struct SignInPages {
    pub(crate) admission: Arc<Admission>,
    pub(crate) application_cookies: Arc<ApplicationCookies>,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) links: Arc<Links>,
    pub(crate) pages: Arc<Live<Pages>>,
    pub(crate) cookie_names: CookieNames,
    pub(crate) metrics: Arc<Metrics>,
    /// The main host, with its scheme.
    pub(crate) home: String,
}

impl SignInPages {
    /// Answers a request for one of the gateway's pages. Only `POST` changes anything.
    pub(crate) async fn answer(
        &self,
        page: Page,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Reply, Failure> {
        context.outcome = Request::LoginPage;
        if let Some(connection) = context.connection.clone()
            && let Some((certificates, shown)) = self.admission.certified(Some(&connection))
        {
            return self
                .answer_on_certificate_host(page, certificates, shown, http, context)
                .await;
        }
        let mut visit = self.visit(http.req_header(), context)?;
        visit.at_portal = match page {
            // A broker who wants to sign out waits for nobody and needs no slot.
            Page::SignOut => self.admission.known_at_portal(http.req_header(), context),
            _ => self.admission.at_portal(http.req_header(), context).await?,
        };
        if let Some(id) = visit.form.filter(|_| page == Page::Form) {
            context.about = RequestKind::KeptForm(self.links.form_page(id));
        }
        let method = http.req_header().method.clone();
        if method == Method::POST {
            return self.post(page, &visit, http, context).await;
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Failure::Method);
        }
        match page {
            Page::Start => Ok(self.on_to("vtnr-login", &visit)),
            Page::SignIn => self.show_claim(&visit).await,
            Page::Tan => self.show_tan(&visit).await,
            Page::UnknownEmail => self.show_unknown_email(&visit).await,
            Page::Password => self.show_password(&visit).await,
            Page::SignOut => self.show_sign_out(&visit).await,
            Page::Form => {
                let session = self.form_sender(&visit).await?;
                self.admission
                    .held_forms
                    .show(visit.form, &visit.held, session.as_ref(), visit.now)
                    .await
            }
            Page::Help => Ok(self.help_page(&visit)),
            Page::Certificate => self.on_certificates_host(&visit),
            Page::Portal => self.show_portal(&visit),
            Page::Status => {
                let session = self.signed_in(&visit).await?;
                let state = self.sign_ins.state(&visit.visitor, visit.now).await?;
                let level = session.map(|session| session.level);
                status::reply(level, state, &self.pages.now(), visit.now)
            }
            Page::Unknown => Err(Failure::NotFound),
        }
    }

    async fn post(
        &self,
        page: Page,
        visit: &Visit,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Reply, Failure> {
        let form = Form::read(http, context.scheme).await?;
        match page {
            Page::SignIn => self.post_claim(visit, &form).await,
            Page::Tan => self.post_tan(visit, &form).await,
            Page::UnknownEmail => self.post_without_email(visit).await,
            Page::Password => self.post_password(visit, &form).await,
            Page::SignOut => {
                context.about = RequestKind::SignOut {
                    forget_browser: sign_out::forgets_browser(&form),
                };
                let reply = self.post_sign_out(visit, &form).await?;
                Ok(self
                    .application_cookies
                    .end_application_sessions(reply, http.req_header())
                    .await)
            }
            Page::Form => {
                let held_forms = &self.admission.held_forms;
                if let Some(key) = held_forms.waiting(visit.form, &visit.held).await? {
                    let session = self.signed_in(visit).await?;
                    let client = visit.visitor.client;
                    held_forms.discard(&key, session.as_ref(), client).await?;
                }
                Ok(Reply::see_other(ReturnTo::start().as_str()))
            }
            Page::Portal => self.post_portal(visit),
            Page::Start | Page::Help | Page::Certificate | Page::Status => Err(Failure::Method),
            Page::Unknown => Err(Failure::NotFound),
        }
    }

    fn visit(&self, request: &RequestHeader, context: &RequestContext) -> Result<Visit, Failure> {
        let target = request.raw_path();
        let form = form_in(target);
        let held = match form {
            Some(form) => self.cookie_names.read_for(form, &request.headers)?,
            None => context.cookies(self.cookie_names, &request.headers)?,
        };
        let agent = request
            .headers
            .get(USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default();
        let visitor = Visitor {
            client: context.rate_limit_key(),
            family: browser::family(agent),
            flow: held.flow,
            browser: held.browser,
            session: held.session,
        };
        Ok(Visit {
            held,
            visitor,
            return_to: self.links.return_to(target),
            form,
            now: context.now,
            at_portal: None,
            apart: self.cookie_names.apart(&request.headers),
        })
    }

    fn page(&self, status: StatusCode, view: &View<'_>, visit: &Visit) -> Reply {
        Reply::page(status, self.pages.now().render(view, visit.now))
    }

    fn on_to(&self, page: &str, visit: &Visit) -> Reply {
        Reply::see_other(&self.links.page(page, visit.return_to.as_str()))
    }

    pub(crate) fn on_to_calculator(visit: &Visit) -> Reply {
        Reply::see_other(visit.return_to.as_str())
    }

    fn with_flow(&self, reply: Reply, flow: &FlowToken) -> Reply {
        reply.with_cookie(self.cookie_names.set_flow(flow))
    }

    /// The broker is signed in: new cookies, and on to where they wanted to go.
    fn welcome(&self, admission: &SignInAdmission, visit: &Visit) -> Reply {
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
        let reply = if visit.held.offline_token_as_of.is_some() {
            reply.with_cookie(self.cookie_names.clear(self.cookie_names.offline_token()))
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
        let own = self
            .admission
            .sessions
            .find(visit.held.session.as_ref(), visit.now)
            .await?;
        Ok(best(own, visit.at_portal.as_ref()))
    }

    /// The broker who would send the form that a page is about.
    async fn form_sender(&self, visit: &Visit) -> Result<Option<BrokerSession>, Failure> {
        match visit.form {
            Some(_) => self.signed_in(visit).await,
            None => Ok(None),
        }
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
