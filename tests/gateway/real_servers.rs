//! The guard before real servers: what a session without e-mail sends, in whatever spelling, none of them runs as the
//! Antragsversand; and what is honest arrives byte for byte.

mod clients;
mod fields;
mod servers;
mod spellings;

use crate::support::behind::session_of;
use crate::support::world::{ADA, StoreKind};
use crate::support::{World, eventually, ports};
use clients::{Fate, Http1, Http2, Shape};
use futures_util::future::join_all;
use servers::{Origin, Servers};
use spellings::{Body, Spelling, pseudo_fields};
use std::cell::Cell;
use std::time::Instant;

/// A real server, and a gateway before it.
struct Pair {
    origin: Origin,
    world: World,
    full: String,
    without_email: String,
    /// How many lines of its record were looked at.
    seen: Cell<usize>,
}

impl Pair {
    async fn start(origin: Origin) -> Self {
        let rules = "[submission]\npaths = [\"/antrag/versand\", \"/index.php/antrag/versand\", \"/index.php?r=antrag/versand\", \"/main?module=antrag&action=versand\"]\n[log]\nfilter = \"warn\"";
        let world = World::builder()
            .store(StoreKind::Memory)
            .https()
            .upstream(&origin.url)
            .config(rules)
            .start()
            .await;
        let full = session_of(&world.signed_in(ADA).await);
        let without_email = session_of(&world.signed_in_without_email().await);
        Self {
            origin,
            world,
            full,
            without_email,
            seen: Cell::new(0),
        }
    }

