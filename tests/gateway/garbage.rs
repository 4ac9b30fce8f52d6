//! What strangers send that is no request costs an answer or a connection, and no line of the log above INFO: else anybody could fill it.

use crate::support::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, literal, tls,
};
use crate::support::world::StoreKind;
use crate::support::{Upstream, World};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PUSH_PROMISE: u8 = 5;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// A request's fields over HTTP/2.
fn fields(world: &World, more: &[(&str, &str)]) -> Vec<u8> {
    let authority = format!(
        "localhost:{}",
        world.gateways[0].https.expect("a world with https")
    );
    let usual = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", authority.as_str()),
    ];
    usual
        .iter()
        .chain(more)
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

/// What is no HTTP/1.1, in clear or within TLS.
fn http1() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 22] = [
        b"\x00\x01\x02\x03\xff\xfe\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\0: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \xff\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabcdefgh",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: cow\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"EHLO evil.example\r\n",
        b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x0b\x00\x00\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ];
    texts
        .iter()
        .map(|text| text.to_vec())
        .chain([vec![b'A'; 100_000], vec![0xff; 5_000]])
        .collect()
}

/// What is no TLS.
fn no_tls() -> Vec<Vec<u8>> {
    // A hello of TLS 1.0 that names no host, no suite that anybody has, and a length that lies.
    let hello = [
        &b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x01"[..],
        &[7; 32],
        b"\x00\x00\x02\x13\x37\x01\x00",
    ]
    .concat();
    let alert = b"\x15\x03\x03\x00\x02\x02\x28".to_vec();
    let old = b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x01\x00\x80".to_vec();
    let huge = b"\x16\x03\x01\xff\xff\x01\xff\xff\xff".to_vec();
    let cut = hello[..20].to_vec();
    vec![
        hello,
        alert,
        old,
        huge,
        cut,
        b"\x17\x03\x03\x00\x05hallo".to_vec(),
        vec![0x16; 300],
    ]
}

/// What is no HTTP/2, after a sound handshake.
fn http2(world: &World) -> Vec<Vec<u8>> {
    let request = fields(world, &[]);
    let (window, many) = (
        0x7fff_ffff_u32.to_be_bytes(),
        |part: Vec<u8>, times: usize| part.repeat(times),
    );
    let setting = |name: u16, value: u32| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let frames: Vec<Vec<u8>> = vec![
        frame(SETTINGS, 0, 1, b""),
        frame(SETTINGS, 0, 0, b"abc"),
        frame(SETTINGS, 1, 0, b"abcdef"),
        frame(SETTINGS, 0, 0, &setting(2, 2)),
        frame(SETTINGS, 0, 0, &setting(4, u32::MAX)),
        frame(SETTINGS, 0, 0, &setting(5, 1)),
        frame(PING, 0, 0, b"short"),
        frame(PING, 0, 1, b"12345678"),
        frame(PING, 1, 0, b"87654321"),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
        [
            frame(WINDOW_UPDATE, 0, 0, &window),
            frame(WINDOW_UPDATE, 0, 0, &window),
        ]
        .concat(),
        frame(WINDOW_UPDATE, 0, 7, &[0, 0, 0, 1]),
        frame(HEADERS, END_STREAM | END_HEADERS, 0, &request),
        frame(HEADERS, END_STREAM | END_HEADERS, 2, &request),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, b""),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\xbf"),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x80"),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            b"\x00\x85\xff\xff\xff\xff\xff\x01x",
        ),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            b"\x3f\xff\xff\xff\x7f",
        ),
        frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\xffabc"),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS | WITH_PRIORITY,
            1,
            &[&[0, 0, 0, 1, 9][..], &request].concat(),
        ),
        [
            frame(HEADERS, END_STREAM, 1, &request),
            frame(DATA, 0, 1, b"x"),
        ]
        .concat(),
        [
            frame(HEADERS, END_STREAM, 1, &request),
            frame(PING, 0, 0, b"12345678"),
        ]
        .concat(),
        frame(CONTINUATION, END_HEADERS, 1, &request),
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 0, 1, b"x"),
        frame(DATA, PADDED, 1, b"\xff"),
        frame(PRIORITY, 0, 1, b"x"),
        frame(PRIORITY, 0, 0, &[0; 5]),
        frame(RST_STREAM, 0, 1, &[0; 4]),
        frame(RST_STREAM, 0, 0, &[0; 4]),
        frame(RST_STREAM, 0, 1, b"x"),
        frame(GOAWAY, 0, 1, &[0; 8]),
        frame(GOAWAY, 0, 0, b"x"),
        frame(
            PUSH_PROMISE,
            END_HEADERS,
            1,
            &[&[0, 0, 0, 2][..], &request].concat(),
        ),
        frame(0xfe, 0xff, 0x7fff_ffff, &[7; 16_000]),
        frame(DATA, 0, 1, &vec![0; 70_000]),
        vec![0xff; 40_000],
        many(frame(SETTINGS, 0, 0, b""), 3_000),
        (0..200)
            .flat_map(|n| {
                [
                    frame(HEADERS, END_HEADERS, 2 * n + 1, &request),
                    frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]),
                ]
                .concat()
            })
            .collect(),
        (0..2_000)
            .flat_map(|n| {
                [
                    frame(HEADERS, END_HEADERS, 2 * n + 1, &request),
                    frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4]),
                ]
                .concat()
            })
            .collect(),
        (0..60)
            .flat_map(|n| {
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    2 * n + 1,
                    &fields(world, &[("transfer-encoding", "chunked")]),
                )
            })
            .collect(),
        (0..60)
            .flat_map(|n| {
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    2 * n + 1,
                    &fields(world, &[("connection", "close")]),
                )
            })
            .collect(),
        (0..60)
            .flat_map(|n| {
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    2 * n + 1,
                    &fields(world, &[("host", "evil.example")]),
                )
            })
            .collect(),
        (0..40)
            .flat_map(|n| {
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    2 * n + 1,
                    &fields(world, &[("content-length", "5")]),
                )
            })
            .collect(),
        [
            frame(
                HEADERS,
                END_HEADERS,
                1,
                &fields(world, &[("content-length", "2")]),
            ),
            frame(DATA, END_STREAM, 1, b"too much"),
        ]
        .concat(),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &fields(world, &[(":path", "/twice")]),
        ),
        frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &fields(world, &[("UPPER", "x"), ("a b", "x")]),
        ),
        // A request that is left alone with its body.
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &fields(world, &[("content-length", "500")]),
        ),
    ];
    let greeted = frames
        .into_iter()
        .map(|garbage| [PREFACE, &frame(SETTINGS, 0, 0, b""), &garbage].concat());
    let prefaces: [&[u8]; 6] = [
        b"",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0; 64],
        PREFACE,
    ];
    greeted
        .chain(prefaces.iter().map(|preface| preface.to_vec()))
        .collect()
}

