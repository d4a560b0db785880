//! Connections of each pod, asked from the pods all the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::host::get;

const EVERY: Duration = Duration::from_millis(500);

/// One look at all pods.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Since the run began.
    pub seconds: f64,
    /// Connections of each pod that answered.
    pub connections: BTreeMap<String, u64>,
}

/// The task that asks; dropping it ends it.
#[derive(Debug)]
pub struct Samples {
    all: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

#[derive(Deserialize)]
struct Status {
    connections: u64,
}

impl Samples {
    /// Begins to ask.
    #[must_use]
    pub fn start(cluster: Cluster, begin: Instant) -> Self {
        let all = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(ask(cluster, begin, Arc::clone(&all)));
        Self { all, task }
    }

    /// What was heard so far.
    #[must_use]
    pub fn all(&self) -> Vec<Sample> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for one that is wholly of now.
    pub async fn next(&self) {
        // The one that is being asked for may have begun before.
        let enough = self.count() + 2;
        while self.count() < enough {
            tokio::time::sleep(EVERY).await;
        }
    }

    fn count(&self) -> usize {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> BTreeMap<String, u64> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.last().map(|sample| sample.connections.clone()).unwrap_or_default()
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(cluster: Cluster, begin: Instant, all: Arc<Mutex<Vec<Sample>>>) {
    let mut turns = tokio::time::interval(EVERY);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        // Pods that come, go or are cut off do not answer: they are no part of the sample.
        let Ok(gateways) = cluster.gateways().await else { continue };
        let mut asked = tokio::task::JoinSet::new();
        for gateway in gateways {
            asked.spawn(async move {
                let status = get::<Status>(gateway.admin, "/status").await;
                status.ok().map(|status| (gateway.name, status.connections))
            });
        }
        let connections = asked.join_all().await.into_iter().flatten().collect();
        let seconds = begin.elapsed().as_secs_f64();
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Sample { seconds, connections });
    }
}
