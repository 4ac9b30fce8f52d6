//! One view for every case a template can meet, so that a broken template is found at the start.

mod problems;

use super::view::*;
use domain::challenge::{MailState, TanOver};
use domain::tan::MalformedTan;
use domain::time::Timestamp;
use std::time::Duration;

/// When the samples are set.
pub const NOW: Timestamp = Timestamp::from_millis(1_763_989_340_000);

const TARGET: &str = "/kfz/angebot?id=42&tarif=basis";
const SOON: Duration = Duration::from_secs(5);
const EMAIL: &str = "ada.loewe@maklerhaus-loewe.example";

/// The views, each with a name for whoever looks at them.
pub fn views() -> Vec<(String, View<'static>)> {
    let mut views = vec![("help".into(), View::Help)];
    views.extend(blocked());
    views.extend(session_ended());
    views.extend(sign_in_required());
    views.extend(forms_of_another_site());
    views.extend(kept_forms());
    views.extend(sign_in());
    views.extend(tan());
    views.extend(tan_over());
    views.extend(unknown_email());
    views.extend(password());
    views.extend(certificate());
    views.extend(portal());
    views.extend(sign_out());
    views.extend(problems::views());
    views
}

const SITE: &str = "vergleich.versicherungsportal.example";
const KEPT: &str = "/ui/login/de/eingabe?nr=00000000000000ab";
const SAVE_RESULTS: [(&str, SaveResult); 6] = [
    (
        "kept",
        SaveResult::Until(Timestamp::from_millis(NOW.as_millis() + 900_000)),
    ),
    ("foreign", SaveResult::Foreign),
    ("too-large", SaveResult::TooLarge),
    ("no-room", SaveResult::NoRoom),
    ("store-down", SaveResult::StoreDown),
    ("failed", SaveResult::Failed),
];

fn blocked() -> Vec<(String, View<'static>)> {
    let blocked = |on_file, save_result| {
        View::BlockedSubmission(BlockedSubmission {
            return_to: KEPT,
            vtnr: "60/123/4567".into(),
            on_file,
            save_result,
        })
    };
    let mut views: Vec<_> = SAVE_RESULTS
        .into_iter()
        .map(|(name, save_result)| {
            (
                format!("blocked-submission-{name}"),
                blocked(OnFile::Some, save_result),
            )
        })
        .collect();
    views.push((
        "blocked-submission-no-address".into(),
        blocked(OnFile::None, SaveResult::Failed),
    ));
    views
}

fn session_ended() -> Vec<(String, View<'static>)> {
    let ended = |save_result| {
        View::SessionEnded(SessionEnded {
            return_to: KEPT,
            save_result,
        })
    };
    // One of another site has a page of its own.
    let own = SAVE_RESULTS
        .into_iter()
        .filter(|(_, save_result)| *save_result != SaveResult::Foreign);
    own.map(|(name, save_result)| (format!("session-ended-{name}"), ended(save_result)))
        .collect()
}

fn sign_in_required() -> Vec<(String, View<'static>)> {
    [
        ("sign-in-required", SignInBy::Number),
        ("sign-in-required-certificate", SignInBy::Certificate),
    ]
    .map(|(name, by)| {
        (
            name.into(),
            View::SignInRequired {
                return_to: TARGET,
                by,
            },
        )
    })
    .into()
}

fn forms_of_another_site() -> Vec<(String, View<'static>)> {
    let page = |site, save_result| View::FormOfAnotherSite(FormOfAnotherSite { site, save_result });
    let not_kept = SAVE_RESULTS
        .into_iter()
        .filter(|(_, save_result)| !matches!(save_result, SaveResult::Until(_)));
    let each = not_kept.map(|(name, save_result)| {
        (
            format!("form-of-another-site-{name}"),
            page(Some(SITE), save_result),
        )
    });
    each.chain([(
        "form-of-another-site-unnamed".into(),
        page(None, SaveResult::Foreign),
    )])
    .collect()
}

fn kept_forms() -> Vec<(String, View<'static>)> {
    let waits = |site: Option<&str>| KeptForm::Waits {
        action: "/kfz/angebot?id=42&vtnr-eingabe=00000000000000ab".into(),
        vtnr: "60/123/4567".into(),
        site: site.map(Into::into),
        parked_at: NOW,
        until: in_minutes(15),
    };
    [
        ("kept-form", waits(None)),
        ("kept-form-of-another-site", waits(Some(SITE))),
        ("kept-form-going", KeptForm::Going),
        ("kept-form-sent", KeptForm::Sent { at: NOW }),
        (
            "kept-form-others",
            KeptForm::Others {
                vtnr: "60/123/4568".into(),
            },
        ),
        ("kept-form-gone", KeptForm::Gone),
    ]
    .map(|(name, form)| (name.into(), View::KeptForm(form)))
    .into()
}

