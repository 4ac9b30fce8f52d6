use super::*;
use proptest::prelude::*;

fn portal(cookies: &[&str]) -> Portal {
    // rustls must be told once; a second time is no failure.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = config::Portal {
        check_url: "http://127.0.0.1:9/".into(),
        cookies: cookies.iter().map(ToString::to_string).collect(),
        vtnr_header: "x-vtnr".into(),
        timeout: Duration::from_secs(1),
        cache: Duration::from_secs(60),
        cache_size: 4,
        connections: 1,
        sign_in_url: None,
        sign_out_url: None,
        paths: Vec::new(),
        server: None,
    };
    Portal::new(config, Clock::System, Arc::new(Metrics::new().expect("metrics"))).expect("a portal")
}

fn claim(portal: &Portal, cookies: &[(&str, &str)]) -> Option<Claim> {
    portal.claim(cookies.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

#[test]
fn the_portal_is_asked_about_its_own_cookies_and_no_others() {
    let portal = portal(&["PORTAL", "ROUTE"]);
    let asked =
        claim(&portal, &[("a", "1"), ("ROUTE", "n2"), ("__Host-vtnr_session", "secret"), ("PORTAL", "abc")]).expect("asked");
    assert_eq!(asked.cookies, "PORTAL=abc; ROUTE=n2");
    assert!(claim(&portal, &[("a", "1"), ("portal", "abc")]).is_none(), "names are told apart by their case");
    assert!(claim(&portal, &[("PORTAL", "abc"), ("PORTAL", "abd")]).is_none(), "which of the two would count?");
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

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn an_answer_counts_for_its_cookies_and_its_time() {
    let mut answers = Answers::new(4);
    let vtnr = Vtnr::parse("60/123/4567").expect("a number");
    let (one, other) = ([1; 32], [2; 32]);
    let question = answers.question(one);
    answers.answered(one, Answer::SignedIn(vtnr), at(1_000), at(0), &question);
    assert_eq!(answers.find(&one, at(999)), Some(Answer::SignedIn(vtnr)));
    assert_eq!(answers.find(&one, at(1_000)), None);
    assert_eq!(answers.find(&other, at(0)), None);
    // A later word takes the place of an earlier one.
    let question = answers.question(one);
    answers.answered(one, Answer::Nobody, at(900), at(0), &question);
    assert_eq!(answers.find(&one, at(1)), Some(Answer::Nobody));
    let question = answers.question(one);
    answers.answered(one, Answer::Unavailable, at(900), at(0), &question);
    assert_eq!(answers.find(&one, at(1)), Some(Answer::Nobody), "no answer says nothing");
}

#[test]
fn no_more_answers_are_kept_than_there_is_room_for() {
    let mut answers = Answers::new(4);
    let vtnr = Vtnr::parse("60/123/4567").expect("a number");
    for number in 0..100 {
        let question = answers.question([number; 32]);
        answers.answered([number; 32], Answer::SignedIn(vtnr), at(1_000), at(0), &question);
        assert!(answers.find(&[number; 32], at(1)).is_some());
    }
    let kept = (0..100).filter(|number| answers.find(&[*number; 32], at(1)).is_some()).count();
    assert!(kept <= 4, "{kept}");
}

#[test]
fn who_asks_the_same_at_once_has_one_question() {
    let mut answers = Answers::new(4);
    let (one, again) = (answers.question([1; 32]), answers.question([1; 32]));
    assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &answers.question([2; 32])));
    drop((one, again));
    let _other = answers.question([3; 32]);
    assert_eq!(answers.open_questions(), 1, "those that nobody waits for are gone");
}
