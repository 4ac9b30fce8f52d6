//! Clients that flood the gateway with frames and fields: its memory stays bounded, and another client is served all the while.

#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal,
};
use support::{Behind, Raw, Upstream, World};

/// So much more memory than before an attack may the gateway have at any moment of it, or after it.
const BOUND: usize = 64 << 20;
/// No attack is kept up for longer.
const PATIENCE: Duration = Duration::from_secs(2);

async fn world() -> Behind {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(head) = wire.head().await {
            if head.line.contains("/gross") {
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    64 << 20
                ))
                .await;
                while wire.try_send(vec![b'x'; 65_536]).await.is_ok() {}
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    // At `trace`, the log of a flood is larger than the flood.
    let builder = World::builder()
        .https()
        .listen("header_timeout = \"2s\"\nbody_timeout = \"1s\"")
        .config("[log]\nfilter = \"info\"");
    Behind::with(upstream, builder).await
}

fn resident(behind: &Behind) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{}/statm", behind.world.gateways[0].pid()))
        .expect("it runs");
    pages
        .split(' ')
        .nth(1)
        .expect("a number")
        .parse::<usize>()
        .expect("a number")
        * 4_096
}

/// Runs an attack while another client is served.
async fn withstands<A: Future<Output = End>>(
    behind: &Behind,
    what: &str,
    attack: A,
) -> Option<End> {
    let before = resident(behind);
    let (most, over, served) = (
        AtomicUsize::new(0),
        AtomicBool::new(false),
        AtomicUsize::new(0),
    );
    let begun = Instant::now();
    let attack = async {
        // Who is stuck has lost.
        let end = tokio::time::timeout(PATIENCE, attack).await.ok();
        over.store(true, Ordering::SeqCst);
        end
    };
    let other = async {
        let mut slowest = Duration::ZERO;
        while !over.load(Ordering::SeqCst) {
            let asked = Instant::now();
            assert_eq!(behind.ask("GET /", "").await.status(), 200, "{what}");
            slowest = slowest.max(asked.elapsed());
            served.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(resident(behind), Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(slowest < Duration::from_secs(3), "{what}: {slowest:?}");
        slowest
    };
    let (end, slowest) = tokio::join!(attack, other);
    let grown = most
        .into_inner()
        .max(resident(behind))
        .saturating_sub(before);
    println!(
        "{what}: {end:?}, {} KiB more, {} served meanwhile, slowest {slowest:?}, {:?}",
        grown >> 10,
        served.into_inner(),
        begun.elapsed()
    );
    assert!(grown < BOUND, "{what}: {grown} bytes more");
    end
}

/// The same with an attack that must not only be withstood, but ended.
async fn refuses<A: Future<Output = End>>(behind: &Behind, what: &str, attack: A) {
    let end = withstands(behind, what, attack).await;
    assert!(matches!(end, Some(End::Refused(_))), "{what}: {end:?}");
}

/// How an attack ended, if it did not merely get stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The connection was ended for this reason (RFC 9113, 7).
    Refused(u32),
    /// The connection was ended without a word.
    Ended,
}

/// Reads what there is until the end.
async fn end_of(frames: &mut Frames) -> End {
    let mut end = End::Ended;
    while let Some((kind, payload)) = frames.frame().await {
        if kind == GOAWAY {
            end = End::Refused(u32::from_be_bytes([
                payload[4], payload[5], payload[6], payload[7],
            ]));
        }
    }
    end
}

impl Attack<'_> {
    fn request(&self, method: &str, path: &str) -> Vec<u8> {
        let authority = format!(
            "localhost:{}",
            self.0.world.gateways[0].https.expect("https")
        );
        [
            (":method", method),
            (":scheme", "https"),
            (":authority", &authority),
            (":path", path),
            ("cookie", &self.0.session),
        ]
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
    }

    /// Pours the same frames with ever new stream numbers, until they are refused.
    async fn streams(&self, number: u32, mut of: impl FnMut(u32) -> Vec<u8>) -> End {
        let mut frames = Frames::connect(&self.0.world).await;
        for batch in (0..number).collect::<Vec<_>>().chunks(50) {
            let bytes: Vec<u8> = batch.iter().flat_map(|number| of(1 + 2 * number)).collect();
            if !frames.pour(&bytes).await {
                break;
            }
        }
        end_of(&mut frames).await
    }

    /// Begins as told, and then pours the same bytes again and again.
    async fn repeat(&self, begin: &[u8], bytes: &[u8], times: usize) -> End {
        let mut frames = Frames::connect(&self.0.world).await;
        frames.pour(begin).await;
        let thousand = bytes.repeat(1_000.min(times));
        for _ in 0..times.div_ceil(1_000) {
            if !frames.pour(&thousand).await {
                break;
            }
        }
        end_of(&mut frames).await
    }
}

