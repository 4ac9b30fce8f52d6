//! The guard by itself: what the fuzzer once found stays found, and judging what is honest allocates nothing.

#[path = "../fuzz/law.rs"]
mod law;
#[path = "../fuzz/lines.rs"]
mod lines;

use domain::submission::{self, Body, Charset, Intent, Request};

#[test]
fn the_fuzzers_corpus_breaks_no_law() {
    let corpus = include_str!("../fuzz/corpus.txt");
    assert!(corpus.lines().count() > 300, "it is there");
    let rules = law::rules();
    let broken: Vec<_> = corpus
        .lines()
        .filter_map(|line| law::holds(&rules, &lines::unescape(line)).err())
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_line_of_the_corpus_stands_for_any_bytes() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(lines::unescape(&lines::escape(&all)), all);
}

#[test]
fn judging_an_honest_request_allocates_nothing() {
    let rules = law::rules();
    let long = format!("/suche?{}", "ort=M%C3%BCnchen&".repeat(200));
    for (method, target, intent) in [
        ("GET", "/kfz/angebot?id=42", Intent::Use),
        ("POST", "/kfz/angebot?id=42&x=a+b%20c", Intent::Use),
        ("POST", &long, Intent::Use),
        ("GET", &long, Intent::Use),
        ("POST", "/index.php?r=tarif/rechnen", Intent::Use),
        (
            "POST",
            "/index.php?rabatt=5%25und&ort=M%C3%BCnchen",
            Intent::Use,
        ),
        ("GET", "/dok/Antr%E4ge/a%zz", Intent::Use),
        (
            "GET",
            "/a/b/c.do;jsessionid=0A1B2C3D.node-1?x=1",
            Intent::Use,
        ),
        ("POST", "/%C3%BCbersicht/Stra%C3%9Fe", Intent::Use),
        ("POST", "/antrag/versand", Intent::Submit),
    ] {
        let mut judged = None;
        let counted = allocation_counter::measure(|| {
            let charset =
                Charset::of([b"application/x-www-form-urlencoded; charset=\"UTF-8\"".as_slice()]);
            judged = Some(rules.classify(&Request {
                method,
                target: target.as_bytes(),
                body: Body::None,
                charset,
            }));
        });
        assert_eq!(
            (judged, counted.count_total),
            (Some(intent), 0),
            "{method} {target}"
        );
    }
}
