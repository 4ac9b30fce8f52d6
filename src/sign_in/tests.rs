//! Random sign-ins with a clock that jumps: after every step the laws hold. A failure prints the seed that replays it.

mod desk;
mod expiry;
mod passwords;
mod steps;

use self::desk::{ADDRESSES, Asked, Desk, NUMBERS, Tab, wrong_tan};
use crate::sign_in::Answer;
use domain::challenge::TanOver;
use domain::ids::SessionToken;
use domain::session::Level;
use domain::tan::TanLength;
use domain::time::Timestamp;
use domain::trust::TrustLevel;
use std::collections::BTreeMap;

const DAY: u64 = 86_400_000;
const STEPS: usize = 800;

/// A generator whose whole state is the seed (splitmix64), so that a run can be told by one number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick(&mut self, number: usize) -> usize {
        usize::try_from(self.roll(number as u64)).expect("small")
    }
}

/// What must be remembered of the past to judge the present.
#[derive(Default)]
struct History {
    /// Sessions that ended, which must stay so.
    dead: Vec<SessionToken>,
    /// When short TANs of strangers were found wrong, by broker.
    wrong: BTreeMap<usize, Vec<Timestamp>>,
    /// When mails were queued, by broker.
    mails: BTreeMap<usize, Vec<Timestamp>>,
    /// Those of them that browsers asked for that nobody knew.
    mails_of_strangers: BTreeMap<usize, Vec<Timestamp>>,
    /// When each browser last proved an address for a broker.
    proven: BTreeMap<(usize, usize), (usize, Timestamp)>,
    /// When each broker was last revoked.
    revoked: BTreeMap<usize, Timestamp>,
    signed_in: usize,
    trusted: usize,
    long: usize,
}

impl History {
    fn mailed(&mut self, asked: &Asked, now: Timestamp) {
        self.mails.entry(asked.broker).or_default().push(now);
        if asked.is_stranger() {
            self.mails_of_strangers
                .entry(asked.broker)
                .or_default()
                .push(now);
        }
    }
}

async fn run(seed: u64) -> History {
    let (mut dice, mut desk, mut past) = (Dice(seed), Desk::open(), History::default());
    let mut tabs: Vec<Tab> = (0..6).map(Tab::new).collect();
    let mut at = 0;
    for step in 0..STEPS {
        // Mostly the same tab goes on, or hardly a sign-in would come to its end.
        at = if dice.roll(4) == 0 {
            dice.pick(tabs.len())
        } else {
            at
        };
        let told = format!("seed {seed}, step {step}");
        take_step(&mut dice, &mut desk, &mut tabs, at, &mut past, &told).await;
        keeps_the_laws(&desk, &tabs[at], &past, &told).await;
        keeps_the_laws(&desk, &tabs[step % tabs.len()], &past, &told).await;
        budgets_hold(&desk, &past, &told);
    }
    past
}

async fn take_step(
    dice: &mut Dice,
    desk: &mut Desk,
    tabs: &mut [Tab],
    at: usize,
    past: &mut History,
    told: &str,
) {
    let tab = &mut tabs[at];
    match dice.roll(100) {
        0..18 => claim(dice, desk, tab, past, told).await,
        18..62 => enter(dice, desk, tab, past, told).await,
        62..67 => resend(desk, tab, past, told).await,
        67..70 => without_email(desk, tab, past, told).await,
        70..74 => sign_out(desk, tab, past, dice.roll(3) == 0).await,
        74..75 => {
            let broker = dice.pick(NUMBERS.len());
            desk.revoke(broker).await;
            past.revoked.insert(broker, desk.now());
        }
        75..78 => desk.change_directory(dice.pick(NUMBERS.len()), dice.pick(ADDRESSES.len() + 1)),
        78..92 => desk.pass(1_000 + dice.roll(60_000)),
        92..98 => desk.pass(60_000 * (1 + dice.roll(30))),
        _ => desk.pass(DAY * (1 + dice.roll(12))),
    }
}

