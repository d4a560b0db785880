//! Bounds: connections, subscriptions, commands, silence.

use anyhow::Result;
use harness::wait_until;
use serde_json::json;
use wsgateway_config::Millis;

use super::http;
use super::raw::{Raw, frame};
use super::rig::{Rig, SOON};

#[tokio::test]
async fn the_connection_above_capacity_is_told_to_come_back_and_gets_the_place_that_frees()
-> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 2).await?;
    let (first, mut second) = (rig.client().await?, rig.subscriber(&["a"]).await?);

    let refused = http::refused_upgrade(rig.client_addr).await?;
    assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("full")));
    let seconds: u64 = refused.header("retry-after").unwrap_or("none").parse()?;
    let ms = refused.json()?["retryAfterMs"].as_u64().unwrap_or(0);
    assert!(ms > 0 && seconds == ms.div_ceil(1000), "{seconds} s, {ms} ms");
    assert_eq!(rig.metric("wsgateway_upgrade_rejections_total{reason=\"full\"}").await?, 1);

    assert_eq!(first.close().await?, 1000);
    wait_until(SOON, "the freed place", async || rig.client().await.is_ok()).await?;
    rig.publish("a", "1").await?;
    second.expect("message").await?;
    Ok(())
}

/// A browser cannot see why an upgrade failed: a plain request answers that.
#[tokio::test]
async fn a_plain_request_to_the_endpoint_is_answered_as_an_upgrade_would_be() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let free = http::get(rig.client_addr, "/ws").await?;
    assert_eq!((free.status, free.json()?["code"].as_str()), (426, Some("upgrade_required")));
    let client = rig.client().await?;
    let full = http::get(rig.client_addr, "/ws").await?;
    assert_eq!((full.status, full.json()?["code"].as_str()), (503, Some("full")));
    assert!(full.json()?["retryAfterMs"].as_u64() > Some(0), "{full:?}");
    assert_eq!(full.header("access-control-allow-origin"), Some("*"), "readable for every page");
    assert_eq!(client.close().await?, 1000);
    wait_until(SOON, "the freed place", async || {
        http::get(rig.client_addr, "/ws").await.is_ok_and(|answer| answer.status == 426)
    })
    .await?;
    // None of these was an upgrade, and none took a place.
    assert_eq!(rig.metric("wsgateway_upgrade_rejections_total{reason=\"full\"}").await?, 0);
    assert!(rig.client().await.is_ok());
    Ok(())
}

#[tokio::test]
async fn every_place_comes_back_whichever_way_a_client_leaves() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 20).await?;
    for _ in 0..3 {
        let mut raw = Vec::new();
        for _ in 0..20 {
            raw.push(Raw::connect(rig.client_addr).await?);
        }
        assert_eq!(rig.metric("wsgateway_connections").await?, 20);
        for (number, client) in raw.iter_mut().enumerate() {
            match number % 4 {
                0 => client.write(&frame(0x88, 1000_u16.to_be_bytes())).await,
                1 => client.finish().await?,
                2 => client.write(b"garbage").await,
                _ => {} // dropped below, with a subscription
            }
        }
        drop(raw);
        wait_until(SOON, "twenty free places", async || {
            rig.metric("wsgateway_connections").await.is_ok_and(|taken| taken == 0)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn subscriptions_above_the_limit_are_rejected_one_by_one_and_the_others_hold() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.subscriptions_per_connection = 3).await?;
    let mut client = rig.client().await?;
    assert_eq!(client.hello["limits"]["subscriptions"], 3);
    let ack = client.subscribe(&["a", "b..", "b", "a", "c", "d", "e"]).await?;
    assert_eq!(ack["subscribed"], json!(["a", "b", "c"]), "each once");
    assert_eq!(
        ack["rejected"],
        json!([
            { "channel": "b..", "code": "invalid_channel" },
            { "channel": "d", "code": "too_many_subscriptions" },
            { "channel": "e", "code": "too_many_subscriptions" },
        ])
    );
    assert_eq!(ack["count"], 3);
    for channel in ["d", "c"] {
        rig.publish(channel, "1").await?;
    }
    assert_eq!(client.expect("message").await?["channel"], "c");
    client.send(&json!({ "type": "unsubscribe", "channels": ["a"] })).await?;
    client.expect("unsubscription_ack").await?;
    assert_eq!(client.subscribe(&["d"]).await?["subscribed"], json!(["d"]));
    Ok(())
}

#[tokio::test]
async fn a_client_that_answers_pings_stays_and_a_silent_one_is_closed_with_4011() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.heartbeat.interval = Millis(200);
        // Long enough that the client below cannot miss it on a busy machine.
        config.heartbeat.timeout = Millis(5_000);
    })
    .await?;
    let mut lively = rig.subscriber(&["a"]).await?;
    assert_eq!(lively.hello["heartbeatMs"], 200);
    let mut silent = Raw::connect(rig.client_addr).await?;
    let reader = tokio::spawn(async move {
        lively.expect("message").await?;
        anyhow::Ok(lively)
    });

    let ping = silent.frame().await?.expect("a ping");
    assert_eq!(ping.opcode, 9);
    assert_eq!(silent.close_code().await?, Some(4011));
    closed(&rig, 4011, 1).await?;

    rig.publish("a", "1").await?;
    assert_eq!(reader.await??.close().await?, 1000);
    Ok(())
}

