//! Several nats-servers that are one JetStream cluster, each of which can be ended and started again.

use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream;

use super::Nats;
use crate::{Guarded, Signal, free_port, init_tls, wait_until};

/// A server that is told to be a lame duck takes half a minute at most, by its configuration below.
const LAME: Duration = Duration::from_secs(120);

/// The shortest times that nats-server accepts.
const LAME_DUCK: &str = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"\n";

impl Nats {
    /// A single server that hurries when it is told to be a lame duck.
    ///
    /// # Errors
    /// As [`Nats::start_with`].
    pub async fn start_hurried() -> Result<Self> {
        Self::start_with(LAME_DUCK).await
    }

    /// The name that JetStream knows it by.
    #[must_use]
    pub fn name(&self) -> String {
        format!("test-{}", self.port())
    }

    /// Whether its process runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.server.as_ref().is_some_and(Guarded::alive)
    }

    /// Tells the server to take no more clients and to send away those it has, a few at a time, and waits until
    /// it has ended by itself.
    ///
    /// # Errors
    /// When no server runs, or it does not end.
    pub async fn lame_duck(&mut self) -> Result<()> {
        self.signal(Signal::LameDuck)?;
        wait_until(LAME, "the end of a lame duck", async || !self.alive()).await?;
        self.kill9();
        Ok(())
    }
}

/// Without other users everybody else is let in as before, without a name, to the account of all.
const SYSTEM: &str =
    "accounts { $SYS { users: [ { user: \"system\", password: \"system\" } ] } }\n";

/// A JetStream cluster on loopback. Dropping it ends its servers.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<Nats>,
}

impl NatsCluster {
    /// Starts so many servers, which find each other in the background.
    ///
    /// # Errors
    /// When nats-server is missing or one does not start, with its log.
    pub async fn start(servers: usize) -> Result<Self> {
        let ports = (0..servers).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let routes: Vec<_> = ports.iter().map(|p| format!("\"nats://127.0.0.1:{p}\"")).collect();
        let routes = routes.join(", ");
        let mut nodes = Vec::with_capacity(servers);
        for port in ports {
            let cluster = format!(
                "cluster {{ name: \"test\", listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
            );
            nodes.push(Nats::start_with(&format!("{cluster}{LAME_DUCK}{SYSTEM}")).await?);
        }
        Ok(Self { nodes })
    }

    /// The servers, to be ended and started one by one.
    pub fn nodes(&mut self) -> &mut [Nats] {
        &mut self.nodes
    }

    /// Addresses of all servers, running or not.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Nats::url).collect()
    }

    /// A new client that knows all servers.
    ///
    /// # Errors
    /// When none of them answers.
    pub async fn client(&self) -> Result<async_nats::Client> {
        init_tls();
        async_nats::connect(self.urls()).await.context("cannot connect to the NATS cluster")
    }

    /// A new client of the system account, which may command the servers.
    ///
    /// # Errors
    /// When none of the servers answers.
    pub async fn system_client(&self) -> Result<async_nats::Client> {
        init_tls();
        let options = async_nats::ConnectOptions::with_user_and_password;
        let options = options("system".to_owned(), "system".to_owned());
        options.connect(self.urls()).await.context("cannot connect as NATS' system user")
    }

    /// The place in [`NatsCluster::nodes`] of the server that leads a stream.
    ///
    /// # Errors
    /// When the stream has no leader, or is not there.
    pub async fn leader(&self, jetstream: &jetstream::Context, stream: &str) -> Result<usize> {
        let info = jetstream.get_stream(stream).await?.cached_info().clone();
        let leader = info.cluster.and_then(|cluster| cluster.leader).context("no leader")?;
        let at = self.nodes.iter().position(|node| node.name() == leader);
        at.with_context(|| format!("{leader} is none of ours"))
    }
}
