//! NATS goes away, comes back, forgets, is replaced. Clients stay connected where they can, and are told where not.

use anyhow::{Result, ensure};
use async_nats::jetstream;
use futures_util::TryStreamExt;
use harness::{Nats, Signal, wait_until, wait_until_some};
use serde_json::{Value, json};

use super::client::{Client, essence};
use super::http::{get, refused_upgrade};
use super::link::Link;
use super::process::Process;
use super::rig::{
    Rig, SOON, STREAM, config, nats_with_stream, publish_all, ready, start, stream_config,
};

/// A context on a client of its own, since the old one may still be reconnecting.
async fn publisher(nats: &Nats) -> Result<jetstream::Context> {
    Ok(jetstream::new(nats.client().await?))
}

/// Stores numbered messages on channel `a`, right now.
async fn publish(nats: &Nats, numbers: std::ops::Range<u64>) -> Result<Vec<u64>> {
    let messages = numbers.map(|n| ("a".to_owned(), n.to_string().into_bytes()));
    publish_all(&publisher(nats).await?, messages).await
}

/// The next `count` messages, as (offset, prev, data).
async fn receive(client: &mut Client, count: usize) -> Result<Vec<(u64, u64, u64)>> {
    let mut got = Vec::new();
    for _ in 0..count {
        let message = client.expect("message").await?;
        let number = |field: &str| message[field].as_u64().unwrap_or(u64::MAX);
        got.push((number("offset"), number("prev"), number("data")));
    }
    Ok(got)
}

async fn source(rig: &Rig) -> Result<Value> {
    Ok(get(rig.admin_addr, "/status").await?.json()?["source"].clone())
}

#[tokio::test]
async fn without_nats_a_start_is_not_ready_and_refuses_upgrades_until_nats_comes() -> Result<()> {
    let (mut nats, _) = nats_with_stream().await?;
    nats.stop().await?;
    let gateway = start(config(&nats.url()))?;

    let unready = get(gateway.admin_addr, "/readyz").await?;
    assert_eq!(unready.status, 503);
    assert!(unready.body.contains("source"), "{unready:?}");
    assert_eq!(get(gateway.admin_addr, "/livez").await?.status, 200);
    let health = get(gateway.client_addr, "/health").await?;
    assert_eq!((health.status, health.json()?["status"].as_str()), (503, Some("unhealthy")));
    let refused = refused_upgrade(gateway.client_addr).await?;
    assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("not_ready")));
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok()));

    nats.restart().await?;
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["a"]).await?;
    publish(&nats, 0..1).await?;
    assert_eq!(receive(&mut client, 1).await?, [(1, 0, 0)]);
    Ok(())
}

#[tokio::test]
async fn without_its_stream_a_gateway_says_that_it_waits_for_it_and_serves_once_it_is_there()
-> Result<()> {
    let nats = Nats::start().await?;
    let gateway = start(config(&nats.url()))?;
    let state = async || {
        get(gateway.admin_addr, "/status").await.ok()?.json().ok()?["source"].as_object().cloned()
    };
    let source = wait_until_some(SOON, "a gateway that waits for its stream", async || {
        state().await.filter(|source| source["state"] == "waiting_for_stream")
    })
    .await?;
    let error = source["error"].as_str().unwrap_or_default();
    assert!(error.contains(STREAM), "{error}");
    assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);

    publisher(&nats).await?.create_stream(stream_config()).await?;
    ready(gateway.admin_addr).await?;
    Client::connect(gateway.client_addr).await?.subscribe(&["a"]).await?;
    Ok(())
}

#[tokio::test]
async fn over_a_restart_of_nats_connected_clients_miss_nothing_and_get_nothing_twice() -> Result<()>
{
    let mut rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..50).await?;
    receive(&mut client, 50).await?;
    for round in 1..4 {
        rig.nats.restart().await?;
        // Right away: the gateway may still be reconnecting.
        publish(&rig.nats, round * 50..(round + 1) * 50).await?;
        let wanted: Vec<_> = (round * 50..(round + 1) * 50).map(|n| (n + 1, n, n)).collect();
        assert_eq!(receive(&mut client, 50).await?, wanted, "round {round}");
    }
    wait_until(SOON, "a live source", async || {
        source(&rig).await.is_ok_and(|source| source["state"] == "live")
    })
    .await?;
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 0);
    Ok(())
}

