//! `[limits]`

use super::super::kinds::{allowance, shown};
use super::super::read::Reader;
use domain::throttle::{Allowance, Limits};

/// Reads rate limits, with the product's as defaults.
pub(super) fn limits(reader: &mut Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    let mut limit = |key, limit: &mut Allowance| {
        let default = format!("{} in {}", limit.limit, shown(limit.window));
        *limit = reader
            .or(key, default.as_str(), allowance)
            .unwrap_or(*limit);
    };
    limit("limits.mail_pause", &mut limits.mail_pause);
    limit("limits.mail_burst", &mut limits.mail_burst);
    limit("limits.mail_day", &mut limits.mail_day);
    limit("limits.mail_reserve", &mut limits.mail_reserve);
    limit("limits.wrong_tans_day", &mut limits.wrong_tans_day);
    limit("limits.wrong_tans_month", &mut limits.wrong_tans_month);
    limit("limits.wrong_tans_known", &mut limits.wrong_tans_known);
    limit("limits.wrong_tans_all", &mut limits.wrong_tans_all);
    limit("limits.wrong_tans_client", &mut limits.wrong_tans_client);
    limit(
        "limits.wrong_passwords_day",
        &mut limits.wrong_passwords_day,
    );
    limit(
        "limits.wrong_passwords_month",
        &mut limits.wrong_passwords_month,
    );
    limit(
        "limits.wrong_passwords_known",
        &mut limits.wrong_passwords_known,
    );
    limit("limits.failures_client", &mut limits.failures_client);
    limit("limits.vtnrs_client", &mut limits.vtnrs_client);
    limit(
        "limits.without_email_client",
        &mut limits.without_email_client,
    );
    limit("limits.without_email_vtnr", &mut limits.without_email_vtnr);
    limits
}
