//! Re-checks open WebSockets whose right to be open is not a session of the gateway.

use crate::gateway::websocket::control::{CloseHandle, CloseReason};
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A re-check that runs until this is dropped.
pub(crate) struct RecheckTask(JoinHandle<()>);

impl RecheckTask {
    /// Closes the WebSocket once `is_over` returns. Runs on the request's thread.
    pub(crate) fn spawn(
        handle: Arc<CloseHandle>,
        metrics: Arc<Metrics>,
        is_over: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self(tokio::spawn(async move {
            is_over.await;
            metrics.websocket_cut();
            handle.close(CloseReason::SessionEnded);
        }))
    }
}

impl Drop for RecheckTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
