//! Reports reloads of directory, users and configuration: metrics and log lines.

use super::reload::ConfigFiles;
use crate::clock::Clock;
use crate::identity::directory::{Brokers, Directory, Reload};
use crate::identity::users::UsersFile;
use crate::reloadable::Reloaded;
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::Metrics;

/// Ends the line of a successful reload.
fn again(had_failed: bool) -> &'static str {
    if had_failed { ", and valid again" } else { "" }
}

pub(super) fn directory(
    reloaded: Reloaded<Brokers>,
    directory: &Directory,
    metrics: &Metrics,
    clock: &Clock,
) {
    let had_failed = reloaded.had_failed;
    let reload = match reloaded.outcome {
        Ok(reload) => reload,
        Err(error) => {
            metrics.directory_reload_failed();
            tracing::error!(
                target: "directory",
                "failed to reload the directory, keeping the previous one: {}", chain(&error)
            );
            return;
        }
    };
    let brokers = directory.snapshot().len();
    metrics.directory_loaded(brokers, clock.now());
    match reload {
        Reload::Swapped {
            brokers,
            added,
            removed,
        } => {
            let again = again(had_failed);
            tracing::info!(target: "directory", brokers, added, removed, "directory reloaded{again}");
        }
        Reload::Unchanged if had_failed => {
            tracing::info!(target: "directory", brokers, "the directory file is valid again and unchanged");
        }
        Reload::Unchanged => {}
    }
}

pub(super) fn users(reloaded: Reloaded<UsersFile>, metrics: &Metrics) {
    match reloaded.outcome {
        Ok(users) => {
            metrics.users_loaded(users);
            let again = again(reloaded.had_failed);
            tracing::info!(target: "users", users, "users file loaded{again}");
        }
        Err(error) => {
            metrics.users_reload_failed();
            tracing::error!(
                target: "users",
                "failed to reload the users file, keeping the previous users: {}", chain(&error)
            );
        }
    }
}

pub(super) fn configuration(reloaded: Reloaded<ConfigFiles>, metrics: &Metrics) {
    match reloaded.outcome {
        Ok(report) => {
            metrics.config_reloaded();
            for warning in &report.warnings {
                tracing::warn!(target: "config", "{warning}");
            }
            let again = again(reloaded.had_failed);
            let keys = report.restart_required.join(", ");
            let needs_restart = (!keys.is_empty()).then_some(keys);
            tracing::info!(target: "config", needs_restart, "configuration reloaded{again}");
        }
        Err(refusal) => {
            metrics.config_reload_failed();
            tracing::error!(
                target: "config",
                "failed to reload the configuration, keeping the previous one: {}", chain(&refusal)
            );
        }
    }
}
