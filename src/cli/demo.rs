//! `demo`: the gateway with a demo calculator and a mail server, without any setup.

use super::serve::asked_to_stop;
use super::{fail, runtime, start_log};
use crate::app::{App, TakesOver};
use crate::clock::Rng;
use crate::config::{self, Config};
use crate::identity::users::{self, Hash, Password, Put, User, UserKey};
use demo::calculator::Calculator;
use demo::postbox::Postbox;
use domain::vtnr::Vtnr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::net::TcpListener;

#[derive(clap::Args)]
pub(super) struct Demo {
    /// Port of the gateway
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the page that shows the mails
    #[arg(long, default_value_t = 8025)]
    postbox: u16,
    /// Port of the admin listener
    #[arg(long, default_value_t = 9090)]
    admin: u16,
}

/// The demo's brokers: number, address on file, and purpose.
const BROKERS: [(&str, &str, &str); 3] = [
    (
        "60/123/4567",
        "erika.mustermann@makler.example",
        "signs in with a TAN",
    ),
    (
        "60/123/4568",
        "max.beispiel@makler.example",
        "a second broker: trust in a browser applies to one broker only",
    ),
    (
        "60/123/4569",
        "",
        "no address on file: enter any, and continue without e-mail",
    ),
];

/// The demo's user key, password and broker.
const USER: (&str, &str, &str) = ("mustermann", "Tarife gut verglichen", "60/123/4567");

impl Demo {
    pub(super) fn run(self) -> ExitCode {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error),
        };
        let ended = runtime.block_on(self.play());
        runtime.shutdown_background();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.as_ref()),
        }
    }

    async fn play(&self) -> Result<(), Box<dyn std::error::Error>> {
        let folder = Folder::new()?;
        let calculator = any_port().await?;
        let mails = any_port().await?;
        let postbox_page = TcpListener::bind(loopback(self.postbox))
            .await
            .map_err(|error| format!("--postbox {}: {error}", self.postbox))?;
        let text = self.config(&folder.0, calculator.local_addr()?, mails.local_addr()?);
        let config = Config::parse(&text, &folder.0)?;
        config.password.as_ref().map(add_user).transpose()?;
        let log = start_log(&config).map_err(|_| "the log cannot be started")?;
        let app = App::build(config, None, TakesOver::No).await?;
        let postbox = Postbox::new();
        // These tasks end with the runtime.
        tokio::spawn(Calculator::new("/ui/login/de/abmelden").serve(calculator));
        tokio::spawn(postbox.clone().serve_smtp(mails));
        tokio::spawn(postbox.serve_http(postbox_page));
        self.introduce();
        app.run(log, asked_to_stop()?).await?;
        Ok(())
    }

    fn config(&self, folder: &Path, calculator: SocketAddr, mails: SocketAddr) -> String {
        let mut secret = [0; 32];
        Rng.fill(&mut secret);
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let port = self.port;
        let admin = self.admin;
        let folder = folder.display();
        format!(
            r#"
[listen]
http = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
[upstream]
url = "http://{calculator}"
vtnr_header = "X-VTNR"
level_header = "X-VTNR-Level"
public_paths = ["/favicon.ico", "/style.css", "/logo.gif", "/skript.js", "/impressum", "/datenschutz"]
[store]
url = "memory:"
secret = "{secret}"
[directory]
file = "{folder}/brokers.csv"
[mail]
url = "smtp://{mails}"
from = "Tarifrechner <noreply@insurer.example>"
[submission]
paths = ["/antrag/versand"]
[password]
file = "{folder}/users.csv"
[brand]
support_phone = "0800 000 0000"
[admin]
listen = "127.0.0.1:{admin}"
[log]
format = "text"
access = false
"#
        )
    }

    fn introduce(&self) {
        let Self {
            port,
            postbox,
            admin,
        } = self;
        println!("\n  The calculator behind the gateway   http://127.0.0.1:{port}/");
        println!("  The postbox with the mails          http://127.0.0.1:{postbox}/");
        println!(
            "  Metrics and readiness               http://127.0.0.1:{admin}/metrics  /healthz  /readyz\n"
        );
        println!("  Brokers to try:");
        for (vtnr, email, what) in BROKERS {
            println!("    {vtnr}  {email:<32}  {what}");
        }
        let (user, password, vtnr) = USER;
        println!("    {vtnr}  user key {user}, password: {password}");
        println!("\n  All data is kept in memory. Press Ctrl-C to stop.\n");
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn any_port() -> std::io::Result<TcpListener> {
    TcpListener::bind(loopback(0)).await
}

/// Creates the users file.
fn add_user(config: &config::PasswordConfig) -> Result<(), Box<dyn std::error::Error>> {
    let (user, password, vtnr) = USER;
    let key = UserKey::parse(user).map_err(|_| "the demo's user key cannot be one")?;
    let password = Password::parse(password).map_err(|_| "the demo's password cannot be one")?;
    let vtnr = Vtnr::parse(vtnr).map_err(|_| "the demo's broker number cannot be one")?;
    let hash = Hash::of(&password, config.cost, Rng)?;
    users::put(&config.file, user, User { vtnr, hash }, key, Put::Added)?;
    Ok(())
}

/// A temporary folder, removed when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let folder =
            Self(std::env::temp_dir().join(format!("vtnr-gateway-demo-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0)?;
        let lines = BROKERS
            .map(|(vtnr, email, _)| format!("{vtnr};{email}\n"))
            .concat();
        std::fs::write(folder.0.join("brokers.csv"), format!("vtnr;email\n{lines}"))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // On failure, three lines stay behind in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