async fn claim(dice: &mut Dice, desk: &Desk, tab: &mut Tab, past: &mut History, told: &str) {
    let broker = dice.pick(NUMBERS.len());
    let address = if dice.roll(5) == 0 {
        dice.pick(ADDRESSES.len())
    } else {
        desk.on_file(broker).unwrap_or(0)
    };
    let (now, old, former) = (desk.now(), tab.session, tab.flow);
    let answer = desk.begin(tab, broker, address).await;
    if matches!(answer, Answer::TanAsked(_) | Answer::UnknownEmail(_)) {
        assert_ne!(tab.flow, former, "{told}: a claim under the former token");
        assert!(
            !desk.is_under_way(former).await,
            "{told}: the former token still leads somewhere"
        );
    }
    if desk.deliver().await > 0 {
        past.mailed(
            &desk
                .asked(tab)
                .await
                .unwrap_or_else(|| panic!("{told}: a mail and no TAN")),
            now,
        );
        assert_eq!(
            desk.on_file(broker),
            Some(address),
            "{told}: a mail for a wrong claim"
        );
    }
    if let Answer::SignedIn(admission) = answer {
        let (proof, proven_at) = past
            .proven
            .get(&(tab.number, broker))
            .copied()
            .unwrap_or_else(|| panic!("{told}: signed in without ever a TAN"));
        assert_eq!(
            Some(proof),
            desk.on_file(broker),
            "{told}: trust outlived the address"
        );
        assert!(
            now.since(proven_at).as_millis() < u128::from(30 * DAY),
            "{told}: trust older than 30 days"
        );
        assert!(
            past.revoked
                .get(&broker)
                .is_none_or(|revoked| *revoked < proven_at),
            "{told}: trust outlived a revocation"
        );
        past.trusted += 1;
        begun(tab, past, old, admission.session);
    }
}

async fn enter(dice: &mut Dice, desk: &Desk, tab: &mut Tab, past: &mut History, told: &str) {
    let Some(before) = desk.asked(tab).await else {
        return;
    };
    let (asked_for, tan) = (before.broker, before.challenge.tan.reveal().to_owned());
    let entered = match dice.roll(8) {
        0 => "BCD".to_owned(),
        1 => tan.to_lowercase(),
        _ => wrong_tan(&tan, dice.pick(19)),
    };
    let (now, old) = (desk.now(), tab.session);
    let answer = desk.answer(tab, &entered).await;
    if let Some(after) = desk
        .asked(tab)
        .await
        .filter(|after| after.challenge.tan.reveal() == tan)
    {
        let (before, after) = (&before.challenge, &after.challenge);
        assert!(after.tries_left <= before.tries_left, "{told}: tries rose");
        let cost = before.tries_left - after.tries_left;
        let is_wrong = matches!(
            answer,
            Answer::WrongTan { .. } | Answer::TanOver(TanOver::Spent)
        );
        assert!(
            cost == 0 || cost == 1 && is_wrong,
            "{told}: {answer:?} cost {cost} tries"
        );
        past.long += usize::from(before.tan.length() == TanLength::Long);
        if cost == 1
            && before.tan.length() == TanLength::Usual
            && before.trust_level == TrustLevel::Stranger
        {
            past.wrong.entry(asked_for).or_default().push(now);
        }
    }
    if let Answer::SignedIn(admission) = answer {
        assert_eq!(
            entered.to_uppercase(),
            tan,
            "{told}: signed in with a wrong TAN"
        );
        assert!(
            now < before.end,
            "{told}: signed in with a TAN that had expired"
        );
        assert_eq!(
            desk.on_file(before.broker),
            Some(before.address),
            "{told}: signed in with an address that is not on file"
        );
        past.proven
            .insert((tab.number, before.broker), (before.address, now));
        past.signed_in += 1;
        begun(tab, past, old, admission.session);
        tab.browser = admission.browser;
    }
}

async fn resend(desk: &Desk, tab: &mut Tab, past: &mut History, told: &str) {
    let before = desk.asked(tab).await;
    desk.ask_again(tab).await;
    let Some(after) = desk.asked(tab).await else {
        return;
    };
    if desk.deliver().await > 0 {
        past.mailed(&after, desk.now());
    }
    if let Some(before) =
        before.filter(|before| before.challenge.tan.reveal() == after.challenge.tan.reveal())
    {
        assert_eq!(
            after.challenge.tries_left, before.challenge.tries_left,
            "{told}: a mail changed the tries"
        );
    }
}

