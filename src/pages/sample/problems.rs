//! Samples of the pages for failures.

use super::{SOON, TARGET, in_minutes};
use crate::pages::problem::{Problem, ProblemKind, UpstreamKind};
use crate::pages::view::View;
use domain::submission::Doubt;
use std::time::Duration;

pub(super) fn views() -> Vec<(String, View<'static>)> {
    let doubts = [
        Doubt::Method,
        Doubt::RawByte,
        Doubt::Escape,
        Doubt::Parameters,
        Doubt::Segment,
        Doubt::Character,
        Doubt::Override,
        Doubt::Charset,
    ];
    let later = Duration::from_secs(60);
    let kinds = [
        ("bad-request", ProblemKind::BadRequest, None),
        ("form-returned", ProblemKind::FormReturned, Some(SOON)),
        ("foreign-form", ProblemKind::ForeignForm, None),
        ("not-found", ProblemKind::NotFound, None),
        ("method", ProblemKind::MethodNotAllowed, None),
        ("too-large", ProblemKind::TooLarge, None),
        ("wrong-host", ProblemKind::WrongHost, None),
        (
            "too-many",
            ProblemKind::TooMany {
                until: in_minutes(4),
            },
            None,
        ),
        (
            "mails-exhausted",
            ProblemKind::MailsExhausted {
                until: in_minutes(24 * 60),
            },
            None,
        ),
        ("busy", ProblemKind::Busy, Some(SOON)),
        ("busy-form", ProblemKind::BusyForm, Some(SOON)),
        ("store-down", ProblemKind::StoreDown, Some(SOON)),
        ("store-down-page", ProblemKind::StoreDownPage, Some(SOON)),
        ("store-down-form", ProblemKind::StoreDownForm, Some(SOON)),
        (
            "store-down-kept-form",
            ProblemKind::StoreDownKeptForm,
            Some(SOON),
        ),
        ("store-down-tan", ProblemKind::StoreDownTan, Some(SOON)),
        (
            "store-down-sign-out",
            ProblemKind::StoreDownSignOut {
                forget_browser: false,
            },
            Some(SOON),
        ),
        (
            "store-down-forget",
            ProblemKind::StoreDownSignOut {
                forget_browser: true,
            },
            Some(SOON),
        ),
        (
            "calculator-down",
            ProblemKind::UpstreamDown(UpstreamKind::Calculator),
            Some(SOON),
        ),
        (
            "calculator-slow",
            ProblemKind::UpstreamSlow(UpstreamKind::Calculator),
            Some(later),
        ),
        (
            "calculator-unsent",
            ProblemKind::UpstreamUnsent(UpstreamKind::Calculator),
            Some(SOON),
        ),
        (
            "calculator-uncertain",
            ProblemKind::UpstreamUncertain(UpstreamKind::Calculator),
            Some(later),
        ),
        (
            "portal-uncertain",
            ProblemKind::UpstreamUncertain(UpstreamKind::Portal),
            Some(SOON),
        ),
        (
            "portal-down",
            ProblemKind::UpstreamDown(UpstreamKind::Portal),
            Some(SOON),
        ),
        (
            "portal-slow",
            ProblemKind::UpstreamSlow(UpstreamKind::Portal),
            Some(later),
        ),
        (
            "portal-unsent",
            ProblemKind::UpstreamUnsent(UpstreamKind::Portal),
            Some(later),
        ),
        ("internal", ProblemKind::Internal, None),
    ];
    let told = |kind, wait| {
        // Whom the portal alone knows is signed in there.
        let signed_in = !matches!(
            kind,
            ProblemKind::UpstreamDown(UpstreamKind::Portal)
                | ProblemKind::UpstreamSlow(UpstreamKind::Portal)
                | ProblemKind::UpstreamUnsent(UpstreamKind::Portal)
                | ProblemKind::UpstreamUncertain(UpstreamKind::Portal)
        );
        Problem {
            kind,
            incident: Some("K7F2Q9Z"),
            return_to: TARGET,
            target: Some(TARGET),
            signed_in,
            wait,
        }
    };
    let bare = |kind, wait| Problem {
        kind,
        incident: None,
        return_to: "/",
        target: None,
        signed_in: false,
        wait,
    };
    let doubtful = doubts.into_iter().enumerate().map(|(n, doubt)| {
        (
            format!("problem-doubtful-{n}"),
            told(ProblemKind::Doubtful(doubt), None),
        )
    });
    let each = |(name, kind, wait)| {
        [
            (format!("problem-{name}"), told(kind, wait)),
            (format!("problem-{name}-bare"), bare(kind, wait)),
        ]
    };
    kinds
        .into_iter()
        .flat_map(each)
        .chain(doubtful)
        .map(|(name, problem)| (name, View::Problem(problem)))
        .collect()
}
