//! Pods of another template: new ones start next to the old ones, the Service switches from these to those, the old ones
//! go; and a new operator's rollouts take turns.

use std::collections::BTreeSet;
use std::pin::pin;

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use harness::{wait_until, wait_until_some};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::json;

use crate::world::{ODIN, SOON, World, options};

const TEMPLATE: &str = "wsgateway.dev/template";
/// Where nothing answers.
const NOWHERE: &str = "127.0.0.1";

/// Pods of a WsGateway by name, and whether they are ready, of one template or of all.
async fn pods(world: &World, gateway: &str, template: Option<&str>) -> Result<Vec<(String, bool)>> {
    let mut selector = format!("app.kubernetes.io/instance={gateway}");
    if let Some(template) = template {
        selector.push_str(&format!(",{TEMPLATE}={template}"));
    }
    let list = world.api::<Pod>().list(&ListParams::default().labels(&selector)).await?;
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions
            .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    };
    Ok(list.items.iter().map(|pod| (pod.name_any(), ready(pod))).collect())
}

/// Waits for so many pods of a template, and returns their names.
async fn started(
    world: &World,
    gateway: &str,
    template: &str,
    count: usize,
) -> Result<Vec<String>> {
    wait_until_some(SOON, &format!("{count} pods of {gateway}"), async || {
        let pods = pods(world, gateway, Some(template)).await.ok()?;
        (pods.len() == count).then(|| pods.into_iter().map(|(name, _)| name).collect())
    })
    .await
}

/// The template of a WsGateway's Deployment, once it passes.
async fn template(world: &World, gateway: &str, passes: impl Fn(&str) -> bool) -> Result<String> {
    let of = |deployment: &Deployment| {
        let metadata = deployment.spec.as_ref()?.template.metadata.as_ref()?;
        metadata.labels.as_ref()?.get(TEMPLATE).cloned()
    };
    let name = format!("{gateway}-gateway");
    let found = world
        .object::<Deployment>(&name, |found| of(found).is_some_and(|template| passes(&template)))
        .await?;
    of(&found).context("a template")
}

async fn pinned(world: &World, gateway: &str) -> Option<String> {
    let service = world.api::<Service>().get_opt(gateway).await.ok()??;
    service.spec?.selector?.get(TEMPLATE).cloned()
}

async fn sets(world: &World) -> Result<usize> {
    Ok(world.api::<ReplicaSet>().list(&ListParams::default()).await?.items.len())
}

/// Waits until there are only pods of this template, all of them ready, behind a Service that takes them all.
async fn settled(world: &World, template: &str, count: usize) -> Result<()> {
    let ended = wait_until(SOON, "the end of the rollout", async || {
        let (Ok(all), Ok(new)) =
            (pods(world, ODIN, None).await, pods(world, ODIN, Some(template)).await)
        else {
            return false;
        };
        all == new
            && all.len() == count
            && pinned(world, ODIN).await.is_none()
            && sets(world).await.is_ok_and(|sets| sets == 1)
    })
    .await;
    if let Err(error) = ended {
        let (pods, pinned) = (pods(world, ODIN, None).await?, pinned(world, ODIN).await);
        let sets = world.api::<ReplicaSet>().list(&ListParams::default()).await?.items;
        let shown = |set: &ReplicaSet| {
            let owner = set.owner_references().first().map(|owner| owner.kind.clone());
            (set.name_any(), owner, set.spec.as_ref().and_then(|spec| spec.replicas))
        };
        let sets: Vec<_> = sets.iter().map(shown).collect();
        let conditions = world.status(ODIN).await.map(|status| status.conditions);
        return Err(error.context(format!("{pods:?} {pinned:?} {sets:?} {conditions:#?}")));
    }
    world.condition(ODIN, "Progressing", "False", "Settled").await.map(drop)
}

async fn three(name: &str) -> Result<(World, String)> {
    let world = World::new(name).await?;
    world.create(&json!({ "spec": { "replicas": 3 } })).await?;
    world.run_pods(3, NOWHERE).await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    let template = template(&world, ODIN, |_| true).await?;
    Ok((world, template))
}

fn port(port: u16) -> serde_json::Value {
    json!({ "spec": { "listener": { "port": port } } })
}

