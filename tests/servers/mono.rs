//! ASP.NET: Mono's FastCGI server behind nginx. It reads `%uXXXX` and the charset that a request names into the query, and cuts a session's
//! mark out of the path.

use crate::clients::{Fate, Http1, Http2, Shape};
use crate::spellings::{self, Body, Spelling};
use crate::support::behind::session_of;
use crate::support::server::Server;
use crate::support::world::{ADA, StoreKind};
use crate::support::{World, ports};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const APPLICATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/applications");
const FORM: &str = "application/x-www-form-urlencoded";

/// Mono with two applications: one at `/`, and one at `/sitzung` whose sessions have no cookies.
struct Mono {
    folder: TempDir,
    port: u16,
    _processes: [Server; 2],
}

impl Mono {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let (port, socket) = (ports::free(), ports::free());
        std::fs::write(folder.path().join("record"), "").expect("written");
        let plain = application(folder.path(), "antrag", r#"mode="Off""#);
        let sessions = application(
            folder.path(),
            "sitzung",
            r#"mode="InProc" cookieless="true""#,
        );
        let mut mono = Command::new("/usr/bin/fastcgi-mono-server4");
        mono.arg(format!(
            "/applications=/:{},/sitzung:{}",
            plain.display(),
            sessions.display()
        ));
        mono.arg(format!("/socket=tcp:127.0.0.1:{socket}"))
            .env("RECORD", folder.path().join("record"));
        let mono = Server::spawn("Mono", mono, &folder.path().join("mono.log"));
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx
            .args(["-e", "stderr", "-c"])
            .arg(configuration(folder.path(), port, socket))
            .arg("-p")
            .arg(folder.path());
        let mut nginx = Server::spawn("nginx", nginx, &folder.path().join("nginx.log"));
        nginx.ready(&format!("http://127.0.0.1:{port}/")).await;
        Self {
            folder,
            port,
            _processes: [mono, nginx],
        }
    }

