//! Operators of several classes over the same namespace: each keeps its own WsGateways, and one can be handed over.

use anyhow::{Result, ensure};
use harness::{AuditEvent, Identity, wait_until};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use operator::app::{self, Ended};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, SOON, World, options};

/// An operator of a class, in this process, with a user of its own.
struct Operator {
    user: String,
    stop: CancellationToken,
    task: JoinHandle<Ended>,
}

impl Operator {
    async fn start(world: &World, class: &str) -> Result<Self> {
        let user = format!("class-{class}-{}", world.namespace);
        let client = world.client_as(&Identity::new(&user, &["system:masters"])).await?;
        let mut options = options(&world.namespace);
        options.class = class.to_owned();
        let stop = CancellationToken::new();
        let task = tokio::spawn(app::start(options, client)?.run(stop.clone()));
        Ok(Self { user, stop, task })
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        ensure!(self.task.await? == Ended::Stopped);
        Ok(())
    }
}

/// All that an operator has written so far.
async fn writes(world: &World, operator: &Operator) -> Result<Vec<AuditEvent>> {
    let mut events = world.plane.audit_until_now(&[&operator.user]).await?;
    events.retain(AuditEvent::is_write);
    Ok(events)
}

/// Names of the WsGateways, and of what was made for them, that an operator has written.
async fn written(world: &World, operator: &Operator) -> Result<Vec<String>> {
    let mut events = writes(world, operator).await?;
    events.retain(|event| event.resource != "events");
    // Without the hash of a ConfigMap.
    let name = |event: AuditEvent| match event.name.split_once("-config-") {
        Some((gateway, _hash)) => format!("{gateway}-config"),
        None => event.name,
    };
    let mut names: Vec<String> = events.into_iter().map(name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn of(gateway: &str) -> Vec<String> {
    let parts = ["", "-admin", "-config", "-gateway", "-live"];
    parts.iter().map(|part| format!("{gateway}{part}")).collect()
}

#[tokio::test]
async fn each_operator_keeps_the_wsgateways_of_its_class_and_none_of_another() -> Result<()> {
    let world = World::without_operator("class").await?;
    let (plain, internal) =
        (Operator::start(&world, "").await?, Operator::start(&world, "internal").await?);
    let other = json!({ "metadata": { "name": "other" }, "spec": {
        "class": "internal", "stream": { "name": "OTHER", "subjects": ["other.>"] },
        "channels": { "stripPrefix": "" },
    } });
    let nobody_s = json!({ "metadata": { "name": "third" }, "spec": {
        "class": "nobody-s", "stream": { "name": "THIRD", "subjects": ["third.>"] },
        "channels": { "stripPrefix": "" },
    } });
    world.create(&nobody_s).await?;
    world.create(&other).await?;
    world.create(&json!({})).await?;

    world.stream_ready().await?;
    world.condition("other", "StreamReady", "True", "StreamAsSpecified").await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    world.object::<Deployment>("other-gateway", |_| true).await?;

    assert_eq!(written(&world, &plain).await?, of("odin"));
    assert_eq!(written(&world, &internal).await?, of("other"));
    assert!(world.status("third").await.is_none(), "an operator without the class has taken it");
    plain.stop().await?;
    internal.stop().await
}

#[tokio::test]
async fn a_wsgateway_is_handed_over_with_all_that_was_made_for_it() -> Result<()> {
    let world = World::without_operator("handover").await?;
    let (plain, internal) =
        (Operator::start(&world, "").await?, Operator::start(&world, "internal").await?);
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let before = world.object::<Deployment>("odin-gateway", |_| true).await?;
    let pods = world.pods(1).await?;

    world.edit(&json!({ "spec": { "class": "internal" } })).await?;

    wait_until(SOON, "the other operator to have seen the WsGateway", async || {
        let api = world.api::<WsGateway>();
        let Ok(gateway) = api.get(ODIN).await else { return false };
        gateway.status.and_then(|status| status.observed_generation) == gateway.metadata.generation
    })
    .await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let after = world.object::<Deployment>("odin-gateway", |_| true).await?;
    assert_eq!((before.uid(), pods), (after.uid(), world.pods(1).await?));

    // From here on the first one has nothing to do with it, also not with its end.
    let before_that = writes(&world, &plain).await?.len();
    world.edit(&json!({ "spec": { "capacity": { "connectionsPerPod": 77 } } })).await?;
    let template =
        |deployment: &Deployment| deployment.spec.as_ref().map(|spec| spec.template.clone());
    world.object::<Deployment>("odin-gateway", |now| template(now) != template(&before)).await?;
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_err(), "the stream is still there");
    let late = writes(&world, &plain).await?.split_off(before_that);
    assert!(late.is_empty(), "{late:#?}");
    plain.stop().await?;
    internal.stop().await
}
