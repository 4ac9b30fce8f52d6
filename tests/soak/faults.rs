//! What goes wrong, and when it did.

use crate::account::Account;
use crate::dice::Dice;
use crate::support::{Gateway, World};
use demo::postbox::PostboxFault as MailFault;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long after a fault something may still fail because of it: what had begun before ends, what was lost is noticed.
const AFTERMATH: Duration = Duration::from_secs(5);

/// What a broker may notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A gateway is killed, or hangs: its connections break off.
    Gateway,
    /// Redis does not answer.
    Redis,
    /// The mail server takes nothing.
    Mail,
    /// A gateway ends in good order. Nobody notices.
    Restart,
}

#[derive(Default)]
pub(crate) struct Faults {
    all: Mutex<Vec<(Kind, Instant, Option<Instant>)>>,
}

impl Faults {
    /// One of them, from its beginning to its end.
    pub(crate) async fn happen(
        &self,
        dice: &mut Dice,
        gateways: &mut [Gateway],
        world: &World,
        account: &Account,
    ) {
        let number = dice.below(gateways.len() as u64) as usize;
        let gateway = &mut gateways[number];
        let a_while = Duration::from_millis(500 + dice.below(3_000));
        match dice.below(7) {
            0 => {
                let _fault = self.begin(Kind::Gateway);
                account.acceptances_may_be_lost();
                gateway.kill();
                tokio::time::sleep(a_while).await;
                gateway.restart().await;
            }
            1 => {
                let _fault = self.begin(Kind::Gateway);
                gateway.signal("STOP");
                tokio::time::sleep(a_while).await;
                gateway.signal("CONT");
                gateway.ready().await;
            }
            2 | 3 => {
                let _fault = self.begin(Kind::Restart);
                gateway.signal("TERM");
                assert_eq!(gateway.end().await, Some(0));
                gateway.restart().await;
            }
            4 => {
                let _fault = self.begin(Kind::Redis);
                let redis = world.redis.as_ref().expect("a redis-server");
                redis.lock().expect("no panic").signal("STOP");
                tokio::time::sleep(a_while).await;
                redis.lock().expect("no panic").signal("CONT");
            }
            5 => {
                let _fault = self.begin(Kind::Redis);
                let redis = world.redis.as_ref().expect("a redis-server");
                redis.lock().expect("no panic").kill();
                tokio::time::sleep(a_while).await;
                redis.lock().expect("no panic").restart();
            }
            _ => {
                let _fault = self.begin(Kind::Mail);
                account.acceptances_may_be_lost();
                world.postbox.set_fault(if dice.one_in(2) {
                    MailFault::PutOff
                } else {
                    MailFault::Freeze
                });
                tokio::time::sleep(a_while).await;
                world.postbox.set_fault(MailFault::None);
            }
        }
    }

    fn begin(&self, kind: Kind) -> UnderWay<'_> {
        let mut all = self.all.lock().expect("no panic");
        all.push((kind, Instant::now(), None));
        UnderWay {
            faults: self,
            number: all.len() - 1,
        }
    }

    /// Whether one of this kind may be why something went wrong that began then and is over now.
    pub(crate) fn may_have_caused(&self, kind: Kind, begun: Instant) -> bool {
        let has_touched = |(one, _, ended): &(Kind, Instant, Option<Instant>)| {
            *one == kind && ended.is_none_or(|ended| ended + AFTERMATH > begun)
        };
        self.all.lock().expect("no panic").iter().any(has_touched)
    }

    pub(crate) fn summary(&self) -> String {
        let mut counts = BTreeMap::new();
        for (kind, ..) in self.all.lock().expect("no panic").iter() {
            *counts.entry(*kind).or_insert(0) += 1;
        }
        format!("faults: {counts:?}")
    }
}

struct UnderWay<'a> {
    faults: &'a Faults,
    number: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Ok(mut all) = self.faults.all.lock() {
            all[self.number].2 = Some(Instant::now());
        }
    }
}
