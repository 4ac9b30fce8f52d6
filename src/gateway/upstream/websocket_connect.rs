//! Connections to the calculator for WebSocket handshakes.
//!
//! Pingora takes the end of the handshake's empty body for the end of the socket if the calculator's 101 is there before it has
//! looked at that end, as happens on a busy machine: the socket is then closed as soon as it is open. So the answer on such a
//! connection is never there at the first look after something was sent; by the second, Pingora has seen the end.

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Handshakes {
    pub(crate) connect_timeout: Duration,
}

#[async_trait]
impl L4Connect for Handshakes {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let address = address.as_inet().ok_or_else(|| {
            Error::explain(ErrorType::ConnectError, "not an address of the internet")
        })?;
        let connected =
            tokio::time::timeout(self.connect_timeout, TcpStream::connect(address)).await;
        let tcp = match connected {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(Error::because(
                    ErrorType::ConnectRefused,
                    "connecting for a handshake",
                    error,
                ));
            }
            Ok(Err(error)) => {
                return Err(Error::because(
                    ErrorType::ConnectError,
                    "connecting for a handshake",
                    error,
                ));
            }
            Err(_) => {
                return Err(Error::explain(
                    ErrorType::ConnectTimedout,
                    "connecting for a handshake",
                ));
            }
        };
        Ok(VirtualSocketStream::new(Box::new(Socket {
            tcp,
            has_spoken: false,
        }))
        .into())
    }
}

/// A connection on which an answer is not seen in the very moment after the question.
#[derive(Debug)]
struct Socket {
    tcp: TcpStream,
    has_spoken: bool,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_spoken) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_spoken = true;
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl VirtualSocket for Socket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.tcp.set_nodelay(true),
            // Sockets may be silent for as long as they like; nothing is asked of the kernel.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_answer_is_not_seen_at_the_first_look_and_is_at_the_second() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let tcp = TcpStream::connect(listener.local_addr().expect("bound"))
            .await
            .expect("connects");
        let (mut peer, _) = listener.accept().await.expect("a connection");
        let mut socket = Socket {
            tcp,
            has_spoken: false,
        };
        socket.write_all(b"question").await.expect("sent");
        peer.write_all(b"answer").await.expect("sent");
        socket.tcp.readable().await.expect("it is there");
        let mut looks = 0;
        let mut answer = [0; 6];
        let mut read = std::pin::pin!(socket.read_exact(&mut answer));
        std::future::poll_fn(|context| {
            looks += 1;
            read.as_mut().poll(context)
        })
        .await
        .expect("read");
        assert_eq!((looks, &answer), (2, b"answer"));
    }
}
