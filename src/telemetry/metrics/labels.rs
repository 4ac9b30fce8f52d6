//! The values that labels can take. All of them are here, so that no stranger can make a new time series.

use domain::session::Level;

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Each value, in the order of declaration.
    const ALL: &'static [Self];

    /// The value as Prometheus shows it.
    fn as_str(self) -> &'static str;

    /// Where it stands in [`Label::ALL`].
    fn position(self) -> usize;
}

/// Declares label enums with the text of each value.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident => $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$value_doc])* $value,)+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }

            fn position(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// How a request ended.
    Request {
        /// Sent to the calculator with a session's permit.
        Forwarded => "forwarded",
        /// A file of our own pages.
        Asset => "asset",
        /// A page of the sign-in.
        LoginPage => "login_page",
        /// A navigation without a session was led to the sign-in.
        SignInRequired => "sign_in_required",
        /// What is not known to be a navigation came without a session: 401.
        Unauthorized => "unauthorized",
        /// A session without submission asked for the Antragsversand.
        SubmissionBlocked => "submission_blocked",
        /// Refused for what it is: malformed, foreign host, too large, over a limit.
        Refused => "refused",
        /// Store, calculator or gateway failed.
        Failed => "failed",
        /// Too many were under way: 503.
        Shed => "shed",
        /// Sent to the calculator without a session, on a public path.
        Public => "public",
    }

    /// A step of the sign-in.
    Step {
        /// VTNR and e-mail were entered.
        Vtnr => "vtnr",
        /// A TAN was entered.
        Tan => "tan",
        /// The way without e-mail was taken.
        WithoutEmail => "without_email",
        /// A trusted browser signed in without a TAN.
        Trusted => "trusted",
        /// A user key and a password were entered.
        Password => "password",
        /// A client certificate was shown on a new connection.
        Certificate => "certificate",
        /// The portal was asked who is signed in there.
        Portal => "portal",
        /// The mail was asked for again.
        Resend => "resend",
        /// A broker signed out.
        SignOut => "sign_out",
    }

    /// What became of a step.
    Outcome {
        Ok => "ok",
        /// The VTNR is malformed or not in the directory.
        InvalidVtnr => "invalid_vtnr",
        /// The e-mail address is not the one on file.
        UnknownEmail => "unknown_email",
        /// A TAN mail was queued.
        MailQueued => "mail_queued",
        /// The TAN is wrong.
        Wrong => "wrong",
        /// What was entered cannot be a TAN, or the form lacks a field.
        Malformed => "malformed",
        /// The tries are used up.
        Spent => "spent",
        /// The TAN or the sign-in is no longer valid.
        Expired => "expired",
        /// The right TAN came a second time, and got the same answer.
        Repeated => "repeated",
        /// A limit has no room.
        OverLimit => "over_limit",
        /// A TAN of ten letters was mailed, since a budget of wrong guesses is spent.
        LongTan => "long_tan",
        /// Another request was faster.
        Conflict => "conflict",
        /// A certificate that its issuer has revoked.
        Revoked => "revoked",
        /// A certificate of an issuer that is not trusted.
        Untrusted => "untrusted",
        /// Whether a certificate was revoked cannot be known at the moment.
        Unverifiable => "unverifiable",
        /// A certificate that is malformed, outdated, not yet valid, or for another purpose.
        Unfit => "unfit",
        /// The operator has switched this way off.
        SwitchedOff => "switched_off",
        /// The request came from another site or without its cookie.
        Forged => "forged",
        /// As many passwords as may wait were waiting to be compared.
        Shed => "shed",
        /// Store or gateway failed.
        Failed => "failed",
    }

    /// What became of a form that could not be forwarded when it came.
    Parking {
        Kept => "kept",
        /// Sent to the calculator.
        Sent => "sent",
        /// Kept on, because the calculator could not be reached.
        Returned => "returned",
        /// Discarded by its broker.
        Discarded => "discarded",
        /// Asked for but not there, already sent, or another broker's.
        Missed => "missed",
        /// Not kept: it did not come from a page of the calculator's.
        Foreign => "foreign",
        /// Not kept: not a form as browsers post them.
        Unfit => "unfit",
        /// Not kept: longer than what is kept.
        TooLarge => "too_large",
        /// Not kept: no room, for its client or for all.
        NoRoom => "no_room",
        /// Not kept: it broke off, or the store failed.
        Failed => "failed",
    }

    /// What became of a TAN mail.
    Mail {
        /// The mail server took it.
        Accepted => "accepted",
        /// An attempt failed; there will be another.
        Delayed => "delayed",
        /// The mail server refused it for good.
        Refused => "refused",
        /// Dropped: the sign-in ended before the mail server took the mail.
        Dropped => "dropped",
        /// Withdrawn during the hand-over, or taken over by another gateway.
        Withdrawn => "withdrawn",
        /// Never meant to be sent (`enumeration = "neutral"`).
        Decoy => "decoy",
    }

    /// What a session entitles to.
    SessionLevel {
        Full => "full",
        /// Everything but the Antragsversand.
        WithoutSubmission => "without_submission",
    }

    /// Where a session was looked for.
    Lookup {
        /// Found in the gateway's cache.
        Hit => "hit",
        /// The store had to be asked.
        Miss => "miss",
        /// The store could not be asked; the browser's ticket was believed.
        Ticket => "ticket",
    }

    /// An operation of the store.
    StoreOperation {
        FindSession => "find_session",
        TouchSession => "touch_session",
        EndSession => "end_session",
        RevokeBroker => "revoke_broker",
        RevokedAt => "revoked_at",
        FindFlow => "find_flow",
        KeepFlow => "keep_flow",
        MoveFlow => "move_flow",
        MovedFlow => "moved_flow",
        ChargeFlow => "charge_flow",
        EndFlow => "end_flow",
        DiscardFlow => "discard_flow",
        AskForTan => "ask_for_tan",
        SignIn => "sign_in",
        Charge => "charge",
        FindTrust => "find_trust",
        ForgetBrowser => "forget_browser",
        FindDevice => "find_device",
        ForgetDevice => "forget_device",
        Park => "park",
        FindForm => "find_form",
        TakeForm => "take_form",
        NoteForm => "note_form",
        DiscardForm => "discard_form",
        Deliveries => "deliveries",
        LeaseLetter => "lease_letter",
        RenewLease => "renew_lease",
        NoteDelivery => "note_delivery",
        FindOwners => "find_owners",
        KeepOwners => "keep_owners",
        FindScopes => "find_scopes",
        KeepScopes => "keep_scopes",
        OutboxLength => "outbox_length",
        Ping => "ping",
    }

    /// Why a session cookie of the calculator was withheld.
    Withheld {
        /// Belongs to another broker.
        Foreign => "foreign",
        /// The store could not be asked whose it is, and the browser had no proof.
        Unproven => "unproven",
        /// More were remembered for the client than a day allows.
        OverLimit => "over_limit",
    }

    /// Why the store could not do what was asked.
    StoreTrouble {
        /// No connection, or it was lost.
        Unreachable => "unreachable",
        /// No answer in time.
        Timeout => "timeout",
        /// Still loading its records, or there is no master at the moment.
        NotReady => "not_ready",
        /// Wrong user or password, or none.
        Authentication => "authentication",
        /// The user may not do it.
        Forbidden => "forbidden",
        OutOfMemory => "out_of_memory",
        /// The server is a replica.
        ReadOnly => "read_only",
        /// Fewer replicas than a change needs.
        NoReplicas => "no_replicas",
        /// Disk or file cannot be used.
        Disk => "disk",
        /// An answer, and it is no, for another reason.
        Refused => "refused",
        /// Done, but not confirmed by replicas.
        Unconfirmed => "unconfirmed",
        /// A record cannot be opened.
        Unsealable => "unsealable",
    }

    /// What became of connecting to a server of the calculator.
    Connect {
        Ok => "ok",
        Refused => "refused",
        /// Nobody accepted it in time.
        TimedOut => "timed_out",
        /// No way there, or no TLS.
        Failed => "failed",
    }

    /// What the portal said of somebody's cookies.
    PortalCheck {
        /// A broker is signed in there.
        SignedIn => "signed_in",
        Nobody => "nobody",
        /// Yes, and not clearly who: no header field with a broker number, or several.
        Unfit => "unfit",
        /// No answer in time, or an error.
        Failed => "failed",
        /// Not asked, after several failures in a row.
        NotAsked => "not_asked",
        /// Others' questions took the time; it was not asked, or too late for an answer.
        NoRoom => "no_room",
    }

    /// Why a connection was turned away.
    Rejection {
        /// As many as are allowed in all are open.
        Total => "total",
        /// As many as one client may have are open.
        PerClient => "per_client",
        /// The request's header was not complete in time.
        HeaderTimeout => "header_timeout",
        /// A request's body came too slowly.
        SlowBody => "slow_body",
        /// An answer was taken too slowly.
        SlowReader => "slow_reader",
        /// The TLS handshake failed or took too long.
        Handshake => "handshake",
        /// What came was no request, or it ended within the first header.
        NoRequest => "no_request",
    }

    /// Why a request was refused before it was known what it asks for.
    Refusal {
        /// Not HTTP as the gateway reads it.
        Malformed => "malformed",
        /// A target that no browser sends.
        Target => "target",
        /// A host that is not the gateway's.
        Host => "host",
        /// A method that is not forwarded.
        Method => "method",
        /// A WebSocket for a page of another site.
        Origin => "origin",
        /// A header field is malformed, repeated or too long.
        Header => "header",
        /// A body with malformed chunks.
        Chunks => "chunks",
        /// A body that is too large.
        BodyTooLarge => "body_too_large",
        /// A body that did not arrive in time.
        BodyTimeout => "body_timeout",
    }
}

impl From<Level> for SessionLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Full { .. } => Self::Full,
            Level::WithoutSubmission => Self::WithoutSubmission,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound<L: Label + PartialEq + std::fmt::Debug>() {
        for (position, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.position(), position, "{value:?}");
            assert!(
                value
                    .as_str()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{value:?}"
            );
        }
    }

    #[test]
    fn each_label_value_is_where_it_says_and_well_spelt() {
        sound::<Request>();
        sound::<Step>();
        sound::<Outcome>();
        sound::<Mail>();
        sound::<SessionLevel>();
        sound::<Lookup>();
        sound::<StoreOperation>();
        sound::<StoreTrouble>();
        sound::<Connect>();
        sound::<PortalCheck>();
        sound::<Rejection>();
        sound::<Refusal>();
    }
}
