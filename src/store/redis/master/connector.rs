//! Opens connections with the configured transport and credentials.

use crate::config::{Credentials, HostPort, Secret, Transport};
use crate::store::redis::invalidation_channel::InvalidationChannel;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, RedisResult,
};
use std::sync::Arc;
use tokio::sync::Notify;

/// Opens connections to servers that share transport and credentials.
#[derive(Clone)]
pub(super) struct Connector {
    transport: Transport,
    settings: RedisConnectionInfo,
    /// The configuration key that sets the password, or would set it.
    password_key: &'static str,
}

impl Connector {
    /// Creates a connector; `password_key` is the configuration key to name if a server wants a
    /// password and none is set.
    pub(super) fn new(
        transport: Transport,
        credentials: &Credentials,
        database: i64,
        password_key: &'static str,
    ) -> Self {
        let mut settings = RedisConnectionInfo::default().set_db(database);
        if let Some(user) = &credentials.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &credentials.password {
            settings = settings.set_password(String::from_utf8_lossy(password.reveal()));
        }
        let password_key = credentials
            .password
            .as_ref()
            .map_or(password_key, Secret::key);
        Self {
            transport,
            settings,
            password_key,
        }
    }

    /// Returns a hint for the operator to append when a server refuses the password.
    pub(super) fn password_hint(&self) -> String {
        match (self.settings.password(), self.password_key) {
            (None, key) => format!("; {key} is not given"),
            (Some(_), "") => String::new(),
            (Some(_), key) => format!("; look at {key}"),
        }
    }

    /// Opens a connection for commands, without timeouts: the caller limits each use.
    pub(super) async fn commands(&self, server: &HostPort) -> RedisResult<MultiplexedConnection> {
        self.connect(server, ProtocolVersion::RESP2, config()).await
    }

    /// Opens a connection that receives invalidations and notifies `closed` when it ends.
    pub(super) async fn listening(
        &self,
        server: &HostPort,
        invalidations: &InvalidationChannel,
        closed: Arc<Notify>,
    ) -> RedisResult<MultiplexedConnection> {
        let channel = invalidations.clone();
        let receive = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            if push.kind == PushKind::Disconnection {
                closed.notify_one();
            }
            channel.receive(&push);
            Ok(())
        };
        let mut connection = self
            .connect(
                server,
                ProtocolVersion::RESP3,
                config().set_push_sender(receive),
            )
            .await?;
        connection.subscribe(invalidations.name()).await?;
        Ok(connection)
    }

    async fn connect(
        &self,
        server: &HostPort,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let host = server.host.clone();
        let port = server.port;
        let address = match self.transport {
            Transport::Plain => ConnectionAddr::Tcp(host, port),
            Transport::Tls => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        };
        let info = address
            .into_connection_info()?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(self.settings.clone().set_protocol(protocol));
        Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}
