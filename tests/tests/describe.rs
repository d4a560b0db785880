//! What `kubectl describe` shows of broken worlds, as golden pages: for a person who is tired, and for us to see how a
//! change reads. Needs kubectl on PATH, so it is not part of `make test`: `make describe` runs it.
//!
//! Real API server, controllers, nats-server and kubectl. There are no nodes: what a kubelet or a scheduler would report
//! of a pod is set by the test. What differs from run to run is masked.

#[path = "operator/world.rs"]
#[allow(dead_code, reason = "shared with the operator's tests")]
mod world;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use async_nats::jetstream::stream::Config;
use harness::{Nats, wait_until, wait_until_some};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use world::{ODIN, SOON, World};

/// The page from the status on, masked.
async fn page(world: &World) -> Result<String> {
    // Whatever was on its way has settled, with the controllers of Kubernetes, too.
    wait_until(SOON, "the Deployment controller", async || {
        let found = world.api::<Deployment>().get_opt("odin-gateway").await;
        found.is_ok_and(|found| found.is_none_or(|deployment| is_observed(&deployment)))
    })
    .await?;
    world.more_reconciles(3.0).await?;
    described(world).await
}

/// Whether its controller has made the pods that it is to have, or says why it cannot.
fn is_observed(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let conditions = status.conditions.iter().flatten();
    let is_refused = conditions.into_iter().any(|one| one.type_ == "ReplicaFailure");
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    status.observed_generation >= deployment.metadata.generation
        && (is_refused || status.replicas == wanted)
}

/// What `kubectl describe` shows now.
async fn described(world: &World) -> Result<String> {
    let output = tokio::process::Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(world.plane.kubeconfig())
        .args(["--namespace", &world.namespace, "describe", "wsgw", ODIN])
        .output()
        .await
        .context("kubectl is needed on PATH")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let (_, status) = text.split_once("\nStatus:\n").context("no status")?;
    let (status, events) = status.split_once("\nEvents:").context("no events")?;
    let reasons: BTreeSet<&str> = status
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Reason:"))
        .map(str::trim)
        .collect();
    let mut lines: BTreeSet<String> = BTreeSet::new();
    for line in events.lines() {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(reason)) = (words.next(), words.next()) else { continue };
        // What was the matter for a moment at the start differs from run to run.
        if ["Normal", "Warning"].contains(&kind) && reasons.contains(reason) {
            lines.insert(format!("  {kind}  {reason}"));
        }
    }
    let events: Vec<String> = lines.into_iter().collect();
    Ok(masked(&format!("Status:\n{status}\nEvents:\n{}\n", events.join("\n")), world))
}

/// Without what differs from run to run.
fn masked(page: &str, world: &World) -> String {
    let page = page.replace(&world.namespace, "NAMESPACE").replace(&world.nats.url(), "NATS");
    let mut lines = Vec::new();
    for line in page.lines() {
        let label = line.trim_start().split(':').next().unwrap_or_default();
        let hidden = ["Last Transition Time", "Numbers Time", "Epoch", "Config Hash", "Live Hash"];
        if hidden.contains(&label) {
            let indent = line.len() - line.trim_start().len();
            lines.push(format!("{}{label}: ...", " ".repeat(indent)));
        } else {
            lines.push(line.split_inclusive(' ').map(word).collect());
        }
    }
    lines.join("\n")
}

