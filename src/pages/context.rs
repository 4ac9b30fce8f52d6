//! From a view to the template that shows it and the values it is given.

use super::clock::PageClock;
use super::problem::{Problem, ProblemKind, UpstreamKind};
use super::view::*;
use crate::config::{LoginMethod, LoginMethods};
use domain::challenge::{MailState, TanOver};
use domain::device::Device;
use domain::submission::Doubt;
use domain::tan::MalformedTan;
use domain::time::Timestamp;
use minijinja::value::Serde;
use minijinja::{Value, context};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a query: the unreserved characters (RFC 3986, 2.3) and `/`, which may stand there.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

const SOONEST_REFRESH: u64 = 5;

/// Makes the values of one page.
pub(super) struct Context<'c> {
    /// The path that all pages lie under.
    pub(super) prefix: &'c str,
    /// The other ways in.
    pub(super) methods: &'c LoginMethods,
    pub(super) clock: &'c PageClock,
    /// When the page is made.
    pub(super) now: Timestamp,
}

impl Context<'_> {
    /// The template's name and its values.
    pub(super) fn of(&self, view: &View<'_>) -> (&'static str, Value) {
        match view {
            View::SignIn(page) => ("sign-in.html", self.waiting(page.return_to, sign_in(page))),
            View::Tan(page) => ("tan.html", self.waiting(page.return_to, self.tan(page))),
            View::TanOver(page) => (
                "tan-over.html",
                self.waiting(page.return_to, tan_over(page)),
            ),
            View::UnknownEmail(page) => (
                "unknown-email.html",
                self.waiting(page.return_to, Value::from(Serde(page))),
            ),
            View::Password(page) => (
                "password.html",
                self.waiting(page.return_to, password(page)),
            ),
            View::PasswordSpent { return_to, spent } => (
                "password-spent.html",
                self.waiting(return_to, self.spent(*spent)),
            ),
            View::BlockedSubmission(page) => (
                "blocked-submission.html",
                self.page(page.return_to, self.blocked(page)),
            ),
            View::SessionEnded(page) => (
                "session-ended.html",
                self.page(
                    page.return_to,
                    context! { keeping => self.save_result(page.save_result) },
                ),
            ),
            View::SignInRequired { return_to, by } => (
                "sign-in-required.html",
                self.page(return_to, context! { way => Value::from(Serde(by)) }),
            ),
            View::FormOfAnotherSite(FormOfAnotherSite { site, save_result }) => (
                "form-of-another-site.html",
                self.page(
                    "/",
                    context! { site, keeping => self.save_result(*save_result) },
                ),
            ),
            View::KeptForm(page) => ("kept-form.html", self.page("/", self.kept_form(page))),
            View::SignOut(page) => {
                let device_days = Device::LIFETIME.as_secs() / 86_400;
                (
                    "sign-out.html",
                    self.page("/", context! { device_days, ..Value::from(Serde(page)) }),
                )
            }
            View::SignedOut(page) => ("signed-out.html", self.page("/", Value::from(Serde(page)))),
            View::Portal(page) => (
                "portal.html",
                self.page(page.return_to, Value::from(Serde(page))),
            ),
            View::Certificate(page) => (
                "certificate.html",
                self.page(page.return_to, Value::from(Serde(page))),
            ),
            View::Help => ("help.html", self.page("/", context! {})),
            View::Problem(page) => (
                "problem.html",
                self.page(page.return_to, self.problem(page)),
            ),
        }
    }

    /// A page that moves on by itself once the broker has signed in, in this tab or in another.
    fn waiting(&self, return_to: &str, page: Value) -> Value {
        context! { status => format!("{}status", self.prefix), ..self.page(return_to, page) }
    }

    fn page(&self, return_to: &str, page: Value) -> Value {
        let to = |name: &str| match return_to {
            "" | "/" => format!("{}{name}", self.prefix),
            target => format!(
                "{}{name}?return_to={}",
                self.prefix,
                utf8_percent_encode(target, KEPT)
            ),
        };
        let method = |method: &Option<LoginMethod>| {
            method.as_ref().map(|method| match method {
                LoginMethod::Page(name) => to(name),
                LoginMethod::Host(origin) => format!(
                    "{origin}{}",
                    if return_to.is_empty() { "/" } else { return_to }
                ),
                LoginMethod::Elsewhere(address) => address.clone(),
            })
        };
        let link = context! {
            sign_in => to("vtnr-login"),
            tan => to("tan"),
            here_certificate => to("zertifikat"),
            here_portal => to("portal"),
            sign_out => format!("{}abmelden", self.prefix),
            help => to("hilfe"),
            password => method(&self.methods.password),
            certificate => method(&self.methods.certificate),
            portal => method(&self.methods.portal),
            portal_sign_out => &self.methods.portal_sign_out,
        };
        let usual = context! { year => self.clock.year(self.now), status => (), refresh => (), has_errors => false, return_to, link };
        context! { ..page, ..usual }
    }

    fn tan(&self, page: &TanPage<'_>) -> Value {
        context! {
            email => page.email,
            letters => page.letters,
            mail => self.mail(page.mail),
            error => page.error.map(tan_error),
            has_errors => page.error.is_some(),
            resend => self.resend(page.resend),
            sent_again => page.sent_again,
            refresh => page.error.is_none().then(|| self.refresh(page.mail)).flatten(),
        }
    }

    /// In how many seconds a browser without scripts looks again; not where a TAN may be about to be typed.
    fn refresh(&self, mail: MailState) -> Option<u64> {
        match mail {
            MailState::Sending | MailState::Retrying => Some(SOONEST_REFRESH),
            MailState::Delayed { next_try_at } => {
                Some(next_try_at.after(self.now).as_secs().max(SOONEST_REFRESH))
            }
            MailState::Accepted { .. } | MailState::Refused => None,
        }
    }

    fn mail(&self, mail: MailState) -> Value {
        match mail {
            MailState::Sending => context! { state => "sending" },
            MailState::Accepted { at, valid_until } => {
                let at = self.clock.to_the_second(at, self.now);
                context! { state => "accepted", at, valid_until => self.time(valid_until) }
            }
            MailState::Delayed { next_try_at } => {
                context! { state => "delayed", next_try_at => self.clock.to_the_second(next_try_at, self.now) }
            }
            MailState::Retrying => context! { state => "retrying" },
            MailState::Refused => context! { state => "refused" },
        }
    }

    fn resend(&self, resend: Resend) -> Value {
        match resend {
            Resend::Now => context! { state => "now", seconds => 0 },
            Resend::After { seconds } => context! { state => "after", seconds },
            Resend::Exhausted { until } => {
                context! { state => "exhausted", until => self.clock.not_before(until, self.now) }
            }
        }
    }

    fn spent(&self, spent: Spent) -> Value {
        let (until, by_others) = match spent {
            Spent::ByOthers { until } => (until, true),
            Spent::Here { until } => (until, false),
        };
        context! { until => self.clock.not_before(until, self.now), by_others }
    }

    fn blocked(&self, page: &BlockedSubmission<'_>) -> Value {
        context! { vtnr => &page.vtnr, on_file => page.on_file == OnFile::Some, keeping => self.save_result(page.save_result) }
    }

    fn save_result(&self, save_result: SaveResult) -> Value {
        match save_result {
            SaveResult::Until(until) => context! { state => "kept", until => self.time(until) },
            SaveResult::Foreign => context! { state => "foreign" },
            SaveResult::TooLarge => context! { state => "too_large" },
            SaveResult::NoRoom => context! { state => "no_room" },
            SaveResult::StoreDown => context! { state => "store_down" },
            SaveResult::Failed => context! { state => "failed" },
        }
    }

    fn kept_form(&self, page: &KeptForm) -> Value {
        match page {
            KeptForm::Waits {
                action,
                vtnr,
                site,
                parked_at,
                until,
            } => {
                let parked_at = self.time(*parked_at);
                let until = self.time(*until);
                context! { state => "waits", action, vtnr, site, parked_at, until }
            }
            KeptForm::Going => context! { state => "going" },
            KeptForm::Sent { at } => context! { state => "sent", at => self.time(*at) },
            KeptForm::Others { vtnr } => context! { state => "others", vtnr },
            KeptForm::Gone => context! { state => "gone" },
        }
    }

    fn problem(&self, page: &Problem<'_>) -> Value {
        let until = match page.kind {
            ProblemKind::TooMany { until } | ProblemKind::MailsExhausted { until } => {
                Some(self.clock.not_before(until, self.now))
            }
            _ => None,
        };
        let doubt = match page.kind {
            ProblemKind::Doubtful(doubt) => Some(doubt_name(doubt)),
            _ => None,
        };
        let is_portal = matches!(
            page.kind,
            ProblemKind::UpstreamDown(UpstreamKind::Portal)
                | ProblemKind::UpstreamSlow(UpstreamKind::Portal)
                | ProblemKind::UpstreamUnsent(UpstreamKind::Portal)
                | ProblemKind::UpstreamUncertain(UpstreamKind::Portal)
        );
        context! {
            kind => problem_name(page.kind),
            until,
            doubt,
            server => if is_portal { "portal" } else { "calculator" },
            forget_browser => page.kind == ProblemKind::StoreDownSignOut { forget_browser: true },
            incident => page.incident,
            target => page.target,
            signed_in => page.signed_in,
            wait => page.wait.map(|wait| wait.as_secs()),
        }
    }

    fn time(&self, at: Timestamp) -> String {
        self.clock.time(at, self.now)
    }
}

