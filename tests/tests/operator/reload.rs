//! A change moves no client that it need not move: what a running gateway takes up changes no pod template, and reaches
//! the pods within seconds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use gateway::app::{self, Running};
use gateway::reload::Given;
use harness::{wait_until, wait_until_some};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use wsgateway_config::GatewayConfig;

use crate::files::{Files, mounted};
use crate::world::{ODIN, SOON, World, pod_address};

const LIVE_HASH: &str = "wsgateway.dev/live-hash";

/// A pod's memory follows some limits, so that a change of these needs new pods unless somebody has said what pods get.
fn with_resources() -> serde_json::Value {
    json!({ "spec": { "pod": { "resources": {
        "requests": { "memory": "1Gi" }, "limits": { "memory": "2Gi" }
    } } } })
}

#[tokio::test]
async fn a_changed_limit_rate_or_rule_changes_no_pod_template() -> Result<()> {
    let world = World::new("live-change").await?;
    world.create(&with_resources()).await?;
    let mut files = world.files(|_| true).await?;
    let before = world.object::<Deployment>("odin-gateway", |_| true).await?;
    for (change, field) in [
        (json!({ "rateLimits": { "commandsPerConnection": { "perSecond": 7 } } }), "perSecond: 7"),
        (json!({ "capacity": { "connectionsPerPod": 77 } }), "connections: 77"),
        (json!({ "slowConsumer": { "grace": "3s" } }), "grace: 3000"),
        (json!({ "listener": { "statusPages": false } }), "statusPages: false"),
        (json!({ "history": { "bytes": "32Mi" } }), "bytes: 33554432"),
        (
            json!({ "channels": { "rules": [{ "match": "*.price", "delivery": "Latest" }] } }),
            "'*.price'",
        ),
    ] {
        let old = files.live.clone();
        world.edit(&json!({ "spec": change })).await?;
        files = world.files(|files| files.live != old).await?;
        assert!(files.live.contains(field), "{field} in {}", files.live);
    }
    let after = world.api::<Deployment>().get("odin-gateway").await?;
    let spec = |deployment: &Deployment| deployment.spec.clone();
    assert_eq!(spec(&after), spec(&before));
    assert_eq!(after.metadata.generation, before.metadata.generation, "not even for a moment");
    let sets = world.api::<ReplicaSet>().list(&ListParams::default()).await?;
    assert_eq!(sets.items.len(), 1, "one template, one ReplicaSet");
    Ok(())
}

#[tokio::test]
async fn a_changed_source_or_port_changes_the_pod_template_and_leaves_old_pods_their_file()
-> Result<()> {
    let world = World::new("restart-change").await?;
    world.create(&json!({})).await?;
    let old = world.files(|_| true).await?;

    world.edit(&json!({ "spec": { "listener": { "port": 8090 } } })).await?;

    let new = world.files(|files| files.maps[0] != old.maps[0]).await?;
    assert!(new.restart.contains("port: 8090"), "{}", new.restart);
    assert_eq!((&new.maps[1], &new.live), (&old.maps[1], &old.live));
    let kept = world.api::<ConfigMap>().get(&old.maps[0]).await?;
    assert_eq!(
        (kept.immutable, kept.data.context("data")?["gateway.yaml"].clone()),
        (Some(true), old.restart)
    );
    // Nobody can change under a pod what it cannot take up.
    let other = json!({ "data": { "gateway.yaml": "name: other" } });
    let maps = world.api::<ConfigMap>();
    let refused = maps.patch(&new.maps[0], &PatchParams::default(), &Patch::Merge(&other)).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("immutable")));
    Ok(())
}

/// Waits until the operator has looked so many times more.
async fn looks(world: &World, count: f64) -> Result<()> {
    let now = async || world.counter("wsgateway_operator_reconciles_total").await;
    let end = now().await? + count;
    wait_until(SOON, "more looks", async || now().await.is_ok_and(|now| now >= end)).await
}

/// Names of the ConfigMaps with a version of the restart part.
async fn versions(world: &World) -> Result<BTreeSet<String>> {
    let labelled = ListParams::default().labels("wsgateway.dev/config");
    let maps = world.api::<ConfigMap>().list(&labelled).await?;
    Ok(maps.items.iter().map(ConfigMap::name_any).collect())
}

#[tokio::test]
async fn an_old_version_is_deleted_once_no_replica_set_and_no_pod_needs_it() -> Result<()> {
    let world = World::new("old-versions").await?;
    world.create(&json!({})).await?;
    let first = world.files(|_| true).await?.maps[0].clone();
    world.pods(1).await?;
    // Of an operator before, for pods that name no version.
    let unversioned = json!({ "data": { "gateway.yaml": "name: a" } });
    let owner = world.api::<ConfigMap>().get(&first).await?.owner_references().to_vec();
    let mut map: ConfigMap = serde_json::from_value(unversioned)?;
    map.metadata.name = Some("odin-config".to_owned());
    map.metadata.owner_references = Some(owner);
    let labels = [("managed-by", "wsgateway-operator"), ("instance", "odin")];
    let labels = labels.map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()));
    map.metadata.labels = Some(labels.into());
    world.api::<ConfigMap>().create(&PostParams::default(), &map).await?;
    world.gone::<ConfigMap>("odin-config").await?;

    // Pods that never ran are given up at once.
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    world.edit(&json!({ "spec": { "listener": { "port": 8090 } } })).await?;
    let second = world.files(|files| files.maps[0] != first).await?.maps[0].clone();
    let sets = world.api::<ReplicaSet>();
    wait_until(SOON, "a ReplicaSet of each version", async || {
        sets.list(&ListParams::default()).await.is_ok_and(|sets| sets.items.len() == 2)
    })
    .await?;
    // Several looks later it is still there: the ReplicaSet could make pods of it.
    looks(&world, 6.0).await?;
    assert_eq!(versions(&world).await?, BTreeSet::from([first.clone(), second.clone()]));

    let of_first = |set: &&ReplicaSet| {
        set.labels().get("wsgateway.dev/config").is_some_and(|version| first.ends_with(version))
    };
    let all = sets.list(&ListParams::default()).await?;
    let old = all.items.iter().find(of_first).context("the old ReplicaSet")?;
    sets.delete(&old.name_any(), &DeleteParams::foreground()).await?;
    // The Deployment's controller makes no other one of that template.
    world.gone::<ConfigMap>(&first).await?;
    assert_eq!(versions(&world).await?, BTreeSet::from([second]));
    Ok(())
}

