//! What judging a request costs, beside what a gateway commonly does: decode the path, fold its case, compare its beginning.
//!
//! Fails if classifying takes a microsecond or allocates, or if a hostile query of twice the length takes more than three times as long. The peer's allocations are counted too, which costs it some nanoseconds.

#[path = "support/figures.rs"]
mod figures;

use criterion::Criterion;
use domain::submission::{
    Body, Charset, Intent, LetterCase, PathAlphabet, Request, SubmissionRules,
};
use figures::nanoseconds;
use percent_encoding::percent_decode;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Requests by what they are like.
const REQUESTS: [(&str, &str, &str); 9] = [
    ("honest GET", "GET", "/kfz/angebot?id=42"),
    ("honest POST", "POST", "/kfz/angebot/speichern"),
    (
        "honest POST, long query",
        "POST",
        "/kfz/angebot/speichern?vorgang=2026-000123&fahrer=Erika+Mustermann&ort=M%C3%BCnchen&stra%C3%9Fe=Gro%C3%9Fe+Gasse+12&tarif=komfort&sf=12&\
         rabatt=5%2C0&schutzbrief=ja&auslandsschaden=nein&werkstatt=frei&zahlung=jaehrlich&beginn=2026-07-01&kennzeichen=M-AB+1234",
    ),
    (
        "honest POST, per cent",
        "POST",
        "/index.php?vorgang=2026-000123&fahrer=Erika+Mustermann&ort=M%C3%BCnchen&tarif=komfort&rabatt=5%25&schutzbrief=ja&zahlung=jaehrlich",
    ),
    (
        "honest GET, long query",
        "GET",
        "/suche?vorgang=2026-000123&fahrer=Erika+Mustermann&ort=M%C3%BCnchen&stra%C3%9Fe=Gro%C3%9Fe+Gasse+12&tarif=komfort&sf=12&rabatt=5%2C0",
    ),
    (
        "honest, jsessionid",
        "POST",
        "/a/b/c.do;jsessionid=0A1B2C3D4E5F60718293A4B5C6D7E8F9.node-1?x=1",
    ),
    (
        "honest, umlauts",
        "POST",
        "/%C3%BCbersicht/Stra%C3%9Fe/M%C3%BCnchen",
    ),
    ("blocked", "POST", "/antrag/versand"),
    ("doubtful", "POST", "/x/..;/antrag%2fversand"),
];

fn main() -> ExitCode {
    let rules = rules();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (name, method, target) in REQUESTS {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("guard", |bencher| {
            bencher.iter(|| classify(&rules, black_box(method), black_box(target)))
        });
        group.bench_function("peer", |bencher| {
            bencher.iter(|| compare(black_box(method), black_box(target)))
        });
        group.finish();
    }
    criterion.final_summary();
    match (report(&rules), is_proportional(&rules)) {
        (true, true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn rules() -> SubmissionRules {
    let paths = ["/antrag/versand", "/index.php?r=antrag/versand"].map(str::to_owned);
    SubmissionRules::new(paths, LetterCase::Folded, PathAlphabet::Unicode).expect("sound rules")
}

fn classify(rules: &SubmissionRules, method: &str, target: &str) -> Intent {
    rules.classify(&Request {
        method,
        target: target.as_bytes(),
        body: Body::None,
        charset: Charset::AsciiCompatible,
    })
}

/// The peer.
fn compare(method: &str, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let decoded = percent_decode(path.as_bytes())
        .decode_utf8_lossy()
        .to_lowercase();
    method != "GET" && decoded.starts_with("/antrag/versand")
}

fn report(rules: &SubmissionRules) -> bool {
    let mut holds = true;
    println!(
        "{:<26} {:>8} {:>8} {:>6}  allocations (guard, peer)",
        "request", "guard", "peer", "ratio"
    );
    for (name, method, target) in REQUESTS {
        // Without measurements when run as a test.
        let (Some(guard), Some(peer)) = (nanoseconds(name, "guard"), nanoseconds(name, "peer"))
        else {
            continue;
        };
        let allocated =
            allocation_counter::measure(|| _ = black_box(classify(rules, method, target)))
                .count_total;
        let peers =
            allocation_counter::measure(|| _ = black_box(compare(method, target))).count_total;
        println!(
            "{name:<26} {guard:>5.0} ns {peer:>5.0} ns {:>6.2}  {allocated}, {peers}",
            guard / peer
        );
        if guard >= 1_000.0 || allocated > 0 {
            eprintln!("{name}: classifying takes less than 1000 ns and allocates nothing");
            holds = false;
        }
    }
    holds
}

/// Whether a query made to be compared again and again takes time in proportion to its length: twice as long, at most three times
/// the time.
fn is_proportional(rules: &SubmissionRules) -> bool {
    const PIECES: [&str; 10] = [
        "r[",
        "r=",
        "r%00",
        "a/",
        "aaaa",
        "%2525",
        "r=antrag/",
        "&r",
        "_method[",
        "r=a//////",
    ];
    let best = |piece: &str, length: usize| {
        let target = format!("/index.php?{}", piece.repeat(length / piece.len()));
        let run = || {
            let begun = Instant::now();
            _ = black_box(classify(rules, "POST", &target));
            begun.elapsed()
        };
        (0..20)
            .map(|_| run())
            .min()
            .unwrap_or_default()
            .as_secs_f64()
    };
    let ratios = PIECES.map(|piece| (piece, best(piece, 64_000) / best(piece, 32_000)));
    for (piece, ratio) in ratios {
        println!("64,000 bytes of {piece:<10} : 32,000 bytes {ratio:>6.2}");
    }
    ratios.iter().all(|(_, ratio)| *ratio < 3.0)
}
