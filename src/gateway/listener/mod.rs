//! Sockets in: accepting, TLS, limits and deadlines of connections. Knows nothing of requests.

pub(crate) mod accept;
pub(crate) mod bound_keys;
pub(crate) mod client_cert_tls;
pub(crate) mod client_stream;
pub(crate) mod connections;
pub(crate) mod min_rate;
pub(crate) mod presented_certificate;
pub(crate) mod upload_rate;
pub(crate) mod websocket_stream;
pub(crate) mod workers;
pub(crate) mod write_buffer;
