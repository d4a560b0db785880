//! Scaling under two thousand clients: spread over new pods, handed over by those that are not needed any more, and left
//! alone when that is called off. Gateways that run, a kubelet and a Service that a test plays, real connections.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use wsgateway_crds::{DisruptionKind, DisruptionStatus, PodStatus};

use crate::crowd::{CLIENTS, End, Kubelet, running, under_load};
use crate::world::{ODIN, World};

const PER_MINUTE: u32 = 6_000;
/// Clients of a pod that are not worth a write of the status at once.
const FEW: u64 = 10;

/// The last entry of the status of a kind, once it has ended.
async fn ended(
    world: &World,
    kind: DisruptionKind,
    count: usize,
) -> Result<Option<DisruptionStatus>> {
    let status = world.status(ODIN).await.context("a status")?;
    let of_kind: Vec<_> = status.disruptions.into_iter().filter(|one| one.kind == kind).collect();
    Ok(of_kind.into_iter().nth(count).filter(|one| one.ended.is_some()))
}

async fn is_settled(world: &World, pods: i32) -> Result<bool> {
    let deployment = world.api::<Deployment>().get("odin-gateway").await?;
    let status = world.status(ODIN).await.context("a status")?;
    let progressing = status.conditions.iter().find(|found| found.type_ == "Progressing");
    Ok(deployment.spec.and_then(|spec| spec.replicas) == Some(pods)
        && progressing.is_some_and(|found| found.reason == "Settled"))
}

async fn told(world: &World) -> Result<BTreeMap<String, String>> {
    let pods = world.api::<Pod>().list(&ListParams::default()).await?;
    let told =
        |pod: &Pod| Some((pod.name_any(), pod.annotations().get("wsgateway.dev/shed")?.clone()));
    Ok(pods.items.iter().filter_map(told).collect())
}

/// Waits until the operator knows how many clients the pods have, but for a few.
async fn known(kubelet: &mut Kubelet<'_>) -> Result<()> {
    let world = kubelet.world;
    kubelet
        .until("what the operator knows", async |kubelet| {
            let status = world.status(ODIN).await.context("a status")?;
            let counts = kubelet.connections();
            let told = |pod: &PodStatus| {
                let count = counts.get(&pod.name).copied().unwrap_or_default();
                pod.connections.is_some_and(|told| count.abs_diff(told.unsigned_abs()) <= FEW)
            };
            Ok(status.pods.iter().all(told))
        })
        .await
}

/// Two more pods: those that were there hand half of their clients over.
async fn rise(kubelet: &mut Kubelet<'_>) -> Result<()> {
    let world = kubelet.world;
    world.edit(&json!({ "spec": { "replicas": 4 } })).await?;
    kubelet
        .until("spread", async |kubelet| {
            let counts: Vec<u64> = kubelet.connections().into_values().collect();
            // Whoever connects through our balancer meets any pod.
            let is_even = counts.iter().all(|count| (350..=650).contains(count));
            let entry = ended(world, DisruptionKind::Rebalance, 0).await?;
            Ok(is_even && counts.len() == 4 && entry.is_some() && is_settled(world, 4).await?)
        })
        .await?;
    println!("after the rise: {:?}", kubelet.connections());
    Ok(())
}

/// One pod fewer: the emptiest.
async fn fall(kubelet: &mut Kubelet<'_>) -> Result<()> {
    let world = kubelet.world;
    known(kubelet).await?;
    let before = kubelet.connections();
    world.edit(&json!({ "spec": { "replicas": 3 } })).await?;
    kubelet
        .until("three pods", async |kubelet| {
            Ok(kubelet.connections().len() == 3
                && ended(world, DisruptionKind::ScaleDown, 0).await?.is_some()
                && is_settled(world, 3).await?)
        })
        .await?;
    let after = kubelet.connections();
    let gone: Vec<u64> = before
        .iter()
        .filter(|(pod, _)| !after.contains_key(*pod))
        .map(|(_, count)| *count)
        .collect();
    let least = before.values().min().context("pods")?;
    ensure!(gone.len() == 1 && gone[0] <= least + 2 * FEW, "{gone:?} of {before:?}");
    Ok(())
}

/// Two pods fewer, and back again while they hand over: none is replaced.
async fn change_of_mind(kubelet: &mut Kubelet<'_>) -> Result<()> {
    let world = kubelet.world;
    let before: BTreeSet<String> = kubelet.connections().into_keys().collect();
    world.edit(&json!({ "spec": { "replicas": 1 } })).await?;
    kubelet
        .until("clients that leave", async |kubelet| {
            let told = told(world).await?;
            let counts = kubelet.connections();
            Ok(told.keys().any(|pod| counts.get(pod).is_some_and(|count| *count < 400)))
        })
        .await?;
    world.edit(&json!({ "spec": { "replicas": 3 } })).await?;
    kubelet
        .until("pods that stay", async |_| {
            Ok(told(world).await?.is_empty() && is_settled(world, 3).await?)
        })
        .await?;
    let after: BTreeSet<String> = kubelet.connections().into_keys().collect();
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// How many connections ended; each client was moved at most so many times.
fn moved(ends: &[End], most: usize) -> Result<usize> {
    let mut times = BTreeMap::<usize, usize>::new();
    for (client, _) in ends {
        *times.entry(*client).or_default() += 1;
    }
    let found = times.values().max().copied().unwrap_or_default();
    ensure!(found <= most, "a client was moved {found} times");
    Ok(ends.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_thousand_clients_miss_nothing_while_pods_come_and_go_and_are_moved_once_each()
-> Result<()> {
    let world = World::new("moves").await?;
    let change = json!({
        "rollout": { "connectionsPerMinute": PER_MINUTE },
        "rebalance": { "minConnections": 100 },
    });
    let (mut kubelet, nodes, node) = running(&world, 2, &change).await?;
    kubelet.sync().await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let service = world.api::<Service>().get(ODIN).await?;
    let selector = service.spec.and_then(|spec| spec.selector).context("a selector")?;
    assert_eq!(selector.get("wsgateway.dev/accepts").map(String::as_str), Some("clients"));

    let (kubelet, ends, messages) = under_load(kubelet, rise).await?;
    let count = moved(&ends, 1)?;
    println!("{count} of {CLIENTS} clients moved to new pods, {messages} messages");
    assert!((700..=1_300).contains(&count), "about half of them");
    let entry = ended(&world, DisruptionKind::Rebalance, 0).await?.context("an entry")?;
    assert_eq!((usize::try_from(entry.clients)?, entry.lost), (count, 0), "{entry:?}");
    assert!(entry.recovered >= entry.clients * 9 / 10 && entry.away_p99_ms.is_some(), "{entry:?}");

    // Whoever connects anew meets any pod.
    let (kubelet, ends, messages) = under_load(kubelet, fall).await?;
    let count = moved(&ends, 1)?;
    println!("{count} of {CLIENTS} clients moved from a pod that goes, {messages} messages");
    assert!(count <= CLIENTS / 4, "the emptiest of four has no more");
    let entry = ended(&world, DisruptionKind::ScaleDown, 0).await?.context("an entry")?;
    assert_eq!((usize::try_from(entry.clients)?, entry.lost), (count, 0), "{entry:?}");

    let (kubelet, ends, messages) = under_load(kubelet, change_of_mind).await?;
    let count = moved(&ends, 1)?;
    println!("{count} of {CLIENTS} clients moved until it was called off, {messages} messages");
    kubelet.stop().await?;
    nodes.delete(&node, &DeleteParams::default()).await?;
    Ok(())
}