    /// What this server takes for the Antragsversand, besides much else: method, target and, where it matters, a charset.
    fn oddities(&self) -> &'static [&'static str] {
        match self.origin.name {
            "Tomcat" => &[
                "JEFF /antrag/versand",
                "POST /antrag/%76ersand",
                "POST /antrag;x/versand",
                "POST /antrag%2fversand",
                "POST /antrag%5cversand",
                "POST /x/..;/antrag/versand",
                "POST //antrag/;x/versand",
                "POST /main?module=antrag&action=versand",
                "POST /main?%94%96%84%a4%93%85=%81%95%a3%99%81%87&%81%83%a3%89%96%95=%a5%85%99%a2%81%95%84 IBM037",
                "POST /main?%94%96%84%a4%93%85=%81%95%a3%99%81%87&%81%83%a3%89%96%95=%a5%85%99%a2%81%95%84 \"ibm-1140\"",
                "POST /main?%00m%00o%00d%00u%00l%00e=%00a%00n%00t%00r%00a%00g&%00a%00c%00t%00i%00o%00n=%00v%00e%00r%00s%00a%00n%00d UTF-16",
                "POST /main?m%00o%00d%00u%00l%00e%00=a%00n%00t%00r%00a%00g%00&a%00c%00t%00i%00o%00n%00=v%00e%00r%00s%00a%00n%00d%00 utf-16le",
            ],
            "Jetty" => &[
                "POST /antrag%u002fversand",
                "POST /%u0061ntrag/versand",
                "POST /antrag%2fversand",
                "POST /x/%2e%2e/antrag/versand",
                "POST /x/%u002e%u002e/antrag/versand",
                "POST /antrag;x/versand",
            ],
            "nginx" => &[
                "POST /ANTRAG/Versand",
                "POST /antrag%2fversand",
                "POST ///antrag//versand",
                "POST /x/..%2fantrag/versand",
                "POST /antrag/versandx",
                "PURGE /antrag/versand.json",
            ],
            "nginx before Tomcat" => &[
                "POST /antrag%3bx/versand",
                "POST /antrag/%3b/versand",
                "POST /antrag%2fversand;x",
            ],
            "Apache with PHP" => &[
                "POST /index.php?r=antrag%2fversand",
                "POST /x/y?r[]=/antrag/versand",
                "POST /?r=antrag/versand",
                "POST /kfz/?r=antrag%2fversand",
                "POST /kfz/index.php?r=antrag/versand",
                "POST /index.php?r%00x=+antrag/versand",
                "POST /index.php/ANTRAG/versand/",
                "POST /antrag%2fversand",
                "GET /antrag/versand?.method=POST",
            ],
            "Express" => &[
                "POST /ANTRAG/Versand/",
                "GET /antrag/versand?_method=POST",
                "GET /antrag/versand?_method[]=POST",
                "GET /antrag/versand?%5fmethod%5b0%5d=post",
            ],
            other => panic!("{other}"),
        }
    }

    /// What this server ran since this was last asked. Some write their line after their answer, so one more submission is sent, and
    /// awaited.
    async fn ran(&self) -> Vec<String> {
        let mark = format!("zuletzt{}", ports::free());
        let last = Spelling::plain("POST", &format!("/antrag/versand?{mark}"));
        let fate = Http1::new(&self.world, &self.full)
            .ask(&last, Shape::Sized)
            .await;
        let what = format!(
            "{} runs what a full session sends: {fate:?}",
            self.origin.name
        );
        let lines = eventually(&what, async || {
            let lines = self.origin.submissions();
            lines
                .last()
                .is_some_and(|line| line.ends_with(&mark))
                .then_some(lines)
        })
        .await;
        let first = self.seen.replace(lines.len());
        lines[first..lines.len() - 1].to_vec()
    }

    /// Shows that this server would run what the guard is to keep from it: with a full session it does.
    async fn runs_what_arrives(&self) {
        let mut client = Http1::new(&self.world, &self.full);
        for line in self.oddities() {
            let fate = client.ask(&spelled(line), Shape::Sized).await;
            assert_eq!(
                self.ran().await.len(),
                1,
                "{} runs {line}: {fate:?}",
                self.origin.name
            );
        }
    }

    /// How many of the spellings this server runs, sent with a full session.
    async fn count_holes(&self, all: &[Spelling]) -> usize {
        let mut client = Http1::new(&self.world, &self.full);
        // Jetty takes `head` for HEAD and sends no body, for which others then wait.
        for spelling in all.iter().filter(|spelling| spelling.method != "head") {
            client.ask(spelling, Shape::Sized).await;
        }
        self.ran().await.len()
    }

    /// Sends every spelling with a session without e-mail, in every way.
    async fn is_kept_from(&self, all: &[Spelling]) {
        let odd: Vec<_> = self.oddities().iter().map(|line| spelled(line)).collect();
        let all = [all, &odd].concat();
        tokio::join!(
            self.over_http1(&all, Shape::Sized),
            self.over_http1(&all, Shape::Chunked),
            self.over_http1(&all, Shape::Empty),
            self.over_http2(&all, Shape::Sized),
            self.over_http2(&all, Shape::Empty),
            self.pseudo_fields()
        );
        assert_eq!(self.ran().await, [""; 0], "{} ran them", self.origin.name);
    }

    async fn over_http1(&self, all: &[Spelling], shape: Shape) {
        let mut client = Http1::new(&self.world, &self.without_email);
        for spelling in all
            .iter()
            .filter(|spelling| shape == Shape::Sized || spelling.body == Body::Any)
        {
            let fate = client.ask(spelling, shape).await;
            // Chunks that end in a bare LF end the connection.
            let may_end = matches!(spelling.body, Body::Raw(raw) if raw.starts_with("1\nx"));
            let is_sound =
                matches!(fate, Fate::Answered(200 | 400..=499)) || fate == Fate::Ended && may_end;
            assert!(
                is_sound,
                "{} {shape:?} {spelling:?}: {fate:?}",
                self.origin.name
            );
        }
        assert!(
            client.kept * 10 > all.len() * 5,
            "most went on a connection that was kept: {}",
            client.kept
        );
    }

    async fn over_http2(&self, all: &[Spelling], shape: Shape) {
        let mut client = Http2::new(&self.world, &self.without_email);
        for spelling in all
            .iter()
            .filter(|spelling| shape == Shape::Sized || spelling.body == Body::Any)
        {
            let fate = client.ask(spelling, shape).await;
            assert!(
                matches!(fate, Fate::Answered(200 | 400..=499) | Fate::Ended),
                "{} {spelling:?}: {fate:?}",
                self.origin.name
            );
        }
    }

    async fn pseudo_fields(&self) {
        let mut client = Http2::new(&self.world, &self.without_email);
        for fields in pseudo_fields() {
            let fate = client.ask_with(&fields).await;
            assert!(
                matches!(fate, Fate::Answered(200 | 400..=499) | Fate::Ended),
                "{} {fields:?}: {fate:?}",
                self.origin.name
            );
        }
    }

    /// What is honest arrives, and arrives as it was sent.
    async fn gets_what_is_honest(&self) {
        let mut client = Http1::new(&self.world, &self.without_email);
        for (method, target) in HONEST {
            let body = if method == "POST" {
                Body::Any
            } else {
                Body::Raw("")
            };
            let spelling = Spelling {
                body,
                ..Spelling::plain(method, target)
            };
            let answer = client
                .answer(&spelling, Shape::Sized)
                .await
                .expect("an answer");
            let seen = answer.values("x-seen");
            // nginx with a URI in `proxy_pass` writes the path anew, whatever came.
            let same =
                seen == [target] || self.origin.name == "nginx before Tomcat" && seen.len() == 1;
            assert!(
                same,
                "{} {method} {target}: {} {seen:?}",
                self.origin.name, answer.line
            );
        }
    }

    /// What a safe method asks for arrives as it was sent, also where the server does not understand it.
    async fn gets_what_it_asks_for(&self) {
        let mut clients =
            [&self.full, &self.without_email].map(|session| Http1::new(&self.world, session));
        for target in ODD_GETS {
            let mut answers = Vec::new();
            for client in &mut clients {
                let answer = client
                    .answer(&Spelling::plain("GET", target), Shape::Sized)
                    .await
                    .expect("an answer");
                answers.push((
                    answer.line.clone(),
                    answer
                        .values("x-seen")
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>(),
                    answer.text(),
                ));
            }
            assert!(
                !answers[1].2.contains("nicht eindeutig"),
                "{} {target}: {answers:?}",
                self.origin.name
            );
            assert_eq!(answers[0], answers[1], "{} {target}", self.origin.name);
        }
    }
}

