//! NATS for a run: one server, or three that keep the stream thrice.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::{self, stream};
use harness::{Nats, NatsCluster, wait_until};
use serde::Serialize;

use crate::pods::{SOON, STREAM};
use crate::publisher::PREFIX;

/// Longer than any fault lasts, so that a publisher's second attempt is always known again.
const DUPLICATES: Duration = Duration::from_secs(300);

/// Which NATS a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// One server.
    Single,
    /// Three servers, each message on all of them.
    Cluster,
}

impl Kind {
    /// For a headline.
    pub fn title(self) -> &'static str {
        match self {
            Self::Single => "one nats-server",
            Self::Cluster => "three nats-servers, R3",
        }
    }
}

/// The servers of a run; dropping it ends them.
#[derive(Debug)]
pub enum Servers {
    /// One.
    Single(Box<Nats>),
    /// Three.
    Cluster(NatsCluster),
}

impl Servers {
    /// Starts them and makes the stream.
    ///
    /// # Errors
    /// When one does not start, or the stream cannot be made in time.
    pub async fn start(kind: Kind) -> Result<(Self, jetstream::Context)> {
        let servers = match kind {
            Kind::Single => Self::Single(Box::new(Nats::start_hurried().await?)),
            Kind::Cluster => Self::Cluster(NatsCluster::start(3).await?),
        };
        let client = match &servers {
            Self::Single(nats) => nats.client().await?,
            Self::Cluster(cluster) => cluster.client().await?,
        };
        let jetstream = jetstream::new(client);
        servers.make_stream(&jetstream).await?;
        Ok((servers, jetstream))
    }

    /// Addresses of all servers.
    pub fn urls(&self) -> Vec<String> {
        match self {
            Self::Single(nats) => vec![nats.url()],
            Self::Cluster(cluster) => cluster.urls(),
        }
    }

    /// The servers one by one.
    pub fn nodes(&mut self) -> &mut [Nats] {
        match self {
            Self::Single(nats) => std::slice::from_mut(nats),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// The place among the nodes of the one that leads the stream.
    ///
    /// # Errors
    /// When none is known in time.
    pub async fn leader(&self, jetstream: &jetstream::Context) -> Result<usize> {
        let Self::Cluster(cluster) = self else { return Ok(0) };
        let mut leader = None;
        wait_until(SOON, "a leader of the stream", async || {
            leader = cluster.leader(jetstream, STREAM).await.ok();
            leader.is_some()
        })
        .await?;
        leader.context("no leader")
    }

    /// Waits until the stream has a leader and every copy of it is up to date.
    ///
    /// # Errors
    /// When that does not come true in time.
    pub async fn whole(&self, jetstream: &jetstream::Context) -> Result<()> {
        let copies = self.urls().len();
        wait_until(SOON, "a stream whose copies are up to date", async || {
            let Ok(stream) = jetstream.get_stream(STREAM).await else { return false };
            let Some(cluster) = &stream.cached_info().cluster else { return copies == 1 };
            let current = cluster.replicas.iter().filter(|r| r.current && !r.offline).count();
            cluster.leader.is_some() && current + 1 == copies
        })
        .await
    }

    /// Makes the stream, which keeps everything. A cluster needs some seconds before it can.
    ///
    /// # Errors
    /// When it cannot be made in time; with NATS's reason.
    pub async fn make_stream(&self, jetstream: &jetstream::Context) -> Result<()> {
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{PREFIX}>")],
            num_replicas: self.urls().len(),
            duplicate_window: DUPLICATES,
            // As the operator makes it.
            allow_direct: true,
            ..stream::Config::default()
        };
        let mut refusal = String::new();
        let made = wait_until(SOON, "the stream", async || {
            match jetstream.create_stream(config.clone()).await {
                Ok(_) => true,
                Err(error) => {
                    refusal = error.to_string();
                    false
                }
            }
        });
        made.await.with_context(|| refusal.clone())
    }

    /// Discards all but the last messages of the stream; returns the first offset that is kept.
    ///
    /// # Errors
    /// When NATS refuses.
    pub async fn purge(&self, jetstream: &jetstream::Context, keep: u64) -> Result<u64> {
        jetstream.get_stream(STREAM).await?.purge().keep(keep).await?;
        Ok(jetstream.get_stream(STREAM).await?.cached_info().state.first_sequence)
    }

    /// Deletes the stream with everything in it.
    ///
    /// # Errors
    /// When NATS refuses until the time is up.
    pub async fn delete_stream(&self, jetstream: &jetstream::Context) -> Result<()> {
        let deleted = wait_until(SOON, "the end of the stream", async || {
            match jetstream.delete_stream(STREAM).await {
                Ok(_) => true,
                // The answer to the first attempt was lost on the way.
                Err(error) => error.to_string().contains("not found"),
            }
        });
        if deleted.await.is_err() {
            bail!("NATS does not delete the stream");
        }
        Ok(())
    }
}
