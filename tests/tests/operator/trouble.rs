//! Servers that are away, and come back.

use anyhow::Result;
use harness::{ControlPlane, Nats};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, CustomResourceExt as _};
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, World};

#[tokio::test]
async fn nats_down_at_the_start_is_a_condition_and_its_return_is_noticed() -> Result<()> {
    let mut world = World::without_operator("nats-down").await?;
    world.nats.stop().await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;

    world.condition(ODIN, "StreamReady", "False", "NatsUnreachable").await?;
    // The pods do not wait for the stream: they wait themselves.
    world.object::<Deployment>("odin-gateway", |_| true).await?;

    world.nats.restart().await?;
    world.stream_ready().await
}

#[tokio::test]
async fn a_wsgateway_without_its_nats_does_not_hold_up_another() -> Result<()> {
    let world = World::new("neighbours").await?;
    let closed = format!("nats://127.0.0.1:{}", harness::free_port()?);
    let lost =
        json!({ "metadata": { "name": "lost" }, "spec": { "nats": { "servers": [closed] } } });
    world.create(&lost).await?;
    world.condition("lost", "StreamReady", "False", "NatsUnreachable").await?;

    world.create(&json!({})).await?;

    world.stream_ready().await?;
    world.condition("lost", "StreamReady", "False", "NatsUnreachable").await.map(drop)
}

#[tokio::test]
async fn nats_without_jetstream_is_a_condition_that_says_what_to_do() -> Result<()> {
    let mut world = World::without_operator("no-jetstream").await?;
    world.nats =
        Nats::start_with("accounts { A { users = [{ user: a, password: a }] } }\nno_auth_user: a")
            .await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "JetStreamNotEnabled").await?;
    assert!(message.contains("enable it for the account"), "{message}");
    Ok(())
}

#[tokio::test]
async fn nats_that_forbids_streams_is_a_condition_that_names_the_permission() -> Result<()> {
    let mut world = World::without_operator("forbidden").await?;
    let config = "accounts { A { jetstream: enabled, users = [{ user: a, password: a, \
                  permissions: { publish: { deny: [\"$JS.API.>\"] } } }] } }\nno_auth_user: a";
    world.nats = Nats::start_with(config).await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "NatsPermissionDenied").await?;
    assert!(message.contains("$JS.API.STREAM.*"), "{message}");
    Ok(())
}

#[tokio::test]
async fn the_operator_goes_on_after_a_restart_of_the_api_server() -> Result<()> {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    plane.apply_crd(&WsGateway::crd()).await?;
    let mut world = World::on(plane, "restart").await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;

    plane.restart_apiserver().await?;
    world.edit(&json!({ "spec": { "stream": { "maxAge": "3m" } } })).await?;

    world
        .stream_becomes("an age of three minutes", |info| info.config.max_age.as_secs() == 180)
        .await?;
    world.stop_operator().await?;
    Ok(())
}

#[tokio::test]
async fn one_unreadable_wsgateway_does_not_blind_the_operator_for_the_others() -> Result<()> {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    // A CRD of another time, which lets anything through.
    let mut loose = serde_json::to_value(WsGateway::crd())?;
    let schema = &mut loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": { "replicas": { "type": "integer" } },
    });
    schema.as_object_mut().expect("an object").remove("x-kubernetes-validations");
    plane.apply_crd(&serde_json::from_value(loose)?).await?;
    let mut world = World::on(plane, "blind").await?;
    let resource = ApiResource::erase::<WsGateway>(&());
    let any: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let bad =
        DynamicObject::new("bad", &resource).data(json!({ "spec": { "nats": "everywhere" } }));
    any.create(&PostParams::default(), &bad).await?;

    world.start_operator().await?;
    world.create(&json!({})).await?;

    world.stream_ready().await?;
    world.stop_operator().await
}
