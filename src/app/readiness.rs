//! Collects current problems for `/readyz`.

use crate::clock::Clock;
use crate::gateway::Server;
use crate::identity::certificate::TrustStore;
use crate::identity::directory::Directory;
use crate::live::Live;
use crate::mail::MailTrouble;
use crate::store::StoreHealth;
use crate::telemetry::admin::{self, AdminProblem, Fatal};
use crate::telemetry::logging::chain;
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::watch;

/// Checks the health of all parts.
pub(super) struct ReadinessProbe {
    pub(super) store: Arc<dyn StoreHealth>,
    pub(super) directory: Arc<Directory>,
    pub(super) mail: MailTrouble,
    pub(super) is_draining: watch::Receiver<bool>,
    pub(super) server: Arc<Server>,
    pub(super) certificates: Option<Arc<Live<TrustStore>>>,
}

#[async_trait]
impl admin::Readiness for ReadinessProbe {
    async fn problems(&self) -> Vec<AdminProblem> {
        let mut problems = Vec::new();
        if *self.is_draining.borrow() {
            problems.push(AdminProblem {
                part: "shutdown",
                detail: "shutting down".into(),
                fatal: Fatal::Yes,
            });
        }
        if let Err(error) = self.store.ping().await {
            problems.push(AdminProblem {
                part: "store",
                detail: chain(&error),
                fatal: Fatal::Yes,
            });
        }
        if self.directory.snapshot().len() == 0 {
            problems.push(AdminProblem {
                part: "directory",
                detail: "no broker is known".into(),
                fatal: Fatal::Yes,
            });
        }
        if let Some(trouble) = self.mail.now() {
            problems.push(AdminProblem {
                part: "mail",
                detail: trouble,
                fatal: Fatal::No,
            });
        }
        let lists_end = self
            .certificates
            .as_ref()
            .and_then(|trust| trust.now().lists_end());
        if lists_end.is_some_and(|end| end <= Clock::System.now()) {
            let detail =
                "a list of revoked certificates is too old: certificates of its issuer are refused"
                    .into();
            problems.push(AdminProblem {
                part: "certificate",
                detail,
                fatal: Fatal::No,
            });
        }
        // Not fatal: the other gateways have the same calculator, and removing this one would only remove its pages.
        if let Some(trouble) = self.server.calculator_trouble() {
            problems.push(AdminProblem {
                part: "calculator",
                detail: trouble,
                fatal: Fatal::No,
            });
        }
        problems
    }
}