async fn without_email(desk: &Desk, tab: &mut Tab, past: &mut History, told: &str) {
    let old = tab.session;
    if let Answer::SignedIn(admission) = desk.without_email(tab).await {
        let Some(session) = desk.session(&admission.session).await else {
            // The second of two presses gets what the first one got, which may have ended meanwhile.
            return assert!(
                old == Some(admission.session) || past.dead.contains(&admission.session),
                "{told}: no session"
            );
        };
        assert_eq!(session.level, Level::WithoutSubmission, "{told}");
        begun(tab, past, old, admission.session);
    }
}

async fn sign_out(desk: &Desk, tab: &mut Tab, past: &mut History, forget: bool) {
    if let Some(session) = tab.session.take() {
        desk.end(&session).await;
        past.dead.push(session);
    }
    if let Some(browser) = tab.browser.take_if(|_| forget) {
        desk.forget(&browser).await;
        past.proven.retain(|(number, _), _| *number != tab.number);
    }
}

/// A session began, so that the one before is over.
fn begun(tab: &mut Tab, past: &mut History, old: Option<SessionToken>, new: SessionToken) {
    if let Some(old) = old.filter(|old| *old != new) {
        past.dead.push(old);
    }
    tab.session = Some(new);
}

async fn keeps_the_laws(desk: &Desk, tab: &Tab, past: &History, told: &str) {
    let session = match &tab.session {
        Some(session) => desk.session(session).await,
        None => None,
    };
    if let Some(session) = session.filter(|session| matches!(session.level, Level::Full { .. })) {
        let broker = NUMBERS
            .iter()
            .position(|number| *number == session.vtnr.to_string())
            .expect("one of ours");
        assert!(
            past.proven.contains_key(&(tab.number, broker)),
            "{told}: a full session without proof"
        );
        assert!(
            past.revoked
                .get(&broker)
                .is_none_or(|revoked| *revoked < session.signed_in_at),
            "{told}: a session outlived a revocation"
        );
    }
    for dead in past.dead.iter().rev().take(1).chain(past.dead.first()) {
        assert!(
            desk.session(dead).await.is_none(),
            "{told}: an old token lives"
        );
    }
}

/// Windows begin with their first event, so that within any 24 hours at most two of them are spent, less one.
fn budgets_hold(desk: &Desk, past: &History, told: &str) {
    let within = |events: &[Timestamp], window: u64| {
        events
            .iter()
            .filter(|at| desk.now().since(**at).as_millis() < u128::from(window))
            .count()
    };
    for events in past.wrong.values() {
        assert!(
            within(events, DAY) <= 19 && within(events, 30 * DAY) <= 59,
            "{told}: too many wrong TANs compared"
        );
    }
    for events in past.mails_of_strangers.values() {
        assert!(
            within(events, 30_000) <= 1
                && within(events, 900_000) <= 5
                && within(events, DAY) <= 19,
            "{told}: too many mails"
        );
    }
    for events in past.mails.values() {
        assert!(
            within(events, DAY) <= 28,
            "{told}: too many mails, the reserve included"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_laws_hold_whatever_happens() {
    let seeds = std::env::var("SIMULATION_SEED").ok().map_or_else(
        || (1..=8).collect(),
        |seed| vec![seed.parse().expect("a number")],
    );
    let (mut signed_in, mut trusted, mut long, mut wrong) = (0, 0, 0, 0);
    let runs: Vec<_> = seeds
        .into_iter()
        .map(|seed: u64| tokio::spawn(run(seed)))
        .collect();
    for run in runs {
        let past = run.await.expect("the laws hold");
        (signed_in, trusted, long) = (
            signed_in + past.signed_in,
            trusted + past.trusted,
            long + past.long,
        );
        wrong += past.wrong.values().map(Vec::len).sum::<usize>();
    }
    let saw = format!(
        "{signed_in} sign-ins with a TAN, {trusted} without, {wrong} wrong short TANs, {long} answers to long ones"
    );
    println!("{saw}");
    assert!(
        signed_in > 30 && trusted > 30 && wrong > 100 && long > 3,
        "the dice saw too little: {saw}"
    );
}
