//! A real redis-server on a free port. It stores nothing: only its Pub/Sub is of interest.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use redis::{FromRedisValue, aio::MultiplexedConnection};

use crate::{Guarded, Scratch, Signal, free_port, redis_server, wait_until};

/// A cold start takes 20 ms; the rest is for a machine that compiles at the same time.
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// A running redis-server. Port and configuration stay the same over [`Redis::restart`]; dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    binary: PathBuf,
    port: u16,
    server: Option<Guarded>,
    /// `user:password@`, for our own clients.
    login: String,
    scratch: Scratch,
}

impl Redis {
    /// A server without a password.
    ///
    /// # Errors
    /// When redis-server is missing or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with("", "").await
    }

    /// A server with further lines of configuration. `login` is `user:password@` of somebody who may do everything,
    /// empty where nobody needs to log in.
    ///
    /// # Errors
    /// When redis-server is missing or does not start, with its log.
    pub async fn start_with(config: &str, login: &str) -> Result<Self> {
        let binary = redis_server()?;
        let scratch = Scratch::new("redis")?;
        let port = free_port()?;
        scratch.write(
            "redis.conf",
            format!(
                "bind 127.0.0.1\nport {port}\nsave \"\"\nappendonly no\ndir {}\n{config}\n",
                scratch.path().display()
            ),
        )?;
        let mut redis = Self { binary, port, server: None, login: login.to_owned(), scratch };
        redis.launch().await?;
        Ok(redis)
    }

    /// `redis://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The client port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A new client of another implementation than ours.
    ///
    /// # Errors
    /// When the server refuses the connection.
    pub async fn client(&self) -> Result<MultiplexedConnection> {
        let url = format!("redis://{}127.0.0.1:{}", self.login, self.port);
        let client = redis::Client::open(url)?;
        client.get_multiplexed_async_connection().await.context("cannot connect to redis-server")
    }

    /// Sends one command on a connection of its own.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        Ok(command.query_async(&mut self.client().await?).await?)
    }

    /// Publishes to a channel; returns how many subscriptions it went to.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn publish(&self, channel: &str, payload: &str) -> Result<u64> {
        self.command(&["PUBLISH", channel, payload]).await
    }

    /// Ends the server in good order.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.terminate(STOP).await?;
        }
        Ok(())
    }

    /// Freezes or thaws the running server, or sends it any other signal.
    ///
    /// # Errors
    /// When no server runs.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.server.as_mut().context("redis-server is stopped")?.signal(signal)
    }

    /// Starts the server again on the same port; stops it first when it runs.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<()> {
        let log = self.scratch.join("redis.log");
        let arguments = [self.scratch.join("redis.conf").display().to_string()];
        self.server = Some(Guarded::start(&self.binary, &arguments, &log)?);
        let server = self.server.as_ref().context("just started")?;
        wait_until(START, "redis-server", async || {
            !server.alive() || self.command::<String>(&["PING"]).await.is_ok()
        })
        .await
        .with_context(|| server.log_tail())?;
        server.check_alive()
    }
}
