//! What the cluster says to the pods.

use anyhow::Result;
use harness::{wait_until, wait_until_some};
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::world::{ODIN, SOON, World};

#[tokio::test]
async fn pods_run_where_only_restricted_ones_may() -> Result<()> {
    let world = World::new("restricted").await?;
    let strict =
        json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    Api::<Namespace>::all(world.client.clone())
        .patch(&world.namespace, &PatchParams::default(), &Patch::Merge(&strict))
        .await?;
    let loose: Pod = serde_json::from_value(json!({
        "metadata": { "name": "loose" }, "spec": { "containers": [{ "name": "any", "image": "example.com/any:1" }] }
    }))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    wait_until(SOON, "the namespace to be strict", async || {
        let refused = world.api::<Pod>().create(&dry_run, &loose).await;
        refused.is_err_and(|error| error.to_string().contains("violates PodSecurity"))
    })
    .await?;

    world.create(&json!({})).await?;

    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await.map(drop)
}

#[tokio::test]
async fn refused_pods_are_a_condition_with_the_cluster_s_words_until_they_are_let_in() -> Result<()>
{
    let world = World::new("quota").await?;
    let quotas = world.api::<ResourceQuota>();
    let none: ResourceQuota = serde_json::from_value(json!({
        "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } }
    }))?;
    quotas.create(&PostParams::default(), &none).await?;
    wait_until_some(SOON, "the quota to hold", async || {
        quotas.get("none").await.ok()?.status?.hard.filter(|hard| !hard.is_empty())
    })
    .await?;

    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "GatewayReady", "False", "PodsRefused").await?;
    assert!(message.contains("exceeded quota: none"), "{message}");

    quotas.delete("none", &DeleteParams::default()).await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await.map(drop)
}