#[tokio::test]
async fn pods_that_run_an_older_live_part_are_made_to_look_and_then_left_alone() -> Result<()> {
    let world = World::new("poke").await?;
    let change = json!({ "spec": { "replicas": 2 } });
    world.create(&change).await?;
    world.stream_ready().await?;
    let files = world.files(|_| true).await?;
    let pods = world.pods(2).await?;
    let mut gateways = Vec::new();
    for (number, pod) in (1..).zip(&pods) {
        let address = pod_address(number);
        let mut config = files.config()?;
        (config.admin.address, config.listener.address, config.listener.port) =
            (address, address, 0);
        let given = given(&config, &files.live)?;
        let gateway = app::start_given(given, app::Options { pod: pod.clone() })?;
        wait_until(SOON, "a ready gateway", async || gateway.is_ready()).await?;
        world.run_pod(pod, &address.to_string()).await?;
        gateways.push((gateway, config));
    }
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let pod_api = world.api::<Pod>();
    for pod in &pods {
        let untouched = pod_api.get(pod).await?;
        assert!(!untouched.annotations().contains_key(LIVE_HASH), "they run what they should");
    }

    world.edit(&json!({ "spec": { "slowConsumer": { "grace": "2s" } } })).await?;

    let new = world.files(|new| new.live != files.live).await?;
    let asked =
        async |pod: &str| pod_api.get(pod).await.ok()?.annotations().get(LIVE_HASH).cloned();
    for pod in &pods {
        wait_until(SOON, "a changed pod", async || {
            asked(pod).await.is_some_and(|hash| hash.starts_with(&new.live_hash()))
        })
        .await?;
    }
    // The first one's kubelet has brought the file; the other one is slow, and asked again.
    let (gateway, config) = &gateways[0];
    let slow_consumer = new.config()?.slow_consumer;
    let next = |config: &GatewayConfig| GatewayConfig {
        slow_consumer: slow_consumer.clone(),
        ..config.clone()
    };
    gateway.reload(given(&next(config), &new.live)?)?;
    let slow = asked(&pods[1]).await.context("asked once")?;
    let again = wait_until_some(SOON, "another change", async || {
        asked(&pods[1]).await.filter(|now| *now != slow)
    })
    .await?;
    assert!(again.starts_with(&new.live_hash()), "{again}");
    let (gateway, config) = &gateways[1];
    gateway.reload(given(&next(config), &new.live)?)?;
    let version = async |pod: &str| pod_api.get(pod).await.map(|pod| pod.resource_version());
    looks(&world, 5.0).await?;
    let before = [version(&pods[0]).await?, version(&pods[1]).await?];
    looks(&world, 5.0).await?;
    assert_eq!([version(&pods[0]).await?, version(&pods[1]).await?], before, "left alone");
    for (gateway, _) in gateways {
        tokio::task::spawn_blocking(move || gateway.abort()).await?;
    }
    Ok(())
}

/// What a gateway with this configuration would have read, had its live part been this text.
pub(crate) fn given(config: &GatewayConfig, live: &str) -> Result<Given> {
    let restart = config.parts()?.restart;
    let read = GatewayConfig::load(&restart, Some(live))?.config;
    anyhow::ensure!(read == *config, "the live part is another one");
    Ok(Given::of_texts(&restart, Some(live))?)
}

/// A gateway with the files of a pod, in its place: at this address, with any port for clients, and ready.
pub(crate) async fn start_pod(
    world: &World,
    files: &Files,
    pod: &str,
    address: IpAddr,
) -> Result<Running> {
    let mut config = files.config()?;
    (config.admin.address, config.listener.address, config.listener.port) = (address, address, 0);
    let given = given(&config, &files.live)?;
    let gateway = app::start_given(given, app::Options { pod: pod.to_owned() })?;
    wait_until(SOON, "a ready gateway", async || gateway.is_ready()).await?;
    world.run_pod(pod, &address.to_string()).await?;
    Ok(gateway)
}

#[tokio::test]
async fn a_pod_template_names_only_what_it_mounts() -> Result<()> {
    let world = World::new("template").await?;
    world.create(&json!({})).await?;
    let deployment = world.object::<Deployment>("odin-gateway", |_| true).await?;
    let [restart, live] = mounted(&deployment).context("two ConfigMaps")?;
    let template = deployment.spec.context("a spec")?.template;
    let version = template.metadata.unwrap_or_default().labels.unwrap_or_default();
    assert_eq!(restart, format!("odin-config-{}", version["wsgateway.dev/config"]));
    assert_eq!(live, "odin-live");
    Ok(())
}
