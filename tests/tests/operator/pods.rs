//! What the cluster says to the pods.

use anyhow::Result;
use harness::{wait_until, wait_until_some};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodSpec, ResourceQuota, ServiceAccount};
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::{ODIN, SOON, World};

#[tokio::test]
async fn pods_run_where_only_restricted_ones_may() -> Result<()> {
    let world = World::new("restricted").await?;
    let strict =
        json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    Api::<Namespace>::all(world.client.clone())
        .patch(&world.namespace, &PatchParams::default(), &Patch::Merge(&strict))
        .await?;
    let loose: Pod = serde_json::from_value(json!({
        "metadata": { "name": "loose" }, "spec": { "containers": [{ "name": "any", "image": "example.com/any:1" }] }
    }))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    wait_until(SOON, "the namespace to be strict", async || {
        let refused = world.api::<Pod>().create(&dry_run, &loose).await;
        refused.is_err_and(|error| error.to_string().contains("violates PodSecurity"))
    })
    .await?;

    world.create(&json!({})).await?;

    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await.map(drop)
}

#[tokio::test]
async fn refused_pods_are_a_condition_with_the_cluster_s_words_until_they_are_let_in() -> Result<()>
{
    let world = World::new("quota").await?;
    let quotas = world.api::<ResourceQuota>();
    let none: ResourceQuota = serde_json::from_value(json!({
        "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } }
    }))?;
    quotas.create(&PostParams::default(), &none).await?;
    wait_until_some(SOON, "the quota to hold", async || {
        quotas.get("none").await.ok()?.status?.hard.filter(|hard| !hard.is_empty())
    })
    .await?;

    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "GatewayReady", "False", "PodsRefused").await?;
    assert!(message.contains("exceeded quota: none"), "{message}");

    quotas.delete("none", &DeleteParams::default()).await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await.map(drop)
}

/// Every field of `spec.pod` that says where and how pods run.
fn placed() -> Value {
    json!({
        "nodeSelector": { "kubernetes.io/arch": "amd64" },
        "tolerations": [
            { "key": "dedicated", "value": "gateways", "effect": "NoSchedule" },
            { "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30 },
        ],
        "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
            { "weight": 1, "preference": { "matchExpressions": [{ "key": "pool", "operator": "In", "values": ["edge"] }] } },
        ] } },
        "topologySpread": [{ "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2 }],
        "priorityClassName": "system-cluster-critical",
        "labels": { "team": "trading" },
        "annotations": { "sidecar.istio.io/inject": "false" },
        "serviceAccountName": "edge",
        "securityContext": { "runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000 },
        "overrides": {
            "metadata": { "labels": { "cost-center": "7" } },
            "spec": {
                "hostAliases": [{ "ip": "10.0.0.7", "hostnames": ["nats.example.com"] }],
                "containers": [
                    { "name": "gateway", "env": [{ "name": "RUST_LOG", "value": "debug" }],
                      "readinessProbe": { "periodSeconds": 5 } },
                    { "name": "proxy", "image": "example.com/proxy:1", "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }] },
                ],
                "volumes": [{ "name": "tmp", "emptyDir": {} }],
            },
        },
    })
}

#[tokio::test]
async fn pods_are_placed_labelled_and_overridden_as_specified() -> Result<()> {
    let world = World::new("placed").await?;
    let account: ServiceAccount =
        serde_json::from_value(json!({ "metadata": { "name": "edge" } }))?;
    world.api::<ServiceAccount>().create(&PostParams::default(), &account).await?;
    world.create(&json!({ "spec": { "pod": placed() } })).await?;

    let name = world.pods(1).await?.remove(0);
    let pod = world.api::<Pod>().get(&name).await?;
    assert_eq!(
        (pod.labels()["team"].as_str(), pod.labels()["cost-center"].as_str()),
        ("trading", "7")
    );
    assert_eq!(pod.annotations()["sidecar.istio.io/inject"], "false");
    let spec = pod.spec.unwrap_or_default();
    assert_eq!(spec.service_account_name.as_deref(), Some("edge"));
    assert_eq!(spec.priority_class_name.as_deref(), Some("system-cluster-critical"));
    assert!(spec.priority > Some(0), "the class exists");
    // The cluster adds tolerations of its own.
    assert!(spec.tolerations.unwrap_or_default().len() >= 2);
    assert!(spec.affinity.is_some_and(|affinity| affinity.node_affinity.is_some()));
    let spread = spec.topology_spread_constraints.unwrap_or_default();
    assert_eq!((spread.len(), spread[0].min_domains), (1, Some(2)));
    let names: Vec<&str> = spec.containers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["gateway", "proxy"]);
    let probe = spec.containers[0].readiness_probe.clone().unwrap_or_default();
    assert_eq!((probe.period_seconds, probe.failure_threshold), (Some(5), Some(2)), "merged");
    let pause = spec.containers[0].lifecycle.clone().and_then(|cycle| cycle.pre_stop?.sleep);
    assert!(pause.is_some_and(|pause| pause.seconds > 0), "this API server keeps the pause");

    world.edit(&json!({ "spec": { "pod": null } })).await?;
    world
        .object::<Deployment>("odin-gateway", |deployment| {
            let template = deployment.spec.as_ref().map(|spec| &spec.template);
            let spec = template.and_then(|template| template.spec.clone()).unwrap_or_default();
            is_plain(&spec)
        })
        .await?;
    Ok(())
}

/// Nothing of [`placed`] is left.
fn is_plain(spec: &PodSpec) -> bool {
    spec.containers.len() == 1
        && spec.containers[0].env.as_ref().is_some_and(|env| env.len() == 2)
        && spec.volumes.as_ref().is_some_and(|volumes| volumes.len() == 1)
        && spec.topology_spread_constraints.as_ref().is_some_and(|spread| spread.len() == 1)
        && spec.service_account_name.as_deref() == Some("odin-gateway")
        && spec.tolerations.is_none()
        && spec.affinity.as_ref().is_some_and(|affinity| affinity.node_affinity.is_none())
        && spec.node_selector.is_none()
        && spec.host_aliases.is_none()
        && spec.priority_class_name.is_none()
        && spec.security_context.as_ref().is_some_and(|context| context.run_as_user.is_none())
}

#[tokio::test]
async fn overrides_that_cannot_work_are_a_condition_and_leave_the_pods_alone() -> Result<()> {
    let world = World::new("overrides").await?;
    world.create(&json!({})).await?;
    let before = world.object::<Deployment>("odin-gateway", |_| true).await?;

    world
        .edit(&json!({ "spec": { "pod": { "overrides": { "spec": { "hostnetwork": true } } } } }))
        .await?;

    let message = world.condition(ODIN, "Ready", "False", "SpecInvalid").await?;
    assert!(
        message.starts_with("spec.pod.overrides.spec.hostnetwork: is unknown to Kubernetes"),
        "{message}"
    );
    let now = world.api::<Deployment>().get("odin-gateway").await?;
    assert_eq!(now.spec, before.spec);

    world
        .edit(&json!({ "spec": { "pod": { "overrides": { "spec": { "hostnetwork": null, "hostname": "a b" } } } } }))
        .await?;

    let message = world.condition(ODIN, "GatewayReady", "False", "RefusedByApiServer").await?;
    assert!(message.contains("hostname"), "{message}");
    Ok(())
}
