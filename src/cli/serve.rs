//! `serve`: the gateway itself.

use super::{ConfigFile, fail, runtime, start_log};
use crate::app::{App, ConfigSource, Error, TakesOver};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[derive(clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// Replaces the running gateway at `listen.handover` without closing a socket; the old process then exits
    #[arg(long)]
    takeover: bool,
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        let source = ConfigSource::new(self.config.path.clone());
        let config = match self.config.load() {
            Ok(config) => config,
            Err(code) => return code,
        };
        let log = match start_log(&config) {
            Ok(log) => log,
            Err(code) => return code,
        };
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error),
        };
        let ended = runtime.block_on(async {
            let takes_over = if self.takeover {
                TakesOver::Yes
            } else {
                TakesOver::No
            };
            let app = App::build(config, Some(source), takes_over).await?;
            app.run(log, asked_to_stop()?).await
        });
        // Whatever is still open, such as a WebSocket, had its grace period.
        runtime.shutdown_background();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }
}

/// Completes at SIGTERM or SIGINT.
pub(super) fn asked_to_stop() -> Result<impl Future<Output = ()>, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
