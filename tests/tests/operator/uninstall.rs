//! Operators that are removed for good, by the rights of the chart's hook: nothing waits for them afterwards.

use anyhow::{Context as _, Result};
use clap::Parser as _;
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use operator::{Cli, Command, uninstall};
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::rights::granted_by;
use crate::world::{ODIN, SOON, World};

const FINALIZER: &str = "wsgateway.dev/stream";

/// Runs `operator uninstall` with the rights that the chart gives it.
async fn run(world: &World, arguments: &[&str], values: &[&str]) -> Result<()> {
    let here = format!("watchNamespace={}", world.namespace);
    let values: Vec<&str> = [here.as_str()].into_iter().chain(values.iter().copied()).collect();
    let client = granted_by("templates/uninstall.yaml", world, &values, "").await?;
    run_as(client, world, arguments).await
}

async fn run_as(client: Client, world: &World, arguments: &[&str]) -> Result<()> {
    let deployment = format!("{}-operator", full_name(world));
    let begin = ["operator", "--namespace", &world.namespace, "--own-namespace", &world.namespace];
    let end = ["uninstall", "--deployment", &deployment];
    let cli = Cli::parse_from(begin.iter().chain(&end).chain(arguments));
    let Some(Command::Uninstall(how)) = &cli.command else { anyhow::bail!("another command") };
    Ok(uninstall(&cli.options, how, client).await?)
}

/// As the chart names things for the release of [`granted_by`].
fn full_name(world: &World) -> String {
    let name: String = format!("rights-{}-wsgateway", world.namespace).chars().take(50).collect();
    name.trim_end_matches('-').to_owned()
}

/// What the chart makes of the operators, as far as it matters here.
async fn operators(world: &World) -> Result<Api<Deployment>> {
    let labels = json!({ "app.kubernetes.io/component": "operator" });
    let containers = json!([{ "name": "operator", "image": "example.com/operator:test" }]);
    let deployment = json!({
        "metadata": { "name": format!("{}-operator", full_name(world)) },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } },
        },
    });
    let api = world.api::<Deployment>();
    api.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    wait_until(SOON, "pods of the operators", async || {
        pods(world).await.is_ok_and(|pods| pods == 2)
    })
    .await?;
    Ok(api)
}

async fn pods(world: &World) -> Result<usize> {
    let selector = ListParams::default().labels("app.kubernetes.io/component=operator");
    Ok(world.api::<Pod>().list(&selector).await?.items.len())
}

async fn is_guarded(world: &World, name: &str) -> Result<bool> {
    let gateway = world.api::<WsGateway>().get(name).await?;
    Ok(gateway.finalizers().iter().any(|finalizer| finalizer == FINALIZER))
}

#[tokio::test]
async fn the_operators_stop_and_then_nothing_waits_for_them() -> Result<()> {
    let mut world = World::new("leaving").await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.stream_ready().await?;
    assert!(is_guarded(&world, ODIN).await?);
    // Another operator's.
    let others = json!({
        "metadata": { "name": "others", "finalizers": [FINALIZER] },
        "spec": { "class": "internal", "stream": { "name": "OTHERS", "deletionPolicy": "Delete" } },
    });
    world.create(&others).await?;
    world.stop_operator().await?;
    let deployments = operators(&world).await?;

    run(&world, &[], &[]).await?;

    assert!(!is_guarded(&world, ODIN).await?, "it would wait for ever");
    assert!(is_guarded(&world, "others").await?, "its operator is still there");
    let operators = deployments.get(&format!("{}-operator", full_name(&world))).await?;
    let replicas = operators.spec.and_then(|spec| spec.replicas);
    assert_eq!((replicas, pods(&world).await?), (Some(0), 0), "they would set it again");
    world.api::<Deployment>().get("odin-gateway").await.context("the gateways serve on")?;
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_ok(), "nobody was there to delete it");
    Ok(())
}

#[tokio::test]
async fn where_the_definition_goes_too_streams_go_first() -> Result<()> {
    let world = World::new("wiping").await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.stream_ready().await?;

    run(&world, &["--delete"], &["crds.keep=false"]).await?;

    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_err(), "the stream is still there");
    Ok(())
}

#[tokio::test]
async fn a_wsgateway_that_nobody_ends_in_time_loses_its_finalizer_and_its_stream_stays()
-> Result<()> {
    let mut world = World::new("late").await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.stream_ready().await?;
    world.stop_operator().await?;

    run(&world, &["--delete", "--patience-seconds", "1"], &["crds.keep=false"]).await?;

    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_ok(), "nobody was there to delete it");
    Ok(())
}

#[tokio::test]
async fn without_rights_it_says_what_was_refused() -> Result<()> {
    let world = World::without_operator("rightless").await?;
    let nobody = world.plane.client_as("nobody", &[]).await?;
    let error = run_as(nobody, &world, &[]).await.expect_err("it may not");
    let text = error.to_string();
    assert!(text.contains("Forbidden") && text.contains("wsgateways"), "{text}");
    Ok(())
}
