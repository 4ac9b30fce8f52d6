//! What the calculator remembers, all of it bounded.

use super::tariff::Risk;
use http::{HeaderMap, Method};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::VecDeque;

/// How many requests, submissions and sessions are kept, and how many offers in each session.
const KEPT: usize = 1_000;
const OFFERS_KEPT: usize = 50;
/// How many bytes of submitted forms are kept, whatever their number.
const BYTES_KEPT: usize = 64 << 20;
/// The sample offer that every session can open, so that a deep link to `/kfz/angebot?id=42` leads somewhere.
const SAMPLE: u32 = 42;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    pub method: Method,
    /// The request target, as it was sent.
    pub target: String,
    pub headers: HeaderMap,
}

/// An application sent in electronically.
#[derive(Clone, Debug)]
pub struct SubmittedApplication {
    /// The receipt number, `AE-000001` the first.
    pub receipt: String,
    /// The header `X-VTNR`, if it came along.
    pub vtnr: Option<String>,
    /// The `Content-Type`; empty if there was none.
    pub content_type: String,
    /// The fields of an urlencoded form in their order, read as ISO-8859-1.
    pub fields: Vec<(String, String)>,
    /// The body as it arrived.
    pub body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) id: u32,
    pub(super) risk: Risk,
}

#[derive(Default)]
pub(super) struct CalculatorMemory {
    requests: VecDeque<SeenRequest>,
    submissions: VecDeque<SubmittedApplication>,
    submitted: usize,
    sessions: VecDeque<DemoSession>,
    offered: u32,
}

struct DemoSession {
    id: String,
    offers: VecDeque<Offer>,
}

impl CalculatorMemory {
    pub(super) fn requests(&self) -> Vec<SeenRequest> {
        self.requests.iter().cloned().collect()
    }

    pub(super) fn submissions(&self) -> Vec<SubmittedApplication> {
        self.submissions.iter().cloned().collect()
    }

    pub(super) fn saw(&mut self, request: SeenRequest) {
        push(&mut self.requests, request, KEPT);
    }

    /// Counts every submission, the same one sent twice as two, and gives the receipt number.
    pub(super) fn submit(&mut self, mut submission: SubmittedApplication) -> String {
        self.submitted += 1;
        submission.receipt = format!("AE-{:06}", self.submitted);
        let receipt = submission.receipt.clone();
        push(&mut self.submissions, submission, KEPT);
        while self
            .submissions
            .iter()
            .map(|submission| submission.body.len())
            .sum::<usize>()
            > BYTES_KEPT
        {
            self.submissions.pop_front();
        }
        receipt
    }

    pub(super) fn knows(&self, session: &str) -> bool {
        self.sessions.iter().any(|known| known.id == session)
    }

    pub(super) fn begin_session(&mut self) -> String {
        let id = session_id();
        push(
            &mut self.sessions,
            DemoSession {
                id: id.clone(),
                offers: VecDeque::new(),
            },
            KEPT,
        );
        id
    }

    pub(super) fn offers(&self, session: &str) -> Vec<Offer> {
        let own = self
            .sessions
            .iter()
            .filter(|known| known.id == session)
            .flat_map(|known| known.offers.iter());
        own.cloned().collect()
    }

    pub(super) fn offer(&self, session: &str, id: u32) -> Option<Offer> {
        let own = self
            .offers(session)
            .into_iter()
            .find(|offer| offer.id == id);
        own.or_else(|| {
            (id == SAMPLE).then(|| Offer {
                id,
                risk: Risk::sample(),
            })
        })
    }

    pub(super) fn keep_offer(&mut self, session: &str, risk: Risk) -> u32 {
        self.offered = self.offered.wrapping_add(1);
        let id = SAMPLE.wrapping_add(self.offered);
        if let Some(session) = self.sessions.iter_mut().find(|known| known.id == session) {
            push(&mut session.offers, Offer { id, risk }, OFFERS_KEPT);
        }
        id
    }
}

fn push<T>(kept: &mut VecDeque<T>, newest: T, most: usize) {
    kept.push_back(newest);
    if kept.len() > most {
        kept.pop_front();
    }
}

/// 32 hexadecimal digits, as servlet containers make them. Nothing of the gateway's depends on this chance.
fn session_id() -> String {
    let mut bytes = [0_u8; 16];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::warn!("no randomness for a demo session");
    }
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
