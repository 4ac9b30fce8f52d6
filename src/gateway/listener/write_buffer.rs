//! What is to be written to a client, gathered so that a small answer leaves in one packet. An idle connection holds no memory for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Small answers leave in one packet; what is longer is written at once, together with what waits.
const CAPACITY: usize = 4_096;

/// A socket and what waits for it.
#[derive(Debug)]
pub(crate) struct WriteBuffer {
    tcp: TcpStream,
    waiting: Vec<u8>,
    /// How much of `waiting` has left.
    sent: usize,
}

impl WriteBuffer {
    pub(crate) const fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            waiting: Vec::new(),
            sent: 0,
        }
    }

    pub(crate) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What has not left yet.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.waiting.get(self.sent..).unwrap_or_default()
    }

    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        tokio::io::AsyncRead::poll_read(Pin::new(&mut self.tcp), context, buffer)
    }

    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting().len() + bytes.len() <= CAPACITY {
            if self.waiting.capacity() == 0 {
                self.waiting.reserve_exact(CAPACITY);
            }
            // What has left makes room, or a client that never takes all would let it grow.
            self.waiting.drain(..self.sent);
            self.sent = 0;
            self.waiting.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        loop {
            if self.waiting().is_empty() {
                self.clear();
                return Pin::new(&mut self.tcp).poll_write(context, bytes);
            }
            let parts = [
                IoSlice::new(self.waiting.get(self.sent..).unwrap_or_default()),
                IoSlice::new(bytes),
            ];
            let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, &parts))?;
            let before = self.note_sent(written)?;
            if written > before {
                return Poll::Ready(Ok(written - before));
            }
        }
    }

    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting().is_empty() {
            let waiting = self.waiting.get(self.sent..).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.tcp).poll_write(context, waiting))?;
            self.note_sent(written)?;
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(context))?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    /// So much left: what waited first. Gives how much of it waited.
    fn note_sent(&mut self, written: usize) -> io::Result<usize> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let waited = written.min(self.waiting().len());
        self.sent += waited;
        Ok(waited)
    }

    fn clear(&mut self) {
        (self.waiting, self.sent) = (Vec::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    async fn connected() -> (WriteBuffer, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (ours, theirs) = tokio::join!(
            TcpStream::connect(listener.local_addr().expect("bound")),
            listener.accept()
        );
        (
            WriteBuffer::new(ours.expect("connected")),
            theirs.expect("accepted").0,
        )
    }

    #[tokio::test]
    async fn whatever_the_sizes_all_bytes_arrive_in_their_order() {
        let (mut buffer, mut peer) = connected().await;
        let pieces = [
            1,
            300,
            CAPACITY - 301,
            1,
            CAPACITY,
            CAPACITY + 1,
            0,
            1_000_000,
            17,
        ];
        let expected: Vec<u8> = (0..pieces.iter().sum::<usize>())
            .map(|at| (at % 251) as u8)
            .collect();
        let all = expected.clone();
        let writing = tokio::spawn(async move {
            let mut from = 0;
            for piece in pieces {
                let to = from + piece;
                while from < to {
                    from += poll_fn(|context| buffer.poll_write(context, &all[from..to]))
                        .await
                        .expect("written");
                }
            }
            poll_fn(|context| buffer.poll_flush(context))
                .await
                .expect("flushed");
            assert!(
                buffer.waiting().is_empty() && buffer.waiting.capacity() == 0,
                "an idle connection holds no memory"
            );
            poll_fn(|context| buffer.poll_shutdown(context))
                .await
                .expect("closed");
        });
        let mut arrived = Vec::new();
        peer.read_to_end(&mut arrived).await.expect("read");
        writing.await.expect("no panic");
        assert!(
            arrived == expected,
            "{} of {} bytes",
            arrived.len(),
            expected.len()
        );
    }

    #[tokio::test]
    async fn for_a_slow_client_that_never_takes_all_it_does_not_grow() {
        let (mut buffer, _peer) = connected().await;
        let mut written = 0_usize;
        for _ in 0..1_000 {
            while buffer.waiting().len() < CAPACITY {
                let piece = [(written % 251) as u8];
                assert!(
                    poll_fn(|context| Poll::Ready(buffer.poll_write(context, &piece)))
                        .await
                        .is_ready()
                );
                written += 1;
            }
            assert_eq!(buffer.waiting.capacity(), CAPACITY);
            assert_eq!(buffer.note_sent(7).expect("some"), 7);
            assert_eq!(
                buffer.waiting().first().map(|byte| usize::from(*byte)),
                Some((written - CAPACITY + 7) % 251)
            );
        }
    }

    #[tokio::test]
    async fn a_small_answer_waits_for_its_rest() {
        let (mut buffer, peer) = connected().await;
        assert_eq!(
            poll_fn(|context| buffer.poll_write(context, b"HTTP/1.1 200 OK\r\n\r\n"))
                .await
                .expect("kept"),
            19
        );
        assert_eq!(buffer.waiting(), b"HTTP/1.1 200 OK\r\n\r\n");
        assert!(
            peer.try_read(&mut [0; 32])
                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        );
    }
}