/// The broker is the attacker: whoever is not signed in gets less far.
struct Attack<'a>(&'a Behind);

#[tokio::test]
async fn floods_of_frames_cost_little_and_keep_nobody_from_being_served() {
    let behind = world().await;
    let attack = Attack(&behind);
    let get = attack.request("GET", "/");
    let post = attack.request("POST", "/");
    // The first attacks make the allocator reach its usual size.
    let opened = |stream: u32, block: &[u8]| frame(HEADERS, END_HEADERS, stream, block);
    let whole = |stream: u32, block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, stream, block);
    let reset = |stream: u32| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);

    refuses(&behind, "rapid reset (CVE-2023-44487)", async {
        attack
            .streams(20_000, |stream| {
                [whole(stream, &get), reset(stream)].concat()
            })
            .await
    })
    .await;
    refuses(&behind, "rapid reset, each once it is under way", async {
        let mut frames = Frames::connect(&behind.world).await;
        let mut number = 0;
        loop {
            let streams: Vec<u32> = (number..number + 20).map(|number| 1 + 2 * number).collect();
            let begun = frames
                .pour(
                    &streams
                        .iter()
                        .flat_map(|stream| whole(*stream, &get))
                        .collect::<Vec<_>>(),
                )
                .await;
            tokio::time::sleep(Duration::from_millis(2)).await;
            if !begun
                || !frames
                    .pour(
                        &streams
                            .iter()
                            .flat_map(|stream| reset(*stream))
                            .collect::<Vec<_>>(),
                    )
                    .await
            {
                return end_of(&mut frames).await;
            }
            number += 20;
        }
    })
    .await;
    let sent_up = behind.upstream.requests().len();
    assert!(sent_up < 100_000, "{sent_up} requests for the calculator");
    refuses(
        &behind,
        "MadeYouReset (CVE-2025-8671), window of nothing",
        async {
            attack
                .streams(20_000, |stream| {
                    [
                        opened(stream, &post),
                        frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
                    ]
                    .concat()
                })
                .await
        },
    )
    .await;
    refuses(
        &behind,
        "MadeYouReset (CVE-2025-8671), window too large",
        async {
            let most = [0x7f, 0xff, 0xff, 0xff];
            attack
                .streams(20_000, |stream| {
                    [
                        opened(stream, &post),
                        frame(WINDOW_UPDATE, 0, stream, &most),
                    ]
                    .concat()
                })
                .await
        },
    )
    .await;
    refuses(
        &behind,
        "MadeYouReset (CVE-2025-8671), data after the end",
        async {
            attack
                .streams(20_000, |stream| {
                    [whole(stream, &get), frame(DATA, 0, stream, b"x")].concat()
                })
                .await
        },
    )
    .await;
    refuses(&behind, "CONTINUATION without end", async {
        let block = literal("x-a", "a".repeat(100)).repeat(100);
        attack
            .repeat(
                &frame(HEADERS, 0, 1, &get),
                &frame(CONTINUATION, 0, 1, &block),
                10_000,
            )
            .await
    })
    .await;
    refuses(&behind, "CONTINUATION of nothing", async {
        attack
            .repeat(
                &frame(HEADERS, 0, 1, &get),
                &frame(CONTINUATION, 0, 1, b""),
                1_000_000,
            )
            .await
    })
    .await;
    refuses(&behind, "DATA of nothing", async {
        attack
            .repeat(&opened(1, &post), &frame(DATA, 0, 1, b""), 1_000_000)
            .await
    })
    .await;
    refuses(&behind, "padded DATA of nothing", async {
        attack
            .repeat(
                &opened(1, &post),
                &frame(DATA, 8, 1, &[vec![255], vec![0; 255]].concat()),
                100_000,
            )
            .await
    })
    .await;
    withstands(&behind, "SETTINGS", async {
        attack
            .repeat(b"", &frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]), 1_000_000)
            .await
    })
    .await;
    withstands(&behind, "PING", async {
        attack
            .repeat(b"", &frame(PING, 0, 0, &[7; 8]), 1_000_000)
            .await
    })
    .await;
    withstands(&behind, "PRIORITY", async {
        attack
            .repeat(
                &whole(1, &get),
                &frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 7]),
                1_000_000,
            )
            .await
    })
    .await;
    refuses(&behind, "a bomb of fields in few bytes", async {
        // A field of 4,000 bytes is remembered, and meant with one byte each from then on: 4 KiB become 16 MiB.
        let remembered = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'a'; 4_000]].concat();
        let bomb = [&get[..], &remembered, &[0xbe; 4_000]].concat();
        let again = [&get[..], &[0xbe; 4_000]].concat();
        attack
            .streams(2_000, |stream| {
                whole(stream, if stream == 1 { &bomb } else { &again })
            })
            .await
    })
    .await;
    behind.still_signed_in().await;
}

