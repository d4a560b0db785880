//! Evictions through the real API and the real controller of disruption budgets: one pod hands its clients over at a time.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, EvictParams, ListParams};
use kube::{Api, Client};
use serde_json::json;
use wsgateway_crds::DisruptionKind;

use crate::crowd::{Kubelet, Load, running, under};
use crate::world::{ODIN, World};

/// Slow enough for another pod to be ready while one hands its clients over.
const PER_MINUTE: u32 = 600;
const CLIENTS: usize = 300;
/// Clients that are about to connect again.
const FEW: u64 = 50;

async fn max_unavailable(world: &World) -> Result<Option<IntOrString>> {
    let budget = world.api::<PodDisruptionBudget>().get("odin-gateway").await?;
    Ok(budget.spec.and_then(|spec| spec.max_unavailable))
}

/// Evicts, and does not try again of itself.
async fn evictor(world: &World) -> Result<Api<Pod>> {
    let file = kube::config::Kubeconfig::read_from(world.plane.kubeconfig())?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
    config.default_retry = false;
    Ok(Api::namespaced(Client::try_from(config)?, &world.namespace))
}

/// Whether the API server lets a pod be evicted.
async fn evict(pods: &Api<Pod>, pod: &str) -> Result<bool> {
    match pods.evict(pod, &EvictParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 429 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Two ready pods besides the one that ends.
async fn are_replaced(world: &World) -> Result<bool> {
    let pods = world.api::<Pod>().list(&ListParams::default()).await?.items;
    let is_ready = |pod: &&Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ready = conditions.filter(|found| found.type_ == "Ready" && found.status == "True");
        pod.metadata.deletion_timestamp.is_none() && ready.next().is_some()
    };
    Ok(pods.iter().filter(is_ready).count() == 2)
}

/// Evicts two pods, one of which is refused as long as the other has clients.
async fn one_after_the_other(kubelet: &mut Kubelet<'_>) -> Result<()> {
    let world = kubelet.world;
    let pods: Vec<String> = kubelet.connections().into_keys().collect();
    let [one, other] = pods.as_slice() else { anyhow::bail!("{pods:?}") };
    let evictor = evictor(world).await?;
    kubelet.until("the first eviction", async |_| evict(&evictor, one).await).await?;
    let allows = async |count: i32| -> Result<bool> {
        Ok(max_unavailable(world).await? == Some(IntOrString::Int(count)))
    };
    kubelet.until("evictions that wait", async |_| allows(0).await).await?;
    // What is paused holds up no drain of a node.
    world.edit(&json!({ "spec": { "paused": true } })).await?;
    kubelet.until("evictions of what is paused", async |_| allows(1).await).await?;
    world.edit(&json!({ "spec": { "paused": false } })).await?;
    kubelet.until("evictions that wait again", async |_| allows(0).await).await?;
    // Kubernetes counts the one that ends no more.
    kubelet.until("another one in its place", async |_| are_replaced(world).await).await?;
    let mut refused = 0;
    kubelet
        .until("the second eviction", async |kubelet| {
            let there: u64 = kubelet.connections().values().sum();
            let is_evicted = evict(&evictor, other).await?;
            let has_moved = there + FEW >= CLIENTS as u64;
            ensure!(
                !is_evicted || has_moved,
                "two pods hand their clients over: {there} are elsewhere"
            );
            refused += u32::from(!is_evicted);
            Ok(is_evicted)
        })
        .await?;
    ensure!(refused > 0, "it was never refused");
    kubelet
        .until("evictions that may be again", async |kubelet| {
            Ok(kubelet.ending.is_empty() && allows(1).await? && are_replaced(world).await?)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pod_is_evicted_only_once_the_one_before_has_handed_its_clients_over() -> Result<()> {
    let world = World::new("evictions").await?;
    let change = json!({ "rollout": { "connectionsPerMinute": PER_MINUTE } });
    let (mut kubelet, nodes, node) = running(&world, 2, &change).await?;
    kubelet.sync().await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let load = Load { clients: CLIENTS, hears_all: true };
    // Nobody who was let in is cut off, and nobody misses a message: `under` sees to that.
    let (kubelet, _, _) = under(load, kubelet, one_after_the_other).await?;
    let status = world.status(ODIN).await.context("a status")?;
    assert!(status.disruptions.iter().any(|one| one.kind == DisruptionKind::PodStopped));
    kubelet.stop().await?;
    nodes.delete(&node, &DeleteParams::default()).await?;
    Ok(())
}