#[tokio::test]
async fn after_a_kill_of_nats_in_full_flow_clients_get_exactly_what_the_stream_holds() -> Result<()>
{
    let mut rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    let jetstream = rig.jetstream.clone();
    let flow = tokio::spawn(async move {
        // Ends with the first message that NATS does not take any more.
        while let Ok(ack) = jetstream.publish("p.a", "1".into()).await {
            if tokio::time::timeout(std::time::Duration::from_secs(1), ack).await.is_err() {
                return;
            }
        }
    });
    receive(&mut client, 200).await?;
    rig.nats.kill9();
    flow.await?;
    rig.nats.restart().await?;

    let jetstream = publisher(&rig.nats).await?;
    let held = jetstream.get_stream(STREAM).await?.cached_info().state.last_sequence;
    publish_all(&jetstream, [("end".to_owned(), b"1".to_vec())]).await?;
    let mut offset = 200;
    while offset < held {
        let message = client.expect("message").await?;
        assert_eq!(message["offset"], offset + 1);
        assert_eq!(message["prev"], offset);
        offset += 1;
    }
    assert_eq!(client.subscribe(&["end2"]).await?["type"], "subscription_ack");
    Ok(())
}

#[tokio::test]
async fn while_nats_is_away_clients_stay_connected_and_new_ones_are_welcome() -> Result<()> {
    let mut rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    rig.nats.stop().await?;
    wait_until(SOON, "a source that says it is away", async || {
        source(&rig).await.is_ok_and(|source| source["state"] == "connecting")
    })
    .await?;
    assert_eq!(get(rig.admin_addr, "/readyz").await?.status, 200);
    let health = get(rig.client_addr, "/health").await?;
    assert_eq!((health.status, health.json()?["status"].as_str()), (200, Some("degraded")));
    let mut second = rig.subscriber(&["a"]).await?;

    rig.nats.restart().await?;
    publish(&rig.nats, 7..8).await?;
    for client in [&mut client, &mut second] {
        assert_eq!(receive(client, 1).await?, [(1, 0, 7)]);
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_made_anew_sends_clients_away_to_a_new_epoch() -> Result<()> {
    let rig = Rig::start().await?;
    let mut old = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    receive(&mut old, 3).await?;
    rig.jetstream.delete_stream(STREAM).await?;
    rig.jetstream.create_stream(stream_config()).await?;

    let (pushes, code) = old.until_closed().await?;
    assert_eq!(code, 1012);
    assert_eq!(pushes.len(), 1, "{pushes:?}");
    assert_eq!(pushes[0]["type"], "reconnect");
    assert!(pushes[0]["afterMs"].is_u64() && pushes[0]["reason"] == "restart", "{}", pushes[0]);

    // Until every shard has been told, a client may still be greeted with the old epoch, and sent away once more.
    wait_until(SOON, "a live source", async || {
        source(&rig).await.is_ok_and(|source| source["epoch"] != old.epoch())
    })
    .await?;
    let mut new = rig.client().await?;
    assert_ne!(new.epoch(), old.epoch());
    assert_eq!(new.subscribe(&["a"]).await?["offset"], 0);
    publish(&rig.nats, 0..2).await?;
    assert_eq!(receive(&mut new, 2).await?, [(1, 0, 0), (2, 1, 1)]);
    Ok(())
}

#[tokio::test]
async fn what_the_stream_discarded_while_the_link_was_cut_is_told_as_a_gap() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let link = Link::to(nats.port()).await?;
    let rig = Rig::start_on(nats, jetstream, config(&link.url())).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    receive(&mut client, 3).await?;

    link.cut();
    publish(&rig.nats, 3..8).await?;
    rig.jetstream.get_stream(STREAM).await?.purge().await?;
    publish(&rig.nats, 8..10).await?;
    link.mend();

    let gap = client.expect("gap").await?;
    assert_eq!((&gap["channel"], &gap["reason"]), (&Value::from(">"), &Value::from("retention")));
    assert_eq!((gap["from"].as_u64(), gap["to"].as_u64()), (Some(4), Some(8)));
    let got = receive(&mut client, 2).await?;
    assert_eq!(
        got.iter().map(|(offset, _, data)| (*offset, *data)).collect::<Vec<_>>(),
        [(9, 8), (10, 9)]
    );
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 5);
    // Whoever asks for it hears the same again.
    client.send(&json!({ "type": "replay", "channels": ["a"], "from": 2, "to": 7 })).await?;
    assert_eq!([essence(&client.next().await?).0, essence(&client.next().await?).0], [2, 3]);
    let want = json!({ "type": "replay_incomplete", "from": 4, "to": 7, "count": 2 });
    assert_eq!(client.next().await?, want);
    Ok(())
}

