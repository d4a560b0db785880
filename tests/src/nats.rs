//! A real nats-server with JetStream, on a free port, with a store of its own.

mod certificates;
mod cluster;
mod jwt;
mod proxy;
mod raw;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{Guarded, Scratch, Signal, free_port, init_tls, tool, wait_until};

pub use certificates::{Authority, Certified};
pub use cluster::NatsCluster;
pub use jwt::NatsOperator;
pub use proxy::ApiProxy;
pub use raw::{PublishAnswer, RawPublisher};

/// A cold start takes 50 ms; the rest is for a machine that compiles at the same time.
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);
/// A server that has said nothing for so long waits for TLS.
const SILENCE: Duration = Duration::from_secs(1);

/// A running nats-server. Port and store stay the same over [`Nats::restart`]; dropping it ends it.
#[derive(Debug)]
pub struct Nats {
    binary: PathBuf,
    port: u16,
    server: Option<Guarded>,
    scratch: Scratch,
}

impl Nats {
    /// A server with JetStream and nothing else configured.
    ///
    /// # Errors
    /// When nats-server is missing or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with("").await
    }

    /// A server with further lines of configuration (authorization, limits, TLS, ...).
    ///
    /// # Errors
    /// When nats-server is missing or does not start, with its log.
    pub async fn start_with(config: &str) -> Result<Self> {
        Self::start_binary(tool("nats-server")?, config).await
    }

    /// A server of another version than the pinned one: `2.10`, `2.11`, `2.14` or `2.15`. `hack/tools matrix` builds them.
    ///
    /// # Errors
    /// When it is missing or does not start, with its log.
    pub async fn start_version(version: &str) -> Result<Self> {
        Self::start_binary(tool(&format!("nats-server-{version}"))?, "").await
    }

    /// Stops the server, and starts it as the pinned version on the same port and store.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub async fn upgrade(&mut self) -> Result<()> {
        self.binary = tool("nats-server")?;
        self.restart().await
    }

    async fn start_binary(binary: PathBuf, config: &str) -> Result<Self> {
        let scratch = Scratch::new("nats")?;
        let port = free_port()?;
        let mut nats = Self { binary, port, server: None, scratch };
        nats.configure(config)?;
        nats.launch().await?;
        Ok(nats)
    }

    /// `nats://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The client port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The server's log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.scratch.join("nats.log")
    }

    /// The folder of the streams.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.scratch.join("store")
    }

    /// Replaces the further lines of configuration; the server reads them when it is told to, or restarts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, config: &str) -> Result<()> {
        self.scratch.write("nats.conf", text(self.port, &self.store(), config)).map(drop)
    }

    /// A new client.
    ///
    /// # Errors
    /// When the server refuses the connection.
    pub async fn client(&self) -> Result<async_nats::Client> {
        self.client_with(async_nats::ConnectOptions::new()).await
    }

    /// A new client with credentials or certificates.
    ///
    /// # Errors
    /// When the server refuses the connection.
    pub async fn client_with(
        &self,
        options: async_nats::ConnectOptions,
    ) -> Result<async_nats::Client> {
        init_tls();
        options.connect(self.url()).await.context("cannot connect to nats-server")
    }

    /// Ends the server in good order. The store stays.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.terminate(STOP).await?;
        }
        Ok(())
    }

    /// Ends the server as a power cut would. The store stays as it is on disk.
    pub fn kill9(&mut self) {
        drop(self.server.take());
    }

    /// Freezes or thaws the running server, or sends it any other signal.
    ///
    /// # Errors
    /// When no server runs.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.server.as_mut().context("nats-server is stopped")?.signal(signal)
    }

    /// Starts the server again on the same port and store; stops it first when it runs.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Process id, while the server runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Guarded::pid)
    }

    async fn launch(&mut self) -> Result<()> {
        let arguments = ["-c".to_owned(), self.scratch.join("nats.conf").display().to_string()];
        let server = self.server.insert(Guarded::start(&self.binary, &arguments, &self.log())?);
        let port = self.port;
        let server = &*server;
        wait_until(START, "nats-server", async || !server.alive() || greets(port).await)
            .await
            .with_context(|| server.log_tail())?;
        server.check_alive()
    }
}

fn text(port: u16, store: &Path, config: &str) -> String {
    format!(
        "listen: \"127.0.0.1:{port}\"\nserver_name: \"test-{port}\"\n\
         jetstream {{ store_dir: \"{}\" }}\n{config}\n",
        store.display()
    )
}

/// nats-server opens its client port last, JetStream included, and greets at once, unless it waits for TLS.
async fn greets(port: u16) -> bool {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let mut greeting = [0; 4];
    match tokio::time::timeout(SILENCE, socket.read_exact(&mut greeting)).await {
        Ok(read) => read.is_ok() && &greeting == b"INFO",
        Err(_silent) => true,
    }
}
