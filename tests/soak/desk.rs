//! A desk at which one broker after the other works, each in a browser of their own.

use crate::account::{Account, Asked, Sent};
use crate::broker;
use crate::dice::Dice;
use crate::faults::{Faults, Kind};
use crate::support::browser::page;
use crate::support::world::tan_of;
use crate::support::{Answer, Balancer, Browser};
use demo::postbox::Postbox;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SIGN_OUT: &str = "/ui/login/de/abmelden";
/// Long enough for a fault of the mail server's, the wait after it, and the lease of a gateway that was killed.
const MAILED_WITHIN: Duration = Duration::from_secs(180);
/// After this, whoever was told "later" comes again.
const LATER: Duration = Duration::from_millis(200);
/// A sign-in may be put off for so long.
const SIGNED_IN_WITHIN: Duration = Duration::from_secs(60);

static NEXT_BROKER: AtomicUsize = AtomicUsize::new(0);
static NEXT_APPLICATION: AtomicU64 = AtomicU64::new(1);

pub(crate) struct Desk {
    dice: Dice,
    balancer: Arc<Balancer>,
    account: Arc<Account>,
    faults: Arc<Faults>,
    postbox: Postbox,
}

/// Who works here now.
struct Broker {
    vtnr: String,
    email: String,
    /// The browser, as it goes to each of the gateways.
    tabs: Vec<Browser>,
}

/// How a request went.
enum Went {
    Answered(Answer),
    /// 503: nothing was done, or nothing that doing it again would do twice.
    Later,
    /// No answer, or half of one.
    BrokenOff,
}

impl Desk {
    pub(crate) fn new(
        dice: Dice,
        balancer: Arc<Balancer>,
        account: Arc<Account>,
        faults: Arc<Faults>,
        postbox: Postbox,
    ) -> Self {
        Self {
            dice,
            balancer,
            account,
            faults,
            postbox,
        }
    }

    /// Works until it is over; gives the browser of whoever is signed in then.
    pub(crate) async fn work(mut self, over: Arc<AtomicBool>) -> Option<Browser> {
        while !over.load(Ordering::SeqCst) {
            let Some(broker) = self.sign_in().await else {
                continue;
            };
            if self.use_the_calculator(&broker, &over).await {
                return broker.tabs.into_iter().next();
            }
        }
        None
    }

    /// Signs the next broker in; `None` if that came to nothing, which the account knows if it should not have.
    async fn sign_in(&mut self) -> Option<Broker> {
        let (vtnr, email) = broker(NEXT_BROKER.fetch_add(1, Ordering::SeqCst));
        let first = Browser::new(&self.balancer.bases[0]);
        let broker = Broker {
            vtnr,
            email,
            tabs: self
                .balancer
                .bases
                .iter()
                .map(|base| first.at(base))
                .collect(),
        };
        let begun = Instant::now();
        let claim = [
            ("vtnr", broker.vtnr.as_str()),
            ("email", broker.email.as_str()),
        ];
        let answer = self.insist(&broker, &page("vtnr-login", "/"), &claim).await;
        let Some(answer) = answer else {
            // The gateway was gone; whether it had put a mail into the outbox is not known.
            self.account.asked(&broker.email, Asked::Unknown);
            return None;
        };
        if answer.status == 429 {
            // The claim before was answered "later", and had been taken: there is a mail, and no browser for it.
            self.account.asked(&broker.email, Asked::Unknown);
            let has_cause = [Kind::Redis, Kind::Gateway]
                .iter()
                .any(|kind| self.faults.may_have_caused(*kind, begun));
            self.account.expect(has_cause, || {
                format!("{}: told to wait for no reason", broker.vtnr)
            });
            return None;
        }
        let is_asked = answer
            .location()
            .is_some_and(|location| location.starts_with("/ui/login/de/tan"));
        self.account.asked(&broker.email, Asked::Once);
        self.account.expect(is_asked, || {
            format!(
                "{}: a TAN was not asked for: {} {}",
                broker.vtnr,
                answer.status,
                answer.text()
            )
        });
        let tan = self.mailed(&broker).await?;
        let answer = loop {
            // The same once more gives the same answer, wherever it is sent.
            if let Some(answer) = self
                .insist(&broker, &page("tan", "/"), &[("tan", &tan)])
                .await
            {
                break answer;
            }
        };
        let is_in = answer.location().as_deref() == Some("/");
        self.account.expect(is_in, || {
            format!(
                "{}: the TAN was refused: {} {}",
                broker.vtnr,
                answer.status,
                answer.text()
            )
        });
        is_in.then(|| self.account.signed_in());
        is_in.then_some(broker)
    }

    /// Posts until the answer is not "later"; `None` if the connection broke off.
    async fn insist(&self, broker: &Broker, path: &str, fields: &[(&str, &str)]) -> Option<Answer> {
        let begun = Instant::now();
        while begun.elapsed() < SIGNED_IN_WITHIN {
            match self.went(
                broker.next_tab(&self.balancer).try_post(path, fields).await,
                Instant::now(),
            ) {
                Went::Answered(answer) => return Some(answer),
                Went::BrokenOff => return None,
                Went::Later => tokio::time::sleep(LATER).await,
            }
        }
        self.account.expect(false, || {
            format!("{}: put off for {SIGNED_IN_WITHIN:?}", broker.vtnr)
        });
        None
    }

