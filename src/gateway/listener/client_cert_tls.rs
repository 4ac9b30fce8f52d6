//! TLS for the certificate listener. Pingora's own stream looks into the certificate in the handshake, and breaks off where it cannot read
//! it; a client with such a certificate is to get a page.

use crate::gateway::listener::client_stream::ClientStream;
use crate::gateway::listener::presented_certificate::PresentedChain;
use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use rustls::ServerConfig;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Performs the TLS handshake on the certificate listener.
pub struct ClientCertAcceptor(Arc<ServerConfig>);

impl ClientCertAcceptor {
    pub(crate) fn new(settings: ServerConfig) -> Self {
        Self(Arc::new(settings))
    }

    /// Shakes hands, and says what was shown.
    pub(crate) async fn shake_hands(
        &self,
        stream: ClientStream,
    ) -> io::Result<(CertifiedStream, PresentedChain)> {
        let stream = TlsAcceptor::from(Arc::clone(&self.0))
            .accept(stream)
            .await?;
        let (_, connection) = stream.get_ref();
        let shown = PresentedChain::new(
            connection.peer_certificates().unwrap_or_default(),
            connection.server_name(),
        );
        Ok((CertifiedStream(stream), shown))
    }
}

/// A client's connection on which a certificate was asked for.
#[derive(Debug)]
pub(crate) struct CertifiedStream(TlsStream<ClientStream>);

impl AsyncRead for CertifiedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for CertifiedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for CertifiedStream {
    async fn shutdown(&mut self) {
        // The peer may be gone already; nothing is lost then.
        let _ = self.0.shutdown().await;
    }
}

impl UniqueID for CertifiedStream {
    fn id(&self) -> UniqueIDType {
        self.0.get_ref().0.id()
    }
}

impl Ssl for CertifiedStream {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        let (_, connection) = self.0.get_ref();
        match connection.alpn_protocol()? {
            b"h2" => Some(ALPN::H2),
            b"http/1.1" => Some(ALPN::H1),
            _ => None,
        }
    }
}

impl Peek for CertifiedStream {}

impl GetTimingDigest for CertifiedStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.get_ref().0.get_timing_digest()
    }
}

impl GetProxyDigest for CertifiedStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for CertifiedStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.get_ref().0.get_socket_digest()
    }
}
