//! The gateways' logs. Lines are written in batches beside the requests: a log that is read at once shows neither what is there nor what is not.

use super::{Gateway, World, eventually};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

impl World {
    /// All that the gateways have logged up to now, see [`Gateway::log`].
    pub async fn log(&self) -> String {
        let mut all = String::new();
        for gateway in &self.gateways {
            all.push_str(&gateway.log().await);
        }
        all
    }

    /// Waits until a gateway's log shows this text; gives what is logged by then.
    pub async fn log_has(&self, text: &str) -> String {
        self.log_has_times(text, 1).await
    }

    /// Waits until the logs show this text so many times or more; gives what is logged by then.
    pub async fn log_has_times(&self, text: &str, times: usize) -> String {
        self.log_shows(text, |log| {
            (log.matches(text).count() >= times).then(|| log.to_owned())
        })
        .await
    }

    /// Waits until something is found in the logs.
    pub async fn log_shows<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let so_far = || {
            self.gateways
                .iter()
                .map(Gateway::log_so_far)
                .collect::<String>()
        };
        eventually(&format!("the log does not show {what}"), async || {
            find(&so_far())
        })
        .await
    }
}

impl Gateway {
    /// All that it has logged up to now: a request of its own is logged behind it, and awaited in the log. Of a request that has just been
    /// answered the line in the access log may come later still: who needs it waits for it, by [`World::log_shows`].
    pub async fn log(&self) -> String {
        let mark = mark();
        eventually("a request is not answered", async || {
            (self.has_ended() || self.ask_for(&mark).await).then_some(())
        })
        .await;
        let written =
            async || (self.has_ended() || self.log_so_far().contains(&mark)).then_some(());
        eventually("a request is not in the log", written).await;
        self.log_so_far()
    }

    /// Waits until its log shows this text; gives what is logged by then.
    pub async fn log_has(&self, text: &str) -> String {
        let written = async || Some(self.log_so_far()).filter(|log| log.contains(text));
        eventually(&format!("the log does not show {text}"), written).await
    }

    /// Whether it has ended, and with it its log.
    fn has_ended(&self) -> bool {
        !std::path::Path::new(&format!("/proc/{}", self.pid())).exists()
    }

    /// Whether it answers a request for this path, whatever the answer.
    async fn ask_for(&self, path: &str) -> bool {
        let Ok(mut client) = TcpStream::connect(("127.0.0.1", self.port)).await else {
            return false;
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.port
        );
        let mut answer = Vec::new();
        client.write_all(request.as_bytes()).await.is_ok()
            && client.read_to_end(&mut answer).await.is_ok()
            && !answer.is_empty()
    }
}

/// A path that nobody else asks for.
fn mark() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!(
        "/mark-of-the-log/{}/",
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}
