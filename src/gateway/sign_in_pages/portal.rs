//! `portal`: into the calculator as the portal knows the broker, or to where one signs in there.

use crate::gateway::admission::portal::AtPortal;
use crate::gateway::respond::failure::{Failure, SOON};
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::{SignInPages, Visit};
use crate::identity::portal::PortalAnswer;
use crate::pages::{PortalPage, PortalState, View};
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

impl SignInPages {
    pub(crate) fn show_portal(&self, visit: &Visit) -> Result<Reply, Failure> {
        let portal = self.admission.portal.as_ref().ok_or(Failure::NotFound)?;
        let page = |state| {
            View::Portal(PortalPage {
                return_to: visit.return_to.as_str(),
                state,
            })
        };
        Ok(match &visit.at_portal {
            Some(AtPortal {
                session: Some(_), ..
            }) => Self::on_to_calculator(visit),
            Some(AtPortal {
                answer: Some(PortalAnswer::Unavailable),
                ..
            }) => self
                .page(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &page(PortalState::Silent { wait: SOON }),
                    visit,
                )
                .retry_after(SOON),
            // The way back, also where the portal has no page for signing in.
            Some(AtPortal { has_left: true, .. }) => {
                self.page(StatusCode::OK, &page(PortalState::SignedOut), visit)
            }
            // There they would only be sent back.
            Some(AtPortal {
                answer: Some(PortalAnswer::SignedIn(_)),
                ..
            }) => self.page(StatusCode::FORBIDDEN, &page(PortalState::Unknown), visit),
            _ => {
                let url = portal.portal.sign_in_url().ok_or(Failure::NotFound)?;
                let return_to = format!("{}{}", self.home, visit.return_to.as_str());
                let return_to = utf8_percent_encode(&return_to, NON_ALPHANUMERIC).to_string();
                Reply::see_other(&url.replace("{return_to}", &return_to))
            }
        })
    }

    /// The broker wants the portal's word to count again.
    pub(crate) fn post_portal(&self, visit: &Visit) -> Result<Reply, Failure> {
        self.admission.portal.as_ref().ok_or(Failure::NotFound)?;
        Ok(Self::on_to_calculator(visit)
            .with_cookie(self.cookie_names.clear(self.cookie_names.left_portal())))
    }
}