#[tokio::test]
async fn clients_that_say_or_take_nothing_cost_little_and_keep_nobody_from_being_served() {
    let behind = world().await;
    let attack = Attack(&behind);
    let gross = attack.request("GET", "/gross");
    withstands(
        &behind,
        "many connections that agree on HTTP/2 and say nothing",
        async {
            let mut idle = Vec::new();
            for _ in 0..300 {
                idle.push(support::raw::tls(&behind.world, b"h2").await);
            }
            // They are closed from the other side.
            for stream in &mut idle {
                let _ = tokio::io::AsyncReadExt::read_to_end(stream, &mut Vec::new()).await;
            }
            End::Ended
        },
    )
    .await;
    withstands(&behind, "a window of nothing before large answers", async {
        let mut frames = Frames::connect(&behind.world).await;
        frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await;
        for number in 0..100 {
            frames
                .send(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * number, &gross)
                .await;
        }
        end_of(&mut frames).await
    })
    .await;
    withstands(&behind, "a megabyte of fields", async {
        for _ in 0..20 {
            let mut client = behind.connect().await;
            client
                .send(behind.request(
                    "GET /",
                    &format!("X-A: {}\r\n", "a".repeat(16_000)).repeat(66),
                ))
                .await;
            refused(&mut client).await;
        }
        End::Ended
    })
    .await;
    withstands(&behind, "ten thousand fields", async {
        for _ in 0..20 {
            let mut client = behind.connect().await;
            client
                .send(behind.request("GET /", &"X-A: a\r\n".repeat(10_000)))
                .await;
            refused(&mut client).await;
        }
        End::Ended
    })
    .await;
    withstands(&behind, "a field without end", async {
        for _ in 0..20 {
            let mut client = behind.connect().await;
            client
                .send(format!("GET / HTTP/1.1\r\nX-A: {}", "a".repeat(4 << 20)))
                .await;
            refused(&mut client).await;
        }
        End::Ended
    })
    .await;
    let requests = behind.upstream.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.values("x-a").is_empty()),
        "none of it reached the calculator"
    );
    behind.still_signed_in().await;
}

async fn refused(client: &mut Raw) {
    if let Some(answer) = client.head().await {
        assert!(matches!(answer.status(), 400 | 431), "{answer:?}");
    }
}
