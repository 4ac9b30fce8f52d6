use super::backoff::secs;
use super::*;
use crate::live::Live;
use crate::mail::Smtp;
use crate::mail::testing::{
    ADDRESS, ASKED_AT, FakeStore, HOUR, Relay, ScriptedFault, TAN, brand, eventually, letter,
    login, mail,
};
use async_trait::async_trait;
use lettre::Message;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A sender that returns scripted results, and then `Accepted`.
#[derive(Clone, Default)]
struct Told {
    answers: Arc<Mutex<VecDeque<DeliveryResult>>>,
    sent: Arc<Mutex<Vec<String>>>,
    /// A delay before the guard is asked to confirm.
    dawdles: Duration,
    begun: Arc<Mutex<usize>>,
    takes: Duration,
}

#[async_trait]
impl MailSender for Told {
    async fn send(&self, message: &Message, guard: &dyn SendGuard) -> DeliveryResult {
        *self.begun.lock() += 1;
        tokio::time::sleep(self.dawdles).await;
        if let Err(instead) = guard.confirm().await {
            return instead;
        }
        self.sent
            .lock()
            .push(String::from_utf8_lossy(&message.formatted()).into_owned());
        tokio::time::sleep(self.takes).await;
        self.answers
            .lock()
            .pop_front()
            .unwrap_or(DeliveryResult::Accepted)
    }
}

impl Told {
    fn that(answers: impl IntoIterator<Item = DeliveryResult>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Self::default()
        }
    }
}

fn later() -> DeliveryResult {
    DeliveryResult::Deferred(SmtpError {
        stage: SmtpStage::To,
        cause: SmtpErrorKind::Reply {
            code: 451,
            status: None,
        },
    })
}

/// A running outbox.
struct Office {
    store: Arc<FakeStore>,
    clock: Clock,
    metrics: Arc<Metrics>,
    wakeup: Arc<Notify>,
    trouble: MailTrouble,
    in_flight: InFlightMails,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Office {
    fn open(
        sender: impl MailSender + 'static,
        config: config::MailConfig,
        letters: Vec<Letter>,
    ) -> Self {
        let clock = Clock::manual(ASKED_AT);
        let store = Arc::new(FakeStore::new(&clock));
        letters.into_iter().for_each(|letter| store.put(letter));
        Self::open_with(sender, config, clock, store)
    }

    fn open_with(
        sender: impl MailSender + 'static,
        config: config::MailConfig,
        clock: Clock,
        store: Arc<FakeStore>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new().expect("registered"));
        let writer = Writer::new(&config, &login(), &brand()).expect("sound");
        let shared = Arc::clone(&store) as Arc<dyn OutboxStore>;
        let outbox = Outbox::new(
            shared,
            sender,
            Live::new(writer),
            Arc::clone(&metrics),
            clock.clone(),
            &config,
        );
        let (wakeup, trouble, in_flight) = (outbox.wakeup(), outbox.trouble(), outbox.in_flight());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(outbox.run(async move { drop(stopped.await) }));
        Self {
            store,
            clock,
            metrics,
            wakeup,
            trouble,
            in_flight,
            stop,
            running,
        }
    }

    async fn after_notes(&self, count: usize) -> Vec<Delivery> {
        eventually("a note", || self.store.notes().len() >= count).await;
        self.store.notes()
    }

    async fn close(self) {
        drop(self.stop);
        tokio::time::timeout(secs(5), self.running)
            .await
            .expect("closed in time")
            .expect("no panic");
    }

    fn counts(&self, line: &str) {
        let text = self.metrics.render().expect("rendered");
        assert!(
            text.contains(&format!("\nvtnr_gateway_{line}\n")),
            "{line} is missing from\n{text}"
        );
    }
}

#[tokio::test]
async fn a_letter_leaves_once_and_its_15_minutes_count_from_then() {
    let relay = Relay::start(&[]);
    let smtp = Smtp::new(&mail(relay.port), Clock::manual(ASKED_AT)).expect("sound");
    let office = Office::open(smtp, mail(relay.port), vec![letter(1)]);
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Accepted { at: ASKED_AT }]
    );
    assert_eq!(relay.mails().len(), 1);
    assert!(office.store.is_empty());
    office.counts("mails_total{outcome=\"accepted\"} 1");
    office.close().await;
}

