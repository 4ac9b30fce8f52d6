//! The content of each page: plain data, already decided. Templates receive a view by its field names.

use super::problem::Problem;
use domain::challenge::{MailState, TanOver};
use domain::tan::MalformedTan;
use domain::time::Timestamp;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// A page, with what it shows.
#[derive(Clone, Debug)]
pub enum View<'a> {
    /// `vtnr-login`: VTNR and e-mail are asked for.
    SignIn(SignIn<'a>),
    /// `tan`: the TAN is asked for.
    Tan(TanPage<'a>),
    /// `tan`, if the TAN is no longer accepted: one button requests a new one.
    TanOver(TanOverPage<'a>),
    /// `unbekannte-e-mail`: the e-mail is not the one on file.
    UnknownEmail(UnknownEmail<'a>),
    /// `benutzerschluessel`: user key and password are asked for.
    Password(PasswordPage<'a>),
    /// `benutzerschluessel`, when no password is compared for the moment; goes out with 429.
    PasswordSpent {
        /// The page that the broker requested: path and query.
        return_to: &'a str,
        /// The end of the lockout, and its cause.
        spent: Spent,
    },
    /// Instead of what a client that does not say that it goes to a page asked for without a session; goes out with 401.
    SignInRequired {
        /// The page that the broker requested: path and query.
        return_to: &'a str,
        /// Which sign-in it leads to.
        by: SignInBy,
    },
    /// Instead of what a page of another site posted a form to; goes out with 403.
    FormOfAnotherSite(FormOfAnotherSite<'a>),
    /// Instead of the Antragsversand in a session without submission; goes out with 403.
    BlockedSubmission(BlockedSubmission<'a>),
    /// Instead of what a form was posted to without a session; goes out with 401.
    SessionEnded(SessionEnded<'a>),
    /// `eingabe`: a form that is kept can be sent, or cannot any more.
    KeptForm(KeptForm),
    /// `zertifikat`, and 403 in place of the calculator if the certificate admits nobody.
    Certificate(CertificatePage<'a>),
    /// `portal`, if it does not redirect.
    Portal(PortalPage<'a>),
    /// GET `abmelden`: buttons to sign out and to forget this browser.
    SignOut(SignOut),
    /// The answer to the POST of `abmelden`.
    SignedOut(SignedOut),
    /// `hilfe`: „Unterstützung beim Login“.
    Help,
    Problem(Problem<'a>),
}

#[derive(Clone, Debug, Serialize)]
pub struct SignIn<'a> {
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The VTNR as typed, or from the sign-in in progress.
    pub vtnr: &'a str,
    /// The e-mail address as typed, or from the sign-in in progress.
    pub email: &'a str,
    /// The mistake in the VTNR.
    pub vtnr_error: Option<FieldError>,
    /// The mistake in the e-mail address.
    pub email_error: Option<FieldError>,
    /// The reason for this page, if the broker needs one.
    pub notice: Option<SignInNotice>,
    /// Set if the broker is signed in without submission and confirms the e-mail address of that VTNR.
    pub confirming: Option<OnFile>,
    /// Set if the broker signed out here, but the portal's sign-in can be resumed.
    pub left_portal: bool,
}

/// Whether there is an e-mail address to confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFile {
    /// One or several are on file for the broker.
    Some,
    /// None is on file.
    None,
}

/// A mistake in a field of the sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldError {
    /// The VTNR is malformed or not in the directory; the e-mail address is malformed.
    Invalid,
}

/// The reason why a broker has to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInNotice {
    /// The browser sent no cookie back.
    CookiesBlocked,
    /// The session ended while the broker worked.
    SessionEnded,
    /// The sign-in in progress expired; its fields are kept.
    SignInExpired,
    /// The store is down, so that sign-ins fail.
    StoreDown,
}

#[derive(Clone, Debug)]
pub struct TanPage<'a> {
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The address that the TAN goes to.
    pub email: &'a str,
    /// The length of the TAN.
    pub letters: usize,
    /// The delivery of the mail so far.
    pub mail: MailState,
    /// The mistake in the TAN that was entered.
    pub error: Option<TanError>,
    /// Whether the mail can be sent again.
    pub resend: Resend,
    /// The broker has just had it sent again.
    pub sent_again: bool,
}

/// The mistake in a TAN that was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TanError {
    /// The input cannot be a TAN, and cost no try.
    Malformed(MalformedTan),
    /// The input is not the TAN that was mailed.
    Wrong {
        /// The number of tries left, at least one.
        tries_left: u8,
    },
}

/// Whether a mail can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    Now,
    After {
        /// The time that is left, in seconds.
        seconds: u64,
    },
    /// No: as many mails as are allowed have been sent.
    Exhausted {
        /// When the next one is allowed.
        until: Timestamp,
    },
}

#[derive(Clone, Debug)]
pub struct TanOverPage<'a> {
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The address that a new TAN goes to.
    pub email: &'a str,
    /// The reason why the old one is no longer accepted.
    pub why: TanOver,
}

#[derive(Clone, Debug, Serialize)]
pub struct UnknownEmail<'a> {
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The broker number, as it is displayed.
    pub vtnr: String,
    /// The address that was typed.
    pub email: &'a str,
    /// Whether the way without e-mail is offered.
    pub without_email: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct PasswordPage<'a> {
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The user key as typed.
    pub user: &'a str,
    /// The mistake in the input.
    pub error: Option<PasswordError>,
    /// The store is down, so that sign-ins fail.
    pub store_down: bool,
}

/// A mistake in a user key and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordError {
    Empty,
    /// No user key was entered.
    NoUser,
    NoPassword,
    /// The password is longer than any.
    TooLong,
    /// The user does not exist, or the password is wrong.
    Wrong,
}

