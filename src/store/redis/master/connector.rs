//! Makes connections.

use super::super::invalidation_channel::InvalidationChannel;
use crate::config::{Credentials, Secret, Server, Transport};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, RedisResult,
};
use std::sync::Arc;
use tokio::sync::Notify;

/// How servers of one kind are spoken to.
#[derive(Clone)]
pub(super) struct Connector {
    transport: Transport,
    settings: RedisConnectionInfo,
    /// The key of the configuration that has the password, or would have it.
    password_key: &'static str,
}

impl Connector {
    /// `password_key` is the key of the configuration that the password is missing from, if there is none.
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

    /// Where to look if a server refuses the password.
    pub(super) fn where_to_look(&self) -> String {
        match (self.settings.password(), self.password_key) {
            (None, key) => format!("; {key} is not given"),
            (Some(_), "") => String::new(),
            (Some(_), key) => format!("; look at {key}"),
        }
    }

    /// A connection for commands. How long it and its answers may take is for its user to say.
    pub(super) async fn commands(&self, server: &Server) -> RedisResult<MultiplexedConnection> {
        self.connect(server, ProtocolVersion::RESP2, config()).await
    }

    /// A connection on which announcements arrive; its end rings the bell.
    pub(super) async fn listening(
        &self,
        server: &Server,
        invalidations: &InvalidationChannel,
        bell: Arc<Notify>,
    ) -> RedisResult<MultiplexedConnection> {
        let told = invalidations.clone();
        let receive = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            if push.kind == PushKind::Disconnection {
                bell.notify_one();
            }
            told.receive(&push);
            Ok(())
        };
        let mut connection = self
            .connect(
                server,
                ProtocolVersion::RESP3,
                config().set_push_sender(receive),
            )
            .await?;
        connection.subscribe(invalidations.channel()).await?;
        Ok(connection)
    }

    async fn connect(
        &self,
        server: &Server,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let (host, port) = (server.host.clone(), server.port);
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
