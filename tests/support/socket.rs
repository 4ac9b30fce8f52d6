//! A browser's WebSockets.

use super::Browser;
use super::behind::session_of;
use super::raw::tls_to;
use super::world::World;
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// A WebSocket of a browser's.
pub struct Socket(pub WebSocketStream<Box<dyn Wire>>);

impl Socket {
    /// Opens one through the gateway with this number, with the session that the browser has now.
    pub async fn open(world: &World, gateway: usize, browser: &Browser) -> Self {
        Self::with_cookies(world, gateway, &session_of(browser)).await
    }

    /// The same with whatever cookies.
    pub async fn with_cookies(world: &World, gateway: usize, cookies: &str) -> Self {
        let port = world.gateways[gateway].port;
        let tcp = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens");
        Self::over(
            Box::new(tcp),
            &format!("ws://127.0.0.1:{port}/ws/kurse"),
            cookies,
        )
        .await
    }

    /// The same over https.
    pub async fn open_secure(world: &World, gateway: usize, browser: &Browser) -> Self {
        let port = world.gateways[gateway].https.expect("a world with https");
        let tls = tls_to(world, port, b"http/1.1").await;
        Self::over(
            Box::new(tls),
            &format!("wss://localhost:{port}/ws/kurse"),
            &session_of(browser),
        )
        .await
    }

    pub async fn over(wire: Box<dyn Wire>, url: &str, session: &str) -> Self {
        let mut request = url.into_client_request().expect("a request");
        request
            .headers_mut()
            .insert("cookie", session.parse().expect("a value"));
        let (mut socket, _) = tokio_tungstenite::client_async(request, wire)
            .await
            .expect("a socket");
        socket.send(Message::text("da?")).await.expect("sent");
        let mut socket = Self(socket);
        socket.echoes("da?").await;
        socket
    }

    /// Waits for the calculator to say this back.
    pub async fn echoes(&mut self, text: &str) {
        let echo = async {
            while let Some(heard) = self.0.next().await {
                if heard.expect("the socket is open").to_text().ok() == Some(text) {
                    return;
                }
            }
            panic!("the socket was closed");
        };
        tokio::time::timeout(Duration::from_secs(10), echo)
            .await
            .expect("an echo in time");
    }

    /// Asserts that it is open.
    pub async fn is_open(&mut self) {
        self.0.send(Message::text("noch da?")).await.expect("sent");
        self.echoes("noch da?").await;
    }

    /// Waits until it is closed from the other side, and gives the code.
    pub async fn closed(&mut self) -> u16 {
        let code = async {
            while let Some(heard) = self.0.next().await {
                match heard.expect("an orderly end") {
                    Message::Close(frame) => return frame.expect("a code").code.into(),
                    _ => continue,
                }
            }
            panic!("it ended without a close frame");
        };
        tokio::time::timeout(Duration::from_secs(10), code)
            .await
            .expect("an end in time")
    }

    pub async fn is_over(&mut self) {
        let end = tokio::time::timeout(Duration::from_secs(5), self.0.next())
            .await
            .expect("an end in time");
        assert!(
            matches!(
                end,
                None | Some(Err(Error::ConnectionClosed
                    | Error::Protocol(_)
                    | Error::Io(_)))
            ),
            "{end:?}"
        );
    }
}
