//! One shard with a thousand clients that batch, compress, talk, come and go while it writes: the shard looks at its
//! sockets in the middle of a flush, and nothing may go wrong by that.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use wsgateway_client::{Counters, Swarm, SwarmOptions};

use super::rig::{Rig, SOON};

const CLIENTS: u64 = 1_000;
const MESSAGES: u64 = 1_000;

/// Clients that ask a question every time that a part of the messages has come.
fn talk(address: SocketAddr, subscribed: oneshot::Sender<()>) -> Result<Counters> {
    let batching = r#"{"type":"subscribe","id":1,"channels":[">"],"batch":true}"#;
    let plain = r#"{"type":"subscribe","id":1,"channels":[">"]}"#;
    let options = SwarmOptions {
        connections: CLIENTS as usize,
        protocol: Some("wsgateway.v1".to_owned()),
        deflate: true,
        commands: Box::new(move |number| {
            vec![if number % 2 == 0 { batching.to_owned() } else { plain.to_owned() }]
        }),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(address, options)?;
    swarm.run_until_subscribed(SOON)?;
    let greetings = swarm.counters().other;
    ensure!(subscribed.send(()).is_ok(), "the test has ended");
    let parts = 20;
    for part in 1..=parts {
        swarm.run_until(|counters| counters.messages >= CLIENTS * MESSAGES * part / parts, SOON)?;
        swarm.send_all(r#"{"type":"ping"}"#)?;
    }
    swarm.run_until(|counters| counters.other >= greetings + parts * CLIENTS, SOON)?;
    let uneven = swarm.tallies().find(|tally| tally.messages != MESSAGES);
    ensure!(uneven.is_none(), "{uneven:?}");
    Ok(swarm.counters().clone())
}

/// Comes, subscribes and leaves, again and again: what follows an acknowledgement begins right behind its offset.
async fn come_and_go(rig: &Rig, over: watch::Receiver<bool>) -> Result<u64> {
    let mut visits = 0;
    while !*over.borrow() {
        let mut client = rig.client().await?;
        let ack = client.subscribe(&[">"]).await?;
        let offset = ack["offset"].as_u64().unwrap_or(u64::MAX);
        visits += u64::from(offset < MESSAGES);
        for place in 1..=5 {
            if offset + place > MESSAGES {
                return Ok(visits);
            }
            let message = client.expect("message").await?;
            ensure!(message["offset"] == offset + place, "{message} at {place} behind {ack}");
        }
    }
    Ok(visits)
}

#[tokio::test]
async fn a_shard_that_is_talked_to_while_it_writes_loses_repeats_and_reorders_nothing() -> Result<()>
{
    let rig = Rig::start_with(|config| {
        config.capacity.shards = 1;
        config.command_rate.burst = 1_000;
    })
    .await?;
    let address = rig.client_addr;
    let (subscribed, ready) = oneshot::channel();
    let swarm = tokio::task::spawn_blocking(move || talk(address, subscribed));
    if ready.await.is_ok() {
        let (over, watched) = watch::channel(false);
        let payload = |n: u64| json!({ "n": n, "text": "tick tock ".repeat(60) }).to_string();
        let publish = async {
            let mut sent = Ok(());
            for n in 0..MESSAGES / 10 {
                let ten = (0..10).map(|m| (format!("T{m}"), payload(n * 10 + m).into_bytes()));
                sent = rig.publish_all(ten).await.map(drop);
                if sent.is_err() {
                    break;
                }
            }
            over.send_replace(true);
            sent
        };
        let (published, visits) = tokio::join!(publish, come_and_go(&rig, watched));
        published?;
        assert!(visits? > 0, "nobody came while messages were written");
    }
    let counters = swarm.await??;
    assert!(counters.is_faultless(), "{counters}");
    assert_eq!(counters.messages, CLIENTS * MESSAGES);
    assert!(rig.metric("wsgateway_batch_frames_total").await? > 0);
    Ok(())
}
