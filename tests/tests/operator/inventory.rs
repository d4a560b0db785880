//! Objects are found by their labels: taken back when their owner was lost, and named so that none has another's name.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, World};

/// Whether a WsGateway of this unique id controls an object.
fn is_owned_by(object: &impl kube::Resource, uid: Option<&str>) -> bool {
    let controls = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        owner.controller == Some(true) && Some(owner.uid.as_str()) == uid
    };
    object.owner_references().iter().any(controls)
}

async fn set_owners(world: &World, owners: &Value) -> Result<()> {
    let patch = json!({ "metadata": { "ownerReferences": owners } });
    let parameters = PatchParams::default();
    world.api::<Service>().patch("odin", &parameters, &Patch::Merge(&patch)).await?;
    world.api::<ConfigMap>().patch("odin-live", &parameters, &Patch::Merge(&patch)).await?;
    Ok(())
}

#[tokio::test]
async fn objects_that_lost_their_owner_are_taken_back() -> Result<()> {
    let world = World::new("orphans").await?;
    let uid = world.create(&json!({})).await?.uid();
    world.stream_ready().await?;
    let service = world.object::<Service>("odin", |_| true).await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;

    set_owners(&world, &json!([])).await?;

    let uid = uid.as_deref();
    let after = world.object::<Service>("odin", |service| is_owned_by(service, uid)).await?;
    assert_eq!(after.uid(), service.uid(), "it is the same one");
    world.object::<ConfigMap>("odin-live", |map| is_owned_by(map, uid)).await?;
    Ok(())
}

#[tokio::test]
async fn a_wsgateway_that_is_created_again_takes_over_what_an_orphaning_deletion_left() -> Result<()>
{
    let world = World::new("again").await?;
    let spec = json!({ "spec": { "stream": { "adoptionPolicy": "Adopt" } } });
    world.create(&spec).await?;
    world.stream_ready().await?;
    let before = world.object::<Deployment>("odin-gateway", |_| true).await?;
    world.run_pods(1, "127.0.0.1").await?;

    world.api::<WsGateway>().delete(ODIN, &DeleteParams::orphan()).await?;
    world.gone::<WsGateway>(ODIN).await?;
    let uid = world.create(&spec).await?.uid();

    let uid = uid.as_deref();
    let after = world.object::<Deployment>("odin-gateway", |d| is_owned_by(d, uid)).await?;
    assert_eq!(after.uid(), before.uid(), "its pods went on");
    world.object::<Service>("odin", |service| is_owned_by(service, uid)).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await.map(drop)
}

#[tokio::test]
async fn objects_of_an_earlier_wsgateway_of_the_name_are_taken_over() -> Result<()> {
    let world = World::new("earlier").await?;
    let uid = world.create(&json!({})).await?.uid();
    world.stream_ready().await?;
    world.object::<Service>("odin", |_| true).await?;
    world.object::<ConfigMap>("odin-live", |_| true).await?;

    // As a backup brings them back.
    let owner = json!({ "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "name": "odin",
        "uid": "11111111-2222-3333-4444-555555555555", "controller": true });
    set_owners(&world, &json!([owner])).await?;

    let uid = uid.as_deref();
    world.object::<Service>("odin", |service| is_owned_by(service, uid)).await?;
    world.object::<ConfigMap>("odin-live", |map| is_owned_by(map, uid)).await?;
    Ok(())
}

#[tokio::test]
async fn wsgateways_whose_names_lie_close_have_objects_of_their_own() -> Result<()> {
    let world = World::new("names").await?;
    world.create(&json!({})).await?;
    world.object::<Service>("odin-admin", |_| true).await?;
    world.stream_ready().await?;

    let other = json!({ "metadata": { "name": "odin-admin" }, "spec": {
        "stream": { "name": "OTHER", "subjects": ["other.>"] },
        "channels": { "stripPrefix": "other." },
    } });
    let other = world.create(&other).await?.uid();

    let is_for_clients = |service: &Service| {
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
        is_owned_by(service, other.as_deref())
            && ports.iter().any(|port| port.name.as_deref() == Some("ws"))
    };
    world.object::<Service>("odin-admin", is_for_clients).await?;
    world.object::<Service>("odin-admin-admin", |_| true).await?;
    let services = world.api::<Service>();
    let ours = kube::api::ListParams::default().labels("app.kubernetes.io/instance=odin");
    let names: Vec<String> =
        services.list(&ours).await?.items.iter().map(|service| service.name_any()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[1].starts_with("odin-admin-") && names[0] == "odin", "{names:?}");
    for name in ["odin", "odin-admin"] {
        world.condition(name, "GatewayReady", "False", "PodsNotReady").await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_pruned_whoever_made_it_so() -> Result<()> {
    let world = World::new("prune").await?;
    let uid = world.create(&json!({})).await?.uid();
    world.stream_ready().await?;
    // An object of a version of ours that called it otherwise.
    let old: Service = serde_json::from_value(json!({
        "metadata": { "name": "odin-old",
            "labels": { "app.kubernetes.io/managed-by": "wsgateway-operator", "app.kubernetes.io/instance": "odin" },
            "ownerReferences": [{ "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "name": "odin",
                "uid": uid, "controller": true }] },
        "spec": { "ports": [{ "port": 1 }] },
    }))?;
    let mut theirs = old.clone();
    theirs.metadata.name = Some("theirs".to_owned());
    theirs.metadata.owner_references = None;
    theirs.metadata.labels = None;
    for service in [&theirs, &old] {
        world.api::<Service>().create(&Default::default(), service).await?;
    }

    world.gone::<Service>("odin-old").await?;
    assert!(world.api::<Service>().get_opt("theirs").await?.is_some());
    Ok(())
}
