//! Pods whose clients come back with gaps: the first of them go, the others stay until somebody says so. Gateways that run,
//! real connections, and a stream that keeps one message, so that whoever is away misses some.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use harness::wait_until;
use kube::api::DeleteParams;
use operator::app::Ended;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wsgateway_crds::{DisruptionKind, HaltStatus};

use crate::crowd::{Kubelet, Load, change, running, under};
use crate::world::{ODIN, SOON, World, asked, options};

const PODS: usize = 4;
const CLIENTS: usize = 200;
/// So that a pod takes some seconds: more than the operator needs to notice.
const PER_MINUTE: u32 = 600;

/// An operator that can be replaced while a kubelet runs.
struct Operator {
    admin: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Ended>,
}

impl Operator {
    fn start(world: &World) -> Result<Self> {
        let stop = CancellationToken::new();
        let app = operator::app::start(options(&world.namespace), world.client.clone())?;
        let admin = app.admin_address();
        let task = tokio::spawn(app.run(stop.clone()));
        Ok(Self { admin, stop, task })
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        ensure!(self.task.await? == Ended::Stopped);
        Ok(())
    }

    async fn metrics(&self) -> Result<String> {
        asked(self.admin, "/metrics").await
    }

    /// How often it has reconciled.
    async fn reconciles(&self) -> f64 {
        let text = self.metrics().await.unwrap_or_default();
        let series =
            text.lines().filter(|line| line.starts_with("wsgateway_operator_reconciles_total{"));
        series.filter_map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok()).sum()
    }
}

/// Status and reason of a condition.
async fn condition(world: &World, kind: &str) -> Result<(String, String)> {
    let status = world.status(ODIN).await.context("a status")?;
    let found = status.conditions.into_iter().find(|found| found.type_ == kind);
    Ok(found.map(|found| (found.status, found.reason)).unwrap_or_default())
}

async fn halt(world: &World) -> Result<Option<HaltStatus>> {
    Ok(world.status(ODIN).await.context("a status")?.halt)
}

/// Waits until something is halted, and nobody moves any more.
async fn halted(kubelet: &mut Kubelet<'_>, kind: DisruptionKind, reason: &str) -> Result<()> {
    let world = kubelet.world;
    kubelet
        .until(reason, async |_| {
            let is_over = |status: wsgateway_crds::WsGatewayStatus| {
                status.disruptions.last().is_some_and(|last| last.ended.is_some())
            };
            let degraded = condition(world, "Degraded").await?;
            Ok(degraded == ("True".to_owned(), reason.to_owned())
                && world.status(ODIN).await.is_some_and(is_over))
        })
        .await?;
    let progressing = condition(world, "Progressing").await?;
    assert_eq!(progressing, ("False".to_owned(), reason.to_owned()));
    let halt = halt(world).await?.context("a halt")?;
    println!("{halt:?}");
    assert!(halt.kind == kind && halt.lost >= 10 && !halt.continued, "{halt:?}");
    assert!(world.events().await?.contains(&("Warning".to_owned(), reason.to_owned())));
    Ok(())
}

/// Goes on, by a value that the annotation did not have before.
async fn go_on(world: &World, value: &str) -> Result<()> {
    let annotation = json!({ "wsgateway.dev/continue": value });
    world.edit(&json!({ "metadata": { "annotations": annotation } })).await?;
    Ok(())
}

/// Waits until there is nothing to do and no halt.
async fn settled(kubelet: &mut Kubelet<'_>, pods: usize, value: &str) -> Result<()> {
    let world = kubelet.world;
    kubelet
        .until("the end", async |kubelet| {
            let status = world.status(ODIN).await.context("a status")?;
            Ok(kubelet.connections().len() == pods
                && status.halt.is_none()
                && status.continue_asked.as_deref() == Some(value)
                && condition(world, "Degraded").await?.0 == "False"
                && condition(world, "Progressing").await?.1 == "Settled")
        })
        .await
}

