//! A form that was kept, on its way up in place of a request's own body.

use crate::held_forms::{Claimed, Forms};
use bytes::Bytes;
use domain::held_form::HeldForm;
use domain::time::Timestamp;

/// A form on its way up.
pub(crate) struct OutgoingForm {
    taken: Claimed,
    body: Bytes,
    length: usize,
    connected: bool,
}

impl OutgoingForm {
    pub(crate) fn of(mut taken: Claimed) -> Self {
        let body = Bytes::from(std::mem::take(&mut taken.body));
        Self {
            taken,
            length: body.len(),
            body,
            connected: false,
        }
    }

    pub(crate) fn form(&self) -> &HeldForm {
        &self.taken.form
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// What goes up in place of the press's own body, which is empty: once.
    pub(crate) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }

    /// A connection to the calculator stands.
    pub(crate) async fn connected(&mut self, forms: &Forms, now: Timestamp) {
        if !std::mem::replace(&mut self.connected, true) {
            forms.note_sent(&self.taken, now).await;
        }
    }

    /// The form as it was taken, unless a connection to the calculator stood and it may have gone up.
    pub(crate) fn into_unsent(self) -> Option<Claimed> {
        if self.connected {
            return None;
        }
        let mut taken = self.taken;
        taken.body = self.body.into();
        Some(taken)
    }
}
