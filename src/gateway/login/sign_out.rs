//! `abmelden`: the session ends, and with it, if wished, the trust in this browser.

use super::super::cookies::Held;
use super::super::failure::Failure;
use super::super::form::Form;
use super::super::reply::Reply;
use super::{Gateway, Visit};
use crate::pages::{SignOut, SignedOut, View};
use crate::telemetry::metrics::{Outcome, Step};
use http::StatusCode;

impl Gateway {
    pub(super) async fn show_sign_out(&self, visit: &Visit) -> Result<Reply, Failure> {
        let session = self.signed_in(visit).await?;
        let Held { browser, device, .. } = visit.held;
        let signed_in = session.map(|session| session.vtnr.to_string());
        let view = SignOut { signed_in, trusted: browser.is_some(), device: device.is_some() };
        Ok(self.page(StatusCode::OK, &View::SignOut(view), visit))
    }

    pub(super) async fn post_sign_out(&self, visit: &Visit, form: &Form) -> Result<Reply, Failure> {
        let browser_forgotten = !form.field("forget_browser").is_empty();
        // The store first: cookies that are gone while the session lives on would only look like a sign-out.
        if let Some(session) = &visit.held.session {
            if let Some(session) = self.signed_in(visit).await? {
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
        self.metrics.sign_in(Step::SignOut, Outcome::Ok);
        let page = self.page(
            StatusCode::OK,
            &View::SignedOut(SignedOut {
                browser_forgotten,
                trust_ended: browser_forgotten && visit.held.browser.is_some(),
                forms_lost: visit.held.parking.is_some(),
            }),
            visit,
        );
        // Without its cookie nobody can open a form that is kept.
        let cookies = [self.jar.session(), self.jar.ticket(), self.jar.flow(), self.jar.parking()];
        let page = cookies.into_iter().fold(page.clear_site_data(), |page, name| page.with_cookie(self.jar.clear(name)));
        if !browser_forgotten {
            return Ok(page);
        }
        let page = page.with_cookie(self.jar.clear(self.jar.browser()));
        Ok(if visit.held.device.is_some() { page.with_cookie(self.jar.clear(self.jar.device())) } else { page })
    }
}