/// Clients of these pods.
fn clients_of(kubelet: &Kubelet<'_>, pods: &BTreeSet<String>) -> u64 {
    let all = kubelet.connections();
    all.iter().filter(|(pod, _)| pods.contains(*pod)).map(|(_, count)| count).sum()
}

async fn lossy_rollout(kubelet: &mut Kubelet<'_>, operator: Operator) -> Result<Operator> {
    let world = kubelet.world;
    let old: BTreeSet<String> = kubelet.connections().into_keys().collect();
    change(kubelet).await?;
    halted(kubelet, DisruptionKind::Rollout, "RolloutHalted").await?;
    let (left, stayed) = (kubelet.connections(), clients_of(kubelet, &old));
    println!("halted with {left:?}");
    assert_eq!(left.keys().filter(|pod| old.contains(*pod)).count(), PODS - 1);
    assert!(stayed >= CLIENTS as u64 / 2, "{stayed} of {CLIENTS} stay");
    assert!(operator.metrics().await?.contains(&format!(
        "wsgateway_operator_disruption_halted{{gateway=\"{ODIN}\",namespace=\"{}\"}} 1",
        world.namespace
    )));

    // Another operator reads that it is halted.
    operator.stop().await?;
    let operator = Operator::start(world)?;
    wait_until(SOON, "another operator", async || operator.reconciles().await >= 10.0).await?;
    kubelet.sync().await?;
    assert_eq!(clients_of(kubelet, &old), stayed);
    assert_eq!(condition(world, "Degraded").await?.1, "RolloutHalted");

    go_on(world, "1").await?;
    settled(kubelet, PODS, "1").await?;
    assert_eq!(clients_of(kubelet, &old), 0);
    let lost = operator.metrics().await?;
    let lost = lost.lines().find(|line| {
        line.contains("disruption_clients_total{")
            && line.contains("kind=\"rollout\"")
            && line.contains("gap")
    });
    let lost: f64 = lost.and_then(|line| line.rsplit(' ').next()?.parse().ok()).context("a sum")?;
    assert!(lost >= stayed as f64 / 2.0, "{lost} of {stayed}, who moved under this operator");
    Ok(operator)
}

async fn lossy_scale_down(kubelet: &mut Kubelet<'_>) -> Result<()> {
    let world = kubelet.world;
    let before: BTreeSet<String> = kubelet.connections().into_keys().collect();
    world.edit(&json!({ "spec": { "replicas": PODS - 1 } })).await?;
    halted(kubelet, DisruptionKind::ScaleDown, "ScaleDownHalted").await?;
    let after = kubelet.connections();
    println!("halted with {after:?}");
    assert_eq!(after.keys().cloned().collect::<BTreeSet<_>>(), before, "no pod has gone");
    go_on(world, "2").await?;
    settled(kubelet, PODS - 1, "2").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_loses_messages_halts_with_most_clients_in_place_and_ends_once_it_is_continued()
-> Result<()> {
    let world = World::without_operator("halts").await?;
    let operator = Operator::start(&world)?;
    let change = json!({
        "rollout": { "connectionsPerMinute": PER_MINUTE },
        "stream": { "maxMessages": 1 },
        "history": { "messages": 1 },
    });
    let (mut kubelet, nodes, node) = running(&world, PODS, &change).await?;
    kubelet.sync().await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let load = Load { clients: CLIENTS, hears_all: false };
    let mut operator = Some(operator);
    let (kubelet, _, _) = under(load, kubelet, async |kubelet| {
        let first = operator.take().context("an operator")?;
        operator = Some(lossy_rollout(kubelet, first).await?);
        lossy_scale_down(kubelet).await
    })
    .await?;
    kubelet.stop().await?;
    operator.context("an operator")?.stop().await?;
    nodes.delete(&node, &DeleteParams::default()).await?;
    Ok(())
}
