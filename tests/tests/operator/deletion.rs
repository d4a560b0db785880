//! Deletions that nothing holds up: a namespace, a Secret that went first, an operator that cannot read what it is to delete.

use anyhow::{Context as _, Result};
use async_nats::ConnectOptions;
use async_nats::jetstream;
use harness::{ControlPlane, Nats, wait_until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, CustomResourceExt as _, ResourceExt as _};
use serde_json::json;
use tokio::net::TcpListener;
use wsgateway_crds::{CRD_NAME, WsGateway};

use crate::secrets::put;
use crate::world::{ODIN, SOON, World};

const FINALIZER: &str = "wsgateway.dev/stream";

fn deleting() -> serde_json::Value {
    json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })
}

/// Whether the WsGateway has our finalizer.
async fn guarded(world: &World) -> Result<bool> {
    let gateway = world.api::<WsGateway>().get(ODIN).await?;
    Ok(gateway.finalizers().iter().any(|finalizer| finalizer == FINALIZER))
}

#[tokio::test]
async fn only_a_wsgateway_whose_stream_goes_with_it_has_a_finalizer() -> Result<()> {
    let world = World::new("finalizer").await?;
    // As an earlier version left it.
    world.create(&json!({ "metadata": { "finalizers": [FINALIZER] } })).await?;
    world.stream_ready().await?;
    assert!(!guarded(&world).await?);

    world.edit(&deleting()).await?;
    wait_until(SOON, "a finalizer", async || guarded(&world).await.unwrap_or(false)).await?;
    world.edit(&json!({ "spec": { "stream": { "deletionPolicy": "Retain" } } })).await?;
    wait_until(SOON, "no finalizer", async || guarded(&world).await.is_ok_and(|is| !is)).await
}

#[tokio::test]
async fn a_deletion_that_an_earlier_version_began_ends_without_nats() -> Result<()> {
    let mut world = World::without_operator("begun").await?;
    world.create(&json!({ "metadata": { "finalizers": [FINALIZER] } })).await?;
    world.delete(ODIN).await?;
    world.nats.stop().await?;

    world.start_operator().await?;

    world.gone::<WsGateway>(ODIN).await
}

#[tokio::test]
async fn the_stream_goes_after_the_pods_which_go_after_their_clients() -> Result<()> {
    let world = World::new("order").await?;
    world.create(&deleting()).await?;
    world.stream_ready().await?;
    let pod = world.pods(1).await?.remove(0);
    let pods = world.api::<Pod>();
    // A pod that sends its clients away takes its time.
    let hold = json!({ "metadata": { "finalizers": ["test.wsgateway.dev/drains"] } });
    pods.patch(&pod, &PatchParams::default(), &Patch::Merge(&hold)).await?;

    world.delete(ODIN).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "Draining").await?;
    assert!(message.starts_with("1 pods send their clients away"), "{message}");
    wait_until(SOON, "a pod that ends", async || {
        pods.get(&pod).await.is_ok_and(|pod| pod.metadata.deletion_timestamp.is_some())
    })
    .await?;
    assert!(world.stream().await.is_ok(), "its clients still read it");
    let deployment = world.api::<Deployment>().get("odin-gateway").await?;
    assert_eq!(deployment.spec.and_then(|spec| spec.replicas), Some(0));

    let release = json!({ "metadata": { "finalizers": null } });
    pods.patch(&pod, &PatchParams::default(), &Patch::Merge(&release)).await?;
    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_err(), "the stream is still there");
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_goes_with_its_nats_does_not_wait_for_it() -> Result<()> {
    let mut world = World::new("terminating").await?;
    world.create(&deleting()).await?;
    world.stream_ready().await?;
    world.nats.stop().await?;

    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await?;

    // Far less than the ten minutes that a deletion may wait otherwise.
    world.gone::<WsGateway>(ODIN).await?;
    wait_until(SOON, "the end of the namespace", async || {
        namespaces.get_opt(&world.namespace).await.is_ok_and(|namespace| namespace.is_none())
    })
    .await
}

#[tokio::test]
async fn a_stream_goes_over_the_open_connection_when_its_secret_was_deleted_first() -> Result<()> {
    let mut world = World::without_operator("secretless").await?;
    world.nats =
        Nats::start_with("authorization { users = [{ user: me, password: pass }] }").await?;
    put(&world, "odin-nats", &[("username", "me"), ("password", "pass")]).await?;
    world.start_operator().await?;
    let credentials = json!({ "userPassword": { "name": "odin-nats" } });
    let spec =
        json!({ "nats": { "credentials": credentials }, "stream": { "deletionPolicy": "Delete" } });
    world.create(&json!({ "spec": spec })).await?;
    world.stream_ready().await?;

    world.api::<Secret>().delete("odin-nats", &DeleteParams::default()).await?;
    world.condition(ODIN, "StreamReady", "False", "SecretMissing").await?;
    world.delete(ODIN).await?;

    world.gone::<WsGateway>(ODIN).await?;
    let me = ConnectOptions::with_user_and_password("me".into(), "pass".into());
    let jetstream = jetstream::new(world.nats.client_with(me).await?);
    assert!(jetstream.get_stream("ODIN_TOKENS").await.is_err(), "the stream is still there");
    Ok(())
}