#[tokio::test]
async fn any_sign_of_life_counts_as_the_answer_to_a_ping() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.heartbeat.interval = Millis(200);
        config.heartbeat.timeout = Millis(3_000);
    })
    .await?;
    let mut silent = Raw::connect(rig.client_addr).await?;
    let mut talking = Raw::connect(rig.client_addr).await?;
    let talker = tokio::spawn(async move {
        // Never a pong: each ping is answered by a command.
        for _ in 0..10 {
            while talking.frame().await?.is_none_or(|frame| frame.opcode != 9) {}
            talking.write(&frame(super::raw::TEXT, br#"{"type":"heartbeat"}"#)).await;
        }
        anyhow::Ok(talking)
    });
    assert_eq!(silent.close_code().await?, Some(4011));
    talker.await??;
    Ok(())
}

#[tokio::test]
async fn ten_thousand_subscriptions_in_one_command_get_the_limit_and_a_partial_answer() -> Result<()>
{
    let rig = Rig::start().await?;
    let mut client = rig.client().await?;
    // Three letters each: all of them fit into one command.
    let letter = |n: u32| char::from_digit(n % 36, 36).unwrap_or('-');
    let name = |n: u32| [letter(n / 1_296), letter(n / 36), letter(n)].iter().collect();
    let channels: Vec<String> = (0..10_000).map(name).collect();
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    let ack = client.subscribe(&names).await?;
    assert_eq!(ack["subscribed"], json!(names[..128]));
    assert_eq!((&ack["count"], &ack["rejectedCount"]), (&json!(128), &json!(10_000 - 128)));
    let listed = ack["rejected"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(listed.len(), 128, "the first ones, not a flood");
    assert_eq!(listed[0], json!({ "channel": names[128], "code": "too_many_subscriptions" }));
    rig.publish(names[127], "1").await?;
    assert_eq!(client.expect("message").await?["channel"], names[127]);
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_begun_and_not_ended_is_closed_with_1008_and_what_it_held_is_free()
-> Result<()> {
    let rig = Rig::start().await?;
    let whole = frame(super::raw::TEXT, br#"{"type":"ping"}"#);
    let mut half = Raw::connect(rig.client_addr).await?;
    half.write(&whole[..whole.len() - 1]).await;
    let mut fragments = Raw::connect(rig.client_addr).await?;
    fragments.write(&frame(0x01, b"")).await;
    let mut header = Raw::connect(rig.client_addr).await?;
    header.write(&whole[..1]).await;
    // One that ends each message in time may begin another one with the same byte.
    let mut good = Raw::connect(rig.client_addr).await?;
    good.write(&whole[..1]).await;
    good.write(&[&whole[1..], &whole[..1]].concat()).await;
    assert_eq!(good.json().await?["type"], "pong");
    good.write(&whole[1..]).await;
    assert_eq!(good.json().await?["type"], "pong");
    for late in [&mut half, &mut fragments, &mut header] {
        assert_eq!(late.close_code().await?, Some(1008));
    }
    closed(&rig, 1008, 3).await?;
    good.write(&whole).await;
    assert_eq!(good.json().await?["type"], "pong");
    Ok(())
}

/// The largest command that is not whole yet.
fn half_message() -> Vec<u8> {
    let whole = frame(super::raw::TEXT, vec![b' '; 64 << 10]);
    whole[..whole.len() - 1].to_vec()
}

#[tokio::test]
async fn what_all_clients_have_begun_and_not_ended_is_bounded_and_the_largest_are_sent_away()
-> Result<()> {
    const CROWD: usize = 200;
    let rig = Rig::start_with(|config| config.capacity.connections = 1_000).await?;
    let bound = 4 << 20;
    // Honest ones: their messages come in two pieces and are small.
    let whole = frame(super::raw::TEXT, br#"{"type":"ping"}"#);
    let mut honest = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(rig.client_addr).await?;
        raw.write(&whole[..10]).await;
        honest.push(raw);
    }
    let half = half_message();
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut raw = Raw::connect(rig.client_addr).await?;
        raw.write(&half).await;
        crowd.push(raw);
    }
    wait_until(SOON, "some to be sent away", async || {
        let closed = rig.metric("wsgateway_disconnects_total{code=\"1013\"}").await.unwrap_or(0);
        closed as usize >= CROWD - (bound >> 16)
    })
    .await?;
    assert!(rig.metric("wsgateway_unfinished_bytes").await? <= bound as u64);
    for raw in &mut honest {
        raw.write(&whole[10..]).await;
        assert_eq!(raw.json().await?["type"], "pong");
    }
    drop(crowd);
    wait_until(SOON, "nothing to be held", async || {
        rig.metric("wsgateway_unfinished_bytes").await.is_ok_and(|bytes| bytes == 0)
    })
    .await
}

#[tokio::test]
async fn every_shard_tells_how_far_it_is_behind() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    rig.publish("a", "1").await?;
    client.expect("message").await?;
    for shard in 0..2 {
        rig.metric(&format!("wsgateway_shard_longest_turn_seconds{{shard=\"{shard}\"}}")).await?;
        let inbox = format!("wsgateway_shard_inbox_messages{{shard=\"{shard}\"}}");
        assert_eq!(rig.metric(&inbox).await?, 0);
    }
    Ok(())
}

/// Waits until so many connections are counted as closed with a code: a shard publishes its tally at the end of a turn.
async fn closed(rig: &Rig, code: u16, count: u64) -> Result<()> {
    let metric = format!("wsgateway_disconnects_total{{code=\"{code}\"}}");
    wait_until(SOON, "the closed connections in the tally", async || {
        rig.metric(&metric).await.is_ok_and(|closed| closed == count)
    })
    .await
}
