//! A mailbox for everybody: takes any mail by SMTP, forgets nothing recent, and shows it in the browser.
//!
//! It must never pass a mail on, nor let what a mail contains act in the reader's browser. `cli::demo` runs it so
//! that a person finds the TAN; tests run it to read mails and, with a [`PostboxFault`], to see mail go wrong.

mod command;
mod letter;
mod lines;
mod smtp;
mod web;

#[cfg(test)]
mod tests;

pub use letter::ReceivedMail;

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How many mails are kept.
const MAILS_KEPT: usize = 1_000;
/// How many bytes of raw mail are kept, whatever their number.
const BYTES_KEPT: usize = 64 << 20;

/// How the mail server misbehaves until told otherwise. Conversations under way notice at their next reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostboxFault {
    #[default]
    None,
    /// Every recipient is refused for good: 550.
    Refuse,
    /// Every recipient is put off: 451, as a greylisting server does.
    PutOff,
    /// The greeting comes this much later.
    BannerDelay(Duration),
    /// A mail is taken and kept, but the connection closes before the 250, so the sender cannot know.
    DropAfterData,
    /// Connections are accepted and never answered.
    Freeze,
}

/// The postbox. Clones share their mails and faults.
#[derive(Clone, Default)]
pub struct Postbox {
    inner: Arc<PostboxState>,
}

#[derive(Default)]
struct PostboxState {
    shelf: Mutex<Shelf>,
    fault: Mutex<PostboxFault>,
    arrived: Notify,
}

#[derive(Default)]
struct Shelf {
    mails: VecDeque<Arc<ReceivedMail>>,
    bytes: usize,
    received: usize,
}

impl Postbox {
    /// An empty postbox without a fault.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Talks SMTP on this listener until dropped; dropping it ends the conversations too.
    pub async fn serve_smtp(self, listener: TcpListener) {
        smtp::serve(self, listener).await;
    }

    /// Shows the mails in the browser on this listener until dropped.
    pub async fn serve_http(self, listener: TcpListener) {
        if let Err(error) = axum::serve(listener, web::router(self)).await {
            tracing::error!(%error, "the postbox stopped");
        }
    }

    /// The mails kept, oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.inner
            .shelf
            .lock()
            .mails
            .iter()
            .map(|mail| ReceivedMail::clone(mail))
            .collect()
    }

    /// Waits for the mail that arrives after the first `after` ones: `next(0)` is the first mail ever received.
    /// If that one is no longer kept, gives the oldest that came later.
    pub async fn next(&self, after: usize) -> ReceivedMail {
        loop {
            // Made before the look at the shelf: a mail that arrives in between still wakes us.
            let arrival = self.inner.arrived.notified();
            if let Some(mail) = self.first_from(after) {
                return ReceivedMail::clone(&mail);
            }
            arrival.await;
        }
    }

    /// From now on the mail server behaves like this.
    pub fn set_fault(&self, fault: PostboxFault) {
        *self.inner.fault.lock() = fault;
    }

    fn fault(&self) -> PostboxFault {
        *self.inner.fault.lock()
    }

    /// How many mails were ever received.
    fn received(&self) -> usize {
        self.inner.shelf.lock().received
    }

    fn newest_first(&self) -> Vec<Arc<ReceivedMail>> {
        self.inner
            .shelf
            .lock()
            .mails
            .iter()
            .rev()
            .cloned()
            .collect()
    }

    fn first_from(&self, index: usize) -> Option<Arc<ReceivedMail>> {
        self.inner
            .shelf
            .lock()
            .mails
            .iter()
            .find(|mail| mail.index >= index)
            .cloned()
    }

    fn find(&self, index: usize) -> Option<Arc<ReceivedMail>> {
        self.first_from(index).filter(|mail| mail.index == index)
    }

    fn keep(&self, envelope: letter::Envelope, raw: Vec<u8>) {
        let mail = ReceivedMail::read(envelope, raw);
        self.inner.shelf.lock().add(mail);
        self.inner.arrived.notify_waiters();
    }
}

impl Shelf {
    fn add(&mut self, mut mail: ReceivedMail) {
        mail.index = self.received;
        self.received += 1;
        self.bytes += mail.raw.len();
        self.mails.push_back(Arc::new(mail));
        while self.mails.len() > MAILS_KEPT || self.bytes > BYTES_KEPT {
            let Some(oldest) = self.mails.pop_front() else {
                return;
            };
            self.bytes -= oldest.raw.len();
        }
    }
}
