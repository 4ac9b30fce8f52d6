//! What should have come of everything, kept apart from all that takes part in it.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{any, post};
use demo::postbox::Postbox;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// What an application that was sent must have become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The broker was told that it arrived.
    Told,
    /// The broker does not know.
    Unknown,
}

/// What was asked for by mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// One mail.
    Once,
    /// Nobody knows whether the gateway that was killed had put it into the outbox.
    Unknown,
}

#[derive(Default)]
pub(crate) struct Account {
    pages: AtomicUsize,
    put_off: AtomicUsize,
    broken_off: AtomicUsize,
    sign_ins: AtomicUsize,
    sign_outs: AtomicUsize,
    /// How often the application took this one, and whose it was.
    taken: Mutex<HashMap<u64, Vec<String>>>,
    sent: Mutex<HashMap<u64, (String, Sent)>>,
    asked: Mutex<HashMap<String, Asked>>,
    mailed: Mutex<HashMap<String, usize>>,
    wrong: Mutex<Vec<String>>,
    /// Whether a mail's acceptance may have been lost: then it is sent once more (README, "Honest limits").
    twice_is_possible: AtomicBool,
}

impl Account {
    pub(crate) fn page(&self) {
        self.pages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn put_off(&self) {
        self.put_off.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn broken_off(&self) {
        self.broken_off.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn signed_in(&self) {
        self.sign_ins.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn signed_out(&self) {
        self.sign_outs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, id: u64, vtnr: &str, sent: Sent) {
        self.sent
            .lock()
            .expect("no panic")
            .insert(id, (vtnr.to_owned(), sent));
    }

    pub(crate) fn asked(&self, email: &str, asked: Asked) {
        self.asked
            .lock()
            .expect("no panic")
            .insert(email.to_owned(), asked);
    }

    /// The mail server fell silent, or a gateway was killed, perhaps between a mail's end and the note that it was taken.
    pub(crate) fn acceptances_may_be_lost(&self) {
        self.twice_is_possible.store(true, Ordering::Relaxed);
    }

    /// Notes what must not be.
    pub(crate) fn expect(&self, is_so: bool, otherwise: impl FnOnce() -> String) {
        if !is_so {
            self.wrong.lock().expect("no panic").push(otherwise());
        }
    }

    /// Counts mails as they come, since the postbox keeps the last thousand only.
    pub(crate) async fn collect(self: Arc<Self>, postbox: Postbox) {
        let mut next = 0;
        loop {
            for mail in postbox
                .mails()
                .into_iter()
                .filter(|mail| mail.index >= next)
                .collect::<Vec<_>>()
            {
                next = mail.index + 1;
                for to in &mail.to {
                    *self
                        .mailed
                        .lock()
                        .expect("no panic")
                        .entry(to.clone())
                        .or_insert(0) += 1;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Compares, once all mails that were asked for have had time to come.
    pub(crate) async fn settle(&self) {
        let asked = self.asked.lock().expect("no panic").clone();
        let count = |email: &str| {
            self.mailed
                .lock()
                .expect("no panic")
                .get(email)
                .copied()
                .unwrap_or(0)
        };
        for _ in 0..1_800 {
            if asked
                .iter()
                .all(|(email, asked)| *asked == Asked::Unknown || count(email) > 0)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for (email, asked) in asked {
            let mails = count(&email);
            let most = if self.twice_is_possible.load(Ordering::Relaxed) {
                2
            } else {
                1
            };
            let is_right = mails <= most && (mails > 0 || asked == Asked::Unknown);
            self.expect(is_right, || {
                format!("{mails} mails to {email}, asked: {asked:?}")
            });
        }
        let taken = self.taken.lock().expect("no panic").clone();
        for (id, (vtnr, sent)) in self.sent.lock().expect("no panic").iter() {
            let by = taken.get(id).cloned().unwrap_or_default();
            let is_right = by.iter().all(|by| by == vtnr)
                && if *sent == Sent::Told {
                    by.len() == 1
                } else {
                    by.len() <= 1
                };
            self.expect(is_right, || {
                format!("application {id} of {vtnr}, {sent:?}: taken of {by:?}")
            });
        }
        let all_known = taken
            .keys()
            .all(|id| self.sent.lock().expect("no panic").contains_key(id));
        self.expect(all_known, || {
            "an application arrived that nobody sent".to_owned()
        });
    }

    pub(crate) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("no panic").clone()
    }

    /// Whether anything worth telling was done.
    pub(crate) fn is_plausible(&self) -> bool {
        let sent = self
            .sent
            .lock()
            .expect("no panic")
            .values()
            .filter(|(_, sent)| *sent == Sent::Told)
            .count();
        self.pages.load(Ordering::Relaxed) > 100
            && self.sign_ins.load(Ordering::Relaxed) > 5
            && sent > 10
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.sent.lock().expect("no panic");
        let told = sent
            .values()
            .filter(|(_, sent)| *sent == Sent::Told)
            .count();
        write!(
            f,
            "{} pages, {told} applications sent and {} of unknown fate, {} sign-ins, {} sign-outs, {} mails; {} answers \"later\", {} broken off",
            self.pages.load(Ordering::Relaxed),
            sent.len() - told,
            self.sign_ins.load(Ordering::Relaxed),
            self.sign_outs.load(Ordering::Relaxed),
            self.mailed
                .lock()
                .expect("no panic")
                .values()
                .sum::<usize>(),
            self.put_off.load(Ordering::Relaxed),
            self.broken_off.load(Ordering::Relaxed),
        )
    }
}

fn whose(headers: &HeaderMap) -> String {
    headers
        .get("x-vtnr")
        .and_then(|vtnr| vtnr.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// An application that says whose request it is, and takes applications.
pub(crate) async fn application(listener: TcpListener, account: Arc<Account>) {
    let take =
        async |State(account): State<Arc<Account>>, Path(id): Path<u64>, headers: HeaderMap| {
            account
                .taken
                .lock()
                .expect("no panic")
                .entry(id)
                .or_default()
                .push(whose(&headers));
            format!("taken of {}", whose(&headers))
        };
    let app = axum::Router::new()
        .route("/antrag/versand/{id}", post(take))
        .fallback(any(async |headers: HeaderMap| {
            format!("page of {}", whose(&headers))
        }))
        .with_state(account);
    axum::serve(listener, app).await.expect("it serves");
}
