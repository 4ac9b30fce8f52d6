//! A proxy written by hand on hyper, without any check.

use super::Place;
use super::forward::{Forwarder, io};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) fn run(place: &Place) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let forwarder = Forwarder::new(place.upstream);
        let http = TcpListener::bind(place.http).await.expect("a port");
        let https = TcpListener::bind(place.https).await.expect("a port");
        tokio::join!(
            serve(http, forwarder.clone(), None),
            serve(https, forwarder, Some(tls(place)))
        );
    });
}

async fn serve(listener: TcpListener, forwarder: Forwarder, tls: Option<TlsAcceptor>) {
    while let Ok((tcp, _)) = listener.accept().await {
        tcp.set_nodelay(true).expect("a socket");
        let (forwarder, tls) = (forwarder.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => forwarder.serve(io(tcp)).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        forwarder.serve(io(stream)).await;
                    }
                }
            }
        });
    }
}

fn tls(place: &Place) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_file_iter(&place.cert)
        .expect("a file")
        .collect::<Result<_, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(&place.key).expect("a key");
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they match");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