fn sign_in(page: &SignIn<'_>) -> Value {
    context! {
        vtnr_error => page.vtnr_error.is_some(),
        email_error => page.email_error.is_some(),
        has_errors => page.vtnr_error.is_some() || page.email_error.is_some(),
        confirming => page.confirming.is_some(),
        on_file => page.confirming != Some(OnFile::None),
        ..Value::from(Serde(page))
    }
}

fn password(page: &PasswordPage<'_>) -> Value {
    context! { has_errors => page.error.is_some(), ..Value::from(Serde(page)) }
}

fn tan_error(error: TanError) -> Value {
    match error {
        TanError::Malformed(MalformedTan::Empty) => context! { kind => "empty" },
        TanError::Malformed(MalformedTan::WrongLength(entered)) => {
            context! { kind => "wrong_length", entered }
        }
        TanError::Malformed(MalformedTan::ForeignCharacter) => {
            context! { kind => "foreign_character" }
        }
        TanError::Wrong { tries_left } => context! { kind => "wrong", tries_left },
    }
}

fn tan_over(page: &TanOverPage<'_>) -> Value {
    let why = match page.why {
        TanOver::Spent => "spent",
        TanOver::Expired => "expired",
        TanOver::LongTanNeeded => "long_tan_needed",
    };
    context! { email => page.email, why }
}