    /// What it ran, a line each.
    fn submissions(&self) -> Vec<String> {
        let record = std::fs::read(self.folder.path().join("record")).expect("a record");
        String::from_utf8_lossy(&record)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// A folder with the application and its configuration.
fn application(folder: &Path, name: &str, sessions: &str) -> PathBuf {
    let own = folder.join(name);
    std::fs::create_dir_all(own.join("bin")).expect("a folder");
    let config = std::fs::read_to_string(format!("{APPLICATIONS}/web.config")).expect("it exists");
    std::fs::write(
        own.join("web.config"),
        config.replace("@SESSIONS@", sessions),
    )
    .expect("written");
    let mut compiler = Command::new("mcs");
    compiler
        .args(["-target:library", "-r:System.Web"])
        .arg(format!("-out:{}", own.join("bin/Antrag.dll").display()));
    let compiled = compiler
        .arg(format!("{APPLICATIONS}/Antrag.cs"))
        .output()
        .expect("mcs: see .ci/tools servers");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    own
}

fn configuration(folder: &Path, port: u16, socket: u16) -> PathBuf {
    let is_root = std::fs::metadata(folder).expect("a folder").uid() == 0;
    let text = std::fs::read_to_string(format!("{APPLICATIONS}/nginx.conf")).expect("it exists");
    let values = [
        ("@USER@", if is_root { "user root;" } else { "" }.to_owned()),
        ("@FOLDER@", folder.display().to_string()),
        ("@PORT@", port.to_string()),
        ("@MONO@", socket.to_string()),
    ];
    let file = folder.join("nginx.conf");
    std::fs::write(
        &file,
        values
            .iter()
            .fold(text, |text, (name, value)| text.replace(name, value)),
    )
    .expect("written");
    file
}

/// A form to this target in this charset.
fn in_charset(target: &str, charset: &str) -> Spelling {
    let fields = format!("Content-Type: {FORM}; charset={charset}\r\nContent-Length: 10\r\n");
    Spelling {
        fields,
        body: Body::Raw("fahrer=Ada"),
        ..Spelling::plain("POST", target)
    }
}

/// What Mono takes for the Antragsversand, besides much else. `mark` is a session's in the path.
fn oddities(mark: &str) -> Vec<Spelling> {
    let plain = [
        "/main?module=antrag&action=versand",
        "/main?action=versand&x=1&module=antrag",
        "/main?%u006dodule=antrag&action=versand",
        "/main?module=%u0061ntrag&action=versand",
        "/main?%u006dodule=%u0061ntrag&%u0061ction=versand",
        "/main?module=antrag&action=ver%73and",
        "/antrag/versand.aspx",
        "/ANTRAG/Versand.aspx",
        "/antrag%2fversand.aspx",
        "/x/%2e%2e/antrag/versand",
        &format!("/sitzung/{mark}/antrag/versand.aspx"),
        &format!("/sitzung/{mark}/ANTRAG/%76ersand.aspx"),
    ]
    .map(|target| Spelling::plain("POST", target));
    let in_charsets = [
        ("/main?module=+AGE-ntrag&action=versand", "utf-7"),
        ("/main?+AG0-odule=antrag&action=+AHY-ersand", "\"UTF-7\""),
        (
            "/main?module=%2BAGE-ntrag&action=versand",
            "unicode-1-1-utf-7",
        ),
        (
            "/main?+AG0AbwBkAHUAbABlAD0AYQBuAHQAcgBhAGcAJg-action=versand",
            "utf-7",
        ),
    ];
    plain
        .into_iter()
        .chain(in_charsets.map(|(target, charset)| in_charset(target, charset)))
        .collect()
}

/// What no server that was tried runs, and one of another make might.
fn suspects() -> Vec<Spelling> {
    let ibm037 =
        "/main?%94%96%84%a4%93%85=%81%95%a3%99%81%87&%81%83%a3%89%96%95=%a5%85%99%a2%81%95%84";
    let wide = |text: &str| {
        text.bytes()
            .map(|letter| format!("%{letter:02x}%00"))
            .collect::<String>()
    };
    let utf16 = format!(
        "/main?{}={}&{}={}",
        wide("module"),
        wide("antrag"),
        wide("action"),
        wide("versand")
    );
    let in_charsets = [
        (ibm037, "IBM037"),
        (ibm037, "ibm500"),
        (ibm037, "IBM01140"),
        (&utf16, "utf-16"),
        (&utf16, "UTF-16LE"),
        (&utf16, "utf-32"),
    ];
    let plain = [
        "/sitzung/(S(lit3py55t21z5v55vlm25s55))/antrag/versand.aspx",
        "/(A(x)F(y))/antrag/versand.aspx",
        "/main?module=%25u0061ntrag&action=versand",
        "/main?module=%U0061ntrag&action=versand",
    ];
    in_charsets
        .map(|(target, charset)| in_charset(target, charset))
        .into_iter()
        .chain(plain.map(|target| Spelling::plain("POST", target)))
        .collect()
}

/// Mono, and a gateway before it.
struct Pair {
    mono: Mono,
    world: World,
    full: String,
    without_email: String,
}

impl Pair {
    async fn start() -> Self {
        let mono = Mono::start().await;
        let rules = "[submission]\npaths = [\"/antrag/versand\", \"/sitzung/antrag/versand\", \"/main?module=antrag&action=versand\"]\n[log]\nfilter = \"warn\"";
        let url = format!("http://127.0.0.1:{}", mono.port);
        let world = World::builder()
            .store(StoreKind::Memory)
            .https()
            .upstream(&url)
            .config(rules)
            .start()
            .await;
        let full = session_of(&world.signed_in(ADA).await);
        let without_email = session_of(&world.signed_in_without_email().await);
        Self {
            mono,
            world,
            full,
            without_email,
        }
    }

    /// A session's mark in the path, as Mono gives one to whoever comes without.
    async fn mark(&self) -> String {
        let ask = Spelling::plain("GET", "/sitzung/tarif");
        let answer = Http1::new(&self.world, &self.full)
            .answer(&ask, Shape::Sized)
            .await
            .expect("an answer");
        let led = answer
            .values("location")
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        led.split('/')
            .find(|segment| segment.starts_with('('))
            .unwrap_or_else(|| panic!("no session in {led:?}: {answer:?}"))
            .to_owned()
    }

    /// Shows that Mono runs all of these for a full session.
    async fn runs(&self, all: &[Spelling]) {
        let (mut http1, mut http2) = (
            Http1::new(&self.world, &self.full),
            Http2::new(&self.world, &self.full),
        );
        for spelling in all {
            let before = self.mono.submissions().len();
            let fates = [
                http1.ask(spelling, Shape::Sized).await,
                http2.ask(spelling, Shape::Sized).await,
            ];
            assert_eq!(
                self.mono.submissions().len(),
                before + 2,
                "Mono runs {spelling:?}: {fates:?}"
            );
        }
    }

    /// Sends all of these for a session without e-mail and shows that it runs none.
    async fn is_kept_from(&self, all: &[Spelling]) {
        let before = self.mono.submissions().len();
        for shape in [Shape::Sized, Shape::Chunked, Shape::Empty] {
            let (mut http1, mut http2) = (
                Http1::new(&self.world, &self.without_email),
                Http2::new(&self.world, &self.without_email),
            );
            for spelling in all
                .iter()
                .filter(|spelling| shape == Shape::Sized || spelling.body == Body::Any)
            {
                for fate in [
                    http1.ask(spelling, shape).await,
                    http2.ask(spelling, shape).await,
                ] {
                    assert_ne!(fate, Fate::Silence, "{shape:?} {spelling:?}");
                }
            }
        }
        // Whatever was still under way is done before this one.
        self.runs(&[Spelling::plain("POST", "/antrag/versand")])
            .await;
        let ran = self.mono.submissions().split_off(before);
        assert_eq!(ran, ["POST /antrag/versand"; 2], "Mono ran them");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mono_runs_no_spelling_of_the_submission_without_a_confirmed_address() {
    let pair = Pair::start().await;
    let odd = oddities(&pair.mark().await);
    pair.runs(&odd).await;
    let all = [odd.clone(), suspects(), spellings::all()].concat();
    pair.is_kept_from(&all).await;
    let mut client = Http1::new(&pair.world, &pair.without_email);
    for (method, target) in [
        ("POST", "/tarif?x=%C3%BC"),
        ("POST", "/main?module=antrag&action=speichern"),
        ("POST", "/f(1)/x"),
        ("GET", "/main?module=%u0061ntrag&action=versand"),
        ("GET", "/dok/Antr%C3%A4ge/P.pdf"),
    ] {
        let answer = client
            .answer(&Spelling::plain(method, target), Shape::Sized)
            .await
            .expect("an answer");
        assert_eq!(
            (answer.status(), answer.text().trim()),
            (200, "anderes"),
            "{method} {target}"
        );
    }
    // It still would.
    pair.runs(&odd).await;
}
