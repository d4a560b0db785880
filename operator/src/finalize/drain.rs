//! Clients first: before a stream is deleted, its gateways stop, and each sends its clients away as for any other end of a
//! pod.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::build::{child_name, selector_text};
use crate::context::Context;
use crate::error::{Error, Stage};

/// A pod that is still there so long after the end of its grace period has lost its node.
const LOST: Duration = Duration::from_secs(30);

/// Stops the gateways of a WsGateway, and returns how many pods are still there.
pub(super) async fn step(
    gateway: &WsGateway,
    now: Timestamp,
    context: &Context,
) -> Result<usize, Error> {
    let namespace = gateway.namespace().unwrap_or_default();
    let failed = |error: kube::Error| Error::kube(Stage::Finalize, "pods of the gateway", &error);
    let deployments: Api<Deployment> = Api::namespaced(context.client.clone(), &namespace);
    let name = child_name(&gateway.name_any());
    if let Some(deployment) = deployments.get_opt(&name).await.map_err(failed)?
        && is_running(&deployment, gateway.metadata.uid.as_deref())
    {
        // Of this very object, and of no other that has its name meanwhile.
        let patch = json!({
            "metadata": { "uid": deployment.metadata.uid }, "spec": { "replicas": 0 },
        });
        deployments
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(failed)?;
        tracing::info!(namespace, name, "stopping the gateways of a WsGateway that is deleted");
    }
    let ours = ListParams::default().labels(&selector_text(&gateway.name_any()));
    let sets: Api<ReplicaSet> = Api::namespaced(context.client.clone(), &namespace);
    for set in sets.list(&ours).await.map_err(failed)? {
        if is_detached(&set, gateway.metadata.uid.as_deref()) {
            let patch = json!({ "metadata": { "uid": set.uid() }, "spec": { "replicas": 0 } });
            let name = set.name_any();
            sets.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .map_err(failed)?;
        }
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let pods = pods.list(&ours).await.map_err(failed)?;
    Ok(pods.items.iter().filter(|pod| is_there(pod, now)).count())
}

fn is_running(deployment: &Deployment, owner: Option<&str>) -> bool {
    let owned = deployment.owner_references().iter().any(|one| Some(one.uid.as_str()) == owner);
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    owned && replicas != Some(0) && deployment.metadata.deletion_timestamp.is_none()
}

/// Whether a ReplicaSet is what a rollout has left to do, and runs.
fn is_detached(set: &ReplicaSet, owner: Option<&str>) -> bool {
    let owned = set.owner_references().iter().any(|one| Some(one.uid.as_str()) == owner);
    owned && set.spec.as_ref().and_then(|spec| spec.replicas) != Some(0)
}

/// Whether a pod may still serve clients.
fn is_there(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return false;
    }
    // The API server writes the end of the grace period.
    pod.metadata.deletion_timestamp.as_ref().is_none_or(|end| {
        let late = now.duration_since(end.0);
        late.is_negative() || late.unsigned_abs() < LOST
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::api::ObjectMeta;

    use super::*;

    fn pod(phase: &str, end: Option<i64>) -> Pod {
        let deletion_timestamp = end.map(|second| Time(Timestamp::from_second(second).unwrap()));
        Pod {
            metadata: ObjectMeta { deletion_timestamp, ..ObjectMeta::default() },
            status: Some(PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() }),
            ..Pod::default()
        }
    }

    #[test]
    fn a_pod_is_waited_for_until_its_grace_period_is_over_and_then_a_little() {
        let now = Timestamp::from_second(1000).unwrap();
        assert!(is_there(&pod("Running", None), now));
        assert!(is_there(&pod("Running", Some(1030)), now), "draining");
        assert!(is_there(&pod("Running", Some(990)), now), "about to be gone");
        assert!(!is_there(&pod("Running", Some(900)), now), "its node is lost");
        assert!(!is_there(&pod("Succeeded", None), now));
    }
}
