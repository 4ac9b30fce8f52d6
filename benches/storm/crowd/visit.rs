//! What one broker does: follows a deep link, signs in with the TAN that is mailed, arrives, and looks at some pages.

use super::brokers::Broker;
use super::browser::{Answer, Browser, Purpose};
use super::calculator;
use super::figures::Record;
use super::post_office::PostOffice;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Longer than a mail may take.
const MAIL: Duration = Duration::from_secs(60);
/// Pages that a broker looks at after the one that the deep link names.
const PAGES: u32 = 4;

/// A broker before a browser.
pub struct Visit<'a> {
    pub broker: Broker,
    pub browser: Browser,
    pub office: &'a PostOffice,
    pub record: &'a Record,
    /// Pauses before each form is sent and each page is asked for.
    pub think: Duration,
}

impl Visit<'_> {
    /// Signs in.
    ///
    /// # Errors
    /// Something was not as it has to be.
    pub async fn sign_in(&mut self) -> Result<()> {
        let deep_link = format!("/kfz/angebot?vorgang={}", self.broker.vtnr.number());
        let to_sign_in = self
            .get("deep link", &deep_link)
            .await?
            .leads_to("/ui/login/de/vtnr-login?return_to=")?;
        let page = self.get("sign-in page", &to_sign_in).await?;
        page.shows("Anmelden mit Vermittlernummer")?;
        for asset in assets(&page) {
            let answer = self.browser.get(&asset, Purpose::Asset).await?;
            self.record.took("its style, script, icon", answer.took);
            ensure!(
                answer.status == 200 && !answer.body.is_empty(),
                "{asset} is missing"
            );
        }
        self.pause().await;
        let mail = self.office.expect(&self.broker.email);
        let (vtnr, email) = (self.broker.vtnr.to_string(), self.broker.email.clone());
        let claimed = self
            .post(
                "VTNR and e-mail sent",
                &to_sign_in,
                &[("vtnr", &vtnr), ("email", &email)],
            )
            .await?;
        let to_tan = claimed.leads_to("/ui/login/de/tan?return_to=")?;
        self.get("TAN page", &to_tan)
            .await?
            .shows("Überprüfen Sie")?;
        let mail = tokio::time::timeout(MAIL, mail)
            .await
            .context("no mail in time")??;
        self.record.took(
            "form to SMTP 250",
            mail.taken_at.saturating_duration_since(claimed.sent_at),
        );
        self.pause().await;
        let arrived = self
            .post("TAN sent", &to_tan, &[("tan", &mail.tan)])
            .await?;
        self.record.took("both forms", claimed.took + arrived.took);
        let arrived = arrived.leads_to(&deep_link)?;
        self.look_at("calculator, first page", &arrived).await
    }

    /// Looks at some pages of the calculator.
    ///
    /// # Errors
    /// Something was not as it has to be.
    pub async fn look_around(&mut self) -> Result<()> {
        for page in 0..PAGES {
            self.pause().await;
            self.look_at("calculator, further pages", &format!("/kfz/tarif/{page}"))
                .await?;
        }
        Ok(())
    }

    async fn look_at(&mut self, what: &'static str, path: &str) -> Result<()> {
        let answer = self.get(what, path).await?;
        is_page_for(&self.broker, path, &answer)
    }

    async fn get(&mut self, what: &'static str, path: &str) -> Result<Answer> {
        let answer = self.browser.get(path, Purpose::Page).await?;
        self.record.took(what, answer.took);
        Ok(answer)
    }

    async fn post(
        &mut self,
        what: &'static str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer> {
        let answer = self.browser.post(path, fields).await?;
        self.record.took(what, answer.took);
        Ok(answer)
    }

    async fn pause(&self) {
        tokio::time::sleep(self.think).await;
    }
}

/// That the calculator was asked for this page by this broker, and by nobody else.
///
/// # Errors
/// It was not.
pub fn is_page_for(broker: &Broker, path: &str, answer: &Answer) -> Result<()> {
    let page = calculator::page_for(&broker.vtnr.to_string(), path);
    let is_it = answer.status == 200 && answer.body.starts_with(page.as_bytes());
    ensure!(
        is_it,
        "not the calculator's page `{page}`, with {}: {:.200}",
        answer.status,
        answer.text()
    );
    Ok(())
}

/// What the page has its browser load.
fn assets(page: &Answer) -> Vec<String> {
    page.text()
        .split('"')
        .filter(|value| value.starts_with("/ui/login/de/assets/"))
        .map(str::to_owned)
        .collect()
}