#[tokio::test]
async fn nobody_logs_in_without_the_credentials_that_were_named() -> Result<()> {
    let mut world = World::without_operator("login").await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut options = crate::world::options(&world.namespace);
    options.deletion_patience_seconds = 5;
    world.start_operator_with(options, world.client.clone()).await?;
    // Wrong in a way that only the operator sees, and with a Secret that does not exist.
    let spec = json!({
        "nats": {
            "servers": [format!("nats://{}", listener.local_addr()?)],
            "credentials": { "name": "odin-nats" },
        },
        "stream": {
            "deletionPolicy": "Delete",
            "subjects": ["odin.token.*.price", "odin.token.BTC.*"],
        },
    });
    world.create(&json!({ "spec": spec })).await?;
    world.condition(ODIN, "Ready", "False", "SpecInvalid").await?;

    world.delete(ODIN).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "DeletionWaitsForNats").await?;
    assert!(message.contains("no Secret odin-nats"), "{message}");
    tokio::select! {
        connection = listener.accept() => {
            connection?;
            anyhow::bail!("somebody connected without credentials")
        }
        gone = world.gone::<WsGateway>(ODIN) => gone,
    }
}

#[tokio::test]
async fn what_is_wrong_elsewhere_in_a_wsgateway_does_not_keep_its_stream() -> Result<()> {
    let world = World::new("elsewhere").await?;
    world.create(&deleting()).await?;
    world.stream_ready().await?;
    let wrong =
        json!({ "spec": { "stream": { "subjects": ["odin.token.*.price", "odin.token.BTC.*"] } } });
    world.edit(&wrong).await?;
    world.condition(ODIN, "Ready", "False", "SpecInvalid").await?;

    world.delete(ODIN).await?;

    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_err(), "the stream is still there");
    Ok(())
}

#[tokio::test]
async fn a_wsgateway_that_this_version_cannot_read_has_a_condition_and_can_be_deleted() -> Result<()>
{
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    // A CRD of another time, which lets anything through.
    let mut loose = serde_json::to_value(WsGateway::crd())?;
    let schema = &mut loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": { "replicas": { "type": "integer" } },
    });
    schema.as_object_mut().context("an object")?.remove("x-kubernetes-validations");
    plane.apply_crd(&serde_json::from_value(loose)?).await?;
    let mut world = World::on(plane, "unreadable").await?;
    world.start_operator().await?;
    let resource = ApiResource::erase::<WsGateway>(&());
    let any: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let mut bad =
        DynamicObject::new("bad", &resource).data(json!({ "spec": { "nats": "everywhere" } }));
    bad.metadata.finalizers =
        Some(vec![FINALIZER.to_owned(), "test.wsgateway.dev/other".to_owned()]);
    any.create(&PostParams::default(), &bad).await?;

    let said = async || {
        let bad = any.get_opt("bad").await.ok()??;
        let conditions = bad.data["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        Some(format!("{} {} {}", ready["status"], ready["reason"], ready["message"]))
    };
    let said = harness::wait_until_some(SOON, "a condition", said).await?;
    assert!(
        said.starts_with("\"False\" \"Unreadable\"") && said.contains("apply the CRD"),
        "{said}"
    );

    any.delete("bad", &DeleteParams::default()).await?;
    wait_until(SOON, "our finalizer to go", async || {
        any.get_opt("bad").await.is_ok_and(|bad| {
            bad.is_some_and(|bad| bad.finalizers() == ["test.wsgateway.dev/other"])
        })
    })
    .await?;
    let release = json!({ "metadata": { "finalizers": null } });
    any.patch("bad", &PatchParams::default(), &Patch::Merge(&release)).await?;
    wait_until(SOON, "its end", async || any.get_opt("bad").await.is_ok_and(|bad| bad.is_none()))
        .await?;
    world.stop_operator().await
}

/// Waits until the garbage collector watches WsGateways: it looks for new kinds once in 30 s, and objects
/// of owners whose kind came and went between two looks stay for ever. Only a collector that sees
/// the owner ends a deletion in the foreground.
async fn known_to_the_garbage_collector(world: &World) -> Result<()> {
    const PROBE: &str = "probe";
    world.create(&json!({ "metadata": { "name": PROBE } })).await?;
    world.api::<WsGateway>().delete(PROBE, &DeleteParams::foreground()).await?;
    world.gone::<WsGateway>(PROBE).await
}

#[tokio::test]
async fn after_the_operator_is_gone_the_crd_can_be_deleted_with_wsgateways_whose_streams_stay()
-> Result<()> {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    plane.apply_crd(&WsGateway::crd()).await?;
    let mut world = World::on(plane, "uninstalled").await?;
    known_to_the_garbage_collector(&world).await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.stop_operator().await?;

    let crds = Api::<CustomResourceDefinition>::all(world.client.clone());
    crds.delete(CRD_NAME, &DeleteParams::default()).await?;

    wait_until(SOON, "the end of the CRD", async || {
        crds.get_opt(CRD_NAME).await.is_ok_and(|crd| crd.is_none())
    })
    .await?;
    world.gone::<Deployment>("odin-gateway").await?;
    assert!(world.stream().await.is_ok(), "the stream stays");
    Ok(())
}