#[tokio::test]
async fn the_service_switches_when_all_new_pods_are_ready_and_no_old_pod_goes_before() -> Result<()>
{
    let (world, old) = three("switch").await?;

    world.edit(&port(8090)).await?;

    let new = template(&world, ODIN, |now| now != old).await?;
    let fresh = started(&world, ODIN, &new, 3).await?;
    for pod in &fresh[..2] {
        world.run_pod(pod, NOWHERE).await?;
    }
    let message = wait_until_some(SOON, "two new pods to be counted", async || {
        let conditions = world.status(ODIN).await?.conditions;
        let progress = conditions.iter().find(|found| found.type_ == "Progressing")?;
        progress.message.contains("2 of 3 new pods").then(|| progress.message.clone())
    })
    .await?;
    assert!(message.contains("clients stay where they are"), "{message}");
    world.more_reconciles(5.0).await?;
    assert_eq!(pinned(&world, ODIN).await, None, "a client that comes now may stay for long");
    assert_eq!(pods(&world, ODIN, Some(&old)).await?.len(), 3, "nobody is moved yet");
    world.condition(ODIN, "Ready", "True", "RollingOut").await?;

    let before = world.api::<Pod>().list(&ListParams::default()).await?;
    let before = before.metadata.resource_version.context("a version")?;
    world.run_pod(&fresh[2], NOWHERE).await?;
    settled(&world, &new, 3).await?;
    let is_pinned = |service: &Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| selector.get(TEMPLATE) == Some(&new))
    };
    let switched = first::<Service>(
        &world,
        &before,
        |event| matches!(event, WatchEvent::Modified(service) if is_pinned(service)),
    );
    let gone = first::<Pod>(
        &world,
        &before,
        |event| matches!(event, WatchEvent::Deleted(pod) if pod.labels().get(TEMPLATE) == Some(&old)),
    );
    let (switched, gone) = (switched.await?, gone.await?);
    assert!(switched < gone, "an old pod was an endpoint when the first one went");
    Ok(())
}

/// When something happened for the first time since: versions of one API server's objects are in one order.
async fn first<K>(world: &World, since: &str, is_it: impl Fn(&WatchEvent<K>) -> bool) -> Result<u64>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api = world.api::<K>();
    let parameters = WatchParams::default().timeout(60);
    let mut events = pin!(api.watch(&parameters, since).await?);
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Modified(object) | WatchEvent::Deleted(object) = &event
            && is_it(&event)
        {
            return Ok(object.resource_version().context("a version")?.parse()?);
        }
    }
    anyhow::bail!("it did not happen")
}

#[tokio::test]
async fn a_change_back_half_way_keeps_the_pods_that_are_there() -> Result<()> {
    let (world, old) = three("back").await?;
    let names = pods(&world, ODIN, None).await?;
    world.edit(&port(8090)).await?;
    let new = template(&world, ODIN, |now| now != old).await?;
    let fresh = started(&world, ODIN, &new, 3).await?;
    world.run_pod(&fresh[0], NOWHERE).await?;

    world.edit(&port(8080)).await?;

    template(&world, ODIN, |now| now == old).await?;
    settled(&world, &old, 3).await?;
    assert_eq!(pods(&world, ODIN, None).await?, names, "nobody was moved");
    Ok(())
}

#[tokio::test]
async fn an_operator_that_starts_in_the_middle_goes_on() -> Result<()> {
    let (mut world, old) = three("middle").await?;
    world.edit(&port(8090)).await?;
    let new = template(&world, ODIN, |now| now != old).await?;
    for pod in started(&world, ODIN, &new, 3).await? {
        world.stop_operator().await?;
        world.start_operator().await?;
        world.run_pod(&pod, NOWHERE).await?;
    }
    settled(&world, &new, 3).await
}

#[tokio::test]
async fn pods_of_an_operator_that_had_no_templates_are_replaced_in_the_same_way() -> Result<()> {
    let mut world = World::without_operator("unlabelled").await?;
    world.start_operator().await?;
    world.create(&json!({ "spec": { "replicas": 2 } })).await?;
    world.run_pods(2, NOWHERE).await?;
    let new = template(&world, ODIN, |_| true).await?;
    world.stop_operator().await?;
    // As an earlier operator left it.
    let unlabelled =
        json!({ "spec": { "template": { "metadata": { "labels": { TEMPLATE: null } } } } });
    let patch = kube::api::Patch::Merge(&unlabelled);
    world.api::<Deployment>().patch("odin-gateway", &Default::default(), &patch).await?;
    let without = ListParams::default().labels(&format!("!{TEMPLATE}"));
    wait_until(SOON, "pods without a template", async || {
        let Ok(list) = world.api::<Pod>().list(&ListParams::default()).await else { return false };
        for pod in &list.items {
            drop(world.run_pod(&pod.name_any(), NOWHERE).await);
        }
        list.items.len() == 2 && list.items.iter().all(|pod| !pod.labels().contains_key(TEMPLATE))
    })
    .await?;

    world.start_operator().await?;

    for pod in started(&world, ODIN, &new, 2).await? {
        assert_eq!(world.api::<Pod>().list(&without).await?.items.len(), 2);
        world.run_pod(&pod, NOWHERE).await?;
    }
    settled(&world, &new, 2).await
}

#[tokio::test]
async fn another_operator_writes_no_deployment_when_the_pods_would_be_the_same() -> Result<()> {
    let mut world = World::without_operator("same").await?;
    world.start_operator().await?;
    world.create(&json!({ "spec": { "pod": { "image": "example.com/own:1" } } })).await?;
    world.run_pods(1, NOWHERE).await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    world.stop_operator().await?;
    let deployments = world.api::<Deployment>();
    let before = deployments.get("odin-gateway").await?;

    let mut newer = options(&world.namespace);
    newer.gateway_image = "example.com/gateway:newer".to_owned();
    newer.rollouts_at_once = 7.try_into()?;
    world.start_operator_with(newer, world.client.clone()).await?;

    world.more_reconciles(5.0).await?;
    let after = deployments.get("odin-gateway").await?;
    assert_eq!(after.metadata.managed_fields, before.metadata.managed_fields, "not one write");
    assert_eq!(after.metadata.generation, before.metadata.generation);
    Ok(())
}

