//! Label values as closed sets, so that clients cannot create time series.

use domain::session::Level;

/// Closed set of label values.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;

    /// Index of the value in [`Label::ALL`].
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
    /// Outcome of a request.
    Request {
        /// Forwarded with a session's permit.
        Forwarded => "forwarded",
        /// Asset of the gateway's pages.
        Asset => "asset",
        LoginPage => "login_page",
        /// Navigation without a session, redirected to the sign-in.
        SignInRequired => "sign_in_required",
        /// Any other request without a session: 401.
        Unauthorized => "unauthorized",
        /// Submission without a confirmed address.
        SubmissionBlocked => "submission_blocked",
        /// Malformed, wrong host, too large, or over a limit.
        Refused => "refused",
        /// Failure of store, calculator or gateway.
        Failed => "failed",
        /// Over the limit of in-flight requests: 503.
        Shed => "shed",
        /// Forwarded without a session, on a public path.
        Public => "public",
    }

    /// Step of a sign-in.
    Step {
        /// VTNR and e-mail entered.
        Vtnr => "vtnr",
        Tan => "tan",
        WithoutEmail => "without_email",
        /// Trusted browser, no TAN.
        Trusted => "trusted",
        /// User key and password entered.
        Password => "password",
        /// Client certificate on a new connection.
        Certificate => "certificate",
        /// Sign-in check at the portal.
        Portal => "portal",
        Resend => "resend",
        SignOut => "sign_out",
    }

    /// Outcome of a sign-in step.
    Outcome {
        Ok => "ok",
        /// VTNR malformed or not in the directory.
        InvalidVtnr => "invalid_vtnr",
        /// Address differs from the one on file.
        UnknownEmail => "unknown_email",
        MailQueued => "mail_queued",
        Wrong => "wrong",
        /// Not a TAN, or a missing field.
        Malformed => "malformed",
        Spent => "spent",
        /// TAN or sign-in expired.
        Expired => "expired",
        /// Correct TAN sent twice; same answer.
        Repeated => "repeated",
        OverLimit => "over_limit",
        /// TAN of ten letters, since a guess limit is exhausted.
        LongTan => "long_tan",
        /// Lost a race against a parallel request.
        Conflict => "conflict",
        Revoked => "revoked",
        /// Certificate of an untrusted issuer.
        Untrusted => "untrusted",
        /// Revocation status unknown at the moment.
        Unverifiable => "unverifiable",
        /// Certificate malformed, expired, not yet valid, or for another purpose.
        Unfit => "unfit",
        /// Sign-in method switched off.
        SwitchedOff => "switched_off",
        /// Cross-site request, or its cookie is missing.
        Forged => "forged",
        Shed => "shed",
        /// Store or gateway failed.
        Failed => "failed",
    }

    /// Outcome of a held form.
    HeldFormOutcome {
        Kept => "kept",
        Sent => "sent",
        /// Put back, because the calculator was unreachable.
        Returned => "returned",
        Discarded => "discarded",
        /// Missing, already sent, or another broker's.
        Missed => "missed",
        /// Rejected: not posted by a page of the calculator.
        Foreign => "foreign",
        /// Rejected: not a browser's form.
        Unfit => "unfit",
        TooLarge => "too_large",
        /// Rejected: no room, for its client or for all.
        NoRoom => "no_room",
        /// Lost: the upload was aborted, or the store failed.
        Failed => "failed",
    }

    /// Outcome of an attempt to send a mail.
    Mail {
        Accepted => "accepted",
        Delayed => "delayed",
        Refused => "refused",
        /// Dropped: the sign-in ended first.
        Dropped => "dropped",
        /// Withdrawn during hand-over, or claimed by another gateway.
        Withdrawn => "withdrawn",
        /// Decoy, never sent (`enumeration = "neutral"`).
        Decoy => "decoy",
    }

    /// Level of a session.
    SessionLevel {
        Full => "full",
        WithoutSubmission => "without_submission",
    }

    /// Result of a session cache lookup.
    Lookup {
        Hit => "hit",
        Miss => "miss",
        /// Store down; accepted the browser's offline token.
        OfflineToken => "ticket",
    }

    /// Operation of the store.
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
        HitLimits => "charge",
        FindTrust => "find_trust",
        ForgetBrowser => "forget_browser",
        FindDevice => "find_device",
        ForgetDevice => "forget_device",
        SaveForm => "park",
        FindForm => "find_form",
        ClaimForm => "take_form",
        UpdateForm => "note_form",
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

    /// Reason for withholding a session cookie of the calculator.
    Withheld {
        Foreign => "foreign",
        /// Store down, and the browser had no proof.
        Unproven => "unproven",
        /// Over the client's daily limit.
        OverLimit => "over_limit",
    }

    /// Reason for a failed store operation.
    StoreTrouble {
        /// Not connected, or connection lost.
        Unreachable => "unreachable",
        Timeout => "timeout",
        /// Loading, or no master at the moment.
        NotReady => "not_ready",
        /// Wrong or missing credentials.
        Authentication => "authentication",
        /// Denied by an ACL.
        Forbidden => "forbidden",
        OutOfMemory => "out_of_memory",
        ReadOnly => "read_only",
        /// Fewer replicas than Redis requires for writes.
        NoReplicas => "no_replicas",
        /// Disk or file unusable.
        Disk => "disk",
        /// Any other error reply.
        Refused => "refused",
        /// Written, but not confirmed by replicas.
        Unconfirmed => "unconfirmed",
        Unsealable => "unsealable",
    }

    /// Outcome of connecting to a server of the calculator.
    Connect {
        Ok => "ok",
        Refused => "refused",
        TimedOut => "timed_out",
        /// Unreachable, or TLS failed.
        Failed => "failed",
    }

    /// Outcome of a check at the portal.
    PortalCheck {
        SignedIn => "signed_in",
        Nobody => "nobody",
        /// Signed in, but no or several broker numbers in the response.
        Unfit => "unfit",
        /// Timed out, or an error.
        Failed => "failed",
        /// Skipped, after several failures in a row.
        NotAsked => "not_asked",
        /// Pool full, or no time left.
        NoRoom => "no_room",
    }

    /// Reason for rejecting a client connection.
    Rejection {
        Total => "total",
        PerClient => "per_client",
        /// Request header incomplete in time.
        HeaderTimeout => "header_timeout",
        /// Request body too slow.
        SlowBody => "slow_body",
        /// Response read too slowly.
        SlowReader => "slow_reader",
        /// TLS handshake failed or too slow.
        Handshake => "handshake",
        /// No request, or it ended within the first header.
        NoRequest => "no_request",
    }

    /// Reason for refusing a request before routing.
    Refusal {
        Malformed => "malformed",
        /// Target that no browser sends.
        Target => "target",
        Host => "host",
        Method => "method",
        /// WebSocket of another site's page.
        Origin => "origin",
        /// Header field malformed, repeated or too long.
        Header => "header",
        Chunks => "chunks",
        BodyTooLarge => "body_too_large",
        /// Body incomplete in time.
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
