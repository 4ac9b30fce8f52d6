use super::*;
use proptest::prelude::*;
use std::sync::OnceLock;

fn portal(cookies: &[&str]) -> Portal {
    // rustls must be told once; a second time is no failure.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = config::PortalConfig {
        check_url: "http://127.0.0.1:9/".into(),
        cookies: cookies.iter().map(ToString::to_string).collect(),
        vtnr_header: "x-vtnr".into(),
        ca_file: None,
        timeout: Duration::from_secs(1),
        cache: Duration::from_secs(60),
        cache_size: 4,
        connections: 1,
        sign_in_url: None,
        sign_out_url: None,
        paths: Vec::new(),
        server: None,
    };
    Portal::new(config, Arc::new(Metrics::new().expect("metrics"))).expect("a portal")
}

fn claim(portal: &Portal, cookies: &[(&str, &str)]) -> Option<PortalClaim> {
    portal.claim(
        cookies
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    )
}

#[test]
fn the_portal_is_asked_about_its_own_cookies_and_no_others() {
    let portal = portal(&["PORTAL", "ROUTE"]);
    let asked = claim(
        &portal,
        &[
            ("a", "1"),
            ("ROUTE", "n2"),
            ("__Host-vtnr_session", "secret"),
            ("PORTAL", "abc"),
        ],
    )
    .expect("asked");
    assert_eq!(asked.cookies, "PORTAL=abc; ROUTE=n2");
    assert!(
        claim(&portal, &[("a", "1"), ("portal", "abc")]).is_none(),
        "names are told apart by their case"
    );
    assert!(
        claim(&portal, &[("PORTAL", "abc"), ("PORTAL", "abd")]).is_none(),
        "which of the two would count?"
    );
    assert!(claim(&portal, &[("PORTAL", "abc"), ("PORTAL", "abc")]).is_some());
}

proptest! {
    #[test]
    fn different_cookies_are_never_one_question(
        a in "[!-:<-~]{0,6}", b in "[!-:<-~]{0,6}", c in "[!-:<-~]{0,6}", d in "[!-:<-~]{0,6}",
    ) {
        let portal = portal(&["A", "B"]);
        let one = claim(&portal, &[("A", &a), ("B", &b)]).expect("a claim");
        let other = claim(&portal, &[("A", &c), ("B", &d)]).expect("a claim");
        let alone = claim(&portal, &[("A", &a)]).expect("a claim");
        prop_assert_eq!(one.sum == other.sum, (&a, &b) == (&c, &d));
        prop_assert!(one.sum != alone.sum);
    }
}

/// So long after the tests began.
fn at(millis: u64) -> Instant {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    *BEGUN.get_or_init(Instant::now) + Duration::from_millis(millis)
}

impl Answers {
    /// The answer to a question that was put for this, for a second.
    fn told(&mut self, sum: [u8; 32], answer: PortalAnswer, now: Instant) -> Option<Vtnr> {
        let question = self.question(sum);
        self.answered(sum, answer, now + Duration::from_secs(1), now, &question)
    }
}

#[test]
fn an_answer_counts_for_its_cookies_and_its_time() {
    let mut answers = Answers::new(4);
    let vtnr = Vtnr::parse("60/123/4567").expect("a number");
    let (one, other) = ([1; 32], [2; 32]);
    let question = answers.question(one);
    answers.answered(
        one,
        PortalAnswer::SignedIn(vtnr),
        at(1_000),
        at(0),
        &question,
    );
    assert_eq!(
        answers.find(&one, at(999)),
        Some(PortalAnswer::SignedIn(vtnr))
    );
    assert_eq!(answers.find(&one, at(1_000)), None);
    assert_eq!(answers.find(&other, at(0)), None);
    // A later word takes the place of an earlier one.
    let question = answers.question(one);
    answers.answered(one, PortalAnswer::Nobody, at(900), at(0), &question);
    assert_eq!(answers.find(&one, at(1)), Some(PortalAnswer::Nobody));
    let question = answers.question(one);
    answers.answered(one, PortalAnswer::Unavailable, at(900), at(0), &question);
    assert_eq!(
        answers.find(&one, at(1)),
        Some(PortalAnswer::Nobody),
        "no answer says nothing"
    );
}

#[test]
fn no_more_answers_are_kept_than_there_is_room_for() {
    let mut answers = Answers::new(4);
    let vtnr = Vtnr::parse("60/123/4567").expect("a number");
    for number in 0..100 {
        let question = answers.question([number; 32]);
        answers.answered(
            [number; 32],
            PortalAnswer::SignedIn(vtnr),
            at(1_000),
            at(0),
            &question,
        );
        assert!(answers.find(&[number; 32], at(1)).is_some());
    }
    let kept = (0..100)
        .filter(|number| answers.find(&[*number; 32], at(1)).is_some())
        .count();
    assert!(kept <= 4, "{kept}");
}

/// Of 64 places one broker's made-up cookies take those that are free, and one in eight of the others each time.
#[test]
fn one_broker_with_many_cookies_does_not_take_everybodys_place() {
    let mut answers = Answers::new(64);
    let (ada, ben) = (
        Vtnr::parse("60/123/4567").expect("a number"),
        Vtnr::parse("60/123/4568").expect("a number"),
    );
    let sum = |who: u8, number: u8| {
        std::array::from_fn(|at| [who, number].get(at).copied().unwrap_or_default())
    };
    for number in 0..32 {
        answers.told(sum(1, number), PortalAnswer::SignedIn(ada), at(0));
    }
    for number in 0..33 {
        answers.told(sum(2, number), PortalAnswer::SignedIn(ben), at(0));
    }
    let kept = (0..32)
        .filter(|number| answers.find(&sum(1, *number), at(1)).is_some())
        .count();
    assert!(kept >= 24, "{kept}");
}

#[test]
fn a_sign_in_is_news_once_and_not_each_time_that_the_portal_is_asked() {
    let mut answers = Answers::new(4);
    let (ada, ben) = (
        Vtnr::parse("60/123/4567").expect("a number"),
        Vtnr::parse("60/123/4568").expect("a number"),
    );
    let told = [
        (PortalAnswer::SignedIn(ada), Some(ada)),
        (PortalAnswer::SignedIn(ada), None),
        (PortalAnswer::Unavailable, None),
        (PortalAnswer::SignedIn(ada), None),
        (PortalAnswer::SignedIn(ben), Some(ben)),
        (PortalAnswer::Nobody, None),
        (PortalAnswer::SignedIn(ben), Some(ben)),
    ];
    for (turn, (answer, news)) in (1..).zip(told) {
        assert_eq!(
            answers.told([1; 32], answer, at(10_000 * turn)),
            news,
            "{turn}: {answer:?}"
        );
    }
}

#[test]
fn who_asks_the_same_at_once_has_one_question() {
    let mut answers = Answers::new(4);
    let (one, again) = (answers.question([1; 32]), answers.question([1; 32]));
    assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &answers.question([2; 32])));
    drop((one, again));
    let _other = answers.question([3; 32]);
    assert_eq!(
        answers.open_questions(),
        1,
        "those that nobody waits for are gone"
    );
}
