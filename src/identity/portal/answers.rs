//! The portal's cached answers, and the checks in flight.

use super::PortalAnswer;
use domain::vtnr::Vtnr;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// The maximum number of cached negative answers, which anybody can cause.
const MAX_NEGATIVE: usize = 4_096;
/// A full cache evicts one entry in eight.
const EVICTED: usize = 8;

/// The digest of the cookies that were checked.
type Sum = [u8; 32];

pub(super) struct Answers {
    max: usize,
    /// Positive answers. Expired ones stay until their room is needed: the same answer again is not a new sign-in.
    signed_in: HashMap<Sum, KnownAnswer>,
    nobody: HashMap<Sum, Instant>,
    /// Checks in flight, shared by all callers; an entry is dead once no caller waits.
    questions: HashMap<Sum, Weak<OnceCell<PortalAnswer>>>,
}

#[derive(Clone, Copy)]
struct KnownAnswer {
    vtnr: Vtnr,
    until: Instant,
}

impl Answers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            signed_in: HashMap::new(),
            nobody: HashMap::new(),
            questions: HashMap::new(),
        }
    }

    pub(super) fn find(&self, sum: &Sum, now: Instant) -> Option<PortalAnswer> {
        let yes = self
            .signed_in
            .get(sum)
            .filter(|known| now < known.until)
            .map(|known| PortalAnswer::SignedIn(known.vtnr));
        yes.or_else(|| {
            self.nobody
                .get(sum)
                .filter(|until| now < **until)
                .map(|_| PortalAnswer::Nobody)
        })
    }

    /// Returns the check of these cookies, shared by all concurrent callers.
    pub(super) fn question(&mut self, sum: Sum) -> Arc<OnceCell<PortalAnswer>> {
        if let Some(question) = self.questions.get(&sum).and_then(Weak::upgrade) {
            return question;
        }
        // Remove checks that all callers have abandoned.
        self.questions
            .retain(|_, question| question.strong_count() > 0);
        let question = Arc::default();
        self.questions.insert(sum, Arc::downgrade(&question));
        question
    }

    #[cfg(test)]
    pub(super) fn open_questions(&self) -> usize {
        self.questions.len()
    }

    /// Caches an answer until `until`. Returns the broker it names, unless the previous answer named the same one.
    pub(super) fn answered(
        &mut self,
        sum: Sum,
        answer: PortalAnswer,
        until: Instant,
        now: Instant,
        question: &Arc<OnceCell<PortalAnswer>>,
    ) -> Option<Vtnr> {
        if self
            .questions
            .get(&sum)
            .is_some_and(|asked| std::ptr::eq(asked.as_ptr(), Arc::as_ptr(question)))
        {
            self.questions.remove(&sum);
        }
        match answer {
            PortalAnswer::SignedIn(vtnr) => {
                let before = self.signed_in.remove(&sum);
                make_room(&mut self.signed_in, self.max, |known| now < known.until);
                self.nobody.remove(&sum);
                self.signed_in.insert(sum, KnownAnswer { vtnr, until });
                (before.map(|known| known.vtnr) != Some(vtnr)).then_some(vtnr)
            }
            PortalAnswer::Nobody => {
                make_room(&mut self.nobody, MAX_NEGATIVE, |until| now < *until);
                self.signed_in.remove(&sum);
                self.nobody.insert(sum, until);
                None
            }
            PortalAnswer::Unavailable => None,
        }
    }
}

/// Makes room for one entry: removes expired ones, and if that is not enough some others, in no order; they can be checked again.
/// Never removes all, so that a broker with many made-up cookies cannot evict everybody.
fn make_room<V>(answers: &mut HashMap<Sum, V>, most: usize, counts: impl Fn(&V) -> bool) {
    if answers.len() < most {
        return;
    }
    answers.retain(|_, answer| counts(answer));
    let mut surplus = answers.len().saturating_sub(most - most.div_ceil(EVICTED));
    answers.retain(|_, _| {
        let goes = surplus > 0;
        surplus -= usize::from(goes);
        !goes
    });
}
