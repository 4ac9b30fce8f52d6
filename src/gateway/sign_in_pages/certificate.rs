//! `zertifikat`, and what leads from one of our hosts to the other.

use crate::config::Door;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::{Gateway, Visit};
use crate::pages::{CertificatePage, CertificateState, View};
use http::StatusCode;
use pingora::proxy::Session;

impl Gateway {
    pub(crate) fn certificate_page(&self, state: CertificateState, visit: &Visit) -> Reply {
        let status = if state == CertificateState::SignedOut {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        let view = CertificatePage {
            return_to: visit.return_to.as_str(),
            state,
            is_form: false,
        };
        self.page(status, &View::Certificate(view), visit)
    }

    pub(crate) fn help_page(&self, visit: &Visit) -> Reply {
        self.page(StatusCode::OK, &View::Help, visit)
    }

    /// Whoever has a certificate works on its host.
    pub(crate) fn on_certificates_host(&self, visit: &Visit) -> Result<Reply, Failure> {
        match &self.sign_ins.rules.now().login.doors.certificate {
            Some(Door::Host(origin)) => Ok(Reply::see_other(&format!(
                "{origin}{}",
                visit.return_to.as_str()
            ))),
            _ => Err(Failure::NotFound),
        }
    }

    /// The same page of ours on the main host.
    pub(crate) fn on_main_host(&self, http: &Session) -> Reply {
        Reply::see_other(&format!(
            "{}{}",
            self.home,
            String::from_utf8_lossy(http.req_header().raw_path())
        ))
    }
}
