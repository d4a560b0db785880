//! NATS for a run: one server, or three that keep the stream thrice.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream::{self, stream};
use futures_util::TryStreamExt;
use harness::{Nats, NatsCluster, wait_until};
use serde::Serialize;

use crate::pods::{SOON, STREAM};
use crate::publisher::PREFIX;

/// Longer than any fault lasts, so that a publisher's second attempt is always known again.
const DUPLICATES: Duration = Duration::from_secs(300);

/// Longer than any run lasts: an age that edits of the stream set, so that they discard nothing.
const LONG: Duration = Duration::from_secs(7 * 24 * 3_600);

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

    /// Stops all servers in good order, and starts them again.
    ///
    /// # Errors
    /// When one does not stop or start.
    pub async fn restart(&mut self) -> Result<()> {
        for node in self.nodes() {
            node.stop().await?;
        }
        for node in self.nodes() {
            node.restart().await?;
        }
        Ok(())
    }

    /// Updates the stream's configuration: description, age and subjects, in nothing that discards a message.
    ///
    /// # Errors
    /// When NATS refuses until the time is up.
    pub async fn edit_stream(&self, jetstream: &jetstream::Context) -> Result<()> {
        let number = fastrand::u32(1..1_000_000);
        let mut refusal = String::new();
        let edited = wait_until(SOON, "an edit of the stream", async || {
            let edit = async {
                let mut config = jetstream.get_stream(STREAM).await?.cached_info().config.clone();
                config.description = Some(format!("edit {number}"));
                config.max_age = LONG + Duration::from_secs(number.into());
                config.subjects = vec![format!("{PREFIX}>"), format!("other.{number}")];
                anyhow::Ok(jetstream.update_stream(&config).await?)
            };
            edit.await.map_err(|error| refusal = error.to_string()).is_ok()
        });
        edited.await.with_context(|| refusal.clone())
    }

    /// Deletes every consumer that the stream has now; returns how many.
    ///
    /// # Errors
    /// When NATS does not list them until the time is up.
    pub async fn delete_consumers(&self, jetstream: &jetstream::Context) -> Result<usize> {
        let mut names: Vec<String> = Vec::new();
        let mut stream = None;
        wait_until(SOON, "the names of the stream's consumers", async || {
            let Ok(found) = jetstream.get_stream(STREAM).await else { return false };
            let listed = found.consumer_names().try_collect().await;
            stream = Some(found);
            listed.map(|listed| names = listed).is_ok()
        })
        .await?;
        let stream = stream.context("no stream")?;
        let mut deleted = 0;
        for name in &names {
            // One that is not found any more has been deleted by its gateway.
            deleted += usize::from(stream.delete_consumer(name).await.is_ok());
        }
        Ok(deleted)
    }

    /// Makes the leader of JetStream's own group step down, and waits until the cluster answers again.
    ///
    /// # Errors
    /// When no leader steps down until the time is up.
    pub async fn move_meta_leader(&self) -> Result<()> {
        let Self::Cluster(cluster) = self else { bail!("a single server has no other leader") };
        let system = cluster.system_client().await?;
        stepped_down(&system, "$JS.API.META.LEADER.STEPDOWN").await
    }

    /// Makes the stream's leader step down.
    ///
    /// # Errors
    /// When no leader steps down until the time is up.
    pub async fn move_stream_leader(&self, jetstream: &jetstream::Context) -> Result<()> {
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}");
        stepped_down(&jetstream.client(), &subject).await?;
        self.whole(jetstream).await
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

async fn stepped_down(client: &async_nats::Client, subject: &str) -> Result<()> {
    let mut last = String::new();
    let done = wait_until(SOON, "a leader that steps down", async || {
        match client.request(subject.to_owned(), "".into()).await {
            Ok(answer) => last = String::from_utf8_lossy(&answer.payload).into_owned(),
            Err(error) => last = error.to_string(),
        }
        last.contains("\"success\":true")
    });
    done.await.with_context(|| last.clone())
}
