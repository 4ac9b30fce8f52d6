//! `zertifikat`, and what leads from one of our hosts to the other.

use crate::config::LoginMethod;
use crate::gateway::admission::client_certificate::ClientCertificates;
use crate::gateway::context::RequestContext;
use crate::gateway::listener::presented_certificate::PresentedChain;
use crate::gateway::request::form::Form;
use crate::gateway::respond::failure::Failure;
use crate::gateway::respond::reply::Reply;
use crate::gateway::sign_in_pages::{SignInPages, Visit};
use crate::pages::{CertificatePage, CertificateState, View};
use domain::route::Page;
use http::{Method, StatusCode};
use pingora::proxy::Session;

impl SignInPages {
    /// Answers on the certificates' host, where only few of the pages are of use.
    pub(crate) async fn answer_on_certificate_host(
        &self,
        page: Page,
        certificates: &ClientCertificates,
        shown: &PresentedChain,
        http: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Reply, Failure> {
        let method = http.req_header().method.clone();
        let is_post = method == Method::POST;
        if !is_post && method != Method::GET && method != Method::HEAD {
            return Err(Failure::Method);
        }
        let visit = self.visit(http.req_header(), context)?;
        let whose = self.admission.identify(certificates, shown, context);
        let has_left = self.admission.has_left(shown, http.req_header());
        match page {
            Page::Certificate if is_post => {
                Form::read(http, context.scheme).await?;
                let cleared = self.cookie_names.clear(self.cookie_names.left());
                Ok(Self::on_to_calculator(&visit).with_cookie(cleared))
            }
            Page::SignOut if is_post => {
                Form::read(http, context.scheme).await?;
                let reply = self.certified_sign_out(whose.ok(), &visit);
                if whose.is_err() {
                    return Ok(reply);
                }
                certificates.leave(shown);
                let reply = self
                    .application_cookies
                    .end_application_sessions(reply, http.req_header())
                    .await;
                Ok(reply.with_cookie(self.cookie_names.set_left(&shown.sum)))
            }
            _ if is_post => Err(Failure::Method),
            Page::Start | Page::Certificate => match whose {
                Ok(_) if !has_left => Ok(Self::on_to_calculator(&visit)),
                Ok(_) => Ok(self.certificate_page(CertificateState::SignedOut, &visit)),
                Err(refused) => Ok(self.certificate_page(refused.state(), &visit)),
            },
            Page::SignOut => {
                let signed_in = whose.ok().filter(|_| !has_left);
                Ok(self.certified_sign_out_page(signed_in, &visit))
            }
            Page::Help => Ok(self.help_page(&visit)),
            // The other ways in are on the other host.
            _ => Ok(self.on_main_host(http)),
        }
    }

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
        match &self.sign_ins.rules.now().login.methods.certificate {
            Some(LoginMethod::Host(origin)) => Ok(Reply::see_other(&format!(
                "{origin}{}",
                visit.return_to.as_str()
            ))),
            _ => Err(Failure::NotFound),
        }
    }

    /// Leads to the same page on the main host.
    pub(crate) fn on_main_host(&self, http: &Session) -> Reply {
        Reply::see_other(&format!(
            "{}{}",
            self.home,
            String::from_utf8_lossy(http.req_header().raw_path())
        ))
    }
}
