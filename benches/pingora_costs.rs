//! What Pingora's way of forwarding spends on a request beside the work itself, each part measured alone: what a data plane without it
//! could win. `make bench-load` tells what a request costs in all.

#[path = "../tests/hot_path/browser.rs"]
mod browser;

use bytes::BytesMut;
use criterion::Criterion;
use pingora::http::RequestHeader;
use pingora::protocols::http::HttpTask;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use std::hint::black_box;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pingora takes a buffer of this size for the body of each answer.
const BODY_BUFFER: usize = 64 << 10;
/// Tasks that may wait between its two halves.
const TASKS: usize = 4;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();

    criterion.bench_function("a body's buffer, taken and freed", |bencher| {
        bencher.iter(|| {
            let mut buffer = BytesMut::with_capacity(BODY_BUFFER);
            buffer.extend_from_slice(black_box(&[b'x'; 1_024]));
            buffer.freeze()
        });
    });
    criterion.bench_function("two channels, four tasks through them", |bencher| {
        bencher.iter(|| runtime.block_on(channels()));
    });
    let request = request();
    criterion.bench_function("a request's header, cloned", |bencher| {
        bencher.iter(|| black_box(&request).clone())
    });
    let peer = HttpPeer::new("127.0.0.1:9000", false, "rechner.example".into());
    criterion.bench_function("a peer, cloned and hashed", |bencher| {
        bencher.iter(|| black_box(Box::new(black_box(&peer).clone())).reuse_hash());
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    criterion.bench_function("a socket's peer, asked for", |bencher| {
        bencher.iter(|| black_box(&socket).peer_addr())
    });
    criterion.bench_function("an idle connection's task, begun and ended", |bencher| {
        bencher.iter(|| runtime.block_on(idle()))
    });
    criterion.bench_function("twelve hooks' futures, boxed", |bencher| {
        bencher.iter(|| runtime.block_on(hooks()))
    });
    criterion.bench_function("six time limits, set and dropped", |bencher| {
        bencher.iter(|| runtime.block_on(limits()))
    });
    criterion.final_summary();
}

/// As a browser sends it, with the names' own spelling kept beside.
fn request() -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/kfz/angebot?vorgang=2026-000123", Some(16))
        .expect("a request");
    let fields = browser::FIELDS.into_iter().chain([
        ("Host", "tarifrechner.insurer.example"),
        ("Cookie", "JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9.node-1; kfz_vorgang=2026-000123; ui_sprache=de"),
    ]);
    for (name, value) in fields {
        request.append_header(name, value).expect("a field");
    }
    request
}

/// A header and a body each way, as Pingora's two halves hand them to each other.
async fn channels() {
    let (up, mut from_up) = mpsc::channel::<HttpTask>(TASKS);
    let (down, mut from_down) = mpsc::channel::<HttpTask>(TASKS);
    up.send(HttpTask::Body(None, true)).await.expect("open");
    down.send(HttpTask::Body(None, false)).await.expect("open");
    down.send(HttpTask::Done).await.expect("open");
    black_box((
        from_up.recv().await,
        from_down.recv().await,
        from_down.recv().await,
    ));
    up.send(HttpTask::Done).await.expect("open");
    black_box(from_up.recv().await);
}

/// A connection that goes into the pool is watched by a task of its own; who takes it out waits until the task let go of it.
async fn idle() {
    let connection = Arc::new(Mutex::new(()));
    let watched = Arc::clone(&connection).try_lock_owned().expect("new");
    let (taken, is_taken) = oneshot::channel::<()>();
    let watch = tokio::spawn(async move {
        let _ = is_taken.await;
        drop(watched);
    });
    tokio::task::yield_now().await;
    taken.send(()).expect("it waits");
    drop(connection.lock().await);
    watch.await.expect("no panic");
}

async fn hooks() {
    for hook in 0..12_u64 {
        let future: std::pin::Pin<Box<dyn Future<Output = u64> + Send>> =
            Box::pin(async move { black_box(hook) });
        future.await;
    }
}

async fn limits() {
    for _ in 0..6 {
        let limit = pingora::time::timeout(Duration::from_secs(60), std::future::ready(1_u8));
        black_box(limit.await.expect("in time"));
    }
}