/// WsGateways with a pod each, and an operator that makes other pods of them, `most` at a time.
async fn fleet(name: &str, names: &[&str], most: u16, patience: u32) -> Result<World> {
    let mut world = World::without_operator(name).await?;
    world.start_operator().await?;
    for name in names {
        let stream = json!({ "name": format!("STREAM_{name}"), "subjects": [format!("{name}.>")] });
        let spec = json!({ "stream": stream, "channels": { "stripPrefix": "", "rules": [] } });
        world.create(&json!({ "metadata": { "name": name }, "spec": spec })).await?;
    }
    for name in names {
        let template = template(&world, name, |_| true).await?;
        let pods = started(&world, name, &template, 1).await?;
        world.run_pod(&pods[0], NOWHERE).await?;
        world.condition(name, "GatewayReady", "True", "PodsReady").await?;
    }
    world.stop_operator().await?;
    let mut newer = options(&world.namespace);
    newer.gateway_image = "example.com/gateway:newer".to_owned();
    newer.rollouts_at_once = most.try_into()?;
    newer.rollout_patience_seconds = patience.try_into()?;
    world.start_operator_with(newer, world.client.clone()).await?;
    Ok(world)
}

/// WsGateways whose Deployment has the newer image.
async fn renewed(world: &World) -> Result<BTreeSet<String>> {
    let list = world.api::<Deployment>().list(&ListParams::default()).await?;
    let is_newer = |deployment: &&Deployment| {
        let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let image = pod.and_then(|pod| pod.containers[0].image.as_deref());
        image == Some("example.com/gateway:newer")
    };
    let name = |deployment: &Deployment| deployment.name_any().replace("-gateway", "");
    Ok(list.items.iter().filter(is_newer).map(name).collect())
}

async fn renewed_are(world: &World, names: &[&str]) -> Result<()> {
    let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    wait_until(SOON, &format!("{names:?} to be renewed"), async || {
        renewed(world).await.is_ok_and(|renewed| renewed == names)
    })
    .await?;
    world.more_reconciles(20.0).await?;
    anyhow::ensure!(renewed(world).await? == names, "more than their turn allows");
    Ok(())
}

/// Lets the new pod of a WsGateway become ready.
async fn ready(world: &World, name: &str) -> Result<()> {
    let template = template(world, name, |_| true).await?;
    let pods = started(world, name, &template, 1).await?;
    world.run_pod(&pods[0], NOWHERE).await
}

#[tokio::test]
async fn a_new_operator_s_rollouts_take_turns_and_a_changed_specification_waits_for_nobody()
-> Result<()> {
    let world = fleet("turns", &["a", "b", "c", "d", "e", "f"], 2, 900).await?;
    renewed_are(&world, &["a", "b"]).await?;
    let message = world.condition("f", "Progressing", "True", "WaitingForTurn").await?;
    assert!(message.contains("--rollouts-at-once"), "{message}");
    world.condition("f", "Ready", "True", "AsSpecified").await?;

    let api = world.api::<wsgateway_crds::WsGateway>();
    let patch = port(8090);
    api.patch("f", &Default::default(), &kube::api::Patch::Merge(&patch)).await?;
    renewed_are(&world, &["a", "b", "f"]).await?;
    let live = json!({ "spec": { "slowConsumer": { "grace": "2s" } } });
    api.patch("e", &Default::default(), &kube::api::Patch::Merge(&live)).await?;
    ready(&world, "b").await?;
    renewed_are(&world, &["a", "b", "c", "f"]).await?;
    for name in ["a", "c", "f"] {
        ready(&world, name).await?;
    }
    renewed_are(&world, &["a", "b", "c", "d", "e", "f"]).await?;
    for name in ["d", "e"] {
        ready(&world, name).await?;
    }
    for name in ["a", "b", "c", "d", "e", "f"] {
        world.condition(name, "Progressing", "False", "Settled").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rollout_that_is_stuck_does_not_hold_up_the_others_for_ever() -> Result<()> {
    let world = fleet("stuck", &["a", "b"], 1, 1).await?;
    // Its new pod never becomes ready: it holds its place for as long as pods may take, and a little.
    renewed_are(&world, &["a"]).await?;
    renewed_are(&world, &["a", "b"]).await?;
    for name in ["a", "b"] {
        wait_until(SOON, "an old pod next to a new one", async || {
            pods(&world, name, None).await.is_ok_and(|pods| pods.len() == 2)
        })
        .await?;
        assert_eq!(pinned(&world, name).await, None, "the old one serves on");
    }
    Ok(())
}
