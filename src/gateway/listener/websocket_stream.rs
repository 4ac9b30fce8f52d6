//! The stream that Pingora reads and writes: a mere pass-through until a request on it was answered 101, but for bodies in chunks, which
//! are looked at before Pingora has them.
//!
//! From then on it knows where one WebSocket frame ends and the next begins, so that a tunnel whose session ended can be cut
//! between two frames, with a close frame that says why. Once told to end it takes nothing more from the client.

use crate::gateway::listener::connections::Connection;
use crate::gateway::websocket::control::CloseReason;
use crate::gateway::websocket::frames::Frames;
use async_trait::async_trait;
use bytes::Bytes;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A close frame with the code 4401, which applications may define (RFC 6455, 7.4.2): like HTTP's 401.
const UNAUTHORIZED: [u8; 4] = [0x88, 0x02, 0x11, 0x31];
/// One with the code 1001, of a server that goes away (RFC 6455, 7.4.1).
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// So long the frame under way may take to end, and then the farewell to leave.
const PATIENCE: Duration = Duration::from_secs(1);

/// As much as is read ahead: most headers.
const AHEAD: usize = 4_096;

/// A client's connection, plain or with TLS.
#[derive(Debug)]
pub(crate) struct WebSocketStream<S> {
    inner: S,
    connection: Arc<Connection>,
    /// What was read ahead of whoever reads next.
    ahead: Bytes,
    frames: Frames,
    frames_of_client: Frames,
    parting: Option<Closing>,
}

/// How far a tunnel has come with its end.
#[derive(Debug)]
struct Closing {
    patience: Pin<Box<Sleep>>,
    farewell: [u8; 4],
    stage: CloseStage,
}

#[derive(Debug)]
enum CloseStage {
    FrameUnderWay,
    Farewell { sent: usize },
    Flush,
    Shutdown,
    Over,
}

impl<S: IO> WebSocketStream<S> {
    pub(crate) fn new(inner: S, connection: Arc<Connection>) -> Self {
        Self {
            inner,
            connection,
            ahead: Bytes::new(),
            frames: Frames::to_client(),
            frames_of_client: Frames::of_client(),
            parting: None,
        }
    }

    fn is_open(&self) -> bool {
        self.connection.close_handle().is_open()
    }

    /// Whether the WebSocket was closed. The server waits for that in this same task, which it wakes.
    fn is_cut(&self) -> bool {
        self.connection.close_handle().close_reason().is_some()
    }

    fn farewell(&self) -> [u8; 4] {
        match self.connection.close_handle().close_reason() {
            Some(CloseReason::Draining) => GOING_AWAY,
            Some(CloseReason::SessionEnded) | None => UNAUTHORIZED,
        }
    }

