//! A client's connection, with a deadline for each request's header.
//!
//! Pingora times each read, not the header as a whole, and after the first request not even that (pingora #447): a byte a
//! minute would hold a connection for ever. So the deadline lies below Pingora, in the stream it reads from.

use super::connections::Connection;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID, UniqueIDType,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

/// Small answers leave in one packet, and an idle connection costs little.
const WRITE_BUFFER: usize = 4_096;
/// So long, and so much, a client may go on sending after its answer.
const LINGER: Duration = Duration::from_secs(5);
const MOST_LINGERING: u64 = 64 << 20;

/// A connection from a client.
#[derive(Debug)]
pub(super) struct ClientStream {
    tcp: BufWriter<TcpStream>,
    connection: Arc<Connection>,
    deadline: Pin<Box<Sleep>>,
    digest: Arc<SocketDigest>,
    timing: TimingDigest,
}

impl ClientStream {
    pub(super) fn new(tcp: TcpStream, digest: Arc<SocketDigest>, connection: Arc<Connection>) -> Self {
        let deadline = Box::pin(sleep_until(connection.first_deadline()));
        Self { tcp: BufWriter::with_capacity(WRITE_BUFFER, tcp), connection, deadline, digest, timing: TimingDigest::default() }
    }

    /// An error once the time for a header is over; registers for waking otherwise.
    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = self.connection.header_deadline() else { return Ok(()) };
        let deadline = Instant::from_std(deadline);
        if self.deadline.deadline() != deadline {
            self.deadline.as_mut().reset(deadline);
        }
        match self.deadline.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                self.connection.timed_out();
                Err(io::Error::new(io::ErrorKind::TimedOut, "the request's header was not complete in time"))
            }
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.tcp).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                self.connection.received();
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
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_flush(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// An answer that breaks off is left in the buffer: its beginning is sent, since a browser that saw none of it would ask again.
///
/// A socket that is closed while bytes wait in it resets the connection, and the client may lose the answer over that. So the
/// client's bytes are taken for a while after the last of ours.
impl Drop for ClientStream {
    fn drop(&mut self) {
        if !self.tcp.buffer().is_empty() {
            // Only what the socket takes at once; the client may be gone.
            let _ = self.tcp.get_ref().try_write(self.tcp.buffer());
        }
        if !self.connection.has_unread() {
            return;
        }
        let (Ok(socket), Ok(runtime)) = (self.tcp.get_ref().as_fd().try_clone_to_owned(), Handle::try_current()) else { return };
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
    tokio::io::copy(&mut tcp.take(MOST_LINGERING), &mut tokio::io::sink()).await
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The peer may be gone already; nothing is lost then.
        let _ = AsyncWriteExt::shutdown(&mut self.tcp).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.tcp.get_ref().as_raw_fd()
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