/// The reason why no password is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Wrong ones were entered in browsers in which nobody has signed in with this user key, as in this one.
    ByOthers { until: Timestamp },
    /// Wrong ones were entered in browsers that are known, as this one is.
    Here { until: Timestamp },
}

#[derive(Clone, Debug)]
pub struct BlockedSubmission<'a> {
    /// The page to return to once the e-mail is confirmed: path and query.
    pub return_to: &'a str,
    /// The broker number of the session, as displayed.
    pub vtnr: String,
    /// Whether there is an address to confirm.
    pub on_file: OnFile,
    /// Whether the application is kept meanwhile.
    pub save_result: SaveResult,
}

#[derive(Clone, Debug)]
pub struct SessionEnded<'a> {
    /// The page to return to after the sign-in: path and query.
    pub return_to: &'a str,
    /// Whether the form is kept meanwhile.
    pub save_result: SaveResult,
}

/// Which sign-in a page leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SignInBy {
    /// With the broker number.
    #[serde(rename = "sign_in")]
    Number,
    /// With the certificate, on the certificates' host.
    #[serde(rename = "here_certificate")]
    Certificate,
}

#[derive(Clone, Debug)]
pub struct FormOfAnotherSite<'a> {
    /// The other site's host, where it is known.
    pub site: Option<&'a str>,
    /// Why the form is not kept.
    pub save_result: SaveResult,
}

/// Whether a form that could not be forwarded was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveResult {
    Until(Timestamp),
    /// Not saved: it came from another site.
    Foreign,
    /// Not saved: it exceeds the maximum size.
    TooLarge,
    /// Not saved: the quota of held forms is used up.
    NoRoom,
    /// Not saved: the store failed.
    StoreDown,
    /// Not saved, for another reason.
    Failed,
}

#[derive(Clone, Debug)]
pub enum KeptForm {
    Waits {
        /// The address that the button posts to.
        action: String,
        /// The broker number that it would be sent with, as displayed.
        vtnr: String,
        /// The host of the other site whose page posted it; `None` if it was one of the calculator's.
        site: Option<String>,
        /// The time of the first POST.
        parked_at: Timestamp,
        /// The time at which it is deleted.
        until: Timestamp,
    },
    Going,
    /// Sent before; goes out with 409.
    Sent {
        at: Timestamp,
    },
    /// Posted under another VTNR; goes out with 403.
    Others {
        /// The broker number that is signed in, as displayed.
        vtnr: String,
    },
    /// The form no longer exists; goes out with 410.
    Gone,
}

#[derive(Clone, Debug, Serialize)]
pub struct CertificatePage<'a> {
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The reason for this page.
    pub state: CertificateState,
    /// A form was posted, and went nowhere.
    pub is_form: bool,
}

/// The reason why a certificate admits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// The browser showed none.
    Missing,
    Malformed,
    /// Of a kind that is no longer secure.
    Outdated,
    NotYetValid,
    Expired,
    Revoked,
    /// Its issuer is not trusted.
    Untrusted,
    /// Issued for another purpose.
    WrongPurpose,
    /// Valid, but assigned to no broker on file.
    UnknownBroker,
    /// The revocation lists are out of date.
    Unverifiable,
    /// Valid, but the broker has signed out in this browser.
    SignedOut,
}

#[derive(Clone, Debug, Serialize)]
pub struct SignOut {
    /// The broker number of the session, as it is displayed; `None` where nobody is signed in.
    pub signed_in: Option<String>,
    /// Whether the portal may name somebody who is not known here yet.
    pub perhaps_at_portal: bool,
    /// Whether this browser is trusted.
    pub trusted: bool,
    /// Whether it is known by a user key.
    pub device: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct SignedOut {
    /// The broker also had the browser forgotten.
    pub browser_forgotten: bool,
    /// And it needs a TAN from now on.
    pub trust_ended: bool,
    /// Forms that were kept can no longer be sent.
    pub forms_lost: bool,
    /// A sign-in that the gateway cannot end.
    pub outside: Option<Outside>,
}

/// A sign-in that the gateway cannot end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outside {
    /// The browser can show its certificate again.
    Certificate,
    /// The portal knows the browser.
    Portal,
    /// The portal may know the broker.
    PerhapsPortal,
}

#[derive(Clone, Debug, Serialize)]
pub struct PortalPage<'a> {
    /// The page that the broker requested: path and query.
    pub return_to: &'a str,
    /// The reason for this page.
    #[serde(flatten)]
    pub state: PortalState,
}

/// The reason why the portal's answer does not lead into the calculator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PortalState {
    /// The portal did not answer.
    Silent {
        /// The number of seconds after which another attempt makes sense.
        #[serde(serialize_with = "seconds")]
        wait: Duration,
    },
    /// The broker has signed out in this browser, and the portal may know it still.
    SignedOut,
    /// The portal names nobody on file.
    Unknown,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}
