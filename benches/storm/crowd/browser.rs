//! A browser as the gateway sees one: an address of its own, cookies, one connection that is kept, and the fields of a Firefox.
//!
//! It is written by hand since it shares the machine with what it measures.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than any answer may take; what takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a request is for, as the browser tells the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Page,
    Asset,
}

/// A browser.
pub struct Browser {
    gateway: SocketAddr,
    from: Ipv4Addr,
    line: Option<BufReader<TcpStream>>,
    cookies: BTreeMap<String, String>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
    /// When the request's first byte was on its way.
    pub sent_at: Instant,
    /// From then on until the last byte of the answer, with connecting where that was necessary.
    pub took: Duration,
}

impl Browser {
    /// A browser without cookies, at the address `127.x.y.z` of this number.
    pub fn new(gateway: SocketAddr, number: u32) -> Self {
        // From 127.1.0.0 on, so that none has the address that the servers listen on.
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number);
        Self {
            gateway,
            from,
            line: None,
            cookies: BTreeMap::new(),
        }
    }

    /// Sets a cookie.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// Asks for a page or what belongs to one, without following where it leads.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn get(&mut self, path: &str, purpose: Purpose) -> Result<Answer> {
        let (accept, mode, dest) = match purpose {
            Purpose::Page => (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "navigate",
                "document",
            ),
            Purpose::Asset => ("*/*", "no-cors", "style"),
        };
        let fields = format!(
            "Accept: {accept}\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\nSec-Fetch-Site: same-origin\r\n"
        );
        self.ask("GET", path, &fields, "").await
    }

    /// Posts a form as a page of the gateway does, without following where it leads.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let head = format!(
            "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Site: same-origin\r\n\
             Origin: http://{}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            self.gateway,
            body.len()
        );
        self.ask("POST", path, &head, &body).await
    }

    async fn ask(&mut self, method: &str, path: &str, fields: &str, body: &str) -> Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n\
             User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
             Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n{fields}",
            self.gateway
        );
        for (at, (name, value)) in self.cookies.iter().enumerate() {
            let _ = write!(
                request,
                "{}{name}={value}",
                if at == 0 { "Cookie: " } else { "; " }
            );
        }
        request.push_str(if self.cookies.is_empty() {
            "\r\n"
        } else {
            "\r\n\r\n"
        });
        request.push_str(body);
        let sent_at = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, self.exchange(&request, sent_at)).await;
        answer
            .context("no answer in time")
            .flatten()
            .with_context(|| format!("{method} {path}"))
    }

    async fn exchange(&mut self, request: &str, sent_at: Instant) -> Result<Answer> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => BufReader::new(self.connect().await.context("connecting")?),
        };
        line.get_mut()
            .write_all(request.as_bytes())
            .await
            .context("sending")?;
        let head = head(&mut line).await?;
        for cookie in &head.cookies {
            self.remember(cookie)?;
        }
        let mut body = vec![0; head.length.context("an answer without a length")?];
        line.read_exact(&mut body)
            .await
            .context("a body that breaks off")?;
        if head.stays_open {
            self.line = Some(line);
        }
        Ok(Answer {
            status: head.status,
            location: head.location,
            body,
            sent_at,
            took: sent_at.elapsed(),
        })
    }

    async fn connect(&self) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let stream = socket.connect(self.gateway).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn remember(&mut self, cookie: &str) -> Result<()> {
        let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
        let (name, value) = pair.split_once('=').context("a cookie without a name")?;
        if attributes.contains("Max-Age=0") {
            self.cookies.remove(name);
        } else {
            self.set_cookie(name, value);
        }
        Ok(())
    }
}

struct Head {
    status: u16,
    location: Option<String>,
    cookies: Vec<String>,
    length: Option<usize>,
    stays_open: bool,
}

async fn head(line: &mut BufReader<TcpStream>) -> Result<Head> {
    let mut text = String::new();
    ensure!(
        line.read_line(&mut text).await.context("waiting")? > 0,
        "the connection ended before an answer"
    );
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no status line")?;
    let mut head = Head {
        status,
        location: None,
        cookies: Vec::new(),
        length: None,
        stays_open: true,
    };
    loop {
        text.clear();
        ensure!(
            line.read_line(&mut text).await? > 0,
            "the connection ended within a header"
        );
        let field = text.trim_end();
        if field.is_empty() {
            return Ok(head);
        }
        let Some((name, value)) = field.split_once(':') else {
            bail!("a line that is no field")
        };
        match name.to_ascii_lowercase().as_str() {
            "location" => head.location = Some(value.trim().to_owned()),
            "set-cookie" => head.cookies.push(value.trim().to_owned()),
            "content-length" => head.length = Some(value.trim().parse()?),
            "connection" => head.stays_open = !value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Where it leads.
    ///
    /// # Errors
    /// It leads nowhere, or to a path that does not begin like this.
    pub fn leads_to(&self, path: &str) -> Result<String> {
        let location = self.location.as_deref().unwrap_or_default();
        let leads = self.status == 303 && location.starts_with(path);
        ensure!(
            leads,
            "led to `{location}` instead of `{path}`, with {}: {}",
            self.status,
            self.excerpt()
        );
        Ok(location.to_owned())
    }

    /// That it is a page with this text.
    ///
    /// # Errors
    /// It is not.
    pub fn shows(&self, text: &str) -> Result<()> {
        ensure!(
            self.status == 200 && self.text().contains(text),
            "`{text}` is not shown, with {}: {}",
            self.status,
            self.excerpt()
        );
        Ok(())
    }

    fn excerpt(&self) -> String {
        self.text().chars().take(200).collect()
    }
}