    async fn mailed(&self, broker: &Broker) -> Option<String> {
        let begun = Instant::now();
        while begun.elapsed() < MAILED_WITHIN {
            let mails = self.postbox.mails();
            if let Some(mail) = mails.iter().find(|mail| mail.to.contains(&broker.email)) {
                return Some(tan_of(mail));
            }
            tokio::time::sleep(LATER).await;
        }
        self.account.expect(false, || {
            format!("{}: no mail within {MAILED_WITHIN:?}", broker.vtnr)
        });
        None
    }

    /// Opens pages and sends applications, for a while; says whether the broker is still signed in then.
    async fn use_the_calculator(&mut self, broker: &Broker, over: &AtomicBool) -> bool {
        for _ in 0..20 + self.dice.below(100) {
            if over.load(Ordering::SeqCst) {
                return true;
            }
            if self.dice.one_in(8) {
                self.send_application(broker).await
            } else {
                self.open_page(broker).await
            }
            tokio::time::sleep(Duration::from_millis(20 + self.dice.below(60))).await;
        }
        if self.dice.one_in(2) {
            self.sign_out(broker).await;
        }
        false
    }

    async fn open_page(&self, broker: &Broker) {
        let begun = Instant::now();
        let Went::Answered(answer) = self.went(
            broker
                .next_tab(&self.balancer)
                .try_open("/kfz/angebot?id=42")
                .await,
            begun,
        ) else {
            return;
        };
        self.account.page();
        let own = format!("page of {}", broker.vtnr);
        self.account
            .expect(answer.status == 200 && answer.body == own, || {
                format!(
                    "{}: a page: {} {:?} {}",
                    broker.vtnr,
                    answer.status,
                    answer.location(),
                    answer.text()
                )
            });
    }

    async fn send_application(&self, broker: &Broker) {
        let (id, begun) = (
            NEXT_APPLICATION.fetch_add(1, Ordering::SeqCst),
            Instant::now(),
        );
        // Noted before it can arrive.
        self.account.sent(id, &broker.vtnr, Sent::Unknown);
        let sent = broker
            .next_tab(&self.balancer)
            .try_post(&format!("/antrag/versand/{id}"), &[("antrag", "1")])
            .await;
        if let Went::Answered(answer) = self.went(sent, begun) {
            let own = format!("taken of {}", broker.vtnr);
            self.account
                .expect(answer.status == 200 && answer.body == own, || {
                    format!(
                        "{}: application {id}: {} {:?} {}",
                        broker.vtnr,
                        answer.status,
                        answer.location(),
                        answer.text()
                    )
                });
            self.account.sent(id, &broker.vtnr, Sent::Told);
        }
    }

    /// Signs out. Then nobody gets in with the cookies that the browser had, wherever they are sent.
    async fn sign_out(&self, broker: &Broker) {
        let copies: Vec<_> = self
            .balancer
            .bases
            .iter()
            .map(|base| broker.copy_at(base))
            .collect();
        let begun = Instant::now();
        let Some(answer) = self.insist(broker, SIGN_OUT, &[]).await else {
            return;
        };
        self.account.expect(answer.status == 200, || {
            format!(
                "{}: signing out: {} {}",
                broker.vtnr,
                answer.status,
                answer.text()
            )
        });
        self.account.signed_out();
        // Product rule: within a second, everywhere.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for copy in copies {
            if let Ok(answer) = copy.try_open("/kfz/angebot?id=42").await {
                // One that hung has to hear of it first.
                let hung = self.faults.may_have_caused(Kind::Gateway, begun);
                self.account
                    .expect(hung || matches!(answer.status.as_u16(), 303 | 503), || {
                        format!(
                            "{}: signed out {:?} ago, and let in",
                            broker.vtnr,
                            begun.elapsed()
                        )
                    });
            }
        }
    }

    /// Judges what is not an answer: it must have a cause.
    fn went(&self, answer: Result<Answer, reqwest::Error>, begun: Instant) -> Went {
        match answer {
            Ok(answer) if answer.status == 503 => {
                self.account.put_off();
                let is_told = answer.headers.contains_key("retry-after");
                // A gateway that hung has to find Redis again, too.
                let has_cause = [Kind::Redis, Kind::Gateway]
                    .iter()
                    .any(|kind| self.faults.may_have_caused(*kind, begun));
                self.account.expect(is_told && has_cause, || {
                    format!("503 without a cause: {}", answer.text())
                });
                Went::Later
            }
            Ok(answer) => Went::Answered(answer),
            Err(error) => {
                self.account.broken_off();
                let has_cause = self.faults.may_have_caused(Kind::Gateway, begun);
                self.account.expect(has_cause, || {
                    format!("broken off without a cause: {error:?}")
                });
                Went::BrokenOff
            }
        }
    }
}

impl Broker {
    /// The browser at the next gateway.
    fn next_tab(&self, balancer: &Balancer) -> &Browser {
        &self.tabs[balancer.next()]
    }

    /// Another browser with the same cookies.
    fn copy_at(&self, base: &str) -> Browser {
        let copy = Browser::new(base);
        for name in ["vtnr_session", "vtnr_ticket"] {
            if let Some(value) = self.tabs.first().and_then(|tab| tab.cookie(name)) {
                copy.set_cookie(name, &value);
            }
        }
        copy
    }
}
