//! What happens, one thing after the other, and when it is over.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use harness::wait_until;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cluster::{Cluster, PATIENCE};
use crate::crowd::Crowd;
use crate::samples::Samples;

/// Clients that have moved when something else happens in the middle.
const SOME: u64 = 20;
/// Clients of a pod may differ from the mean by so much of it, once they are spread.
const EVEN: f64 = 0.35;
/// Newcomers while pods are short of CPU.
const CROWD: u32 = 200;
/// How often the meter is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Something that clients should not notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The guests come: the autoscaler adds pods, and clients are spread over them.
    Rise,
    /// A change that replaces every pod.
    Rollout,
    /// `kubectl drain` of a node.
    NodeDrain,
    /// `kill -9` of a gateway.
    PodKill,
    /// `kill -9` of NATS, which starts again with the same store.
    NatsRestart,
    /// Each pod has a quarter of a CPU and a process beside it that wants it all, and a crowd comes: guards refuse the crowd.
    ShortOfCpu,
    /// `kubectl drain` of a node while a change replaces every pod.
    DrainInRollout,
    /// `kill -9` of NATS while a change replaces every pod: some clients have moved, the others have not.
    NatsInRollout,
    /// A change that replaces every pod, and one more pod, in one edit.
    RolloutAndScale,
    /// The least number of pods goes down again.
    Fewer,
    /// The guests go, and in the middle of the drain more pods are wanted again.
    ChangeOfMind,
    /// The autoscaler takes pods away, and the operator that leads is killed in the middle.
    Fall,
}

/// What an event may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections of one client that may end.
    pub cuts_of_one: u32,
    /// Whether connections may end without a word.
    pub without_advice: bool,
    /// The highest pace (connections a minute), if the event is one that keeps it.
    pub per_minute: Option<u32>,
}

impl Event {
    /// In words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Rise => "more clients: the autoscaler adds pods, clients are spread",
            Self::Rollout => "rolling update",
            Self::NodeDrain => "kubectl drain of a node, then spread again",
            Self::PodKill => "a gateway killed (SIGKILL), then spread again",
            Self::NatsRestart => "NATS killed (SIGKILL) and started again",
            Self::ShortOfCpu => "every pod short of CPU while a crowd comes: guards refuse it",
            Self::DrainInRollout => "kubectl drain of a node in mid-rollout, then spread again",
            Self::NatsInRollout => "NATS killed (SIGKILL) and started again in mid-rollout",
            Self::RolloutAndScale => "rolling update and one more pod at once",
            Self::Fewer => "one pod fewer: the emptiest goes",
            Self::ChangeOfMind => "fewer clients, and more pods wanted again in mid-drain",
            Self::Fall => "fewer pods by the autoscaler, the leading operator killed in mid-drain",
        }
    }

    /// What it may cost at this pace.
    #[must_use]
    pub const fn bounds(self, pace: u32) -> Bounds {
        let once = Bounds { cuts_of_one: 1, without_advice: false, per_minute: Some(pace) };
        match self {
            Self::NatsRestart | Self::ShortOfCpu => Bounds { cuts_of_one: 0, ..once },
            // Those who had to go somewhere are spread a second time.
            Self::NodeDrain => Bounds { cuts_of_one: 2, ..once },
            // The rollout may have moved them to the node before.
            Self::DrainInRollout => Bounds { cuts_of_one: 3, ..once },
            Self::PodKill => Bounds { cuts_of_one: 2, without_advice: true, per_minute: None },
            _ => once,
        }
    }

    /// The pace that is set for it.
    #[must_use]
    pub const fn pace(self, usual: u32) -> u32 {
        // Slow enough for something to happen in the middle.
        if matches!(self, Self::ChangeOfMind) { usual / 5 } else { usual }
    }

    /// Makes it happen, and waits until it is over.
    ///
    /// # Errors
    /// When the cluster does not get there.
    pub async fn inflict(
        self,
        cluster: &Cluster,
        crowd: &mut Crowd,
        samples: &Samples,
        stamp: u64,
    ) -> Result<()> {
        match self {
            Self::Rise => {
                crowd.come().await?;
                spread(cluster, samples, 4).await
            }
            Self::Rollout => {
                cluster.edit(&another_template(stamp)).await?;
                cluster.settled(4).await
            }
            Self::NodeDrain => {
                let node = cluster.drain_node().await?;
                cluster.uncordon(&node).await?;
                spread(cluster, samples, 4).await
            }
            Self::PodKill => {
                cluster.kill_pod().await?;
                moved(crowd, SOME).await?;
                spread(cluster, samples, 4).await
            }
            Self::NatsRestart => {
                cluster.restart_nats().await?;
                cluster.settled(4).await
            }
            Self::ShortOfCpu => short_of_cpu(cluster).await,
            Self::DrainInRollout => {
                cluster.edit(&another_template(stamp)).await?;
                moved(crowd, SOME).await?;
                let node = cluster.drain_node().await?;
                cluster.uncordon(&node).await?;
                spread(cluster, samples, 4).await
            }
            Self::NatsInRollout => nats_in_rollout(cluster, crowd, stamp).await,
            Self::RolloutAndScale => {
                let mut change = another_template(stamp);
                change["spec"]["autoscaling"] = json!({ "minReplicas": 5, "maxReplicas": 5 });
                cluster.edit(&change).await?;
                cluster.settled(5).await
            }
            Self::Fewer => {
                cluster.edit(&bounds(2, 4)).await?;
                cluster.settled(4).await
            }
            Self::ChangeOfMind => change_of_mind(cluster, crowd).await,
            Self::Fall => {
                cluster.edit(&bounds(2, 4)).await?;
                draining(cluster).await?;
                moved(crowd, SOME).await?;
                cluster.kill_leader().await?;
                cluster.settled(2).await
            }
        }
    }
}