fn sign_in() -> Vec<(String, View<'static>)> {
    let empty = SignIn {
        return_to: TARGET,
        vtnr: "",
        email: "",
        vtnr_error: None,
        email_error: None,
        notice: None,
        confirming: None,
        left_portal: false,
    };
    let wrong = |vtnr_error, email_error| SignIn {
        vtnr: "60/123/456",
        email: EMAIL,
        vtnr_error,
        email_error,
        ..empty.clone()
    };
    let told = |notice| SignIn {
        vtnr: "60/123/4567",
        email: EMAIL,
        notice: Some(notice),
        ..empty.clone()
    };
    let invalid = Some(FieldError::Invalid);
    let confirming = |email_error, on_file| {
        let vtnr = "60/123/4567";
        SignIn {
            return_to: KEPT,
            vtnr,
            email_error,
            confirming: Some(on_file),
            ..empty.clone()
        }
    };
    [
        ("sign-in", empty.clone()),
        ("sign-in-confirming", confirming(None, OnFile::Some)),
        (
            "sign-in-confirming-error",
            confirming(invalid, OnFile::Some),
        ),
        (
            "sign-in-confirming-no-address",
            confirming(None, OnFile::None),
        ),
        ("sign-in-vtnr-error", wrong(invalid, None)),
        ("sign-in-email-error", wrong(None, invalid)),
        ("sign-in-both-errors", wrong(invalid, invalid)),
        (
            "sign-in-cookies-blocked",
            told(SignInNotice::CookiesBlocked),
        ),
        ("sign-in-session-ended", told(SignInNotice::SessionEnded)),
        ("sign-in-expired", told(SignInNotice::SignInExpired)),
        ("sign-in-store-down", told(SignInNotice::StoreDown)),
    ]
    .map(|(name, page)| (name.into(), View::SignIn(page)))
    .into()
}

fn tan() -> Vec<(String, View<'static>)> {
    let accepted = MailState::Accepted {
        at: NOW,
        valid_until: in_minutes(15),
    };
    let sent = TanPage {
        return_to: TARGET,
        email: EMAIL,
        letters: 6,
        mail: accepted,
        error: None,
        resend: Resend::After { seconds: 24 },
        sent_again: false,
    };
    let mailed = |mail| TanPage {
        mail,
        ..sent.clone()
    };
    let wrong = |error| TanPage {
        error: Some(error),
        resend: Resend::Now,
        ..sent.clone()
    };
    [
        ("tan", sent.clone()),
        ("tan-sending", mailed(MailState::Sending)),
        (
            "tan-delayed",
            mailed(MailState::Delayed {
                next_try_at: in_minutes(2),
            }),
        ),
        ("tan-retrying", mailed(MailState::Retrying)),
        ("tan-refused", mailed(MailState::Refused)),
        ("tan-empty", wrong(TanError::Malformed(MalformedTan::Empty))),
        (
            "tan-wrong-length",
            wrong(TanError::Malformed(MalformedTan::WrongLength(5))),
        ),
        (
            "tan-foreign-character",
            wrong(TanError::Malformed(MalformedTan::ForeignCharacter)),
        ),
        ("tan-wrong", wrong(TanError::Wrong { tries_left: 3 })),
        ("tan-wrong-last", wrong(TanError::Wrong { tries_left: 1 })),
        (
            "tan-one-second",
            TanPage {
                resend: Resend::After { seconds: 1 },
                ..sent.clone()
            },
        ),
        (
            "tan-sent-again",
            TanPage {
                sent_again: true,
                letters: 10,
                ..sent.clone()
            },
        ),
        (
            "tan-exhausted",
            TanPage {
                resend: Resend::Exhausted {
                    until: in_minutes(12),
                },
                sent_again: true,
                ..sent.clone()
            },
        ),
    ]
    .map(|(name, page)| (name.into(), View::Tan(page)))
    .into()
}

fn tan_over() -> Vec<(String, View<'static>)> {
    [
        ("tan-over-spent", TanOver::Spent),
        ("tan-over-expired", TanOver::Expired),
        ("tan-over-long", TanOver::LongTanNeeded),
    ]
    .map(|(name, why)| {
        (
            name.into(),
            View::TanOver(TanOverPage {
                return_to: TARGET,
                email: EMAIL,
                why,
            }),
        )
    })
    .into()
}

fn unknown_email() -> Vec<(String, View<'static>)> {
    [("unknown-email", true), ("unknown-email-only", false)]
        .map(|(name, without_email)| {
            let page = UnknownEmail {
                return_to: TARGET,
                vtnr: "60/123/4567".into(),
                email: EMAIL,
                without_email,
            };
            (name.into(), View::UnknownEmail(page))
        })
        .into()
}