/// Sends it, reads for a while what is said to it, and goes.
async fn pour(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, garbage: &[u8]) {
    let talk = async {
        // The other side may have had enough.
        let _ = stream.write_all(garbage).await;
        let _ = stream.flush().await;
        let mut heard = [0; 4_096];
        while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {}
    };
    let _ = tokio::time::timeout(Duration::from_millis(150), talk).await;
}

/// The lines of the log above INFO.
async fn loud_lines(world: &World) -> Vec<String> {
    let loud = |line: &&str| line.contains("\"ERROR\"") || line.contains("\"WARN\"");
    world
        .log()
        .await
        .lines()
        .filter(loud)
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn garbage_from_strangers_is_no_line_of_the_log_above_info() {
    let upstream = Upstream::fine().await;
    let world = World::builder()
        .https()
        .store(StoreKind::Memory)
        .upstream(&upstream.url())
        .start()
        .await;
    let (http, https) = (
        world.gateways[0].port,
        world.gateways[0].https.expect("a world with https"),
    );
    let before = loud_lines(&world).await;
    let tcp = async |port| {
        TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens")
    };
    let mut kinds = 0;
    for garbage in http1() {
        pour(tcp(http).await, &garbage).await;
        pour(tls(&world, b"http/1.1").await, &garbage).await;
        pour(tcp(https).await, &garbage).await;
        kinds += 1;
    }
    for garbage in no_tls() {
        pour(tcp(https).await, &garbage).await;
        pour(tcp(http).await, &garbage).await;
        kinds += 1;
    }
    for garbage in http2(&world) {
        pour(tls(&world, b"h2").await, &garbage).await;
        pour(tcp(http).await, &garbage).await;
        kinds += 1;
    }
    assert!(kinds >= 80, "{kinds}");
    assert_eq!(loud_lines(&world).await, before);
    upstream.saw_nothing("garbage");
    let counted =
        |reason: &str| format!("vtnr_gateway_connections_rejected_total{{reason=\"{reason}\"}}");
    assert!(world.metric(&counted("handshake")).await >= 20.0);
    assert!(world.metric(&counted("no_request")).await >= 40.0);
}
