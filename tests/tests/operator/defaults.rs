//! What an operator fills in where a WsGateway leaves a field out, and what a changed default does to pods that run.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use operator::Options;
use serde_json::json;
use wsgateway_crds::Defaults;

use crate::world::{ODIN, World, options};

/// Where nothing answers.
const NOWHERE: &str = "127.0.0.1";

fn with(world: &World, defaults: &str) -> Result<Options> {
    let defaults = Defaults::parse(defaults).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    Ok(Options { defaults, ..options(&world.namespace) })
}

fn pool(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.node_selector.as_ref()?.get("pool").cloned()
}

#[tokio::test]
async fn a_wsgateway_has_the_defaults_that_it_leaves_out_and_a_changed_one_takes_its_turn()
-> Result<()> {
    let mut world = World::without_operator("defaults").await?;
    let first = "{pod: {nodeSelector: {pool: edge}, labels: {team: default, cost: a}}, \
                 expose: {service: {annotations: {example.com/class: internal}}}}";
    world.start_operator_with(with(&world, first)?, world.client.clone()).await?;
    world.create(&json!({ "spec": { "pod": { "labels": { "team": "own" } } } })).await?;
    let made = world.object::<Deployment>("odin-gateway", |_| true).await?;
    assert_eq!(pool(&made).as_deref(), Some("edge"));
    let labels = made.spec.and_then(|spec| spec.template.metadata).and_then(|all| all.labels);
    let labels = labels.unwrap_or_default();
    assert_eq!((labels["team"].as_str(), labels["cost"].as_str()), ("own", "a"));
    let service = world.object::<Service>(ODIN, |_| true).await?;
    assert_eq!(service.annotations()["example.com/class"], "internal");
    assert!(
        !made.metadata.annotations.unwrap_or_default().contains_key("wsgateway.dev/turn-until")
    );
    world.run_pods(1, NOWHERE).await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;

    world.stop_operator().await?;
    let second = "{pod: {nodeSelector: {pool: core}}}";
    world.start_operator_with(with(&world, second)?, world.client.clone()).await?;
    let is_core = |found: &Deployment| pool(found).as_deref() == Some("core");
    let changed = world.object::<Deployment>("odin-gateway", is_core).await?;
    assert!(
        changed.annotations().contains_key("wsgateway.dev/turn-until"),
        "replaced without a turn: {:?}",
        changed.annotations()
    );
    let is_plain = |found: &Service| !found.annotations().contains_key("example.com/class");
    world.object::<Service>(ODIN, is_plain).await?;
    Ok(())
}

#[tokio::test]
async fn a_default_that_a_wsgateway_cannot_have_is_named_in_its_condition() -> Result<()> {
    let mut world = World::without_operator("unfit").await?;
    let little = "{pod: {resources: {limits: {memory: 160Mi}}}}";
    world.start_operator_with(with(&world, little)?, world.client.clone()).await?;
    world.create(&json!({ "spec": { "capacity": { "connectionsPerPod": 50_000 } } })).await?;
    let message = world.condition(ODIN, "Ready", "False", "SpecInvalid").await?;
    assert!(message.contains("spec.pod.resources.limits.memory"), "{message}");
    assert!(message.contains("defaults of the operator"), "{message}");
    let own = json!({ "spec": { "pod": { "resources": { "limits": { "memory": "2Gi" } } } } });
    world.edit(&own).await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    Ok(())
}
