//! How each fault is inflicted and mended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::{Fault, Times};
use crate::world::World;

/// Between two edits of the stream, and between two deletions of its consumers.
const EDIT: Duration = Duration::from_millis(300);
const DELETE: Duration = Duration::from_millis(700);

/// How often each leader moves.
const MOVES: usize = 3;

impl Fault {
    pub(super) async fn inflict_on_gateways(self, world: &mut World) -> Result<()> {
        let Times { down, asleep, .. } = world.times;
        match self {
            Self::GatewayKilled => {
                let pod = world.busiest_pod();
                pod.kill9();
                sleep(down).await;
                pod.launch()?;
                pod.ready().await
            }
            Self::GatewayFrozen => {
                let pod = world.busiest_pod();
                pod.signal(Signal::Stop)?;
                sleep(asleep).await;
                pod.signal(Signal::Cont)?;
                pod.ready().await
            }
            Self::HistoryLost => history_lost(world).await,
            Self::GatewayStopped => world.busiest_pod().restart().await,
            _ => {
                for pod in &mut world.pods {
                    pod.restart().await?;
                }
                Ok(())
            }
        }
    }

    pub(super) async fn inflict_on_clients(self, world: &World) {
        let Times { steady, down, asleep, .. } = world.times;
        match self {
            Self::Resets => {
                for _ in 0..3 {
                    world.balancer.reset(1.0 / 3.0);
                    sleep(steady).await;
                }
            }
            Self::NetworkCut => {
                world.balancer.stall(true);
                sleep(down).await;
                world.balancer.refuse(true);
                world.balancer.reset(1.0);
                sleep(down).await;
                world.balancer.refuse(false);
                world.balancer.stall(false);
            }
            Self::Sleepers => {
                world.swarm.sleepers(true);
                sleep(asleep).await;
                world.swarm.sleepers(false);
            }
            _ => world.balancer.reset(1.0),
        }
    }

    pub(super) async fn inflict_on_nats(self, world: &mut World) -> Result<()> {
        let Times { down, gone, .. } = world.times;
        let count = world.servers.nodes().len();
        match self {
            Self::LeaderKilled => {
                let leader = world.servers.leader(&world.jetstream).await?;
                let node = &mut world.servers.nodes()[leader];
                node.kill9();
                sleep(down).await;
                node.restart().await?;
            }
            Self::LameDuck => {
                let node = &mut world.servers.nodes()[fastrand::usize(..count)];
                node.lame_duck().await?;
                node.restart().await?;
            }
            Self::NatsGone => {
                for node in world.servers.nodes() {
                    node.stop().await?;
                }
                sleep(gone).await;
                for node in world.servers.nodes() {
                    node.restart().await?;
                }
            }
            Self::StreamReplaced => {
                // What was published is acknowledged now, and nothing new is stored until the next stream is there:
                // so the book knows which stream each message is in.
                let held = world.publishers.hold().await;
                world.meter.lock().next_stream();
                world.servers.delete_stream(&world.jetstream).await?;
                world.servers.make_stream(&world.jetstream).await?;
                drop(held);
            }
            _ => {
                for node in 0..count {
                    world.servers.nodes()[node].restart().await?;
                    world.servers.whole(&world.jetstream).await?;
                }
            }
        }
        world.servers.whole(&world.jetstream).await
    }

    /// What administrators do to a running stream.
    pub(super) async fn administer(self, world: &mut World) -> Result<()> {
        let end = Instant::now() + world.times.asleep;
        match self {
            Self::StreamEdited => {
                while Instant::now() < end {
                    world.servers.edit_stream(&world.jetstream).await?;
                    sleep(EDIT).await;
                }
            }
            Self::NatsEdited => {
                world.servers.restart().await?;
                world.servers.whole(&world.jetstream).await?;
                sleep(world.times.steady).await;
                world.servers.edit_stream(&world.jetstream).await?;
                sleep(world.times.steady).await;
                world.servers.restart().await?;
            }
            Self::ConsumersDeleted => {
                let mut deleted = 0;
                while Instant::now() < end {
                    deleted += world.servers.delete_consumers(&world.jetstream).await?;
                    sleep(DELETE).await;
                }
                ensure!(deleted > 0, "the stream had no consumer that could be deleted");
            }
            _ => {
                for _ in 0..MOVES {
                    world.servers.move_meta_leader().await?;
                    sleep(world.times.steady).await;
                    world.servers.move_stream_leader(&world.jetstream).await?;
                    sleep(world.times.steady).await;
                }
            }
        }
        world.servers.whole(&world.jetstream).await
    }
}

/// Kills all gateways, purges most of the stream while they are down, and starts them again.
async fn history_lost(world: &mut World) -> Result<()> {
    /// Messages that are kept: fewer than were published meanwhile.
    const KEPT: u64 = 20;
    for pod in &mut world.pods {
        pod.kill9();
    }
    sleep(world.times.down).await;
    let first = world.servers.purge(&world.jetstream, KEPT).await?;
    world.meter.lock().discarded(first);
    for pod in &mut world.pods {
        pod.launch()?;
    }
    for pod in &world.pods {
        pod.ready().await?;
    }
    Ok(())
}

/// Poison is live at first, then read back by clients that resume and by a gateway that starts. A gateway that poison
/// keeps from becoming ready is counted, since the meter works and the row should say what clients lost.
pub(super) async fn poisoned(world: &mut World) -> Result<()> {
    let Times { steady, asleep, down, .. } = world.times;
    let busiest = world.balancer.busiest();
    let World { poison, pods, balancer, .. } = world;
    let stop = AtomicBool::new(false);
    let trouble = async {
        sleep(asleep).await;
        balancer.reset(1.0 / 3.0);
        sleep(steady).await;
        pods[busiest].kill9();
        sleep(down).await;
        let launched = pods[busiest].launch();
        sleep(asleep).await;
        stop.store(true, Ordering::Relaxed);
        launched
    };
    let (published, launched) = tokio::join!(poison.publish_until(&stop), trouble);
    published?;
    launched?;
    for pod in &world.pods {
        let ready = timeout(world.times.give_up, pod.ready()).await;
        world.unready += u64::from(!matches!(ready, Ok(Ok(()))));
    }
    Ok(())
}