fn certificate() -> Vec<(String, View<'static>)> {
    let states = [
        ("missing", CertificateState::Missing),
        ("malformed", CertificateState::Malformed),
        ("outdated", CertificateState::Outdated),
        ("not-yet-valid", CertificateState::NotYetValid),
        ("expired", CertificateState::Expired),
        ("revoked", CertificateState::Revoked),
        ("untrusted", CertificateState::Untrusted),
        ("wrong-purpose", CertificateState::WrongPurpose),
        ("unknown-broker", CertificateState::UnknownBroker),
        ("unverifiable", CertificateState::Unverifiable),
        ("signed-out", CertificateState::SignedOut),
    ];
    let page = |state, is_form| {
        View::Certificate(CertificatePage {
            return_to: TARGET,
            state,
            is_form,
        })
    };
    let each = states
        .into_iter()
        .map(|(name, state)| (format!("certificate-{name}"), page(state, false)));
    each.chain([(
        "certificate-form".into(),
        page(CertificateState::Expired, true),
    )])
    .collect()
}

fn portal() -> Vec<(String, View<'static>)> {
    let page = |state| {
        View::Portal(PortalPage {
            return_to: TARGET,
            state,
        })
    };
    vec![
        ("portal-signed-out".into(), page(PortalState::SignedOut)),
        (
            "portal-silent".into(),
            page(PortalState::Silent { wait: SOON }),
        ),
        ("portal-unknown".into(), page(PortalState::Unknown)),
    ]
}

fn password() -> Vec<(String, View<'static>)> {
    let page = |user, error| {
        View::Password(PasswordPage {
            return_to: TARGET,
            user,
            error,
            store_down: false,
        })
    };
    let spent = |spent| View::PasswordSpent {
        return_to: TARGET,
        spent,
    };
    vec![
        ("password".into(), page("", None)),
        (
            "password-store-down".into(),
            View::Password(PasswordPage {
                return_to: TARGET,
                user: "",
                error: None,
                store_down: true,
            }),
        ),
        (
            "password-empty".into(),
            page("", Some(PasswordError::Empty)),
        ),
        (
            "password-no-user".into(),
            page("", Some(PasswordError::NoUser)),
        ),
        (
            "password-no-password".into(),
            page("loewe-7", Some(PasswordError::NoPassword)),
        ),
        (
            "password-too-long".into(),
            page("loewe-7", Some(PasswordError::TooLong)),
        ),
        (
            "password-wrong".into(),
            page("loewe-7", Some(PasswordError::Wrong)),
        ),
        (
            "password-spent".into(),
            spent(Spent::ByOthers {
                until: in_minutes(24 * 60),
            }),
        ),
        (
            "password-spent-here".into(),
            spent(Spent::Here {
                until: in_minutes(90),
            }),
        ),
    ]
}

fn sign_out() -> Vec<(String, View<'static>)> {
    let asked = |vtnr: Option<&str>, trusted, device| {
        View::SignOut(SignOut {
            signed_in: vtnr.map(Into::into),
            perhaps_at_portal: false,
            trusted,
            device,
        })
    };
    let perhaps = SignOut {
        signed_in: None,
        perhaps_at_portal: true,
        trusted: false,
        device: false,
    };
    let done = |browser_forgotten, trust_ended, forms_lost, outside| {
        View::SignedOut(SignedOut {
            browser_forgotten,
            trust_ended,
            forms_lost,
            outside,
        })
    };
    vec![
        ("sign-out".into(), asked(Some("60/123/4567"), true, false)),
        (
            "sign-out-untrusted".into(),
            asked(Some("60/123/4567"), false, false),
        ),
        (
            "sign-out-device".into(),
            asked(Some("60/123/4567"), false, true),
        ),
        (
            "sign-out-trust-and-device".into(),
            asked(Some("60/123/4567"), true, true),
        ),
        ("sign-out-trust-only".into(), asked(None, true, false)),
        ("sign-out-nobody".into(), asked(None, false, false)),
        ("sign-out-perhaps".into(), View::SignOut(perhaps)),
        ("signed-out".into(), done(false, false, false, None)),
        ("signed-out-forgotten".into(), done(true, true, true, None)),
        (
            "signed-out-device-forgotten".into(),
            done(true, false, false, None),
        ),
        (
            "signed-out-portal".into(),
            done(false, false, false, Some(Outside::Portal)),
        ),
        (
            "signed-out-perhaps-portal".into(),
            done(false, false, false, Some(Outside::PerhapsPortal)),
        ),
        (
            "signed-out-certificate".into(),
            done(false, false, false, Some(Outside::Certificate)),
        ),
    ]
}

fn in_minutes(minutes: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(minutes * 60))
}
