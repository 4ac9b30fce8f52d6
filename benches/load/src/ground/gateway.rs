//! The gateway itself, and a broker who signs in at it with a TAN.

use super::process::{Process, THEIRS};
use super::servers::Doors;
use super::{Ground, Held, TICKET, VTNR, free, private};
use crate::browser::Browser;
use demo::postbox::{Postbox, ReceivedMail};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// The address on file.
pub(crate) const EMAIL: &str = "ada@makler.example";

/// A gateway that runs, and the session of a broker at it.
pub(crate) struct Gateway {
    pub(crate) doors: Doors,
    pub(crate) process: Process,
    pub(crate) held: Held,
    pub(crate) admin: SocketAddr,
}

/// What distinguishes gateways.
#[derive(Clone, Copy)]
pub(crate) struct With<'a> {
    pub(crate) store: &'a str,
    pub(crate) access_log: bool,
}

/// Starts the program with this store before the upstream, and signs the broker in.
pub(crate) async fn start(
    ground: &Ground,
    name: &str,
    program: &str,
    with: With<'_>,
    upstream: SocketAddr,
) -> Gateway {
    let With { store, access_log } = with;
    let (doors, admin, log) = (Doors::free(), free(), ground.path(&format!("{name}.log")));
    let mails = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mail = mails.local_addr().expect("bound");
    let postbox = Postbox::new();
    tokio::spawn(postbox.clone().serve_smtp(mails));
    let secret = ground.write("secret", "0123456789abcdef0123456789abcdef");
    private(&ground.path("secret"));
    let brokers = ground.write("brokers.csv", &format!("vtnr;email\n{VTNR};{EMAIL}\n"));
    let public: Vec<_> = super::FILES
        .iter()
        .map(|(name, _)| format!("\"/public-{name}\""))
        .collect();
    let config = format!(
        r#"
[listen]
http = "{http}"
https = "{https}"
public_url = "https://{https}"
hosts = ["{http}"]
max_connections = 16000
max_connections_per_client = 16000
keepalive = "10m"
[listen.tls]
cert = "{cert}"
key = "{key}"
[upstream]
url = "http://{upstream}"
public_paths = [{public}]
pool_size = 1024
vtnr_header = "X-VTNR"
[store]
url = "{store}"
secret_file = "{secret}"
key_prefix = "{name}:"
[session]
idle = "12h"
[directory]
file = "{brokers}"
[mail]
url = "smtp://{mail}"
from = "Tarifrechner <noreply@insurer.example>"
[limits]
failures_client = "1000000 in 1h"
vtnrs_client = "1000000 in 1h"
without_email_client = "1000000 in 1h"
without_email_vtnr = "1000000 in 1h"
[submission]
paths = ["/antrag/versand"]
[admin]
listen = "{admin}"
[log]
access = {access_log}
"#,
        http = doors.http,
        https = doors.https,
        cert = ground.text("cert.pem"),
        key = ground.text("key.pem"),
        public = public.join(", "),
    );
    let file = ground.write(&format!("{name}.toml"), &config);
    let process = Process::start(THEIRS, program, &["serve", "--config", &file], &log)
        .listens(doors.http, &log);
    let browser = sign_in(doors.https, &postbox).await;
    let token = browser.cookie("__Host-vtnr_session").expect("a session");
    let ticket = ticket(&browser, store).await;
    Gateway {
        doors,
        process,
        held: Held { token, ticket },
        admin,
    }
}

/// The ticket that the browser is given with a page, once one is given that will do for a while.
async fn ticket(browser: &Browser, store: &str) -> String {
    if store == "memory:" {
        return TICKET.to_owned();
    }
    let mut ticket = None;
    for _ in 0..200 {
        // Whatever the application says.
        browser.open("/1k").await;
        let latest = browser.cookie("__Host-vtnr_ticket");
        if latest.is_some() && latest == ticket {
            break;
        }
        ticket = latest;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    ticket.expect("a ticket")
}

/// Signs in as a browser does.
async fn sign_in(https: SocketAddr, postbox: &Postbox) -> Browser {
    let (browser, before) = (
        Browser::new(&format!("https://{https}")),
        postbox.mails().len(),
    );
    browser
        .claim(VTNR, EMAIL, "/1k")
        .await
        .leads_to("/ui/login/de/tan?return_to=%2F1k");
    browser
        .enter_tan(&tan_of(&postbox.next(before).await), "/1k")
        .await
        .leads_to("/1k");
    browser
}

/// The TAN in a mail: alone on its line.
fn tan_of(mail: &ReceivedMail) -> String {
    let is_tan =
        |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_uppercase());
    mail.text
        .lines()
        .map(str::trim)
        .find(is_tan)
        .expect("a TAN")
        .to_owned()
}
