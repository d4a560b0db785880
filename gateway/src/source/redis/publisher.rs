//! Publishes to Redis and checks it, for tools: TCP, TLS and login are those of the source.

use wsgateway_config::RedisSource;

use super::Ended;
use super::connection::{Connection, refused};
use super::resp::{Reply, command};

/// A connection to Redis that publishes. Redis keeps nothing: what is sent while nobody subscribes is lost.
pub struct RedisPublisher {
    connection: Connection,
    address: String,
}

/// Why nothing can be published on this connection any more.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RedisError(String);

/// Why no server of a source can be read.
#[derive(Debug, thiserror::Error)]
pub enum RedisTrouble {
    /// None answers as Redis does.
    #[error("{0}")]
    Unreachable(String),
    /// One refuses the login or the subscription.
    #[error("{0}")]
    Refused(String),
    /// A file that the source names cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl From<Ended> for RedisTrouble {
    fn from(ended: Ended) -> Self {
        let why = ended.to_string();
        match ended {
            Ended::Refused { .. } => Self::Refused(why),
            Ended::Settings(_) => Self::Settings(why),
            _ => Self::Unreachable(why),
        }
    }
}

/// Whether a server of `source` can be read: connects, logs in and subscribes as the gateway does, and hangs up.
///
/// # Errors
/// When no server serves; what the first one has said.
pub async fn check_redis(source: &RedisSource, name: &str) -> Result<(), RedisTrouble> {
    let mut first = None;
    for address in &source.servers {
        match Connection::open(source, address, name).await {
            Ok(_) => return Ok(()),
            Err(ended) => first = first.or(Some(ended)),
        }
    }
    first.map_or(Ok(()), |ended| Err(ended.into()))
}

impl RedisPublisher {
    /// Connects to the first server of `source` and logs in; `name` shows up in CLIENT LIST.
    ///
    /// # Errors
    /// When nobody answers, or the server refuses the login.
    pub async fn connect(source: &RedisSource, name: &str) -> Result<Self, RedisError> {
        let address = source.servers.first().cloned().unwrap_or_default();
        let connection = Connection::log_in(source, &address, name).await;
        let connection = connection.map_err(|ended| RedisError(ended.to_string()))?;
        Ok(Self { connection, address })
    }

    /// Publishes channels with their payloads in one write, and waits for all answers.
    ///
    /// # Errors
    /// When the connection is lost or one is refused; how many were published before is unknown.
    pub async fn publish<'a>(
        &mut self,
        messages: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), RedisError> {
        let mut bytes = Vec::new();
        let mut missing = 0;
        for (channel, payload) in messages {
            bytes.extend(command(&[b"PUBLISH", channel.as_bytes(), payload]));
            missing += 1;
        }
        let said = |ended: Ended| RedisError(ended.to_string());
        self.connection.write(&bytes).await.map_err(said)?;
        for _ in 0..missing {
            if let Reply::Error(why) = self.connection.answer().await.map_err(said)? {
                return Err(said(refused(&self.address, "a message", &why)));
            }
        }
        Ok(())
    }
}
