//! Failures, as the page shows them.

use domain::submission::Doubt;
use domain::time::Timestamp;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Problem<'a> {
    pub kind: ProblemKind,
    /// The incident number, under which the log has the cause.
    pub incident: Option<&'a str>,
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The address to try again without repeating an effect, or of the held form: path and query.
    pub target: Option<&'a str>,
    /// Set if the gateway knows that the broker is signed in, and stays so.
    pub signed_in: bool,
    /// The value of `Retry-After`.
    pub wait: Option<Duration>,
}

/// A kind of failure, with the status of its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// 400: what the browser sent could not be read.
    BadRequest,
    /// 400: a session without submission sent what servers could read in several ways.
    Doubtful(Doubt),
    /// 502 or 504: the calculator was to get a form that was kept, and could not be reached; it is kept on.
    FormReturned,
    /// 403: a form that came from another site.
    ForeignForm,
    /// 404: no such page under our prefix.
    NotFound,
    MethodNotAllowed,
    /// 413: a form to our own pages that is too large.
    TooLarge,
    /// 421: a host name that is not ours.
    WrongHost,
    /// 429: too many attempts from this connection or for this broker.
    TooMany {
        /// When it goes on.
        until: Timestamp,
    },
    /// 429: too many mails with TANs.
    MailsExhausted {
        /// When the next one is allowed.
        until: Timestamp,
    },
    /// 503: more requests than the gateway can take.
    Busy,
    /// 503: the same, and a form of the calculator's went nowhere; the browser still has it.
    BusyForm,
    /// 503: nobody can sign in for the moment; whoever is signed in stays so.
    StoreDown,
    /// 503: the same, and a page of the calculator's was asked for; it is not known by whom.
    StoreDownPage,
    /// 503: the same, and a form of the calculator's went nowhere; the browser still has it.
    StoreDownForm,
    /// 503: the same, and a form that is kept could not be looked at or sent.
    StoreDownKeptForm,
    /// 503: the same, and a TAN could not be compared, mailed again or asked for.
    StoreDownTan,
    /// 503: the same, and a sign-out was not done, or nobody knows.
    StoreDownSignOut {
        /// The browser was to be forgotten as well.
        forget_browser: bool,
    },
    /// 502: the server cannot be reached, or sends what is no answer.
    UpstreamDown(UpstreamKind),
    /// 504: the server did not answer in time.
    UpstreamSlow(UpstreamKind),
    /// 502 or 504: no connection came about, so that nothing of a form went up; the browser still has it.
    UpstreamUnsent(UpstreamKind),
    /// 502 or 504: a form went up, and no answer came; it may have been carried out.
    UpstreamUncertain(UpstreamKind),
    Internal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    Calculator,
    Portal,
}
