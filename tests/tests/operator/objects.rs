//! The objects of a gateway: made, kept, changed with the specification, and never taken from somebody else.

use anyhow::Result;
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;
use wsgateway_config::{Delivery, Millis, Rule};

use crate::world::{ODIN, SOON, World, service_monitors};

#[tokio::test]
async fn the_sample_becomes_stream_objects_and_true_conditions() -> Result<()> {
    let world = World::new("sample").await?;
    world.create(&json!({})).await?;

    let config = world.config().await?;
    assert_eq!(config.name, format!("{}/odin", world.namespace));
    world.object::<ServiceAccount>("odin-gateway", |_| true).await?;
    world.object::<Service>("odin", |_| true).await?;
    world.object::<Service>("odin-admin", |_| true).await?;
    world.object::<PodDisruptionBudget>("odin-gateway", |_| true).await?;
    world.stream_ready().await?;
    world.condition(ODIN, "GatewayReady", "False", "PodsNotReady").await?;
    world.condition(ODIN, "Ready", "False", "PodsNotReady").await?;

    world.run_pods(1, "127.0.0.1").await?;

    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let status = world.status(ODIN).await.expect("it is there");
    assert_eq!(
        (status.replicas, status.ready_replicas, status.observed_generation),
        (1, 1, Some(1))
    );
    let stream = status.stream.expect("NATS was asked");
    let noted = &world.stream().await?.config.metadata[wsgateway_nats::EPOCH_KEY];
    assert_eq!(stream.epoch, *noted);
    Ok(())
}

#[tokio::test]
async fn a_changed_specification_reaches_stream_config_and_pods() -> Result<()> {
    let world = World::new("edit").await?;
    world.create(&json!({})).await?;
    let before = world.object::<Deployment>("odin-gateway", |_| true).await?;
    world.stream_ready().await?;

    world
        .edit(&json!({ "spec": { "replicas": 3, "stream": { "maxAge": "1m" }, "capacity": { "connectionsPerPod": 77 } } }))
        .await?;

    world.stream_becomes("an age of a minute", |info| info.config.max_age.as_secs() == 60).await?;
    world.files(|files| files.live.contains("connections: 77")).await?;
    let template =
        |deployment: &Deployment| deployment.spec.as_ref().map(|spec| spec.template.clone());
    world
        .object::<Deployment>("odin-gateway", |deployment| {
            deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(3)
                && template(deployment) != template(&before)
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn rules_and_limits_reach_the_pods_file_and_their_memory() -> Result<()> {
    let world = World::new("rules").await?;
    world
        .create(&json!({ "spec": {
            "channels": { "rules": [{ "match": "*.price", "delivery": "Latest", "batchWindow": "100ms" }] },
            "slowConsumer": { "grace": "2s" }, "listener": { "compression": false },
            "capacity": { "connectionsPerPod": 1000, "outboxPerConnection": "1Mi" }
        }}))
        .await?;

    let config = world.config().await?;
    let rule = Rule {
        r#match: "*.price".to_owned(),
        delivery: Delivery::Latest,
        batch_window: Millis(100),
        ..Rule::default()
    };
    assert_eq!(config.channels.rules, [rule]);
    assert_eq!((config.slow_consumer.grace, config.listener.compression), (Millis(2_000), false));
    // A tenth of a thousand clients may have a MiB waiting.
    assert_eq!(config.capacity.outbox_bytes_total, 100 << 20);
    let deployment = world.object::<Deployment>("odin-gateway", |_| true).await?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec).unwrap_or_default();
    let requests = pod.containers[0].resources.clone().unwrap_or_default().requests;
    // 64 MiB, 1,000 x (8 KiB + 4 KiB + 128 x 32 B), 250 x 4 KiB, 100 MiB, 1.5 x 64 MiB.
    assert_eq!(requests.unwrap_or_default()["memory"].0, "276Mi");
    Ok(())
}

#[tokio::test]
async fn a_deleted_or_altered_object_is_repaired() -> Result<()> {
    let world = World::new("drift").await?;
    world.create(&json!({})).await?;
    let first = world.object::<Service>("odin", |_| true).await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    world.stream_ready().await?;

    world.api::<Service>().delete("odin", &DeleteParams::default()).await?;
    world.object::<Service>("odin", |service| service.uid() != first.uid()).await?;

    let tampered = json!({ "spec": { "template": { "spec": { "enableServiceLinks": true, "containers": [
        { "name": "gateway", "image": "example.com/evil:1" }
    ] } } } });
    world
        .api::<Deployment>()
        .patch("odin-gateway", &PatchParams::default(), &Patch::Strategic(&tampered))
        .await?;
    let image = |deployment: &Deployment| {
        deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.as_ref()?.containers[0].image.clone())
    };
    world
        .object::<Deployment>("odin-gateway", |d| {
            image(d).as_deref() == Some("example.com/gateway:test")
        })
        .await?;

    let unlabel = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } });
    world
        .api::<ConfigMap>()
        .patch("odin-live", &PatchParams::default(), &Patch::Merge(&unlabel))
        .await?;
    world
        .object::<ConfigMap>("odin-live", |map| {
            map.labels().contains_key("app.kubernetes.io/managed-by")
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_over() -> Result<()> {
    let world = World::new("taken").await?;
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "odin" }, "spec": { "ports": [{ "port": 1 }], "selector": { "app": "theirs" } }
    }))?;
    let theirs = world.api::<Service>().create(&PostParams::default(), &service).await?;

    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "GatewayReady", "False", "NameTaken").await?;
    assert!(message.contains("Service odin exists and does not belong"), "{message}");
    let now = world.api::<Service>().get("odin").await?;
    assert_eq!(now.resource_version(), theirs.resource_version());
    Ok(())
}

#[tokio::test]
async fn a_service_monitor_is_made_once_the_cluster_knows_the_kind_and_goes_when_unwanted()
-> Result<()> {
    let world = World::new("monitor").await?;
    world.create(&json!({ "spec": { "monitoring": { "serviceMonitor": "Always", "labels": { "release": "p" } } } })).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "MonitoringReady", "False", "ServiceMonitorUnknown").await?;
    world.condition(ODIN, "Ready", "True", "ServiceMonitorUnknown").await?;

    world.plane.apply_crd(&service_monitors()?).await?;

    world.condition(ODIN, "MonitoringReady", "True", "ServiceMonitorApplied").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "monitoring.coreos.com",
        "v1",
        "ServiceMonitor",
    ));
    let monitors: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let monitor = monitors.get("odin-gateway").await?;
    assert_eq!(monitor.labels()["release"], "p");
    assert_eq!(monitor.data["spec"]["endpoints"][0]["port"], "admin");

    world.edit(&json!({ "spec": { "monitoring": { "serviceMonitor": "Never" } } })).await?;
    wait_until(SOON, "the end of the monitor", async || {
        monitors.get_opt("odin-gateway").await.is_ok_and(|monitor| monitor.is_none())
    })
    .await
}
