//! What strangers can have kept is bounded in this process's memory, not only by the counters.

use crate::support::world::StoreKind;
use crate::support::{Raw, Upstream, World};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const TOTAL: u64 = 128 * MIB;
/// Buffers of connections, pages and whatever else the allocator keeps: 139 to 184 MiB in all were seen. Forms that were
/// kept twice would take 256.
const ASIDE: u64 = 96 * MIB;

/// What the process has in memory, in bytes: now, or at most since it began.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status
        .lines()
        .find(|line| line.starts_with(field))
        .expect("a field");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("kibibytes")
        << 10
}

/// A stranger posts a form of a mebibyte: its status, and whether it is kept.
async fn post(world: &World, stranger: usize) -> (u16, bool) {
    let port = world.gateways[0].port;
    let address = format!("198.51.{}.{}", stranger / 250, 1 + stranger % 250);
    let head = format!(
        "POST /kfz/antrag HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Forwarded-For: {address}\r\nAccept: text/html\r\n\
         Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {MIB}\r\n\r\n"
    );
    // What repeats itself could be kept in less.
    let body: Vec<u8> = (0..MIB)
        .map(|at| b'a' + (at.wrapping_mul(2_654_435_761) >> 13) as u8 % 26)
        .collect();
    let mut client = Raw::connect(port).await;
    let answer = client.send(head).await.send(body).await.answer().await;
    (answer.status(), !answer.values("set-cookie").is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_strangers_take_no_more_memory_than_they_may() {
    let limits = format!("[parking]\nper_client = \"4MiB\"\ntotal = \"{TOTAL}B\"");
    let upstream = Upstream::fine().await;
    let builder = World::builder()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .config(&limits);
    let world = builder
        .listen("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    let pid = world.gateways[0].pid();
    let before = memory(pid, "VmRSS");
    let mut kept = 0;
    for crowd in 0..8 {
        let posts = (0..32).map(|one| post(&world, 32 * crowd + one));
        for (status, is_kept) in futures_util::future::join_all(posts).await {
            assert_eq!(status, 401);
            kept += u64::from(is_kept);
        }
    }
    assert!(kept >= 10, "some find room: {kept}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (now, most) = (
        memory(pid, "VmRSS").saturating_sub(before),
        memory(pid, "VmHWM").saturating_sub(before),
    );
    eprintln!(
        "{kept} forms of 1 MiB are kept; resident besides: {} MiB, at most {} MiB",
        now / MIB,
        most / MIB
    );
    assert!(
        most < TOTAL + ASIDE,
        "{} MiB for forms, of which {} may be kept",
        most / MIB,
        TOTAL / MIB
    );
    upstream.saw_nothing("strangers' forms");
}