#[tokio::test]
async fn a_letter_that_is_put_off_leaves_when_the_server_is_back_and_names_the_new_time() {
    let relay = Relay::start(&[ScriptedFault::Say("RCPT", "451 4.7.1 later")]);
    let smtp = Smtp::new(&mail(relay.port), Clock::manual(ASKED_AT)).expect("sound");
    let office = Office::open(smtp, mail(relay.port), vec![letter(1)]);
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Delayed {
            next_try_at: ASKED_AT.plus(secs(5))
        }]
    );
    assert_eq!(
        office.trouble.now(),
        Some(format!("localhost:{}: RCPT TO: 451 4.7.1", relay.port))
    );
    office.clock.advance(secs(60));
    office.wakeup.notify_one();
    assert_eq!(
        office.after_notes(2).await[1],
        Delivery::Accepted {
            at: ASKED_AT.plus(secs(60))
        }
    );
    assert_eq!(office.trouble.now(), None);
    assert!(
        String::from_utf8_lossy(&relay.mails()[0]).contains("14:18"),
        "14:03:30 and 15 minutes"
    );
    office.counts("mails_total{outcome=\"delayed\"} 1");
    office.counts("mail_delay_seconds_sum 60");
    office.close().await;
}

#[tokio::test]
async fn attempts_grow_rarer_and_end_with_the_sign_in() {
    let told = Told::that(std::iter::repeat_n(later(), 100));
    let office = Office::open(told.clone(), mail(25), vec![letter(1)]);
    let mut waits = Vec::new();
    loop {
        match office.after_notes(waits.len() + 1).await.last() {
            Some(Delivery::Delayed { next_try_at }) => {
                let wait = next_try_at.after(office.clock.now());
                waits.push(wait.as_secs());
                office.clock.advance(wait);
                office.wakeup.notify_one();
            }
            Some(Delivery::Refused { at }) => {
                assert!(*at < ASKED_AT.plus(HOUR));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waits[..7], [5, 15, 45, 60, 120, 120, 120]);
    assert!(waits.iter().sum::<u64>() < HOUR.as_secs());
    assert_eq!(told.sent.lock().len(), waits.len() + 1);
    office.counts("mails_total{outcome=\"dropped\"} 1");
    office.close().await;
}

#[tokio::test]
async fn a_letter_that_is_refused_leaves_the_outbox_unsent() {
    let error = SmtpError {
        stage: SmtpStage::To,
        cause: SmtpErrorKind::Reply {
            code: 550,
            status: None,
        },
    };
    let office = Office::open(
        Told::that([DeliveryResult::Refused(error)]),
        mail(25),
        vec![letter(1)],
    );
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Refused { at: ASKED_AT }]
    );
    assert!(office.store.is_empty());
    office.counts("mails_total{outcome=\"refused\"} 1");
    office.close().await;
}

#[tokio::test]
async fn a_letter_whose_sign_in_is_over_is_never_sent() {
    let told = Told::default();
    let too_late = Letter {
        not_after: ASKED_AT,
        ..letter(1)
    };
    let office = Office::open(told.clone(), mail(25), vec![too_late]);
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Refused { at: ASKED_AT }]
    );
    assert!(told.sent.lock().is_empty());
    office.counts("mails_total{outcome=\"dropped\"} 1");
    office.close().await;
}

#[tokio::test]
async fn a_letter_that_leaves_the_outbox_while_the_server_lets_it_wait_is_not_sent() {
    let relay = Relay::start(&[ScriptedFault::Pause("RCPT")]);
    let smtp = Smtp::new(&mail(relay.port), Clock::manual(ASKED_AT)).expect("sound");
    let office = Office::open(smtp, mail(relay.port), vec![letter(1)]);
    eventually("it is under way", || !relay.recipients().is_empty()).await;
    office.store.withdraw(letter(1).id);
    eventually("it is given up", || {
        let counted = office.metrics.render().expect("rendered");
        counted.contains("mails_total{outcome=\"withdrawn\"} 1")
    })
    .await;
    assert_eq!((office.store.notes(), relay.mails().len()), (vec![], 0));
    office.close().await;
}

