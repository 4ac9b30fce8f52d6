//! What the portal said, for as long as it counts, and what it is being asked.

use super::Answer;
use crate::domain::time::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::OnceCell;

/// So many times a no is remembered: anybody can fill this.
const MOST_NOES: usize = 4_096;

/// By the digest of the cookies that were asked about.
type Sum = [u8; 32];

/// The answers.
pub(super) struct Answers {
    most: usize,
    /// Only who is signed in at the portal has a place here.
    signed_in: HashMap<Sum, (Answer, Timestamp)>,
    nobody: HashMap<Sum, Timestamp>,
    /// Gone when nobody waits for them any more.
    questions: HashMap<Sum, Weak<OnceCell<Answer>>>,
}

impl Answers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, signed_in: HashMap::new(), nobody: HashMap::new(), questions: HashMap::new() }
    }

    pub(super) fn find(&self, sum: &Sum, now: Timestamp) -> Option<Answer> {
        let yes = self.signed_in.get(sum).filter(|(_, until)| now < *until).map(|(answer, _)| *answer);
        yes.or_else(|| self.nobody.get(sum).filter(|until| now < **until).map(|_| Answer::Nobody))
    }

    /// The question about these cookies, the same for all who ask it at once.
    pub(super) fn question(&mut self, sum: Sum) -> Arc<OnceCell<Answer>> {
        if let Some(question) = self.questions.get(&sum).and_then(Weak::upgrade) {
            return question;
        }
        // Those whose askers all went away.
        self.questions.retain(|_, question| question.strong_count() > 0);
        let question = Arc::default();
        self.questions.insert(sum, Arc::downgrade(&question));
        question
    }

    #[cfg(test)]
    pub(super) fn open_questions(&self) -> usize {
        self.questions.len()
    }

    /// The question was answered, and the answer counts until then.
    pub(super) fn answered(
        &mut self,
        sum: Sum,
        answer: Answer,
        until: Timestamp,
        now: Timestamp,
        question: &Arc<OnceCell<Answer>>,
    ) {
        if self.questions.get(&sum).is_some_and(|asked| std::ptr::eq(asked.as_ptr(), Arc::as_ptr(question))) {
            self.questions.remove(&sum);
        }
        match answer {
            Answer::SignedIn(_) => {
                make_room(&mut self.signed_in, self.most, |(_, until)| now < *until);
                self.nobody.remove(&sum);
                self.signed_in.insert(sum, (answer, until));
            }
            Answer::Nobody => {
                make_room(&mut self.nobody, MOST_NOES, |until| now < *until);
                self.signed_in.remove(&sum);
                self.nobody.insert(sum, until);
            }
            Answer::Unavailable => {}
        }
    }
}

/// Drops what does not count any more, and where that is not enough, everything: it can be asked again.
fn make_room<V>(answers: &mut HashMap<Sum, V>, most: usize, counts: impl Fn(&V) -> bool) {
    if answers.len() >= most {
        answers.retain(|_, answer| counts(answer));
    }
    if answers.len() >= most {
        answers.clear();
    }
}
