//! All brokers at one time.

use super::BrokerList;
use super::holders::Holders;
use crate::identity::certificate::Holder;
use domain::email::Email;
use domain::time::Timestamp;
use domain::vtnr::Vtnr;

/// All brokers, as their source had them when it was read.
pub struct Snapshot {
    /// In the order of their numbers, each once: half the memory of a hash map.
    brokers: Box<[Broker]>,
    holders: Holders,
    generation: u64,
    loaded_at: Timestamp,
}

/// A broker. It has no `Debug`, since a log must never show number and e-mail address together.
pub struct Broker {
    vtnr: Vtnr,
    emails: Box<[Email]>,
}

impl Snapshot {
    /// Joins the addresses of each broker.
    pub(super) fn new(list: BrokerList, generation: u64, loaded_at: Timestamp) -> Self {
        let BrokerList {
            brokers: mut lines,
            holders,
        } = list;
        // Stable: addresses of a broker stay in their order.
        lines.sort_by_key(|(vtnr, _)| *vtnr);
        let mut brokers = Vec::with_capacity(lines.len());
        let mut lines = lines.into_iter().peekable();
        while let Some((vtnr, first)) = lines.next() {
            let mut emails: Vec<Email> = first.into_iter().collect();
            while let Some((_, further)) = lines.next_if(|(next, _)| *next == vtnr) {
                emails.extend(further.filter(|email| !emails.contains(email)));
            }
            brokers.push(Broker {
                vtnr,
                emails: emails.into(),
            });
        }
        Self {
            brokers: brokers.into(),
            holders,
            generation,
            loaded_at,
        }
    }

    /// The broker with this number.
    pub fn find(&self, vtnr: Vtnr) -> Option<&Broker> {
        let at = self
            .brokers
            .binary_search_by_key(&vtnr, |broker| broker.vtnr)
            .ok()?;
        self.brokers.get(at)
    }

    /// The broker whose certificate names this holder.
    pub fn find_holder(&self, holder: &Holder) -> Option<Vtnr> {
        self.holders.find(holder)
    }

    /// The number of brokers.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a source without brokers is refused"
    )]
    pub fn len(&self) -> usize {
        self.brokers.len()
    }

    /// Rises by one with each change of the brokers, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When the source was read.
    pub fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }

    /// Whether brokers, addresses and certificates are the same.
    pub(super) fn has_the_brokers_of(&self, other: &Self) -> bool {
        // Spellings count too: mail goes to the address as it is on file.
        let is_same = |(one, other): (&Broker, &Broker)| {
            let emails = one.emails.iter().map(Email::as_str);
            one.vtnr == other.vtnr && emails.eq(other.emails.iter().map(Email::as_str))
        };
        self.len() == other.len()
            && self.brokers.iter().zip(&other.brokers).all(is_same)
            && self.holders == other.holders
    }

    /// How many of these brokers `other` does not have.
    pub(super) fn count_missing_in(&self, other: &Self) -> usize {
        self.brokers
            .iter()
            .filter(|broker| other.find(broker.vtnr).is_none())
            .count()
    }
}

impl Broker {
    pub fn vtnr(&self) -> Vtnr {
        self.vtnr
    }

    /// The addresses on file, in the order of the source; may be empty.
    pub fn emails(&self) -> &[Email] {
        &self.emails
    }

    /// The address on file that equals the one typed: mail goes to what is on file, never to what was typed.
    pub fn confirms(&self, typed: &Email) -> Option<&Email> {
        self.emails.iter().find(|on_file| *on_file == typed)
    }
}
