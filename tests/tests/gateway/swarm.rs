//! A thousand clients of our own, which keep a ledger each: deliveries = messages × subscribers, not one more.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::sync::oneshot;
use wsgateway_client::swarm::subscribe;
use wsgateway_client::{Counters, Swarm, SwarmOptions};

use super::rig::{Rig, SOON};

const CLIENTS: u64 = 1_000;
const MESSAGES: u64 = 500;

/// Runs the swarm on a thread of its own: says when all are subscribed, ends when all that is expected has come and
/// one more round trip brought nothing else.
fn run(address: SocketAddr, subscribed: oneshot::Sender<()>) -> Result<Counters> {
    let options = SwarmOptions {
        connections: CLIENTS as usize,
        protocol: Some("wsgateway.v1".to_owned()),
        number_field: Some("n".to_owned()),
        // A third of them by name, a third by patterns that overlap, a third by everything.
        commands: Box::new(|number| match number % 3 {
            0 => vec![subscribe(&["T0.price", "T1.price", "T2.price", "T3.price"])],
            1 => vec![subscribe(&["*.price"]), subscribe(&["T1.*", "T2.price"])],
            _ => vec![subscribe(&[">"])],
        }),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(address, options)?;
    swarm.run_until_subscribed(SOON)?;
    ensure!(subscribed.send(()).is_ok(), "the test has ended");
    swarm.run_until(|counters| counters.messages >= CLIENTS * MESSAGES, SOON)?;
    let before = swarm.counters().other;
    swarm.send_all(r#"{"type":"ping"}"#)?;
    swarm.run_until(|counters| counters.other == before + CLIENTS, SOON)?;
    let uneven = swarm.tallies().find(|tally| tally.messages != MESSAGES);
    ensure!(uneven.is_none(), "{uneven:?}");
    Ok(swarm.counters().clone())
}

#[tokio::test]
async fn a_thousand_clients_get_every_message_once_in_order_and_the_gateway_counts_the_same()
-> Result<()> {
    let rig = Rig::start().await?;
    let address = rig.client_addr;
    let (subscribed, ready) = oneshot::channel();
    let swarm = tokio::task::spawn_blocking(move || run(address, subscribed));
    // When the swarm fails, its error below says more than this one.
    if ready.await.is_ok() {
        let channel = |n: u64| format!("T{}.price", n % 4);
        // Numbered per channel, which the swarm checks beside `offset` and `prev`.
        rig.publish_all(
            (0..MESSAGES).map(|n| (channel(n), json!({ "n": n / 4 }).to_string().into())),
        )
        .await?;
    }
    let counters = swarm.await??;
    assert!(counters.is_faultless(), "{counters}");
    assert_eq!(counters.messages, CLIENTS * MESSAGES, "{counters}");
    assert_eq!((counters.connected, counters.closed()), (CLIENTS, 0), "{counters}");
    assert_eq!(rig.metric("wsgateway_deliveries_total").await?, CLIENTS * MESSAGES);
    Ok(())
}
