//! What KEDA is asked for instead of an autoscaler of ours. It makes one of it, for the WsGateway as ours would be.
//!
//! Missing data must neither add nor remove pods: a query without a result is an error (`ignoreNullValues`), and an error
//! holds the number that there is (`fallback`).

use kube::core::DynamicObject;
use serde_json::{Value, json};
use wsgateway_crds::{GROUP, VERSION, ValidGateway, ValidMetricsSource};

use super::autoscaler::{CONNECTIONS, CPU, behavior};
use super::meta::{child_name, keda_name, metadata};
use crate::kinds::Kind;

/// KEDA leaves a target that is paused alone. It would start pods again that were stopped on purpose.
const PAUSED: &str = "autoscaling.keda.sh/paused";
/// Failures in a row after which KEDA reports that it holds the number of pods. It holds it before, too: then the autoscaler
/// gets an error instead of a value.
const FAILURES: u32 = 3;
/// A pod that Prometheus cannot read counts as it was for so long: as long as an autoscaler waits before it removes pods.
const REMEMBERED: &str = "5m";

/// `known`: the cluster has the kind.
pub(super) fn build(gateway: &ValidGateway, known: bool) -> Option<DynamicObject> {
    let bounds = gateway.autoscaling.as_ref().filter(|_| known)?;
    let ValidMetricsSource::Keda { prometheus } = &bounds.source else { return None };
    let trigger = |name: &str, metric: &str, average: String| {
        json!({
            "type": "prometheus", "name": name, "metricType": "AverageValue",
            "metadata": {
                "serverAddress": prometheus,
                "query": query(gateway, metric),
                "threshold": average,
                "ignoreNullValues": "false",
            },
        })
    };
    let connections =
        trigger("connections", CONNECTIONS, gateway.derived.target_connections.to_string());
    let cpu = bounds.cpu_percent.map(|percent| trigger("cpu", CPU, percent.to_string()));
    let triggers: Vec<Value> = std::iter::once(connections).chain(cpu).collect();
    let mut object = DynamicObject::new("", &Kind::ScaledObject.resource()).data(json!({
        "spec": {
            "scaleTargetRef": {
                "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "WsGateway", "name": gateway.name,
            },
            "minReplicaCount": bounds.min,
            "maxReplicaCount": bounds.max,
            "triggers": triggers,
            "fallback": {
                "failureThreshold": FAILURES,
                "behavior": "currentReplicas",
                // Of no use with that behavior, but required. With 0, KEDA takes an error for no clients.
                "replicas": bounds.min,
            },
            "advanced": { "horizontalPodAutoscalerConfig": {
                "name": keda_name(&gateway.name), "behavior": behavior(bounds.stabilization),
            } },
        }
    }));
    object.metadata = metadata(gateway, child_name(&gateway.name));
    if gateway.replicas == 0 {
        let annotations = object.metadata.annotations.get_or_insert_default();
        annotations.insert(PAUSED.to_owned(), "true".to_owned());
    }
    Some(object)
}

/// Names of its pods: that of the Deployment, a hash of the template, and one of the pod. Kubernetes cuts off what is beyond 58
/// characters before the last one.
fn pods(gateway: &str) -> String {
    const LONGEST: usize = 58;
    const TEMPLATE_HASH: usize = 10;
    let mut begin = format!("{}-", child_name(gateway));
    if begin.len() + TEMPLATE_HASH < LONGEST {
        return format!("{begin}[a-z0-9]+-[a-z0-9]+");
    }
    begin.truncate(LONGEST);
    format!("{begin}[-a-z0-9]+")
}

/// The sum over all pods. One that is scraped twice counts once; one that cannot be read counts as it was while it is a target.
/// No result if more than half cannot be read: the rest says too little of all.
fn query(gateway: &ValidGateway, metric: &str) -> String {
    let pods = format!(r#"{{namespace="{}",pod=~"{}"}}"#, gateway.namespace, pods(&gateway.name));
    format!(
        "sum(max by (pod) (last_over_time({metric}{pods}[{REMEMBERED}]) and on (pod) up{pods})) \
         and on () (2 * count(max by (pod) ({metric}{pods})) >= count(max by (pod) (up{pods})))"
    )
}
