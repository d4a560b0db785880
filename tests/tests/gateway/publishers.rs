//! What publishers may write, and strangers into the gateway's own inbox: it stays what it is, a message or nothing.

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::stream;
use futures_util::TryStreamExt as _;
use harness::{Nats, RawPublisher, wait_until};
use serde_json::json;

use super::client::Client;
use super::redis_rig::{metric, wait_for_state};
use super::rig::{Rig, SOON, STREAM, config, nats_with_stream, ready, start, stream_config};
use super::source_faults::{publish, receive};

/// Publishes with a header block made by hand: no library lets one write a status line.
async fn publish_raw(nats: &Nats, subject: &str, head: &str, payload: &str) -> Result<()> {
    publish_raw_with_reply(nats, subject, "", head, payload).await
}

async fn publish_raw_with_reply(
    nats: &Nats,
    subject: &str,
    reply: &str,
    head: &str,
    payload: &str,
) -> Result<()> {
    let mut publisher = RawPublisher::connect(&nats.url()).await?;
    let head = format!("{head}\r\n\r\n");
    publisher.send(subject, reply, head.as_bytes(), payload.as_bytes()).await
}

/// Header blocks of messages that pretend to come from the server.
const LIES: [&str; 7] = [
    "NATS/1.0 100 Idle Heartbeat",
    "NATS/1.0 100 FlowControl Request",
    "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 99\r\nNats-Last-Stream: 99\r\nNats-Consumer-Stalled: p.victim",
    "NATS/1.0 409 Consumer Deleted",
    "NATS/1.0 404 No Messages",
    "NATS/1.0 503",
    "NATS/1.0\r\nNats-Stream: OTHER\r\nNats-Sequence: 1\r\nNats-Subject: p.victim\r\nNats-Time-Stamp: never\r\nNats-Num-Pending: 7",
];

#[tokio::test]
async fn headers_that_lie_are_no_more_than_headers_of_a_message() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&[">"]).await?;
    for (at, head) in LIES.iter().enumerate() {
        publish_raw(&rig.nats, "p.a", head, &at.to_string()).await?;
        let message = client.expect("message").await?;
        assert_eq!(
            (&message["channel"], &message["data"], &message["offset"]),
            (&json!("a"), &json!(at), &json!(at + 1))
        );
    }
    assert_eq!(rig.metric("wsgateway_source_restarts_total").await?, 0);

    // A gateway that reads them back is no more impressed.
    let second = start(config(&rig.nats.url()))?;
    ready(second.admin_addr).await?;
    let mut late = Client::connect(second.client_addr).await?;
    assert_eq!(late.subscribe(&[">"]).await?["offset"], LIES.len());
    publish(&rig.nats, 50..51).await?;
    assert_eq!(late.expect("message").await?["prev"], LIES.len());
    Ok(())
}

#[tokio::test]
async fn messages_with_headers_that_lie_are_found_when_they_are_looked_up() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    jetstream.update_stream(stream::Config { allow_direct: true, ..stream_config() }).await?;
    let mut config = config(&nats.url());
    config.history.messages = 1;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    for (at, head) in LIES.iter().enumerate() {
        publish_raw(&rig.nats, "p.a", head, &at.to_string()).await?;
    }
    let last = publish(&rig.nats, 50..53).await?;
    wait_until(SOON, "a gateway that has read all", async || {
        let status = wait_for_state(rig.admin_addr, "live").await.unwrap_or_default();
        status["lastSequence"] == last
    })
    .await?;
    let mut client = rig.client().await?;
    let resume = json!({ "epoch": client.epoch(), "offset": 0 });
    client
        .send(&json!({ "type": "subscribe", "id": 1, "channels": [">"], "resume": resume }))
        .await?;
    let ack = client.expect("subscription_ack").await?;
    assert_eq!(ack["recovered"], true, "{ack}");
    let numbers = receive(&mut client, 0, last).await?;
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 50, 51, 52]);
    Ok(())
}

#[tokio::test]
async fn a_repeated_message_id_is_one_message_and_an_empty_payload_is_one_too() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    for (id, payload) in [("1", ""), ("1", "again"), ("2", "2")] {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers.append("X-Odd", "ünï");
        headers.append("X-Odd", "");
        rig.jetstream.publish_with_headers("p.a", headers, payload.into()).await?.await?;
    }
    let empty = client.expect("message").await?;
    assert_eq!((&empty["encoding"], &empty["data"]), (&json!("base64"), &json!("")));
    let second = client.expect("message").await?;
    assert_eq!((&second["offset"], &second["data"]), (&json!(2), &json!(2)));
    Ok(())
}

#[tokio::test]
async fn whoever_writes_to_the_gateways_own_inbox_neither_feeds_nor_commands_it() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&[">"]).await?;
    let stream = rig.jetstream.get_stream(STREAM).await?;
    let consumers: Vec<_> = stream.consumers().try_collect().await?;
    let inbox = consumers[0].config.deliver_subject.clone().context("no inbox")?;

    let nats = rig.nats.client().await?;
    let none = HeaderMap::new;
    // An answer to any of these would be a message in our name, here one that the stream takes.
    nats.publish_with_reply(inbox.clone(), "p.victim", "1".into()).await?;
    nats.publish_with_reply(inbox.clone(), "$JS.ACK.OTHER.x.1.900.1.1.0", "2".into()).await?;
    nats.publish_with_reply_and_headers(inbox.clone(), "$JS.ACK.x", none(), "3".into()).await?;
    nats.flush().await?;
    publish_raw(&rig.nats, &inbox, "NATS/1.0 100 FlowControl Request", "").await?;
    let request = "NATS/1.0 100 FlowControl Request";
    publish_raw_with_reply(&rig.nats, &inbox, "p.victim", request, "").await?;
    publish_raw(
        &rig.nats,
        &inbox,
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: p.victim",
        "",
    )
    .await?;
    publish_raw(&rig.nats, &inbox, "NATS/1.0 409 Consumer Deleted", "").await?;

    publish(&rig.nats, 7..9).await?;
    for (offset, data) in [(1, 7), (2, 8)] {
        let message = client.expect("message").await?;
        assert_eq!(
            (&message["offset"], &message["channel"], &message["data"]),
            (&json!(offset), &json!("a"), &json!(data))
        );
    }
    assert_eq!(stream.get_info().await?.state.messages, 2, "the gateway wrote something");
    assert_eq!(metric(rig.admin_addr, "wsgateway_source_restarts_total").await?, 0);
    Ok(())
}