fn problem_name(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::BadRequest => "bad_request",
        ProblemKind::Doubtful(_) => "doubtful",
        ProblemKind::FormReturned => "form_returned",
        ProblemKind::ForeignForm => "foreign_form",
        ProblemKind::NotFound => "not_found",
        ProblemKind::MethodNotAllowed => "method_not_allowed",
        ProblemKind::TooLarge => "too_large",
        ProblemKind::WrongHost => "wrong_host",
        ProblemKind::TooMany { .. } => "too_many",
        ProblemKind::MailsExhausted { .. } => "mails_exhausted",
        ProblemKind::Busy => "busy",
        ProblemKind::BusyForm => "busy_form",
        ProblemKind::StoreDown => "store_down",
        ProblemKind::StoreDownPage => "store_down_page",
        ProblemKind::StoreDownForm => "store_down_form",
        ProblemKind::StoreDownKeptForm => "store_down_kept_form",
        ProblemKind::StoreDownTan => "store_down_tan",
        ProblemKind::StoreDownSignOut { .. } => "store_down_sign_out",
        ProblemKind::UpstreamDown(_) => "upstream_down",
        ProblemKind::UpstreamSlow(_) => "upstream_slow",
        ProblemKind::UpstreamUnsent(_) => "upstream_unsent",
        ProblemKind::UpstreamUncertain(_) => "upstream_uncertain",
        ProblemKind::Internal => "internal",
    }
}

fn doubt_name(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Method => "method",
        Doubt::RawByte => "raw_byte",
        Doubt::Escape => "escape",
        Doubt::Parameters => "parameters",
        Doubt::Segment => "segment",
        Doubt::Character => "character",
        Doubt::Override => "override",
        Doubt::Charset => "charset",
    }
}