    /// Ready, with an error, once the tunnel is over. Until then the frame under way may still be completed.
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let farewell = self.farewell();
        let begin = || Closing {
            patience: Box::pin(sleep(PATIENCE)),
            farewell,
            stage: CloseStage::FrameUnderWay,
        };
        let parting = self.parting.get_or_insert_with(begin);
        if !matches!(parting.stage, CloseStage::Over)
            && parting.patience.as_mut().poll(context).is_ready()
        {
            parting.stage = CloseStage::Over;
        }
        loop {
            let inner = Pin::new(&mut self.inner);
            parting.stage = match parting.stage {
                CloseStage::FrameUnderWay if !self.frames.at_boundary() => return Poll::Pending,
                CloseStage::FrameUnderWay if self.frames.farewell_said() => CloseStage::Flush,
                CloseStage::FrameUnderWay => CloseStage::Farewell { sent: 0 },
                CloseStage::Farewell { sent } => {
                    match parting.farewell.get(sent..).filter(|rest| !rest.is_empty()) {
                        Some(rest) => match ready!(inner.poll_write(context, rest)) {
                            Ok(written) if written > 0 => CloseStage::Farewell {
                                sent: sent + written,
                            },
                            _ => CloseStage::Over,
                        },
                        None => CloseStage::Flush,
                    }
                }
                CloseStage::Flush => match ready!(inner.poll_flush(context)) {
                    Ok(()) => CloseStage::Shutdown,
                    Err(_) => CloseStage::Over,
                },
                CloseStage::Shutdown => {
                    // Whether it worked or not, the connection ends now.
                    let _ = ready!(inner.poll_shutdown(context));
                    CloseStage::Over
                }
                CloseStage::Over => {
                    // The client may be sending still; it should read the farewell rather than a reset.
                    self.connection.left_unread();
                    return Poll::Ready(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        "the tunnel was cut",
                    ));
                }
            };
        }
    }

    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut space = [const { MaybeUninit::uninit() }; AHEAD];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(read.filled())))
    }

    fn poll_write_tunnelled(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut most = bytes.len();
        if self.is_cut() {
            if let Poll::Ready(over) = self.poll_part(context) {
                return Poll::Ready(Err(over));
            }
            if self.frames.at_boundary() {
                return Poll::Pending;
            }
            most = most.min(usize::try_from(self.frames.left()).unwrap_or(usize::MAX));
        }
        let allowed = bytes.get(..most).unwrap_or(bytes);
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, allowed))?;
        self.frames
            .follow(allowed.get(..written).unwrap_or(allowed));
        Poll::Ready(Ok(written))
    }
}

impl<S: IO> AsyncRead for WebSocketStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_open() {
            return self.poll_request(context, buffer);
        }
        if self.is_cut() {
            return self.poll_part(context).map(Err);
        }
        let before = buffer.filled().len();
        ready!(self.poll_request(context, buffer))?;
        let sent = buffer.filled().get(before..).unwrap_or_default();
        self.frames_of_client.follow(sent);
        if self.frames_of_client.take_data() {
            self.connection.close_handle().note_use();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: IO> WebSocketStream<S> {
    /// Reads what was read ahead or comes next, after a check of chunks.
    fn poll_request(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let most = self.ahead.len().min(buffer.remaining());
            let now = self.ahead.split_to(most);
            buffer.put_slice(&now);
            return Poll::Ready(self.connection.following().pass(now));
        }
        if !self.connection.following().is_on() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        self.connection.following().may_read()?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        Poll::Ready(
            self.connection
                .following()
                .look_at(buffer.filled().get(before..).unwrap_or_default()),
        )
    }
}

impl<S: IO> AsyncWrite for WebSocketStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_open() {
            return self.poll_write_tunnelled(context, bytes);
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_open() {
            let first = parts
                .iter()
                .find(|part| !part.is_empty())
                .map_or(&[][..], |part| part);
            return self.poll_write_tunnelled(context, first);
        }
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_open() && self.is_cut() && self.frames.at_boundary() {
            return self.poll_part(context).map(Err);
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[async_trait]
impl<S: IO> Shutdown for WebSocketStream<S> {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl<S: IO> Peek for WebSocketStream<S> {
    /// Waits until the client sends something, which begins a request, and keeps it for whoever reads next. While it waits, no memory is held for it.
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.connection.following().request_begins();
        self.connection.following().may_read()?;
        if self.ahead.is_empty() {
            self.ahead = poll_fn(|context| self.poll_ahead(context)).await?;
            if !self.ahead.is_empty() {
                self.connection.request_begins();
            }
        }
        for (place, byte) in buffer.iter_mut().zip(&self.ahead) {
            *place = *byte;
        }
        Ok(true)
    }
}

impl<S: IO> UniqueID for WebSocketStream<S> {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl<S: IO> Ssl for WebSocketStream<S> {
    fn get_ssl(&self) -> Option<&pingora::protocols::tls::TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for WebSocketStream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl<S: IO> GetProxyDigest for WebSocketStream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.inner.set_proxy_digest(digest);
    }
}

impl<S: IO> GetSocketDigest for WebSocketStream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.inner.set_socket_digest(digest);
    }
}
