//! What the portal said, for as long as it counts, and what it is being asked.

use super::PortalAnswer;
use domain::vtnr::Vtnr;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// So many times a no is remembered: anybody can fill this.
const MOST_NOES: usize = 4_096;
/// Where there is no more room, one in so many has to go.
const GO: usize = 8;

/// By the digest of the cookies that were asked about.
type Sum = [u8; 32];

pub(super) struct Answers {
    most: usize,
    /// Only who is signed in at the portal has a place here. Those who do not count any more stay until it is needed: the same answer
    /// anew is no new sign-in.
    signed_in: HashMap<Sum, KnownAnswer>,
    nobody: HashMap<Sum, Instant>,
    /// Gone when nobody waits for them any more.
    questions: HashMap<Sum, Weak<OnceCell<PortalAnswer>>>,
}

#[derive(Clone, Copy)]
struct KnownAnswer {
    vtnr: Vtnr,
    until: Instant,
}

impl Answers {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
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

    /// The question about these cookies, the same for all who ask it at once.
    pub(super) fn question(&mut self, sum: Sum) -> Arc<OnceCell<PortalAnswer>> {
        if let Some(question) = self.questions.get(&sum).and_then(Weak::upgrade) {
            return question;
        }
        // Those whose askers all went away.
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

    /// The question was answered, and the answer counts until then. Gives whom it names, unless the one before did so too.
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
                make_room(&mut self.signed_in, self.most, |known| now < known.until);
                self.nobody.remove(&sum);
                self.signed_in.insert(sum, KnownAnswer { vtnr, until });
                (before.map(|known| known.vtnr) != Some(vtnr)).then_some(vtnr)
            }
            PortalAnswer::Nobody => {
                make_room(&mut self.nobody, MOST_NOES, |until| now < *until);
                self.signed_in.remove(&sum);
                self.nobody.insert(sum, until);
                None
            }
            PortalAnswer::Unavailable => None,
        }
    }
}

/// Where there is none, drops what does not count any more, and if that is not enough some of the others, whichever: they can be asked
/// about again. Never all, or one broker who has many cookies made up would take everybody's place.
fn make_room<V>(answers: &mut HashMap<Sum, V>, most: usize, counts: impl Fn(&V) -> bool) {
    if answers.len() < most {
        return;
    }
    answers.retain(|_, answer| counts(answer));
    let mut surplus = answers.len().saturating_sub(most - most.div_ceil(GO));
    answers.retain(|_, _| {
        let goes = surplus > 0;
        surplus -= usize::from(goes);
        !goes
    });
}
