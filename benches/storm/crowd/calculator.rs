//! A calculator that costs next to nothing: each page says who asked for what, so that the browser can check it.

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The length of a page.
const PAGE: usize = 1_024;
/// More than any request that a browser here makes.
const LONGEST_REQUEST: usize = 16_384;

/// Answers on this listener until dropped.
pub async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // A gateway that ends a connection is no failure of the calculator's.
        tokio::spawn(async move { _ = answer_all(stream).await });
    }
}

/// What a page begins with that this broker asked for.
pub fn page_for(vtnr: &str, target: &str) -> String {
    format!("<!doctype html><p>{vtnr};full;{target};</p>")
}

async fn answer_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut length) = (vec![0; LONGEST_REQUEST], 0);
    loop {
        while let Some(end) = buffer[..length]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            stream
                .write_all(answer(&String::from_utf8_lossy(&buffer[..end])).as_bytes())
                .await?;
            buffer.copy_within(end + 4..length, 0);
            length -= end + 4;
        }
        match stream.read(&mut buffer[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
}

/// Browsers here ask the calculator by GET only, without a body.
fn answer(head: &str) -> String {
    let (mut vtnr, mut level, mut secret) = ("", "", "");
    let mut lines = head.split("\r\n");
    let target = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name.to_ascii_lowercase().as_str() {
            "x-vtnr" => vtnr = value,
            "x-vtnr-level" => level = value,
            "cookie" if value.contains("vtnr_") => secret = "a cookie of the gateway's",
            _ => {}
        }
    }
    let page = format!("<!doctype html><p>{vtnr};{level};{target};{secret}</p>");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {PAGE}\r\n\r\n{page:<PAGE$.PAGE$}"
    )
}
