//! `abmelden`: the session ends, and with it, if wished, the trust in this browser.

use crate::gateway::admission::portal::AtPortal;
use crate::gateway::request::cookies::RequestCookies;
use crate::gateway::request::form::Form;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::{SignInPages, Visit};
use crate::identity::portal::PortalAnswer;
use crate::pages::{Outside, SignOut, SignedOut, View};
use crate::telemetry::metrics::{Outcome, Step};
use domain::vtnr::Vtnr;
use http::StatusCode;

impl SignInPages {
    pub(crate) async fn show_sign_out(&self, visit: &Visit) -> Result<Reply, Failure> {
        let session = self.signed_in(visit).await?;
        let RequestCookies {
            browser, device, ..
        } = visit.held;
        let signed_in = session.map(|session| session.vtnr.to_string());
        let perhaps_at_portal =
            signed_in.is_none() && visit.at_portal.as_ref().is_some_and(may_be_signed_in);
        let view = SignOut {
            signed_in,
            perhaps_at_portal,
            trusted: browser.is_some(),
            device: device.is_some(),
        };
        Ok(self.page(StatusCode::OK, &View::SignOut(view), visit))
    }

    /// The page on the certificates' host, where browsers are neither trusted nor known.
    pub(crate) fn certified_sign_out_page(&self, signed_in: Option<Vtnr>, visit: &Visit) -> Reply {
        let view = SignOut {
            signed_in: signed_in.map(|vtnr| vtnr.to_string()),
            perhaps_at_portal: false,
            trusted: false,
            device: false,
        };
        self.page(StatusCode::OK, &View::SignOut(view), visit)
    }

    /// The end of what the certificate began in this browser.
    pub(crate) fn certified_sign_out(&self, signed_in: Option<Vtnr>, visit: &Visit) -> Reply {
        self.sign_ins
            .note(Step::SignOut, Outcome::Ok, signed_in, visit.visitor.client);
        let outside = signed_in.map(|_| Outside::Certificate);
        let view = SignedOut {
            browser_forgotten: false,
            trust_ended: false,
            forms_lost: false,
            outside,
        };
        self.page(StatusCode::OK, &View::SignedOut(view), visit)
            .clear_site_data()
    }

    pub(crate) async fn post_sign_out(&self, visit: &Visit, form: &Form) -> Result<Reply, Failure> {
        let browser_forgotten = forgets_browser(form);
        let whose = self.signed_in(visit).await?.map(|session| session.vtnr);
        // The store first: cookies that are gone while the session lives on would only look like a sign-out.
        if let Some(session) = &visit.held.session {
            if let Some(session) = self
                .admission
                .sessions
                .find(Some(session), visit.now)
                .await?
            {
                self.metrics.session_ended(session.level);
            }
            self.sessions.end(session).await?;
        }
        if let Some(browser) = visit.held.browser.as_ref().filter(|_| browser_forgotten) {
            self.sign_ins.store.forget_browser(browser).await?;
        }
        if let Some(device) = visit.held.device.as_ref().filter(|_| browser_forgotten) {
            self.sign_ins.store.forget_device(device).await?;
        }
        self.sign_ins
            .note(Step::SignOut, Outcome::Ok, whose, visit.visitor.client);
        // Also where the portal has not said who is signed in: it may say so the moment after.
        let at_portal = visit
            .at_portal
            .as_ref()
            .filter(|at_portal| at_portal.answer != Some(PortalAnswer::Nobody));
        let outside = at_portal.map(|at_portal| match at_portal.session {
            Some(_) => Outside::Portal,
            None => Outside::PerhapsPortal,
        });
        let page = self.page(
            StatusCode::OK,
            &View::SignedOut(SignedOut {
                browser_forgotten,
                trust_ended: browser_forgotten && visit.held.browser.is_some(),
                forms_lost: visit.held.form_token.is_some() || !visit.apart.is_empty(),
                outside,
            }),
            visit,
        );
        // Without its cookie nobody can open a form that is kept.
        let cookies = [
            self.cookie_names.session(),
            self.cookie_names.offline_token(),
            self.cookie_names.flow(),
            self.cookie_names.form_token(),
        ];
        let page = cookies
            .into_iter()
            .fold(page.clear_site_data(), |page, name| {
                page.with_cookie(self.cookie_names.clear(name))
            });
        let page = visit.apart.iter().fold(page, |page, name| {
            page.with_cookie(self.cookie_names.clear(name.clone()))
        });
        let page = match at_portal {
            Some(at_portal) => {
                page.with_cookie(self.cookie_names.set_left_portal(at_portal.claim.sum()))
            }
            None => page,
        };
        if !browser_forgotten {
            return Ok(page);
        }
        let page = page.with_cookie(self.cookie_names.clear(self.cookie_names.browser()));
        Ok(if visit.held.device.is_some() {
            page.with_cookie(self.cookie_names.clear(self.cookie_names.device()))
        } else {
            page
        })
    }
}

/// Whether a sign-out is to forget the browser as well.
pub(crate) fn forgets_browser(form: &Form) -> bool {
    !form.field("forget_browser").is_empty()
}

/// Whether the portal may name somebody whom nobody has signed out of it here.
fn may_be_signed_in(at_portal: &AtPortal) -> bool {
    !at_portal.has_left && at_portal.answer.is_none()
}