#[tokio::test]
async fn what_is_published_while_the_link_is_cut_arrives_when_it_is_whole_again() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let link = Link::to(nats.port()).await?;
    let rig = Rig::start_on(nats, jetstream, config(&link.url())).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    for round in 0..5 {
        link.cut();
        publish(&rig.nats, round * 20..(round + 1) * 20).await?;
        link.mend();
        let wanted: Vec<_> = (round * 20..(round + 1) * 20).map(|n| (n + 1, n, n)).collect();
        assert_eq!(receive(&mut client, 20).await?, wanted, "round {round}");
    }
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_somebody_deleted_is_replaced_and_nothing_is_missed() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    receive(&mut client, 3).await?;

    let stream = rig.jetstream.get_stream(STREAM).await?;
    let names: Vec<String> = stream.consumer_names().try_collect().await?;
    assert_eq!(names.len(), 1, "one consumer per gateway: {names:?}");
    stream.delete_consumer(&names[0]).await?;
    publish(&rig.nats, 3..6).await?;
    assert_eq!(receive(&mut client, 3).await?, [(4, 3, 3), (5, 4, 4), (6, 5, 5)]);
    Ok(())
}

#[tokio::test]
async fn over_a_freeze_of_nats_longer_than_the_gateways_patience_nothing_is_missed() -> Result<()> {
    let mut rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    receive(&mut client, 3).await?;
    let restarts = rig.metric("wsgateway_source_restarts_total").await?;

    rig.nats.signal(Signal::Stop)?;
    wait_until(SOON, "a gateway that gives its consumer up", async || {
        rig.metric("wsgateway_source_restarts_total").await.is_ok_and(|count| count > restarts)
    })
    .await?;
    rig.nats.signal(Signal::Cont)?;
    publish(&rig.nats, 3..6).await?;
    assert_eq!(receive(&mut client, 3).await?, [(4, 3, 3), (5, 4, 4), (6, 5, 5)]);
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_was_frozen_while_the_stream_overtook_it_names_every_missing_message()
-> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut small = stream_config();
    small.max_messages = 50;
    jetstream.update_stream(small).await?;
    let mut config = config(&nats.url());
    // This client is not the slow one here.
    config.capacity.outbox_bytes_per_connection = 128 << 20;
    let gateway = Process::start(&config).await?;
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["a", "end"]).await?;
    publish(&nats, 0..3).await?;
    receive(&mut client, 3).await?;

    gateway.signal("STOP").await?;
    // More than flow control lets the server send ahead: the rest stays in the stream, which keeps 50.
    let filler = format!("\"{}\"", "x".repeat(64 << 10)).into_bytes();
    publish_all(&jetstream, (0..1_000).map(|_| ("a".to_owned(), filler.clone()))).await?;
    let end = publish_all(&jetstream, [("end".to_owned(), b"1".to_vec())]).await?[0];
    gateway.signal("CONT").await?;

    let (mut next, mut missing) = (4, 0);
    while next <= end {
        let push = client.next().await?;
        let number = |field: &str| push[field].as_u64().unwrap_or(u64::MAX);
        match push["type"].as_str() {
            Some("message") => {
                ensure!(number("offset") == next, "{next} is missing without a word");
                next += 1;
            }
            Some("gap") => {
                ensure!(number("from") == next && number("to") < end, "{push}, {next} was next");
                missing += number("to") + 1 - next;
                next = number("to") + 1;
            }
            _ => anyhow::bail!("{push}"),
        }
    }
    ensure!(missing > 0, "the stream did not overtake the gateway: this test proves nothing");
    Ok(())
}