/// Pods end with a hash of their template and five letters.
fn word(word: &str) -> String {
    let Some((before, rest)) = word.split_once("odin-gateway-") else { return word.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
    if rest[..end].contains('-') {
        format!("{before}odin-gateway-POD{}", &rest[end..])
    } else {
        word.to_owned()
    }
}

async fn with_pod(name: &str, change: &Value) -> Result<(World, String)> {
    let world = World::new(name).await?;
    world.create(change).await?;
    world.stream_ready().await?;
    let pod = world.pods(1).await?.remove(0);
    Ok((world, pod))
}

fn ended(reason: &str, code: i32) -> Value {
    json!({ "terminated": { "reason": reason, "exitCode": code, "startedAt": Timestamp::now().to_string(),
        "finishedAt": Timestamp::now().to_string() } })
}

#[tokio::test]
async fn a_specification_that_is_refused() -> Result<()> {
    let world = World::new("d-spec").await?;
    let subjects = json!(["odin.token.*.price", "odin.token.BTC.*"]);
    world.create(&json!({ "spec": { "stream": { "subjects": subjects } } })).await?;
    world.condition(ODIN, "Ready", "False", "SpecInvalid").await?;
    // Nothing is looked at again before somebody changes the specification.
    let page = wait_until_some(SOON, "the event", async || {
        described(&world).await.ok().filter(|page| page.contains("  Warning  SpecInvalid"))
    })
    .await?;
    insta::assert_snapshot!(page);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_missing() -> Result<()> {
    let world = World::new("d-secret").await?;
    world
        .create(&json!({ "spec": { "nats": { "credentials": { "name": "odin-nats" } } } }))
        .await?;
    world.condition(ODIN, "Ready", "False", "SecretMissing").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_nats_that_is_down() -> Result<()> {
    let mut world = World::without_operator("d-nats").await?;
    world.nats.stop().await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;
    world.condition(ODIN, "Ready", "False", "NatsUnreachable").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_nats_that_permits_nothing() -> Result<()> {
    let mut world = World::without_operator("d-permission").await?;
    let config = "accounts { A { jetstream: enabled, users = [{ user: a, password: a, \
                  permissions: { publish: { deny: [\"$JS.API.>\"] } } }] } }\nno_auth_user: a";
    world.nats = Nats::start_with(config).await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;
    world.condition(ODIN, "Ready", "False", "NatsPermissionDenied").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_stream_of_somebody_else() -> Result<()> {
    let world = World::new("d-foreign").await?;
    let theirs = Config {
        name: "ODIN_TOKENS".to_owned(),
        subjects: vec!["theirs".to_owned()],
        ..Config::default()
    };
    world.jetstream().await?.create_stream(theirs).await?;
    world.create(&json!({})).await?;
    world.condition(ODIN, "Ready", "False", "StreamForeign").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_quota_that_is_used_up() -> Result<()> {
    let world = World::new("d-quota").await?;
    let quotas = world.api::<ResourceQuota>();
    let none: ResourceQuota = serde_json::from_value(
        json!({ "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } } }),
    )?;
    quotas.create(&PostParams::default(), &none).await?;
    wait_until_some(SOON, "the quota to hold", async || {
        quotas.get("none").await.ok()?.status?.hard.filter(|hard| !hard.is_empty())
    })
    .await?;
    world.create(&json!({})).await?;
    world.condition(ODIN, "Ready", "False", "PodsRefused").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_without_its_metric() -> Result<()> {
    let bounds = json!({ "minReplicas": 1, "maxReplicas": 2 });
    let (world, pod) = with_pod("d-metric", &json!({ "spec": { "autoscaling": bounds } })).await?;
    world.run_pod(&pod, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "NoMetric").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled() -> Result<()> {
    let (world, pod) = with_pod("d-image", &json!({})).await?;
    let waiting = json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } });
    world.break_pod(&pod, &waiting, &json!({})).await?;
    world.condition(ODIN, "Ready", "False", "ImagePullBackOff").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_pod_that_runs_out_of_memory() -> Result<()> {
    let (world, pod) = with_pod("d-memory", &json!({})).await?;
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    world.break_pod(&pod, &waiting, &ended("OOMKilled", 137)).await?;
    world.condition(ODIN, "Ready", "False", "OOMKilled").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_pod_that_crashes() -> Result<()> {
    let (world, pod) = with_pod("d-crash", &json!({})).await?;
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    world.break_pod(&pod, &waiting, &ended("Error", 1)).await?;
    world.condition(ODIN, "Ready", "False", "CrashLoopBackOff").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

/// Sets conditions of a pod as a scheduler or a node controller would.
async fn conditions(world: &World, pod: &str, status: &Value) -> Result<()> {
    let status = json!({ "status": status });
    let parameters = PatchParams::default();
    world.api::<Pod>().patch_status(pod, &parameters, &Patch::Merge(&status)).await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_that_no_node_takes() -> Result<()> {
    let (world, pod) = with_pod("d-schedule", &json!({})).await?;
    let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory." });
    conditions(&world, &pod, &json!({ "phase": "Pending", "conditions": [condition] })).await?;
    world.condition(ODIN, "Ready", "False", "Unschedulable").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_lost() -> Result<()> {
    let (world, pod) = with_pod("d-node", &json!({})).await?;
    let container = json!({ "name": "gateway", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "state": { "running": { "startedAt": Timestamp::now().to_string() } } });
    let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }],
        "containerStatuses": [container] });
    conditions(&world, &pod, &status).await?;
    world.condition(ODIN, "Ready", "False", "NodeSilent").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}

#[tokio::test]
async fn a_network_policy_that_keeps_the_operator_out() -> Result<()> {
    let (world, pod) = with_pod("d-policy", &json!({})).await?;
    // Nobody answers there, as behind a policy.
    world.run_pod(&pod, "127.0.0.1").await?;
    world.condition(ODIN, "Degraded", "True", "PodsSilent").await?;
    insta::assert_snapshot!(page(&world).await?);
    Ok(())
}
