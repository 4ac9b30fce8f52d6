//! Fields that move a path, before real gunicorns; and what PHP is told of a client.

use super::clients::{Fate, Http1, Http2, Shape};
use super::servers::{APPLICATIONS, apache, record_of};
use super::spellings::{Body, Spelling};
use crate::fields::{UNTRUSTED, forged, spelled};
use crate::support::behind::session_of;
use crate::support::raw::{H2, Raw};
use crate::support::server::Server;
use crate::support::world::{ADA, StoreKind};
use crate::support::{World, ports};
use futures_util::future::join_all;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// gunicorns and Flask, put there by `.ci/tools`.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/python");
const PORTAL: &str = "[portal]\ncheck_url = \"http://127.0.0.1:9/wer\"\ncookies = [\"PORTAL\"]\npaths = [\"/portal/\"]\n[log]\nfilter = \"warn\"";

/// A gunicorn with an application that writes a line for each submission and page.
struct Gunicorn {
    name: String,
    port: u16,
    record: PathBuf,
    _process: Server,
    folder: TempDir,
}

impl Gunicorn {
    async fn start(version: &str, application: &str) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder"), ports::free());
        let packages = Path::new(PYTHON).join(format!("gunicorn-{version}"));
        assert!(
            packages.join("gunicorn").exists(),
            "gunicorn {version} is missing: see .ci/tools"
        );
        let record = record_of(folder.path(), "gunicorn");
        std::fs::write(&record, "").expect("written");
        let mut command = Command::new("python3");
        command.args([
            "-m",
            "gunicorn",
            "--worker-class",
            "gthread",
            "--threads",
            "8",
            "--bind",
            &format!("127.0.0.1:{port}"),
        ]);
        command
            .args([
                "--pythonpath",
                APPLICATIONS,
                &format!("{application}_application"),
            ])
            .current_dir(folder.path());
        command
            .env(
                "PYTHONPATH",
                format!("{}:{PYTHON}/flask", packages.display()),
            )
            .env("RECORD", &record);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Server::spawn("gunicorn", command, &folder.path().join("log"));
        process.ready(&format!("http://127.0.0.1:{port}/")).await;
        Self {
            name: format!("gunicorn {version}, {application}"),
            port,
            record,
            _process: process,
            folder,
        }
    }

    /// What it ran so far. It writes each line before it answers.
    fn ran(&self) -> Vec<String> {
        std::fs::read_to_string(&self.record)
            .expect("a record")
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Sends this straight to it and tells what it ran.
    async fn runs_directly(&self, row: &Row, name: &str) -> bool {
        let before = self.ran().len();
        let Row { line, value, .. } = row;
        let mut client = Raw::connect(self.port).await;
        let body = if line.starts_with("POST") {
            "Content-Length: 2\r\n\r\na="
        } else {
            "\r\n"
        };
        client.send(format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{name}: {value}\r\n{body}")).await;
        client.rest().await;
        self.ran().len() > before
    }
}

/// A field, and the request with which it would move the path.
#[derive(Clone)]
struct Row {
    name: &'static str,
    value: &'static str,
    /// Method and target.
    line: &'static str,
}

/// The names of fields that cut the beginning of a path, and of fields that say the whole path.
const PREFIXES: [&str; 7] = [
    "SCRIPT_NAME",
    "X-Script-Name",
    "X-ScriptName",
    "X-Traversal-Path",
    "X-Forwarded-Prefix",
    "X-Forwarded-Script-Name",
    "X-Vhm-Root",
];
const PATHS: [&str; 12] = [
    "PATH_INFO",
    "X-Path-Info",
    "X-PathInfo",
    "REQUEST_URI",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Waws-Unencoded-Url",
    "X-Envoy-Original-Path",
    "X-Replaced-Path",
    "X-Matched-Path",
    "X-Invoke-Path",
    "X-Ms-Original-Url",
];

/// For a session without e-mail: none of these requests is the submission.
fn with_a_session() -> Vec<Row> {
    let cut = PREFIXES.map(|name| Row {
        name,
        value: "/x",
        line: "POST /x/antrag/versand",
    });
    let whole = PATHS.map(|name| Row {
        name,
        value: "/antrag/versand",
        line: "POST /tarif",
    });
    cut.into_iter().chain(whole).collect()
}

/// For nobody, on the paths of a portal that is on the calculator's own server.
fn without_a_session() -> Vec<Row> {
    let cut = PREFIXES.into_iter().flat_map(|name| {
        ["POST /portal/antrag/versand", "GET /portal/kfz/angebot"].map(|line| Row {
            name,
            value: "/portal",
            line,
        })
    });
    let whole = PATHS.into_iter().flat_map(|name| {
        [
            ("POST /portal/x", "/antrag/versand"),
            ("GET /portal/x", "/kfz/angebot"),
        ]
        .map(|(line, value)| Row { name, value, line })
    });
    cut.chain(whole).collect()
}

/// A name as servers take it for the same one.
fn spellings(name: &str) -> Vec<String> {
    let with = |separator: &str| name.replace(['-', '_'], separator);
    let mut all = ["-", "_", ".", "~", "!", "$", "'", "+", "|", "^", "`"]
        .map(with)
        .to_vec();
    all.extend([
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        name.replacen(['-', '_'], ".", 1),
    ]);
    all.sort();
    all.dedup();
    all
}

fn spelling(row: &Row, name: &str) -> Spelling {
    let (method, target) = row.line.split_once(' ').expect("a method and a target");
    let body = if method == "POST" {
        Body::Any
    } else {
        Body::Raw("")
    };
    Spelling {
        fields: format!("{name}: {}\r\n", row.value),
        body,
        ..Spelling::plain(method, target)
    }
}

/// Asks with each row in each spelling, over both protocols; all are answered by the application or refused.
async fn ask_all(world: &World, session: &str, rows: &[Row], origin: &Gunicorn) {
    let (mut one, mut two) = (Http1::new(world, session), Http2::new(world, session));
    for row in rows {
        for name in spellings(row.name) {
            let spelling = spelling(row, &name);
            for fate in [
                one.ask(&spelling, Shape::Sized).await,
                two.ask(&spelling, Shape::Sized).await,
            ] {
                assert!(
                    matches!(fate, Fate::Answered(200 | 404 | 405)),
                    "{} {} {name}: {fate:?}",
                    origin.name,
                    row.line
                );
            }
        }
    }
}

async fn nothing_is_moved(origin: &Gunicorn) {
    let url = format!("http://127.0.0.1:{}", origin.port);
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .upstream(&url)
        .config(PORTAL)
        .start()
        .await;
    let without_email = session_of(&world.signed_in_without_email().await);
    let full = session_of(&world.signed_in(ADA).await);
    // It runs what arrives.
    let (before, plain) = (
        origin.ran().len(),
        Spelling::plain("POST", "/antrag/versand"),
    );
    assert_eq!(
        Http1::new(&world, &full).ask(&plain, Shape::Sized).await,
        Fate::Answered(200)
    );
    assert_eq!(origin.ran()[before..], ["versandt POST /antrag/versand"]);
    let before = origin.ran().len();
    ask_all(&world, &without_email, &with_a_session(), origin).await;
    ask_all(&world, "keine=1", &without_a_session(), origin).await;
    assert_eq!(origin.ran()[before..], [""; 0], "{} ran them", origin.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_moves_a_path_before_gunicorn() {
    let kinds = [
        ("20.1.0", "flask"),
        ("20.1.0", "wsgi"),
        ("27.0.1", "flask"),
        ("27.0.1", "wsgi"),
    ];
    let origins =
        join_all(kinds.map(|(version, application)| Gunicorn::start(version, application))).await;
    for origin in &origins {
        let mut moved = Vec::new();
        for row in with_a_session().iter().chain(&without_a_session()) {
            for name in spellings(row.name) {
                if origin.runs_directly(row, &name).await {
                    moved.push(format!("{name} {}", row.line));
                }
            }
        }
        println!("{} runs {} of them directly", origin.name, moved.len());
        let has = |row: &str| moved.iter().any(|moved| moved == row);
        for line in [
            "POST /x/antrag/versand",
            "POST /portal/antrag/versand",
            "GET /portal/kfz/angebot",
        ] {
            assert!(
                has(&format!("SCRIPT_NAME {line}")),
                "{}: SCRIPT_NAME {line}: {moved:?}",
                origin.name
            );
            assert!(
                has(&format!("X-Script-Name {line}")),
                "{}: X-Script-Name {line}: {moved:?}",
                origin.name
            );
        }
        assert!(
            origin.name.ends_with("flask") || has("REQUEST.URI POST /tarif"),
            "{}: {moved:?}",
            origin.name
        );
        assert!(origin.folder.path().exists());
    }
    join_all(origins.iter().map(nothing_is_moved)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn php_is_told_who_asks_by_the_gateway_alone() {
    let folder = TempDir::new().expect("a folder");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
    let (port, mut process) = apache(folder.path());
    std::fs::copy(
        Path::new(APPLICATIONS).join("felder.php"),
        folder.path().join("apache/documents/felder.php"),
    )
    .expect("copied");
    process
        .ready(&format!("http://127.0.0.1:{port}/felder.php"))
        .await;
    let names = spelled(UNTRUSTED);
    let mut direct = Raw::connect(port).await;
    direct.send("GET /felder.php HTTP/1.1\r\nHost: 127.0.0.1\r\nRemote-User: forged\r\nX-Forwarded-User: forged\r\nConnection: close\r\n\r\n").await;
    let told = String::from_utf8_lossy(&direct.rest().await).into_owned();
    assert!(
        told.contains("HTTP_REMOTE_USER=forged") && told.contains("HTTP_X_FORWARDED_USER=forged"),
        "{told}"
    );
    let url = format!("http://127.0.0.1:{port}");
    let strip = "[upstream]\nstrip = [\"X-Intern\", \"X-Intern-*\"]";
    let world = World::builder()
        .store(StoreKind::Memory)
        .https()
        .upstream(&url)
        .config(strip)
        .start()
        .await;
    let session = session_of(&world.signed_in(ADA).await);
    let (gateway, https) = (
        world.gateways[0].port,
        world.gateways[0].https.expect("https"),
    );
    let mut h2 = H2::connect(&world).await;
    // Apache takes at most 100 fields.
    for names in names.chunks(60) {
        let head = format!(
            "GET /felder.php HTTP/1.1\r\nHost: 127.0.0.1:{gateway}\r\nCookie: {session}\r\n{}\r\n",
            forged(names)
        );
        let first = Raw::connect(gateway)
            .await
            .send(head)
            .await
            .answer()
            .await
            .text();
        let request = http::Request::get(format!("https://localhost:{https}/felder.php"))
            .version(http::Version::HTTP_2);
        let request = names
            .iter()
            .fold(request.header("cookie", &session), |request, name| {
                request.header(name.to_lowercase(), "forged")
            });
        let second = h2
            .get(request.body(()).expect("a request"))
            .await
            .expect("an answer")
            .into_body();
        for told in [first, String::from_utf8_lossy(&second).into_owned()] {
            assert!(
                !told.contains("forged") && told.contains(&format!("HTTP_X_VTNR={}\n", ADA.0)),
                "{told}"
            );
        }
    }
}
