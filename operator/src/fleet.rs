//! The gateway's pods: what their Deployment says (pure), and what each tells on its admin port.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Deserialize;
use wsgateway_crds::ADMIN_PORT;

use crate::build::selector_text;
use crate::error::{Error, Stage};
use crate::status::{Fleet, Verdict};

/// A pod that needs longer has other worries.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pods asked at the same time, for one WsGateway.
const AT_ONCE: usize = 8;
/// A status is a few hundred bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// The part of a gateway's /status that matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    connections: u32,
    capacity: u32,
    /// Of the live part that runs; gateways before it was told apart have none.
    pub(crate) live_hash: Option<String>,
    /// Why the files are not what runs.
    pub(crate) config_problem: Option<String>,
}

/// Asks gateways.
#[derive(Clone, Debug)]
pub(crate) struct Asker(HttpClient<HttpConnector, Empty<Bytes>>);

impl Default for Asker {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        // Pods come and go: no connection is kept for long.
        let client =
            HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(PATIENCE).build(connector);
        Self(client)
    }
}

impl Asker {
    /// Connections and capacity of all ready pods that answer; `None` when none does.
    pub(crate) async fn load(
        &self,
        client: &Client,
        namespace: &str,
        gateway: &str,
    ) -> Result<Option<(i64, i64)>, Error> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let list = pods
            .list(&ListParams::default().labels(&selector_text(gateway)))
            .await
            .map_err(|error| Error::kube(Stage::Status, "pods of the gateway", &error))?;
        let addresses: Vec<IpAddr> = list.items.iter().filter_map(ready_address).collect();
        let reports: Vec<Option<Report>> = stream::iter(addresses)
            .map(|address| self.ask(address))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        Ok(reports.into_iter().flatten().fold(None, |sum, report| {
            let (connections, capacity) = sum.unwrap_or((0, 0));
            Some((
                connections + i64::from(report.connections),
                capacity + i64::from(report.capacity),
            ))
        }))
    }

    pub(crate) async fn ask(&self, address: IpAddr) -> Option<Report> {
        let answer = tokio::time::timeout(PATIENCE, self.fetch(address)).await;
        match answer {
            Ok(Ok(report)) => Some(report),
            Ok(Err(error)) => {
                tracing::debug!(%address, error, "a gateway pod does not tell its status");
                None
            }
            Err(_late) => None,
        }
    }

    async fn fetch(&self, address: IpAddr) -> Result<Report, String> {
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let uri = format!("http://{host}:{ADMIN_PORT}/status")
            .parse()
            .map_err(|error| format!("{error}"))?;
        let response = self.0.get(uri).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(response.status().to_string());
        }
        let body = Limited::new(response.into_body(), LONGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
    }
}

/// The address of a pod that takes clients.
pub(crate) fn ready_address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let ready =
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    status.pod_ip.as_ref()?.parse().ok()
}

/// Pods as their Deployment counts them.
pub(crate) fn count(deployment: &Deployment, load: Option<(i64, i64)>) -> Fleet {
    let status = deployment.status.as_ref();
    Fleet {
        replicas: status.and_then(|status| status.replicas).unwrap_or_default(),
        ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        load,
    }
}

/// Whether `wanted` pods of the newest template take clients.
pub(crate) fn verdict(deployment: &Deployment, wanted: i32) -> Verdict {
    let status = deployment.status.clone().unwrap_or_default();
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let find = |kind: &str, state: &str| -> Option<&DeploymentCondition> {
        conditions.iter().find(|condition| condition.type_ == kind && condition.status == state)
    };
    let ready = status.ready_replicas.unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    let words = |condition: &DeploymentCondition| condition.message.clone().unwrap_or_default();
    if let Some(failure) = find("ReplicaFailure", "True") {
        return Verdict::no(
            "PodsRefused",
            format!("Kubernetes refuses the pods: {}", words(failure)),
        );
    }
    if status.observed_generation < deployment.metadata.generation {
        return Verdict::no(
            "RollingOut",
            "the Deployment controller has not seen the newest pod template yet",
        );
    }
    if let Some(stuck) = find("Progressing", "False") {
        let hint = "look at the events and logs of the pods";
        return Verdict::no(
            "RolloutStuck",
            format!("{ready} of {wanted} pods are ready ({}): {hint}", words(stuck)),
        );
    }
    if wanted == 0 {
        return Verdict::no("ScaledToZero", "spec.replicas is 0: scale up to serve clients");
    }
    if updated < wanted {
        return Verdict::no(
            "RollingOut",
            format!("{updated} of {wanted} pods have the newest configuration"),
        );
    }
    if ready < wanted {
        return Verdict::no("PodsNotReady", format!("{ready} of {wanted} pods are ready"));
    }
    if status.replicas.unwrap_or_default() > wanted {
        return Verdict::no("RollingOut", "pods of an older configuration are still draining");
    }
    Verdict::yes("PodsReady", format!("{ready} of {wanted} pods are ready"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DeploymentStatus;
    use kube::api::ObjectMeta;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fine(3, 3, 3, 2, "PodsReady")]
    #[case::starting(3, 3, 1, 2, "PodsNotReady")]
    #[case::new_template(4, 1, 3, 2, "RollingOut")]
    #[case::old_pods_left(4, 3, 3, 2, "RollingOut")]
    #[case::not_seen_yet(3, 3, 3, 1, "RollingOut")]
    fn the_verdict_follows_the_deployment(
        #[case] replicas: i32,
        #[case] updated: i32,
        #[case] ready: i32,
        #[case] observed: i64,
        #[case] reason: &str,
    ) {
        let deployment = Deployment {
            metadata: ObjectMeta { generation: Some(2), ..ObjectMeta::default() },
            status: Some(DeploymentStatus {
                replicas: Some(replicas),
                updated_replicas: Some(updated),
                ready_replicas: Some(ready),
                observed_generation: Some(observed),
                ..DeploymentStatus::default()
            }),
            ..Deployment::default()
        };
        let verdict = verdict(&deployment, 3);
        assert_eq!(verdict.reason, reason);
        assert_eq!(verdict.holds, reason == "PodsReady");
    }

    #[test]
    fn a_deployment_without_a_status_is_not_ready() {
        assert!(!verdict(&Deployment::default(), 1).holds);
        assert_eq!(verdict(&Deployment::default(), 0).reason, "ScaledToZero");
    }
}