/// A line of a server's oddities as a request.
fn spelled(line: &str) -> Spelling {
    let mut words = line.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let plain = Spelling::plain(method, target);
    let Some(charset) = words.next() else {
        return plain;
    };
    let content_type =
        format!("Content-Type: application/x-www-form-urlencoded; charset={charset}");
    Spelling {
        fields: format!("{content_type}\r\nContent-Length: 10\r\n"),
        body: Body::Raw("fahrer=Ada"),
        ..plain
    }
}

/// What old pages link to.
const ODD_GETS: [&str; 12] = [
    "/dok/Antr%E4ge/P.pdf",
    "/kfz/a%zz",
    "/kfz/50%",
    "/x/../y",
    "//x//y",
    "/a%2Fb%5Cc",
    "/a./b%20",
    "/(S(x))/antrag/versand.aspx",
    "/a;x=(1)",
    "/ver%C5%BFand",
    "/suche?q=%u20AC%zz",
    "/antrag//versand",
];

/// What browsers send to honest applications.
const HONEST: [(&str, &str); 35] = [
    ("GET", "/"),
    ("POST", "/tarif"),
    ("POST", "/antrag"),
    ("POST", "/antrag/"),
    ("POST", "/antrag/versan"),
    ("POST", "/antrag/vorschau/versand"),
    ("GET", "/antrag/versand"),
    ("GET", "/antrag/versand?id=1"),
    ("POST", "/kfz/angebot?id=42&x=a+b%20c"),
    ("POST", "/Stra%C3%9Fe/M%C3%BCnchen"),
    (
        "GET",
        "/%C3%84nderung/%C3%BCbersicht?stra%C3%9Fe=Gro%C3%9Fe+Gasse",
    ),
    ("GET", "/bilder/logo%20neu.png"),
    ("GET", "/a/b/c.do;jsessionid=0A1B2C3D.node-1?x=1"),
    ("POST", "/kfz/angebot;jsessionid=0A1B2C3D"),
    ("POST", "/f(1)/[x]/a'b/*,!$&@:~"),
    ("POST", "/a=b/c+d/e"),
    ("POST", "/rabatt/100%25/x"),
    ("POST", "/preis/5%20%E2%82%AC"),
    ("GET", "/%E6%BC%A2%E5%AD%97/%D0%B6"),
    ("GET", "/suche?q=antrag/versand"),
    ("POST", "/suche?q=antrag/versand"),
    ("POST", "/suche?ziel=//x/../y;z%2f"),
    ("GET", "/suche?payment_method=card&method=2"),
    ("GET", "/suche?bean.method=x&a[]=1&a[1]=2&b%5Bx%5D=3"),
    ("POST", "/index.php?r=tarif/rechnen&id=7"),
    ("POST", "/index.php?r=%C3%BCbersicht"),
    ("GET", "/index.php?r=antrag/versand"),
    ("GET", "/a.b.c/d-e_f/~g"),
    ("GET", "/.well-known/x"),
    ("GET", "/v1.2/x.min.js?v=1.2.3"),
    ("GET", "/x?a=1&a=2&&b=&c"),
    ("GET", "/x?%7B%22a%22:1%7D"),
    ("POST", "/x?t=2026-01-31T23:59:59%2B01:00&m=a@b.example"),
    ("OPTIONS", "/antrag/versand"),
    (
        "POST",
        "/kfz/angebot/speichern;jsessionid=0A1B2C3D4E5F.node-1?vorgang=2026-000123&fahrer=Erika+Mustermann&ort=M%C3%BCnchen&stra%C3%9Fe=Gro%C3%9Fe+Gasse+12&\
         tarif[0]=komfort&tarif[1]=basis&sf=12&rabatt=5%2C0&schutzbrief=ja&werkstatt=frei&zahlung=j%C3%A4hrlich&beginn=2026-07-01&kennzeichen=M-AB+1234&\
         zurueck=%2Fkfz%2F%3Fid%3D1%26x%3D%252F&text=%22Guten%20Tag%22%20%E2%82%AC%0Azweite+Zeile&ansicht=antrag/versand",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_real_server_runs_the_submission_in_any_spelling_without_a_confirmed_address() {
    let begun = Instant::now();
    let servers = Servers::start().await;
    let pairs = join_all(servers.origins().map(Pair::start)).await;
    let started = begun.elapsed();
    let all = spellings::all();
    assert!(
        all.len() >= 500 && spellings::targets().len() >= 500,
        "{} spellings",
        all.len()
    );
    join_all(pairs.iter().map(Pair::runs_what_arrives)).await;
    let holes = join_all(pairs.iter().map(|pair| pair.count_holes(&all))).await;
    for (pair, holes) in pairs.iter().zip(&holes) {
        println!(
            "{}: of {} spellings it runs {holes}, with a confirmed address",
            pair.origin.name,
            all.len()
        );
        assert!(
            *holes >= 50,
            "{} would not see a hole: {holes}",
            pair.origin.name
        );
    }
    join_all(pairs.iter().map(|pair| pair.is_kept_from(&all))).await;
    join_all(pairs.iter().map(Pair::gets_what_is_honest)).await;
    join_all(pairs.iter().map(Pair::gets_what_it_asks_for)).await;
    // They still would.
    join_all(pairs.iter().map(Pair::runs_what_arrives)).await;
    println!(
        "servers up after {started:?}, all done after {:?}",
        begun.elapsed()
    );
}
