//! Resume when not everything is there any more: retention has taken a part, or the stream is another one.

use anyhow::Result;
use async_nats::jetstream::{self, stream};
use harness::{Nats, wait_until};
use serde_json::{Value, json};

use super::client::{Client, essence};
use super::resume::{numbered, offsets, read_up_to, resume, second};
use super::rig::{Rig, SOON, STREAM, config, nats_with_stream, publish_all, stream_config};

/// A stream that keeps its last 1,000 messages.
async fn short_stream() -> Result<(Nats, jetstream::Context)> {
    let (nats, jetstream) = nats_with_stream().await?;
    let short = stream::Config { max_messages: 1_000, ..stream_config() };
    jetstream.update_stream(short).await?;
    Ok((nats, jetstream))
}

#[tokio::test]
async fn what_the_stream_has_discarded_is_told_as_a_gap_of_every_channel_then_comes_the_rest()
-> Result<()> {
    let (nats, jetstream) = short_stream().await?;
    let mut config = config(&nats.url());
    config.history.messages = 100;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    rig.publish("quiet", r#""still""#).await?;
    rig.publish_all(numbered(2_999)).await?;
    read_up_to(&rig, 3_000).await?;
    let mut client = rig.client().await?;
    let command = json!({
        "type": "subscribe", "channels": ["T1.price", "quiet", "none"], "snapshot": true,
        "resume": { "epoch": client.epoch(), "offset": 500 },
    });
    client.send(&command).await?;
    let ack = client.expect("subscription_ack").await?;
    assert_eq!((&ack["recovered"], &ack["offset"]), (&json!(false), &json!(2_000)));
    for channel in ["T1.price", "quiet", "none"] {
        let gap = client.expect("gap").await?;
        let want = json!({ "type": "gap", "channel": channel, "from": 501, "to": 2_000, "reason": "retention" });
        assert_eq!(gap, want);
    }
    let value = client.expect("message").await?;
    assert_eq!(
        (&value["snapshot"], &value["channel"], &value["offset"]),
        (&json!(true), &json!("quiet"), &json!(1))
    );
    let first = client.expect("message").await?;
    assert!(first.get("snapshot").is_none() && essence(&first).0 > 2_000, "{first}");
    Ok(())
}

#[tokio::test]
async fn a_quiet_channel_is_recovered_even_if_the_stream_has_moved_on() -> Result<()> {
    let (nats, jetstream) = short_stream().await?;
    let config = config(&nats.url());
    let rig = Rig::start_on(nats, jetstream, config).await?;
    rig.publish("quiet", "1").await?;
    rig.publish_all(numbered(2_999)).await?;
    read_up_to(&rig, 3_000).await?;
    let mut client = rig.client().await?;
    let ack = resume(&mut client, &["quiet"], 1).await?;
    assert_eq!((&ack["recovered"], &ack["offset"]), (&json!(true), &json!(1)));
    rig.publish("quiet", "2").await?;
    assert_eq!(client.expect("message").await?["prev"], 1);
    Ok(())
}

/// Resumes with last values at a place of the client's own invention; returns the client and its acknowledgement.
async fn invented(rig: &Rig, epoch: Option<&str>, offset: u64) -> Result<(Client, Value)> {
    let mut client = rig.client().await?;
    let epoch = epoch.unwrap_or(client.epoch()).to_owned();
    let resume = json!({ "epoch": epoch, "offset": offset });
    client
        .send(&json!({ "type": "subscribe", "channels": ["T1.price"], "resume": resume, "snapshot": true }))
        .await?;
    let ack = client.expect("subscription_ack").await?;
    Ok((client, ack))
}

fn epoch_gap(to: u64) -> Value {
    json!({ "type": "gap", "channel": "T1.price", "from": 0, "to": to, "reason": "epoch" })
}

#[tokio::test]
async fn a_cursor_of_a_future_that_never_was_is_told_and_goes_on_live() -> Result<()> {
    let rig = Rig::start().await?;
    rig.publish_all(numbered(10)).await?;
    read_up_to(&rig, 10).await?;
    for offset in [11, u64::MAX] {
        let (mut client, ack) = invented(&rig, None, offset).await?;
        assert_eq!((&ack["recovered"], &ack["offset"]), (&json!(false), &json!(10)), "{offset}");
        assert_eq!(client.expect("gap").await?, epoch_gap(10));
        assert_eq!(client.expect("message").await?["snapshot"], true);
    }
    wait_until(SOON, "both to be counted", async || {
        rig.metric("wsgateway_resumes_total{outcome=\"gap\"}").await.is_ok_and(|count| count == 2)
    })
    .await?;
    assert_eq!(rig.metric("wsgateway_resumes_total{outcome=\"recovered\"}").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_cursor_of_another_stream_goes_on_at_the_beginning_if_the_history_has_it() -> Result<()> {
    let rig = Rig::start().await?;
    rig.publish_all(numbered(10)).await?;
    read_up_to(&rig, 10).await?;
    let (mut client, ack) = invented(&rig, Some("another"), 3).await?;
    assert_eq!((&ack["recovered"], &ack["offset"]), (&json!(false), &json!(0)));
    assert_eq!(client.expect("gap").await?, epoch_gap(0));
    assert_eq!(offsets(&[client.next().await?, client.next().await?]), [2, 9]);
    Ok(())
}

#[tokio::test]
async fn a_cursor_of_another_stream_goes_on_live_if_the_history_does_not_reach_so_far() -> Result<()>
{
    let (nats, jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    config.history.messages = 5;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    rig.publish_all(numbered(10)).await?;
    read_up_to(&rig, 10).await?;
    let (mut client, ack) = invented(&rig, Some("another"), 3).await?;
    assert_eq!((&ack["recovered"], &ack["offset"]), (&json!(false), &json!(10)));
    assert_eq!(client.expect("gap").await?, epoch_gap(10));
    let value = client.expect("message").await?;
    assert_eq!((&value["snapshot"], &value["offset"]), (&json!(true), &json!(9)));
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_made_anew_comes_whole_to_those_who_were_sent_away() -> Result<()> {
    let rig = Rig::start().await?;
    let mut old = rig.subscriber(&[">"]).await?;
    rig.publish_all(numbered(3)).await?;
    read_up_to(&rig, 3).await?;
    rig.jetstream.delete_stream(STREAM).await?;
    rig.jetstream.create_stream(stream_config()).await?;
    // While nobody looks: the gateway may find the new stream before, between or after these.
    rig.publish_all(numbered(20)).await?;
    let (_, code) = old.until_closed().await?;
    assert_eq!(code, 1012);
    wait_until(SOON, "the gateway to have the new stream", async || {
        rig.client().await.is_ok_and(|client| client.epoch() != old.epoch())
    })
    .await?;
    read_up_to(&rig, 20).await?;

    // Here, and on a gateway that has never seen the old one.
    let elsewhere = second(&rig).await?;
    for (address, last) in [(rig.client_addr, "end.1"), (elsewhere.client_addr, "end.2")] {
        let mut client = Client::connect(address).await?;
        let resume = json!({ "epoch": old.epoch(), "offset": 3 });
        client.send(&json!({ "type": "subscribe", "channels": [">"], "resume": resume })).await?;
        assert_eq!(client.expect("subscription_ack").await?["offset"], 0);
        assert_eq!(client.expect("gap").await?["reason"], "epoch");
        let end = rig.publish(last, "0").await?;
        let messages = client.messages_until(last).await?;
        assert_eq!(offsets(&messages), (1..end).collect::<Vec<_>>());
    }
    Ok(())
}

#[tokio::test]
async fn a_range_that_is_gone_is_told_behind_what_is_left_of_it() -> Result<()> {
    let (nats, jetstream) = short_stream().await?;
    let config = config(&nats.url());
    publish_all(&jetstream, numbered(2_000)).await?;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.client().await?;
    client
        .send(&json!({ "type": "replay", "channels": ["T1.price"], "from": 900, "to": 1_100 }))
        .await?;
    let mut count = 0;
    let end = loop {
        let push = client.next().await?;
        match push["type"].as_str() {
            Some("message") => {
                assert!((1_001..=1_100).contains(&essence(&push).0), "{push}");
                count += 1;
            }
            _ => break push,
        }
    };
    let want = json!({ "type": "replay_incomplete", "from": 900, "to": 1_000, "count": count });
    assert_eq!(end, want);
    assert!(count > 10);
    Ok(())
}

#[tokio::test]
async fn a_cursor_from_long_before_the_stream_begins_goes_on_at_its_beginning() -> Result<()> {
    // As many sequences lie between as a busy stream discards in an hour.
    const FIRST: u64 = 10_000_000;
    let nats = Nats::start().await?;
    let jetstream = jetstream::new(nats.client().await?);
    let late = stream::Config { first_sequence: Some(FIRST), ..stream_config() };
    jetstream.create_stream(late).await?;
    let mut config = config(&nats.url());
    config.history.messages = 10;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    rig.publish_all(numbered(50)).await?;
    read_up_to(&rig, FIRST + 49).await?;
    let mut client = rig.client().await?;
    let ack = resume(&mut client, &[">"], 500).await?;
    assert_eq!((&ack["recovered"], &ack["offset"]), (&json!(false), &json!(FIRST - 1)));
    assert_eq!(client.expect("gap").await?["to"], FIRST - 1);
    for n in 0..50 {
        assert_eq!(client.expect("message").await?["offset"], FIRST + n);
    }
    assert_eq!(client.expect("live").await?["offset"], FIRST + 49);

    let replay =
        |from: u64, to: u64| json!({ "type": "replay", "channels": [">"], "from": from, "to": to });
    for (range, gone, count) in [
        ((50, 100), (50, 100), 0),
        ((1, FIRST - 1), (1, FIRST - 1), 0),
        ((1, FIRST + 4), (1, FIRST - 1), 5),
        ((FIRST - 9, FIRST), (FIRST - 9, FIRST - 1), 1),
    ] {
        client.send(&replay(range.0, range.1)).await?;
        for _ in 0..count {
            client.expect("message").await?;
        }
        let want =
            json!({ "type": "replay_incomplete", "from": gone.0, "to": gone.1, "count": count });
        assert_eq!(client.next().await?, want);
    }
    Ok(())
}

#[tokio::test]
async fn holes_in_the_stream_are_told_around_what_is_left() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    config.history.messages = 10;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    rig.publish_all(numbered(400)).await?;
    read_up_to(&rig, 400).await?;
    let stream = rig.jetstream.get_stream(STREAM).await?;
    for gone in (100..=140).chain(200..=210) {
        stream.delete_message(gone).await?;
    }
    let mut client = rig.client().await?;
    assert_eq!(resume(&mut client, &[">"], 50).await?["offset"], 50);
    let (mut got, mut gaps) = (Vec::new(), Vec::new());
    while got.last() != Some(&400) {
        let push = client.next().await?;
        match push["type"].as_str() {
            Some("gap") => {
                gaps.push((push["from"].as_u64(), push["to"].as_u64(), got.last().copied()))
            }
            _ => got.push(essence(&push).0),
        }
    }
    let left = (51..=400).filter(|n| !(100..=140).contains(n) && !(200..=210).contains(n));
    assert_eq!(got, left.collect::<Vec<u64>>());
    assert_eq!(gaps, [(Some(100), Some(140), Some(99)), (Some(200), Some(210), Some(199))]);

    client.send(&json!({ "type": "replay", "channels": [">"], "from": 110, "to": 130 })).await?;
    assert_eq!(client.expect("replay_incomplete").await?["count"], 0);
    Ok(())
}
