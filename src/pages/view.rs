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
    /// `tan`, when the TAN is of no use any more: one button asks for a new one.
    TanOver(TanOverPage<'a>),
    /// `unbekannte-e-mail`: the e-mail is not the one on file.
    UnknownEmail(UnknownEmail<'a>),
    /// `benutzerschluessel`: user key and password are asked for.
    Password(PasswordPage<'a>),
    /// `benutzerschluessel`, when no password is compared for the moment; goes out with 429.
    PasswordSpent {
        /// Where the broker wants to go: path and query.
        return_to: &'a str,
        /// Until when, and whose doing it may be.
        spent: Spent,
    },
    /// Instead of what a client that does not say that it goes to a page asked for without a session; goes out with 401.
    SignInRequired {
        /// Where the broker wants to go: path and query.
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
    /// `zertifikat`, and in place of the calculator where a certificate lets nobody in; goes out with 403 then.
    Certificate(CertificatePage<'a>),
    /// `portal`, where it does not lead on at once.
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
    /// Where the broker wants to go: path and query.
    pub return_to: &'a str,
    /// What was typed as the VTNR, or known from the sign-in under way.
    pub vtnr: &'a str,
    /// What was typed as the e-mail address, or known from the sign-in under way.
    pub email: &'a str,
    /// What is wrong with the VTNR.
    pub vtnr_error: Option<FieldError>,
    /// What is wrong with the e-mail address.
    pub email_error: Option<FieldError>,
    /// Why the broker sees this page, where that needs saying.
    pub notice: Option<SignInNotice>,
    /// Whether the broker is signed in without submission and is to confirm the e-mail address of that very VTNR.
    pub confirming: Option<OnFile>,
    /// Whether the broker has signed out here of what the portal knows, and can go on with that.
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

/// What is wrong with a field of the sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldError {
    /// The VTNR is malformed or not in the directory; the e-mail address is malformed.
    Invalid,
}

/// Why a broker meets the sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInNotice {
    /// The browser sent no cookie back.
    CookiesBlocked,
    /// The session ended while the broker worked.
    SessionEnded,
    /// The sign-in under way was too old; the fields are kept.
    SignInExpired,
    /// Nobody can sign in at the moment, as far as is known.
    StoreDown,
}

#[derive(Clone, Debug)]
pub struct TanPage<'a> {
    /// Where the broker wants to go: path and query.
    pub return_to: &'a str,
    /// The address that the TAN goes to.
    pub email: &'a str,
    /// How many letters the TAN has.
    pub letters: usize,
    /// What became of the mail so far.
    pub mail: MailState,
    /// What is wrong with the TAN that was entered.
    pub error: Option<TanError>,
    /// Whether the mail can be sent again.
    pub resend: Resend,
    /// The broker has just had it sent again.
    pub sent_again: bool,
}

/// What is wrong with the TAN that was entered.
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
    /// Where the broker wants to go: path and query.
    pub return_to: &'a str,
    /// The address that a new TAN goes to.
    pub email: &'a str,
    /// Why the old one is of no use.
    pub why: TanOver,
}

#[derive(Clone, Debug, Serialize)]
pub struct UnknownEmail<'a> {
    /// Where the broker wants to go: path and query.
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
    /// Where the broker wants to go: path and query.
    pub return_to: &'a str,
    /// What was typed as the user key.
    pub user: &'a str,
    /// What is wrong with what was entered.
    pub error: Option<PasswordError>,
    /// Nobody can sign in at the moment, as far as is known.
    pub store_down: bool,
}

/// What is wrong with a user key and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordError {
    Empty,
    /// No user key was.
    NoUser,
    NoPassword,
    /// The password is longer than any.
    TooLong,
    /// There is no such user, or the password is another one.
    Wrong,
}

/// Why no password is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Wrong ones were entered in browsers in which nobody has signed in with this user key, as in this one.
    ByOthers { until: Timestamp },
    /// Wrong ones were entered in browsers that are known, as this one is.
    Here { until: Timestamp },
}

#[derive(Clone, Debug)]
pub struct BlockedSubmission<'a> {
    /// Where the broker goes on once the e-mail is confirmed: path and query.
    pub return_to: &'a str,
    /// Whose session it is, as the number is displayed.
    pub vtnr: String,
    /// Whether there is an address to confirm.
    pub on_file: OnFile,
    /// Whether the application is kept meanwhile.
    pub save_result: SaveResult,
}

#[derive(Clone, Debug)]
pub struct SessionEnded<'a> {
    /// Where the broker goes on once signed in: path and query.
    pub return_to: &'a str,
    /// Whether what was typed is kept meanwhile.
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
        /// Where the button posts to.
        action: String,
        /// As whose it would be sent, as the number is displayed.
        vtnr: String,
        /// The host of the other site whose page posted it; `None` if it was one of the calculator's.
        site: Option<String>,
        /// When it was posted at first.
        parked_at: Timestamp,
        /// Until when it is kept.
        until: Timestamp,
    },
    Going,
    /// Sent before; goes out with 409.
    Sent {
        at: Timestamp,
    },
    /// Posted under another VTNR; goes out with 403.
    Others {
        /// Who is signed in, as the number is displayed.
        vtnr: String,
    },
    /// Nothing is known of it any more; goes out with 410.
    Gone,
}

#[derive(Clone, Debug, Serialize)]
pub struct CertificatePage<'a> {
    /// Where the broker wants to go: path and query.
    pub return_to: &'a str,
    /// Why the broker sees this page.
    pub state: CertificateState,
    /// A form was posted, and went nowhere.
    pub is_form: bool,
}

/// Why a certificate lets nobody in.
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
    /// Nobody whom we trust issued it.
    Untrusted,
    /// Issued for another purpose.
    WrongPurpose,
    /// Valid, but stands for no broker on file.
    UnknownBroker,
    /// Whether it was revoked cannot be known at the moment.
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
    /// What the broker is still signed in with that is not ours to end.
    pub outside: Option<Outside>,
}

/// What a broker is signed in with that is not ours to end.
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
    /// Where the broker wants to go: path and query.
    pub return_to: &'a str,
    /// Why the broker sees this page.
    #[serde(flatten)]
    pub state: PortalState,
}

/// Why the portal's word does not lead into the calculator.
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
