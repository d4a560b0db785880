//! Where the autoscaler gets its numbers: from the operator, from an adapter, or from Prometheus through KEDA.

#[path = "keda/programs.rs"]
mod programs;

use anyhow::{Context as _, Result};
use harness::{Identity, wait_until, wait_until_some};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::autoscale::{Kubelet, connect, plane_of_its_own, replicas};
use crate::rights::{created_by, granted};
use crate::world::{ODIN, SOON, World};
use programs::{Keda, Prometheus};

/// The name of all that scales.
const SCALER: &str = "odin-gateway";
/// The autoscaler that KEDA makes.
const OF_KEDA: &str = "odin-keda";
const FINALIZER: &str = "finalizer.keda.sh";

/// The kind ScaledObject, without rules of its own.
fn scaled_object_kind() -> Result<CustomResourceDefinition> {
    Ok(serde_json::from_value(json!({
        "metadata": { "name": "scaledobjects.keda.sh" },
        "spec": {
            "group": "keda.sh", "scope": "Namespaced",
            "names": { "kind": "ScaledObject", "plural": "scaledobjects" },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }]
        }
    }))?)
}

fn scaled_objects(world: &World) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject");
    Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::from_gvk(&kind))
}

async fn scaled_object(
    world: &World,
    what: &str,
    passes: impl Fn(&DynamicObject) -> bool,
) -> Result<DynamicObject> {
    let api = scaled_objects(world);
    wait_until_some(SOON, what, async || api.get_opt(SCALER).await.ok().flatten().filter(&passes))
        .await
}

async fn no_scaled_object(world: &World) -> Result<()> {
    let api = scaled_objects(world);
    wait_until(SOON, "the end of the ScaledObject", async || {
        api.get_opt(SCALER).await.is_ok_and(|object| object.is_none())
    })
    .await
}

async fn autoscalers(world: &World) -> Result<Vec<String>> {
    let list = world.api::<HorizontalPodAutoscaler>().list(&ListParams::default()).await?;
    Ok(list.items.iter().map(|autoscaler| autoscaler.name_any()).collect())
}

/// Pods wanted of the WsGateway, and of its Deployment.
async fn pods_wanted(world: &World) -> Result<(i32, Option<i32>)> {
    let gateway = world.api::<WsGateway>().get(ODIN).await?;
    let deployment = world.api::<Deployment>().get(SCALER).await?;
    Ok((gateway.spec.replicas, deployment.spec.and_then(|spec| spec.replicas)))
}

