//! Subscriptions of one connection that share channels: each message once and in order, whatever looks back.

use std::collections::HashMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::client::{Client, essence};
use super::resume::{END, offsets, read_up_to, resume};
use super::rig::Rig;

/// Messages of two channels in turn, more than a socket takes of a client that does not read.
const MANY: u64 = 2_000;

/// Publishes [`MANY`] and returns a client that is behind all of them, with the acknowledgement read and nothing else.
async fn far_behind(rig: &Rig, channels: &[&str]) -> Result<Client> {
    let payload = json!("x".repeat(8 << 10)).to_string().into_bytes();
    let message = |n| (["A.trade", "B.price"][n as usize % 2].to_owned(), payload.clone());
    rig.publish_all((0..MANY).map(message)).await?;
    read_up_to(rig, MANY).await?;
    let mut client = rig.client().await?;
    assert_eq!(resume(&mut client, channels, 0).await?["offset"], 0);
    Ok(client)
}

/// The data messages up to one on `end`, which is left out.
async fn until(client: &mut Client, end: &str) -> Result<Vec<Value>> {
    let mut messages = Vec::new();
    loop {
        let push = client.next().await?;
        match push["type"].as_str() {
            Some("message") if push["channel"] == end && push.get("snapshot").is_none() => {
                return Ok(messages);
            }
            Some("message") => messages.push(push),
            _ => {}
        }
    }
}

/// Everything up to so many acknowledgements: data messages, and each acknowledgement with the number of those before it.
async fn until_acknowledged(
    client: &mut Client,
    count: usize,
) -> Result<(Vec<Value>, Vec<(usize, Value)>)> {
    let (mut messages, mut acks) = (Vec::new(), Vec::new());
    while acks.len() < count {
        let push = client.next().await?;
        match push["type"].as_str() {
            Some("message") => messages.push(push),
            Some("subscription_ack") => acks.push((messages.len(), push)),
            _ => {}
        }
    }
    Ok((messages, acks))
}

/// No message twice, and those of each channel in order.
fn check_order(messages: &[Value]) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for message in messages.iter().filter(|message| message.get("snapshot").is_none()) {
        let offset = essence(message).0;
        let before = last.insert(message["channel"].as_str().unwrap_or_default(), offset);
        assert!(before.is_none_or(|before| before < offset), "{before:?} then {message}");
    }
}

#[tokio::test]
async fn a_subscription_that_shares_channels_with_a_replay_waits_for_it() -> Result<()> {
    for snapshot in [false, true] {
        let rig = Rig::start().await?;
        let mut client = far_behind(&rig, &["*.trade"]).await?;
        for channels in [json!(["A.trade"]), json!(["A.*"]), json!([END])] {
            let command =
                json!({ "type": "subscribe", "channels": channels, "snapshot": snapshot });
            client.send(&command).await?;
        }
        let (mut messages, acks) = until_acknowledged(&mut client, 3).await?;
        rig.publish("A.trade", "0").await?;
        rig.publish("A.price", "0").await?;
        messages.extend(until(&mut client, "A.price").await?);
        check_order(&messages);
        let live: Vec<_> = messages.iter().filter(|m| m.get("snapshot").is_none()).collect();
        let trades = live.iter().filter(|message| message["channel"] == "A.trade").count() as u64;
        assert_eq!(trades, MANY / 2 + 1, "each once");
        // What shares nothing is answered at once, the others when the replay is done.
        let alone = acks.iter().find(|(_, ack)| ack["subscribed"] == json!([END]));
        let shared = acks.iter().find(|(_, ack)| ack["subscribed"] == json!(["A.*"]));
        let (Some((alone, _)), Some((shared, ack))) = (alone, shared) else {
            panic!("no answer: {acks:?}");
        };
        assert!(*alone < MANY as usize / 2 && *shared >= MANY as usize / 2, "{alone} {shared}");
        assert!(ack["offset"].as_u64() >= Some(MANY), "{ack}");
    }
    Ok(())
}

#[tokio::test]
async fn a_subscription_waits_no_longer_for_a_replay_that_is_taken_back() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = far_behind(&rig, &["*.trade"]).await?;
    let subscribe = json!({ "type": "subscribe", "channels": ["A.trade", END] });
    client.send(&subscribe).await?;
    // Saying it again before it is answered changes nothing.
    client.send(&subscribe).await?;
    client.send(&json!({ "type": "unsubscribe", "channels": ["*.trade"] })).await?;
    let (mut messages, acks) = until_acknowledged(&mut client, 2).await?;
    for (_, ack) in acks {
        assert_eq!((&ack["offset"], &ack["count"]), (&json!(MANY), &json!(2)), "{ack}");
    }
    assert!(messages.len() < MANY as usize / 2, "the rest was given up");
    let next = rig.publish("A.trade", "0").await?;
    rig.publish(END, "0").await?;
    messages.extend(until(&mut client, END).await?);
    check_order(&messages);
    assert_eq!(messages.last().map(|message| essence(message).0), Some(next));
    Ok(())
}