/// Bounds of the autoscaler.
fn bounds(least: u32, most: u32) -> serde_json::Value {
    json!({ "spec": { "autoscaling": { "minReplicas": least, "maxReplicas": most } } })
}

fn another_template(stamp: u64) -> serde_json::Value {
    json!({ "spec": { "pod": { "annotations": { "example.com/stamp": stamp.to_string() } } } })
}

async fn nats_in_rollout(cluster: &Cluster, crowd: &Crowd, stamp: u64) -> Result<()> {
    cluster.edit(&another_template(stamp)).await?;
    moved(crowd, SOME).await?;
    cluster.restart_nats().await?;
    let all = u64::try_from(crowd.present()).unwrap_or(u64::MAX);
    ensure!(crowd.meter.lock().cuts() < all, "all clients had moved before");
    cluster.settled(4).await
}

/// Guards act, refuse whoever comes, and end.
async fn short_of_cpu(cluster: &Cluster) -> Result<()> {
    let squeezes = cluster.squeeze().await?;
    cluster.guarded(true).await?;
    let refused = cluster.crowd(CROWD).await?;
    ensure!(refused == CROWD as usize, "{refused} of {CROWD} newcomers were refused");
    drop(squeezes);
    cluster.guarded(false).await?;
    cluster.settled(4).await
}

async fn change_of_mind(cluster: &Cluster, crowd: &mut Crowd) -> Result<()> {
    let uids = async || -> Result<BTreeSet<Option<String>>> {
        Ok(cluster.pods().await?.iter().map(|pod| pod.uid()).collect())
    };
    let before = uids().await?;
    crowd.go();
    draining(cluster).await?;
    moved(crowd, SOME).await?;
    cluster.edit(&bounds(4, 4)).await?;
    cluster.settled(4).await?;
    ensure!(before == uids().await?, "pods were replaced, though their drain was called off");
    Ok(())
}

/// Waits until so many pods have about the same number of clients each, and are at rest.
async fn spread(cluster: &Cluster, samples: &Samples, pods: usize) -> Result<()> {
    samples.next().await;
    let even = wait_until(PATIENCE, "clients that are spread", async || {
        let last = samples.last();
        let mean = last.values().sum::<u64>() as f64 / last.len().max(1) as f64;
        let is_even = |count: &u64| (*count as f64 - mean).abs() <= EVEN * mean;
        last.len() == pods && last.values().all(is_even)
    });
    even.await.with_context(|| format!("connections: {:?}", samples.last()))?;
    cluster.settled(pods).await
}

async fn draining(cluster: &Cluster) -> Result<()> {
    wait_until(PATIENCE, "pods that hand their clients over", async || {
        cluster.is_draining().await.unwrap_or_default()
    })
    .await
}

/// Waits until so many connections have ended in this event.
async fn moved(crowd: &Crowd, clients: u64) -> Result<()> {
    wait_until(PATIENCE, "clients that move", async || {
        if crowd.meter.lock().cuts() >= clients {
            return true;
        }
        tokio::time::sleep(LOOK).await;
        false
    })
    .await
}