async fn scale_by(world: &World, source: &str) -> Result<()> {
    world.edit(&json!({ "spec": { "autoscaling": { "metricsSource": source } } })).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_autoscaler_takes_the_place_of_another_and_the_number_of_pods_stays() -> Result<()> {
    let mut world = World::on(plane_of_its_own().await?, "sources").await?;
    world.start_operator().await?;
    let autoscaling = json!({
        "minReplicas": 1, "maxReplicas": 4, "keda": { "prometheusAddress": "http://127.0.0.1:9" },
    });
    world.create(&json!({ "spec": { "replicas": 3, "autoscaling": autoscaling } })).await?;
    world.object::<HorizontalPodAutoscaler>(SCALER, |_| true).await?;
    world.run_pods(3, "127.0.0.1").await?;

    // KEDA is not there.
    scale_by(&world, "Keda").await?;
    let message = world.condition(ODIN, "Autoscaling", "False", "KedaUnknown").await?;
    assert!(message.contains("install KEDA"), "{message}");
    world.gone::<HorizontalPodAutoscaler>(SCALER).await?;
    assert_eq!(pods_wanted(&world).await?, (3, Some(3)));

    world.plane.apply_crd(&scaled_object_kind()?).await?;
    let object = scaled_object(&world, "a ScaledObject", |_| true).await?;
    assert_eq!(object.data["spec"]["scaleTargetRef"]["kind"], "WsGateway");
    world.condition(ODIN, "Autoscaling", "False", "KedaSilent").await?;
    assert_eq!(autoscalers(&world).await?, [""; 0]);
    assert_eq!(pods_wanted(&world).await?, (3, Some(3)));

    // What KEDA has to finish is waited for: two would fight.
    let held = json!({ "metadata": { "finalizers": [FINALIZER] } });
    let (api, parameters) = (scaled_objects(&world), PatchParams::default());
    api.patch(SCALER, &parameters, &Patch::Merge(&held)).await?;
    scale_by(&world, "Adapter").await?;
    let message = world.condition(ODIN, "Autoscaling", "False", "Switching").await?;
    assert!(message.contains(FINALIZER), "{message}");
    world.more_reconciles(3.0).await?;
    assert_eq!(autoscalers(&world).await?, [""; 0]);
    let released = json!({ "metadata": { "finalizers": null } });
    api.patch(SCALER, &parameters, &Patch::Merge(&released)).await?;
    let adapted = world.object::<HorizontalPodAutoscaler>(SCALER, |_| true).await?;
    no_scaled_object(&world).await?;
    let message = world.condition(ODIN, "Autoscaling", "False", "NoMetric").await?;
    assert!(message.contains("metricsSource is Adapter"), "{message}");

    // The same object, from another source.
    scale_by(&world, "Operator").await?;
    wait_until(SOON, "another message", async || {
        let message = world.condition(ODIN, "Autoscaling", "False", "NoMetric").await;
        message.is_ok_and(|message| !message.contains("metricsSource is Adapter"))
    })
    .await?;
    let ours = world.api::<HorizontalPodAutoscaler>().get(SCALER).await?;
    assert_eq!(ours.uid(), adapted.uid());
    assert_eq!(pods_wanted(&world).await?, (3, Some(3)));

    // Somebody else scales it, too: Kubernetes lets neither.
    let mut theirs = json!({ "metadata": { "name": "theirs" }, "spec": ours.spec });
    theirs["spec"]["maxReplicas"] = json!(9);
    let theirs = serde_json::from_value(theirs)?;
    world.api::<HorizontalPodAutoscaler>().create(&PostParams::default(), &theirs).await?;
    let message = world.condition(ODIN, "Autoscaling", "False", "SeveralAutoscalers").await?;
    assert!(message.contains("theirs"), "{message}");
    assert_eq!(autoscalers(&world).await?, [SCALER, "theirs"]);
    assert_eq!(pods_wanted(&world).await?, (3, Some(3)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_of_keda_that_no_watch_has_told_of_is_waited_for_all_the_same() -> Result<()>
{
    let mut world = World::on(plane_of_its_own().await?, "untold").await?;
    world.plane.apply_crd(&scaled_object_kind()?).await?;
    // The watch of ScaledObjects never tells anything, as for a moment after KEDA was installed.
    let account = created_by("templates/rbac.yaml", &world, &[], "scaledobjects").await?;
    may_not_list_scaled_objects(&world, account.as_deref().context("an account")?).await?;
    let account = Identity::service_account(&world.namespace, &account.unwrap_or_default());
    let client = world.client_as(&account).await?;
    world.start_operator_with(crate::world::options(&world.namespace), client).await?;
    let autoscaling = json!({
        "minReplicas": 1, "maxReplicas": 4, "metricsSource": "Keda",
        "keda": { "prometheusAddress": "http://127.0.0.1:9" },
    });
    world.create(&json!({ "spec": { "replicas": 1, "autoscaling": autoscaling } })).await?;
    scaled_object(&world, "a ScaledObject", |_| true).await?;
    let held = json!({ "metadata": { "finalizers": [FINALIZER] } });
    let (api, parameters) = (scaled_objects(&world), PatchParams::default());
    api.patch(SCALER, &parameters, &Patch::Merge(&held)).await?;

    scale_by(&world, "Adapter").await?;
    world.condition(ODIN, "Autoscaling", "False", "Switching").await?;
    world.more_reconciles(3.0).await?;
    assert_eq!(autoscalers(&world).await?, [""; 0], "two would fight");
    let released = json!({ "metadata": { "finalizers": null } });
    api.patch(SCALER, &parameters, &Patch::Merge(&released)).await?;
    world.object::<HorizontalPodAutoscaler>(SCALER, |_| true).await?;
    no_scaled_object(&world).await
}

/// All rights to ScaledObjects but to list and watch them.
async fn may_not_list_scaled_objects(world: &World, account: &str) -> Result<()> {
    let role = json!({
        "metadata": { "name": "some" },
        "rules": [{
            "apiGroups": ["keda.sh"], "resources": ["scaledobjects"],
            "verbs": ["get", "create", "patch", "delete"],
        }],
    });
    let binding = json!({
        "metadata": { "name": "some" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "some" },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": world.namespace }],
    });
    let parameters = PostParams::default();
    world.api::<Role>().create(&parameters, &serde_json::from_value(role)?).await?;
    world.api::<RoleBinding>().create(&parameters, &serde_json::from_value(binding)?).await?;
    Ok(())
}

/// Whether a condition of the ScaledObject is so.
fn is(object: &DynamicObject, kind: &str, state: &str) -> bool {
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == state)
}

/// Most failures in a row of one of its triggers.
fn failures(object: &DynamicObject) -> i64 {
    let health = object.data["status"]["health"].as_object().cloned().unwrap_or_default();
    health.values().filter_map(|trigger| trigger["numberOfFailures"].as_i64()).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs KEDA and Prometheus: make keda"]
async fn keda_scales_by_prometheus_and_holds_the_pods_when_that_is_gone() -> Result<()> {
    let mut world = World::on(plane_of_its_own().await?, "keda").await?;
    let mut prometheus = Prometheus::start(world.plane, &world.namespace)?;
    let keda = Keda::start(&world).await?;
    let client = granted(&world, &[]).await?;
    world.start_operator_with(crate::world::options(&world.namespace), client).await?;
    let autoscaling = json!({
        "minReplicas": 1, "maxReplicas": 4, "targetConnectionsPerPod": 2,
        "scaleDown": { "stabilization": "1s" }, "metricsSource": "Keda",
        "keda": { "prometheusAddress": format!("http://127.0.0.1:{}", prometheus.port) },
    });
    world.create(&json!({ "spec": { "replicas": 1, "autoscaling": autoscaling } })).await?;
    let mut kubelet = Kubelet::default();
    wait_until(SOON, "a pod", async || kubelet.sync(&world).await.is_ok() && !kubelet.0.is_empty())
        .await?;

    // KEDA takes it up, and makes an autoscaler of its own, which stays its own.
    let theirs = world.object::<HorizontalPodAutoscaler>(OF_KEDA, |_| true).await;
    keda.check_alive()?;
    let theirs = theirs.with_context(|| keda.operator.log_tail())?;
    let object = scaled_objects(&world).get(SCALER).await?;
    assert_eq!(theirs.owner_references()[0].uid, object.uid().unwrap_or_default());
    assert_eq!(autoscalers(&world).await?, [OF_KEDA]);
    let clients = connect(&kubelet.0[0].1, 5).await?;
    replicas(&world, 3, &mut kubelet).await.with_context(|| keda.operator.log_tail())?;
    world.condition(ODIN, "Autoscaling", "True", "Active").await?;

    // Without Prometheus there are as many pods as there were, whatever the clients do.
    prometheus.stop();
    drop(clients);
    let held = scaled_object(&world, "a fallback", |it| is(it, "Fallback", "True")).await?;
    let message = world.condition(ODIN, "Autoscaling", "False", "NoMetric").await?;
    assert!(message.contains("prometheusAddress"), "{message}");
    let longer = failures(&held) + 5;
    scaled_object(&world, "more failures", |it| failures(it) >= longer).await?;
    assert_eq!(world.api::<WsGateway>().get(ODIN).await?.spec.replicas, 3);
    let same = world.api::<HorizontalPodAutoscaler>().get(OF_KEDA).await?;
    assert_eq!(same.uid(), theirs.uid());

    // Back again it sees that there are no clients.
    prometheus.resume()?;
    replicas(&world, 1, &mut kubelet).await?;
    world.condition(ODIN, "Autoscaling", "True", "Active").await?;

    // Pods that are stopped stay stopped.
    world.edit(&json!({ "spec": { "replicas": 0 } })).await?;
    scaled_object(&world, "a pause", |it| is(it, "Paused", "True")).await?;
    world.gone::<HorizontalPodAutoscaler>(OF_KEDA).await?;
    world.condition(ODIN, "Autoscaling", "False", "ScaledToZero").await?;
    assert_eq!(pods_wanted(&world).await?, (0, Some(0)));
    world.edit(&json!({ "spec": { "replicas": 2 } })).await?;
    world.object::<HorizontalPodAutoscaler>(OF_KEDA, |_| true).await?;

    // Back to the operator: KEDA takes away what is its.
    scale_by(&world, "Operator").await?;
    world.object::<HorizontalPodAutoscaler>(SCALER, |_| true).await?;
    no_scaled_object(&world).await?;
    world.gone::<HorizontalPodAutoscaler>(OF_KEDA).await?;
    keda.check_alive()?;
    kubelet.end().await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus: make keda"]
async fn a_pod_that_cannot_be_read_counts_as_it_was_and_most_of_them_are_no_answer() -> Result<()> {
    let mut world = World::on(plane_of_its_own().await?, "query").await?;
    let prometheus = Prometheus::start(world.plane, &world.namespace)?;
    world.plane.apply_crd(&scaled_object_kind()?).await?;
    world.start_operator().await?;
    let autoscaling = json!({
        "minReplicas": 3, "maxReplicas": 3, "metricsSource": "Keda",
        "keda": { "prometheusAddress": format!("http://127.0.0.1:{}", prometheus.port) },
    });
    world.create(&json!({ "spec": { "replicas": 3, "autoscaling": autoscaling } })).await?;
    let mut kubelet = Kubelet::default();
    wait_until(SOON, "three pods", async || {
        kubelet.sync(&world).await.is_ok() && kubelet.0.len() == 3
    })
    .await?;
    let object = scaled_object(&world, "a ScaledObject", |_| true).await?;
    let query = object.data["spec"]["triggers"][0]["metadata"]["query"].clone();
    let query = query.as_str().context("a query")?;
    let up = "sum(up)";
    let becomes = async |query: &str, expected: &[&str]| {
        wait_until(SOON, &format!("{expected:?}"), async || {
            prometheus.values(query).await.is_ok_and(|values| values == expected)
        })
        .await
    };
    becomes(up, &["3"]).await?;
    let _clients = connect(&kubelet.0[0].1, 5).await?;
    let _others = connect(&kubelet.0[1].1, 2).await?;
    becomes(query, &["7"]).await?;

    // Nobody answers where they are said to be.
    world.run_pod(&kubelet.0[0].0, "127.0.0.9").await?;
    becomes(up, &["2"]).await?;
    assert_eq!(prometheus.values(query).await?, ["7"]);
    world.run_pod(&kubelet.0[1].0, "127.0.0.9").await?;
    becomes(up, &["1"]).await?;
    becomes(query, &[]).await?;
    kubelet.end().await
}