#[tokio::test]
async fn what_comes_live_already_is_not_replayed_by_a_pattern_that_covers_it() -> Result<()> {
    let rig = Rig::start().await?;
    for n in 0..10 {
        rig.publish(["A.trade", "A.price"][n % 2], "0").await?;
    }
    read_up_to(&rig, 10).await?;
    let mut client = rig.subscriber(&["A.trade"]).await?;
    for n in 0..10 {
        rig.publish(["A.trade", "A.price"][n % 2], "0").await?;
    }
    read_up_to(&rig, 20).await?;
    let live: Vec<Value> = [client.next().await?, client.next().await?].into();
    assert_eq!(offsets(&live), [11, 13]);
    resume_while_reading(&mut client, &rig).await
}

/// Resumes everything from the beginning on a connection that holds one of the channels.
async fn resume_while_reading(client: &mut Client, rig: &Rig) -> Result<()> {
    let command = json!({
        "type": "subscribe", "channels": [">"], "resume": { "epoch": client.epoch(), "offset": 0 },
    });
    client.send(&command).await?;
    client.send(&json!({ "type": "unsubscribe", "channels": ["A.trade"] })).await?;
    let after = [rig.publish("A.trade", "0").await?, rig.publish("A.price", "0").await?];
    rig.publish(END, "0").await?;
    let messages = until(client, END).await?;
    check_order(&messages);
    let of = |channel: &str| {
        let own = messages.iter().filter(|message| message["channel"] == channel);
        own.map(|message| essence(message).0).collect::<Vec<_>>()
    };
    assert_eq!(of("A.trade"), [15, 17, 19, after[0]], "none of those from before it was held");
    let prices: Vec<u64> = (1..=20).filter(|n| n % 2 == 0).chain([after[1]]).collect();
    assert_eq!(of("A.price"), prices);
    Ok(())
}

#[tokio::test]
async fn a_pong_and_a_subscribe_without_channels_say_up_to_where_everything_was_sent() -> Result<()>
{
    for (question, answer) in [
        (json!({ "type": "subscribe", "id": 8, "channels": [] }), "subscription_ack"),
        (json!({ "type": "ping", "timestamp": 8 }), "pong"),
        (json!({ "type": "heartbeat" }), "pong"),
    ] {
        let rig = Rig::start().await?;
        let mut client = far_behind(&rig, &[">"]).await?;
        client.send(&question).await?;
        let (mut last, mut answers) = (0, Vec::new());
        while last < 2_000 {
            let push = client.next().await?;
            if push["type"] == answer {
                assert_eq!(push["offset"], last, "what was sent before the answer, nothing else");
                answers.push(last);
            } else {
                assert_eq!(essence(&push).0, last + 1);
                last += 1;
            }
        }
        assert!(answers.first().is_some_and(|answer| *answer < 2_000), "{answer}: {answers:?}");
        client.send(&question).await?;
        assert_eq!(client.expect(answer).await?["offset"], 2_000);
        // Without a subscription everything that is due has been sent, too.
        client.send(&json!({ "type": "unsubscribe", "channels": [">"] })).await?;
        client.expect("unsubscription_ack").await?;
        let last = rig.publish("A.trade", "0").await?;
        read_up_to(&rig, last).await?;
        loop {
            client.send(&question).await?;
            let offset = client.expect(answer).await?["offset"].as_u64();
            assert!(offset <= Some(last), "{offset:?}");
            if offset == Some(last) {
                break;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn commands_of_a_crowd_that_share_channels_keep_their_order_too() -> Result<()> {
    let rig = Rig::start().await?;
    for _ in 0..20 {
        rig.publish("A.trade", "0").await?;
    }
    read_up_to(&rig, 20).await?;
    let mut client = rig.client().await?;
    // As many as a shard answers in one turn: what comes behind them in the same write waits for the next.
    let nothing = json!({ "type": "replay", "channels": ["none"], "from": 1 });
    let mut commands = vec![nothing; 32];
    for channels in [json!(["*.trade"]), json!(["A.trade", END])] {
        let resume = json!({ "epoch": client.epoch(), "offset": 0 });
        commands.push(json!({ "type": "subscribe", "channels": channels, "resume": resume }));
    }
    client.send_at_once(&commands).await?;
    let (mut messages, _) = until_acknowledged(&mut client, 2).await?;
    let last = rig.publish("A.trade", "0").await?;
    rig.publish(END, "0").await?;
    messages.extend(until(&mut client, END).await?);
    assert_eq!(offsets(&messages), (1..=last).collect::<Vec<_>>());
    Ok(())
}
