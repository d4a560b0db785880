//! Messages that repeat a nonce: dropped where the rule asks for it, alike on every pod.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wsgateway_config::{Millis, Rule};

use super::client::Client;
use super::odin;
use super::rig::{Rig, config, ready, start};

fn dedupe(window: u64) -> Vec<Rule> {
    let r#match = "trades.*".to_owned();
    vec![Rule { r#match, dedupe_window: Millis(window), ..Rule::default() }]
}

fn payload(nonce: &str, n: u64) -> String {
    json!({ "nonce": nonce, "n": n }).to_string()
}

/// Data of the next message.
async fn data(client: &mut Client) -> Result<(u64, Value)> {
    let message = client.next().await?;
    ensure!(message["data"].is_object(), "no data: {message}");
    Ok((message["offset"].as_u64().unwrap_or_default(), message["data"]["n"].clone()))
}

#[tokio::test]
async fn a_nonce_that_was_there_before_is_dropped_for_everybody_and_counted() -> Result<()> {
    let rig = Rig::start_with(|config| config.channels.rules = dedupe(60_000)).await?;
    let mut v1 = rig.subscriber(&[">"]).await?;
    let mut odin = odin::subscriber(rig.client_addr, &[">"]).await?;
    let first = rig.publish("trades.BTC", payload("a", 1)).await?;
    rig.publish("trades.BTC", payload("a", 2)).await?;
    rig.publish("trades.ETH", payload("a", 3)).await?;
    rig.publish("BTC.price", payload("a", 4)).await?;
    rig.publish("BTC.price", payload("a", 5)).await?;
    rig.publish("trades.BTC", "not JSON").await?;
    rig.publish("trades.BTC", "not JSON").await?;
    rig.publish("trades.BTC", payload("b", 6)).await?;

    let mut got = Vec::new();
    while got.len() < 7 {
        got.push(v1.expect("message").await?);
    }
    let numbers: Vec<_> = got.iter().map(|message| &message["data"]["n"]).collect();
    assert_eq!(json!(numbers), json!([1, 3, 4, 5, null, null, 6]));
    assert_eq!(got[4]["prev"], first, "what was dropped is not the message before another");
    let seqs = odin::seqs(&odin::messages(&mut odin, 7).await?);
    assert_eq!(seqs, (1..=7).collect::<Vec<_>>(), "and leaves no hole");
    assert_eq!(rig.stat("duplicatesDropped").await?, 1);
    assert_eq!(rig.metric("wsgateway_duplicates_dropped_total").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_client_that_moves_to_a_pod_that_started_in_between_gets_nothing_twice_and_misses_nothing()
-> Result<()> {
    let rig = Rig::start_with(|config| config.channels.rules = dedupe(60_000)).await?;
    let mut old = rig.subscriber(&[">"]).await?;
    rig.publish("trades.BTC", payload("a", 1)).await?;
    rig.publish("trades.BTC", payload("b", 2)).await?;
    let (mut cursor, mut seen) = (0, Vec::new());
    for _ in 0..2 {
        let (offset, n) = data(&mut old).await?;
        cursor = offset;
        seen.push(n);
    }
    let epoch = old.epoch().to_owned();
    drop(old);

    // This one has only what the stream holds to go by.
    let mut other = config(&rig.nats.url());
    other.channels.rules = dedupe(60_000);
    let second = start(other)?;
    ready(second.admin_addr).await?;
    rig.publish("trades.BTC", payload("a", 3)).await?;
    rig.publish("trades.BTC", payload("c", 4)).await?;
    rig.publish("trades.BTC", payload("b", 5)).await?;
    rig.publish("trades.BTC", payload("d", 6)).await?;

    let mut client = Client::connect(second.client_addr).await?;
    let resume = json!({"epoch": epoch, "offset": cursor});
    client.send(&json!({"type": "subscribe", "channels": [">"], "resume": resume})).await?;
    assert_eq!(client.expect("subscription_ack").await?["recovered"], true);
    for _ in 0..2 {
        seen.push(data(&mut client).await?.1);
    }
    assert_eq!(seen, [1, 2, 4, 6]);
    second.abort();
    Ok(())
}