#[tokio::test]
async fn a_letter_that_the_store_cannot_confirm_is_not_sent_now() {
    let relay = Relay::start(&[ScriptedFault::Pause("RCPT")]);
    let smtp = Smtp::new(&mail(relay.port), Clock::manual(ASKED_AT)).expect("sound");
    let office = Office::open(
        smtp,
        config::MailConfig {
            connections: 1,
            ..mail(relay.port)
        },
        vec![letter(1)],
    );
    eventually("it is under way", || !relay.recipients().is_empty()).await;
    office.store.fail(1);
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Delayed {
            next_try_at: ASKED_AT.plus(secs(5))
        }]
    );
    assert_eq!((relay.mails().len(), office.trouble.now()), (0, None));
    office.close().await;
}

#[tokio::test]
async fn a_decoy_counts_as_taken_and_is_never_sent() {
    let told = Told::default();
    let office = Office::open(
        told.clone(),
        mail(25),
        vec![Letter {
            to: None,
            ..letter(1)
        }],
    );
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Accepted { at: ASKED_AT }]
    );
    assert!(told.sent.lock().is_empty());
    office.counts("mails_total{outcome=\"decoy\"} 1");
    office.close().await;
}

#[tokio::test]
async fn the_bell_sends_a_letter_at_once_and_several_workers_share_a_burst() {
    let told = Told {
        takes: Duration::from_millis(500),
        ..Told::default()
    };
    let office = Office::open(
        told.clone(),
        config::MailConfig {
            connections: 4,
            ..mail(25)
        },
        vec![],
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    (1..=4).for_each(|id| office.store.put(letter(id)));
    let begun = std::time::Instant::now();
    office.wakeup.notify_one();
    office.after_notes(4).await;
    assert!(
        begun.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(told.sent.lock().len(), 4);
    office.close().await;
}

#[tokio::test]
async fn without_a_bell_a_letter_leaves_within_a_few_seconds() {
    let office = Office::open(Told::default(), mail(25), vec![]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    office.store.put(letter(1));
    let begun = std::time::Instant::now();
    office.after_notes(1).await;
    assert!(begun.elapsed() < secs(3), "{:?}", begun.elapsed());
    office.close().await;
}

#[tokio::test]
async fn while_the_store_fails_the_outbox_waits_and_goes_on_afterwards() {
    let clock = Clock::manual(ASKED_AT);
    let store = Arc::new(FakeStore::new(&clock));
    store.put(letter(1));
    store.fail(3);
    let office = Office::open_with(
        Told::default(),
        config::MailConfig {
            connections: 1,
            ..mail(25)
        },
        clock,
        store,
    );
    for _ in 0..20 {
        office.wakeup.notify_one();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        office.store.calls() <= 2,
        "{} calls in 0.2 s",
        office.store.calls()
    );
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Accepted { at: ASKED_AT }]
    );
    office.close().await;
}

#[tokio::test]
async fn after_an_outage_that_leases_did_not_survive_others_may_note_first_what_they_handed_over() {
    for (failures, is_long) in [(2, false), (14, true)] {
        let clock = Clock::manual(ASKED_AT);
        let store = Arc::new(FakeStore::new(&clock));
        store.fail(failures);
        store.put_back(letter(1));
        store.put(letter(2));
        let office = Office::open_with(
            Told::default(),
            config::MailConfig {
                connections: 1,
                ..mail(25)
            },
            clock,
            store,
        );
        office.after_notes(2).await;
        let rest = office.store.rest().expect("the first one was taken");
        assert_eq!(
            rest >= RECORD_FIRST,
            is_long,
            "{rest:?} after {failures} failures"
        );
        assert_eq!(
            office.store.noted(),
            if is_long { [2, 1] } else { [1, 2] },
            "nobody but this gateway can have sent the second one"
        );
        office.close().await;
    }
}

#[tokio::test]
async fn others_may_note_first_too_where_it_is_a_note_that_the_outage_held_up() {
    let told = Told {
        takes: Duration::from_millis(100),
        ..Told::default()
    };
    let office = Office::open(
        told.clone(),
        config::MailConfig {
            connections: 1,
            ..mail(25)
        },
        vec![letter(1)],
    );
    eventually("a delivery", || told.sent.lock().len() == 1).await;
    office.store.fail(28);
    office.store.put_back(letter(2));
    office.store.put(letter(3));
    office.after_notes(3).await;
    assert_eq!(office.store.noted(), [1, 3, 2]);
    office.close().await;
}

#[tokio::test]
async fn a_mail_that_was_taken_while_the_store_fails_is_noted_later_and_not_sent_twice() {
    let told = Told {
        takes: Duration::from_millis(100),
        ..Told::default()
    };
    let office = Office::open(
        told.clone(),
        config::MailConfig {
            connections: 1,
            ..mail(25)
        },
        vec![letter(1)],
    );
    eventually("a delivery", || told.sent.lock().len() == 1).await;
    office.store.fail(2);
    assert_eq!(
        office.after_notes(1).await,
        [Delivery::Accepted { at: ASKED_AT }]
    );
    assert_eq!(told.sent.lock().len(), 1);
    office.close().await;
}

#[tokio::test]
async fn a_shutdown_lets_a_hand_over_under_way_finish() {
    let told = Told {
        takes: Duration::from_secs(1),
        ..Told::default()
    };
    let office = Office::open(told.clone(), mail(25), vec![letter(1)]);
    let (store, in_flight) = (Arc::clone(&office.store), office.in_flight.clone());
    eventually("the server may have it, and has not said so", || {
        in_flight.now() == 1
    })
    .await;
    office.close().await;
    assert_eq!(store.notes(), [Delivery::Accepted { at: ASKED_AT }]);
    assert_eq!(in_flight.now(), 0);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_frozen_server_and_leaves_the_letter_to_others() {
    let told = Told {
        dawdles: HOUR,
        ..Told::default()
    };
    let config = config::MailConfig {
        timeout: Duration::from_millis(100),
        ..mail(25)
    };
    let office = Office::open(told.clone(), config, vec![letter(1)]);
    eventually("a delivery begins", || *told.begun.lock() == 1).await;
    let store = Arc::clone(&office.store);
    office.close().await;
    assert_eq!(
        store.notes(),
        [Delivery::Delayed {
            next_try_at: ASKED_AT
        }]
    );
}

#[tokio::test]
async fn a_shutdown_waits_for_the_answer_to_a_mail_that_may_be_out() {
    let told = Told {
        takes: Duration::from_millis(600),
        ..Told::default()
    };
    let config = config::MailConfig {
        timeout: Duration::from_millis(100),
        ..mail(25)
    };
    let office = Office::open(told.clone(), config, vec![letter(1)]);
    eventually("a delivery", || told.sent.lock().len() == 1).await;
    let store = Arc::clone(&office.store);
    office.close().await;
    assert_eq!(store.notes(), [Delivery::Accepted { at: ASKED_AT }]);
}

#[tokio::test]
async fn with_nothing_to_do_a_shutdown_takes_no_time() {
    let office = Office::open(Told::default(), mail(25), vec![]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = std::time::Instant::now();
    office.close().await;
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
}

/// Collects a test's log.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_names_letter_attempt_and_outcome_and_neither_tan_nor_address() {
    let page = Page::default();
    let writer = page.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let relay = Relay::start(&[
        ScriptedFault::Say("RCPT", "450 4.2.1 <ada.lovelace@makler.example> busy"),
        ScriptedFault::Say(".", "554 5.7.1 ada.lovelace@makler.example says no"),
    ]);
    let smtp = Smtp::new(&mail(relay.port), Clock::manual(ASKED_AT)).expect("sound");
    let office = Office::open(smtp, mail(relay.port), vec![letter(0xabc)]);
    office.after_notes(1).await;
    office.clock.advance(secs(5));
    office.wakeup.notify_one();
    office.after_notes(2).await;
    office.close().await;
    let log = String::from_utf8_lossy(&page.0.lock()).into_owned();
    for fact in [
        "00000abc",
        "attempt=1",
        "attempt=2",
        "delayed",
        "refused",
        "450 4.2.1",
        "554 5.7.1",
        "makler.example",
    ] {
        assert!(log.contains(fact), "{fact} is missing from\n{log}");
    }
    for secret in [TAN, ADDRESS, "ada"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}
