//! Figures from the pods' admin ports, through the API server (pods/proxy).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wsgateway_crds::ADMIN_PORT;

use super::Line;
use super::figures::Totals;
use crate::cluster::{Asked, Cluster};

/// Pods that are asked at the same time.
const AT_ONCE: usize = 16;
/// A pod that does not answer within this is left out.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks pods, and remembers what they counted.
#[derive(Default)]
pub(crate) struct Admin {
    counted: HashMap<String, Counted>,
    /// Whether /stats is asked, too.
    pub(super) wants_stats: bool,
}

/// What a pod had counted when.
#[derive(Clone, Copy)]
struct Counted {
    at: Instant,
    stream_messages: Option<u64>,
    deliveries: Option<u64>,
}

/// An answer of /status.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    connections: u64,
    capacity: u64,
    #[serde(default)]
    cpu_percent: Option<f64>,
    #[serde(default)]
    memory_bytes: Option<u64>,
    #[serde(default)]
    stream_messages: Option<u64>,
    #[serde(default)]
    deliveries: Option<u64>,
    #[serde(default)]
    slow_clients: Option<u64>,
    #[serde(default)]
    sent_away: Option<u64>,
    #[serde(default)]
    refused: Option<u64>,
    source: Source,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    #[serde(default)]
    lag_messages: Option<u64>,
}

/// As much of /stats as is shown.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stats {
    subscriptions: Option<u64>,
    total_connections: Option<u64>,
    slow_consumers: Option<u64>,
}

/// Why a pod says nothing.
enum Silence {
    /// Nobody may ask any.
    Forbidden(String),
    /// This one does not answer.
    Pod,
}

impl Admin {
    /// Fills in what pods answer. An error says why none may be asked.
    pub(super) async fn fill(
        &mut self,
        cluster: &Cluster,
        lines: &mut [Line],
        pods: &[Pod],
    ) -> Result<(), String> {
        let uids: HashMap<(Option<String>, String), String> = pods
            .iter()
            .map(|pod| ((pod.namespace(), pod.name_any()), pod.uid().unwrap_or_default()))
            .collect();
        let wants_stats = self.wants_stats;
        let asked = lines.iter().map(|line| (line.namespace.clone(), line.pod.clone()));
        let mut answers = stream::iter(asked.enumerate().collect::<Vec<_>>())
            .map(async |(at, (namespace, pod))| {
                let status = ask::<Status>(cluster, &namespace, &pod, "status").await;
                let stats = match (&status, wants_stats) {
                    (Ok(_), true) => ask::<Stats>(cluster, &namespace, &pod, "stats").await.ok(),
                    _ => None,
                };
                (at, status, stats)
            })
            .buffer_unordered(AT_ONCE);
        let mut counted = HashMap::new();
        while let Some((at, status, stats)) = answers.next().await {
            let line = &mut lines[at];
            match status {
                Ok(status) => {
                    let key = (Some(line.namespace.clone()), line.pod.clone());
                    let uid = uids.get(&key).cloned().unwrap_or_else(|| line.pod.clone());
                    let now = Counted {
                        at: Instant::now(),
                        stream_messages: status.stream_messages,
                        deliveries: status.deliveries,
                    };
                    status.fill(line, now, self.counted.get(&uid), stats);
                    counted.insert(uid, now);
                }
                Err(Silence::Forbidden(why)) => return Err(why),
                Err(Silence::Pod) => {}
            }
        }
        drop(answers);
        self.counted = counted;
        Ok(())
    }

    /// The clients of one pod; nothing if it may not be asked or does not answer.
    pub(crate) async fn clients(cluster: &Cluster, namespace: &str, pod: &str) -> Option<u64> {
        let status = ask::<Status>(cluster, namespace, pod, "status").await.ok();
        status.map(|status| status.connections)
    }
}

async fn ask<T: DeserializeOwned>(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    page: &str,
) -> Result<T, Silence> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{ADMIN_PORT}/proxy/{page}");
    let request = http::Request::get(path).body(Vec::new()).map_err(|_| Silence::Pod)?;
    let answer = tokio::time::timeout(TIMEOUT, cluster.client.request::<T>(request)).await;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => match &error {
            kube::Error::Api(status) if status.code == 403 => {
                let asked =
                    Asked { verb: "get", resource: "pods/proxy", namespace: Some(namespace) };
                Err(Silence::Forbidden(cluster.trouble(error, asked).to_string()))
            }
            _ => Err(Silence::Pod),
        },
        Err(_late) => Err(Silence::Pod),
    }
}

impl Status {
    fn fill(self, line: &mut Line, now: Counted, before: Option<&Counted>, stats: Option<Stats>) {
        let rate = |of: fn(&Counted) -> Option<u64>| {
            let before = before?;
            let more = of(&now)?.checked_sub(of(before)?)?;
            let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
            (seconds > 0.0).then(|| (more as f64 / seconds).round() as u64)
        };
        line.connections = Some(self.connections);
        line.capacity = Some(self.capacity);
        line.messages_per_second = rate(|counted| counted.stream_messages);
        line.deliveries_per_second = rate(|counted| counted.deliveries);
        line.lag_messages = self.source.lag_messages;
        line.slow_clients = self.slow_clients;
        line.cpu_percent = self.cpu_percent.map(|percent| percent.clamp(0.0, 100.0).round() as u64);
        line.memory_bytes = self.memory_bytes;
        line.totals = stats.map(|stats| Totals {
            subscriptions: stats.subscriptions,
            accepted: stats.total_connections,
            sent_away: self.sent_away,
            refused: self.refused,
            slow_closed: stats.slow_consumers,
        });
    }
}
