//! A client's connection, with a deadline for each request's header, and limits to how slowly a body is sent or an answer taken.
//!
//! Pingora times each read and write, not the header or body as a whole, and after the first request not even each (pingora
//! #447): a byte a minute would hold a connection for ever. So the deadlines lie below Pingora, in the stream it reads from.

use crate::gateway::listener::connections::Connection;
use crate::gateway::listener::min_rate::MinRate;
use crate::gateway::listener::write_buffer::WriteBuffer;
use crate::telemetry::metrics::Rejection;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

/// So long, and so much, a client may go on sending after its answer.
const LINGER: Duration = Duration::from_secs(5);
const MAX_LINGERING: u64 = 64 << 20;

/// How the client takes what is sent to it.
#[derive(Debug)]
struct ClientWait {
    pace: MinRate,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A connection from a client.
#[derive(Debug)]
pub(crate) struct ClientStream {
    tcp: WriteBuffer,
    connection: Arc<Connection>,
    deadline: Pin<Box<Sleep>>,
    taking: ClientWait,
    digest: Arc<SocketDigest>,
    timing: TimingDigest,
}

impl ClientStream {
    pub(crate) fn new(
        tcp: TcpStream,
        digest: Arc<SocketDigest>,
        connection: Arc<Connection>,
    ) -> Self {
        let deadline = Box::pin(sleep_until(connection.first_deadline()));
        let patience = connection.write_patience();
        let taking = ClientWait {
            pace: MinRate::new(patience, patience),
            deadline: None,
        };
        let tcp = WriteBuffer::new(tcp);
        let timing = TimingDigest::default();
        Self {
            tcp,
            connection,
            deadline,
            taking,
            digest,
            timing,
        }
    }

    /// The client is waited for: an error once the time for a header or a body is over; registers for waking otherwise.
    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let header = self
            .connection
            .header_deadline()
            .map(|deadline| (deadline, Rejection::HeaderTimeout));
        if header.is_none() && self.connection.upload_rate().are_none() {
            // As while an answer is waited for: no reason to read the clock.
            return Ok(());
        }
        let now = std::time::Instant::now();
        let body = || {
            self.connection
                .upload_rate()
                .deadline(now)
                .map(|deadline| (deadline, Rejection::SlowBody))
        };
        let Some((deadline, reason)) = header.or_else(body) else {
            return Ok(());
        };
        if is_over(&mut self.deadline, deadline, now, context) {
            Err(self.give_up(reason))
        } else {
            Ok(())
        }
    }

    /// What became of a write: an error once the client took too long over taking what was sent.
    fn watch_taking<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        bytes: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() && self.taking.pace.is_untouched() {
            return written;
        }
        let now = std::time::Instant::now();
        if written.is_ready() {
            self.taking.pace.moves(bytes, now);
            return written;
        }
        let deadline = self.taking.pace.waits(now);
        let sleep = self
            .taking
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if is_over(sleep, deadline, now, context) {
            Poll::Ready(Err(self.give_up(Rejection::SlowReader)))
        } else {
            Poll::Pending
        }
    }

    fn give_up(&self, reason: Rejection) -> io::Error {
        self.connection.give_up(reason);
        io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")
    }
}

/// Whether a deadline has passed; has the task woken when it does.
fn is_over(
    sleep: &mut Pin<Box<Sleep>>,
    deadline: std::time::Instant,
    now: std::time::Instant,
    context: &mut Context<'_>,
) -> bool {
    // A sleep that is set to a time that has come is not over at once, and a credit that is spent ends now, whenever it is asked.
    if deadline <= now {
        return true;
    }
    if sleep.deadline() != Instant::from_std(deadline) {
        sleep.as_mut().reset(Instant::from_std(deadline));
    }
    sleep.as_mut().poll(context).is_ready()
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(result) = self.tcp.poll_read(context, buffer) {
            let received = buffer.filled().len().saturating_sub(before);
            if received > 0 {
                self.connection.received(received);
            }
            return Poll::Ready(result);
        }
        match self.check_deadline(context) {
            Ok(()) => Poll::Pending,
            Err(late) => Poll::Ready(Err(late)),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.tcp.poll_write(context, bytes);
        let taken = match &written {
            Poll::Ready(Ok(taken)) => *taken,
            _ => 0,
        };
        self.watch_taking(written, taken, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.tcp.poll_flush(context);
        self.watch_taking(flushed, 0, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Over TLS, the end has to be told first.
        let closed = self.tcp.poll_shutdown(context);
        self.watch_taking(closed, 0, context)
    }
}

/// An answer that breaks off is left in the buffer: its beginning is sent, since a browser that saw none of it would ask again.
///
/// A socket that is closed while bytes wait in it resets the connection, and the client may lose the answer over that. So the
/// client's bytes are taken for a while after the last of ours.
impl Drop for ClientStream {
    fn drop(&mut self) {
        if !self.tcp.waiting().is_empty() {
            // Only what the socket takes at once; the client may be gone.
            let _ = self.tcp.tcp().try_write(self.tcp.waiting());
        }
        if !self.connection.has_unread() {
            return;
        }
        let (Ok(socket), Ok(runtime)) = (
            self.tcp.tcp().as_fd().try_clone_to_owned(),
            Handle::try_current(),
        ) else {
            return;
        };
        let connection = Arc::clone(&self.connection);
        runtime.spawn(async move {
            // Whatever fails or takes too long: the connection ends, as it would have anyway.
            let _ = tokio::time::timeout(LINGER, linger(socket.into())).await;
            drop(connection);
        });
    }
}

async fn linger(socket: std::net::TcpStream) -> io::Result<u64> {
    let mut tcp = TcpStream::from_std(socket)?;
    tcp.shutdown().await?;
    tokio::io::copy(&mut tcp.take(MAX_LINGERING), &mut tokio::io::sink()).await
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The peer may be gone already; nothing is lost then.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.tcp.tcp().as_raw_fd()
    }
}

impl Ssl for ClientStream {}

impl Peek for ClientStream {}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(self.timing.clone())]
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}
