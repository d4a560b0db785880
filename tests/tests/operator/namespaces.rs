//! An operator for some namespaces: all of them, and no other.

use anyhow::Result;
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::rights::granted;
use crate::world::{SOON, World, options};

/// The sample with a name and a stream of its own, in another namespace.
async fn create(world: &World, namespace: &str, name: &str) -> Result<()> {
    let change = json!({
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "stream": { "name": name.to_uppercase(), "subjects": [format!("{name}.>")] },
            "channels": { "stripPrefix": "" },
        },
    });
    let gateway = serde_json::from_value(world.manifest(&change))?;
    let api = Api::<WsGateway>::namespaced(world.client.clone(), namespace);
    api.create(&PostParams::default(), &gateway).await?;
    Ok(())
}

async fn deployed(world: &World, namespace: &str, name: &str) -> Result<()> {
    let api = Api::<Deployment>::namespaced(world.client.clone(), namespace);
    let name = format!("{name}-gateway");
    wait_until(SOON, &format!("{namespace}/{name}"), async || {
        api.get_opt(&name).await.is_ok_and(|found| found.is_some())
    })
    .await
}

#[tokio::test]
async fn an_operator_keeps_the_namespaces_of_its_list_with_a_role_in_each_and_no_other()
-> Result<()> {
    let mut world = World::without_operator("several").await?;
    let (second, third) =
        (world.plane.namespace("second").await?, world.plane.namespace("third").await?);
    let list = format!("watchNamespaces={{{},{second}}}", world.namespace);
    let client = granted(&world, &[&list]).await?;
    let mut options = options(&world.namespace);
    options.namespaces.push(second.clone());
    create(&world, &third, "ignored").await?;
    create(&world, &second, "early").await?;
    world.start_operator_with(options, client).await?;
    let home = world.namespace.clone();
    create(&world, &home, "first").await?;
    create(&world, &second, "late").await?;

    for (namespace, name) in [(&home, "first"), (&second, "early"), (&second, "late")] {
        deployed(&world, namespace, name).await?;
    }
    // What somebody removes comes back in each.
    let deployments = Api::<Deployment>::namespaced(world.client.clone(), &second);
    deployments.delete("early-gateway", &DeleteParams::default()).await?;
    deployed(&world, &second, "early").await?;
    let ignored = Api::<WsGateway>::namespaced(world.client.clone(), &third).get("ignored").await?;
    assert!(ignored.status.is_none());
    world.stop_operator().await
}

#[tokio::test]
async fn a_namespace_without_the_rights_does_not_keep_the_others_from_being_served() -> Result<()> {
    let mut world = World::without_operator("partly").await?;
    let forbidden = world.plane.namespace("forbidden").await?;
    let here = format!("watchNamespaces={{{}}}", world.namespace);
    let client = granted(&world, &[&here]).await?;
    let mut options = options(&world.namespace);
    options.cluster = Some("here".to_owned());
    options.namespaces.push(forbidden.clone());
    world.start_operator_with(options, client).await?;

    world.create(&json!({})).await?;
    world.stream_ready().await?;
    let ready = world.admin("/readyz").await?;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    world.stop_operator().await
}
