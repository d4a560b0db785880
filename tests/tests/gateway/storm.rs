//! Everybody comes at once, again and again, while messages flow.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::oneshot;
use wsgateway_client::swarm::{every, subscribe};
use wsgateway_client::{Counters, Swarm, SwarmOptions};

use super::rig::{Rig, SOON};

/// Those who are there all the while.
const LIVE: u64 = 100;

/// Those who come at once, and how often. Far more than wait for one shard at a time.
const CROWD: u64 = 1_500;
const TIMES: usize = 3;

fn swarm(address: SocketAddr, connections: u64, channel: &str) -> Result<Swarm> {
    let options = SwarmOptions {
        connections: connections as usize,
        protocol: Some("wsgateway.v1".to_owned()),
        in_flight: CROWD as usize,
        commands: every([subscribe(&[channel])]),
        ..SwarmOptions::default()
    };
    Ok(Swarm::connect(address, options)?)
}

/// Stays, and ends when it has as many messages as it is told of.
fn stay(
    address: SocketAddr,
    subscribed: oneshot::Sender<()>,
    mut published: oneshot::Receiver<u64>,
) -> Result<Counters> {
    let mut swarm = swarm(address, LIVE, "a")?;
    swarm.run_until_subscribed(SOON)?;
    ensure!(subscribed.send(()).is_ok(), "the test has ended");
    let count = loop {
        swarm.run_for(Duration::from_millis(5))?;
        match published.try_recv() {
            Ok(count) => break count,
            Err(oneshot::error::TryRecvError::Empty) => {}
            Err(closed) => return Err(closed.into()),
        }
    };
    swarm.run_until(|counters| counters.messages >= LIVE * count, SOON)?;
    Ok(swarm.counters().clone())
}

/// Comes, leaves as soon as everybody is subscribed, and comes again.
fn storm(address: SocketAddr) -> Result<()> {
    for _ in 0..TIMES {
        let mut swarm = swarm(address, CROWD, "quiet")?;
        swarm.run_until_subscribed(SOON)?;
        let counters = swarm.counters();
        ensure!(counters.is_faultless() && counters.connected == CROWD, "{counters}");
    }
    Ok(())
}

#[tokio::test]
async fn a_storm_of_reconnects_is_taken_in_whole_and_those_who_are_there_miss_nothing() -> Result<()>
{
    let rig = Rig::start().await?;
    let address = rig.client_addr;
    let ((subscribed, ready), (count, published)) = (oneshot::channel(), oneshot::channel());
    let live = tokio::task::spawn_blocking(move || stay(address, subscribed, published));
    if ready.await.is_ok() {
        let storm = tokio::task::spawn_blocking(move || storm(address));
        let mut sent = 0;
        while !storm.is_finished() {
            rig.publish("a", "1").await?;
            sent += 1;
        }
        storm.await??;
        ensure!(count.send(sent).is_ok(), "the live clients have ended");
        let counters = live.await??;
        assert!(counters.is_faultless(), "{counters}");
        assert_eq!(counters.messages, LIVE * sent, "{counters}");
        assert_eq!((counters.connected, counters.closed()), (LIVE, 0), "{counters}");
        return Ok(());
    }
    live.await?.map(drop)
}
