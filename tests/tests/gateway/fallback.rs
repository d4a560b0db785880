//! Event streams, and what they and long-polls refuse: the same cursor and the same limits, without WebSocket.

use anyhow::{Context, Result};
use serde_json::json;
use wsgateway_config::Millis;

use super::events::Events;
use super::http::{ask, get};
use super::rig::{Rig, SOON};

#[tokio::test]
async fn an_event_stream_brings_messages_with_their_cursor_and_resumes_from_it() -> Result<()> {
    let rig = Rig::start().await?;
    rig.settle("a", r#"{"n":1}"#).await?;
    let mut events = Events::open(&rig, "channels=a,b.*&snapshot=true", "").await?;
    assert!(
        events.head.to_ascii_lowercase().contains("content-type: text/event-stream"),
        "{}",
        events.head
    );
    let hello = events.expect("connection:established").await?.json()?;
    let epoch = hello["epoch"].as_str().context("no epoch")?.to_owned();
    let ack = events.expect("subscription_ack").await?;
    // Not all last values have been sent: whoever comes back with this gets them again.
    assert_eq!(ack.id, format!("{epoch}:1~"));
    let value = events.expect("").await?;
    assert_eq!((value.id.as_str(), &value.json()?["snapshot"]), ("", &json!(true)));
    assert_eq!(events.expect("live").await?.id, format!("{epoch}:1"));
    // Line ends between the tokens of the publisher's JSON.
    rig.publish("b.c", "{\"n\":\r\n2,\n\"m\": [\r3]}").await?;
    let message = events.expect("").await?;
    assert_eq!(message.id, format!("{epoch}:2"));
    let json = message.json()?;
    assert_eq!((&json["channel"], &json["data"]), (&json!("b.c"), &json!({ "n": 2, "m": [3] })));
    drop(events);
    for n in 3..=5 {
        rig.settle("a", &n.to_string()).await?;
    }
    // A browser asks for the same URL again and names the last id that it saw.
    let header = format!("Last-Event-ID: {epoch}:2\r\n");
    let mut events = Events::open(&rig, "channels=a,b.*&snapshot=true", &header).await?;
    events.expect("connection:established").await?;
    assert_eq!(events.expect("subscription_ack").await?.json()?["recovered"], true);
    for n in 3..=5 {
        let message = events.expect("").await?;
        assert_eq!(message.id, format!("{epoch}:{n}"));
        assert_eq!(message.json()?["data"], n);
    }
    assert_eq!(events.expect("live").await?.id, format!("{epoch}:5"));
    Ok(())
}

#[tokio::test]
async fn an_event_stream_that_is_cut_among_its_last_values_gets_them_when_it_comes_back()
-> Result<()> {
    const CHANNELS: usize = 200;
    let rig = Rig::start().await?;
    // More than the sockets between us hold.
    let filler = "x".repeat(50_000);
    for n in 0..CHANNELS {
        rig.publish(&format!("c.{n}"), format!(r#"{{"n":{n},"filler":"{filler}"}}"#)).await?;
    }
    rig.settle("other", "0").await?;
    let mut events = Events::open(&rig, "channels=c.*,new&snapshot=true", "").await?;
    let hello = events.expect("connection:established").await?.json()?;
    let epoch = hello["epoch"].as_str().context("no epoch")?.to_owned();
    let id = events.expect("subscription_ack").await?.id;
    assert_eq!(id, format!("{epoch}:{}~", CHANNELS + 1));
    events.expect("").await?;
    drop(events);
    rig.settle("new", r#"{"n":"new"}"#).await?;

    let header = format!("Last-Event-ID: {id}\r\n");
    let mut events = Events::open(&rig, "channels=c.*,new&snapshot=true", &header).await?;
    events.expect("connection:established").await?;
    assert_eq!(events.expect("subscription_ack").await?.json()?["recovered"], true);
    let message = events.expect("").await?;
    assert_eq!(message.json()?["data"]["n"], "new");
    let behind = format!("{epoch}:{}", CHANNELS + 2);
    assert_eq!(message.id, format!("{behind}~"));
    assert_eq!(events.expect("live").await?.id, format!("{behind}~"));
    let mut values = Vec::new();
    let last = loop {
        let event = events.next().await?;
        if event.kind == "live" {
            break event.id;
        }
        let value = event.json()?;
        assert_eq!((event.id.as_str(), &value["snapshot"]), ("", &json!(true)));
        values.push(value["data"]["n"].clone());
    };
    assert_eq!(last, behind);
    let mut expected: Vec<_> = (0..CHANNELS).map(|n| json!(n)).collect();
    expected.push(json!("new"));
    assert_eq!(values, expected);
    Ok(())
}

#[tokio::test]
async fn the_heartbeat_of_an_event_stream_keeps_the_cursor_of_quiet_channels_young() -> Result<()> {
    let rig = Rig::start_with(|config| config.heartbeat.interval = Millis(100)).await?;
    let mut events = Events::open(&rig, "channels=quiet", "").await?;
    let hello = events.expect("connection:established").await?.json()?;
    assert_eq!(hello["heartbeatMs"], 100);
    events.expect("subscription_ack").await?;
    for n in 1..=3 {
        rig.publish("loud", n.to_string()).await?;
    }
    let last = format!("{}:3", hello["epoch"].as_str().context("no epoch")?);
    loop {
        let block = events.block().await?;
        assert_eq!((block.data.as_str(), block.kind.as_str()), ("", ""), "an id is no event");
        if block.id == last {
            break;
        }
    }
    rig.publish("quiet", "4").await?;
    assert_eq!(events.expect("").await?.json()?["data"], 4);
    Ok(())
}

#[tokio::test]
async fn an_event_stream_is_counted_and_told_to_come_back_when_the_pod_stops() -> Result<()> {
    let mut rig = Rig::start().await?;
    let mut events = Events::open(&rig, "channels=a", "").await?;
    events.expect("connection:established").await?;
    events.expect("subscription_ack").await?;
    assert_eq!(rig.metric("wsgateway_connections").await?, 1);
    rig.shutdown().await?;
    let advice = events.expect("reconnect").await?;
    assert_eq!(advice.retry, advice.json()?["afterMs"].to_string());
    assert_eq!(events.expect("close").await?.json()?["code"], 1012);
    Ok(())
}

#[tokio::test]
async fn a_browser_that_finds_no_place_is_told_when_to_come_back() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let mut holder = Events::open(&rig, "channels=a", "").await?;
    holder.expect("connection:established").await?;
    // An EventSource gives up for good after a 503.
    let accept = "Accept: text/event-stream\r\n";
    let mut events = Events::open(&rig, "channels=a", accept).await?;
    let close = events.expect("close").await?;
    let json = close.json()?;
    assert_eq!((&json["code"], &json["reason"]), (&json!(1013), &json!("full")));
    assert_eq!(close.retry, json["retryAfterMs"].to_string());
    assert!(events.line().await.is_err(), "nothing follows");
    assert_eq!(rig.metric(r#"wsgateway_upgrade_rejections_total{reason="full"}"#).await?, 1);
    // What can never work stays an error.
    assert_eq!(ask(rig.client_addr, "/sse?channels=", "Connection: close\r\n").await?.status, 400);
    Ok(())
}

#[tokio::test]
async fn a_place_comes_back_when_an_event_stream_ends() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let mut events = Events::open(&rig, "channels=a", "").await?;
    events.expect("connection:established").await?;
    for path in ["/sse?channels=a", "/poll?channels=a"] {
        // The connection ends by itself: whoever tries again may find another pod.
        let full = ask(rig.client_addr, path, "").await?;
        assert_eq!((full.status, full.json()?["code"].clone()), (503, json!("full")), "{path}");
        assert_eq!(full.header("connection"), Some("close"));
    }
    drop(events);
    // What is written to a client that has gone is how the gateway learns of it.
    harness::wait_until(SOON, "the place to come back", async || {
        drop(rig.publish("a", "1").await);
        rig.metric("wsgateway_connections").await.is_ok_and(|count| count == 0)
    })
    .await
}

#[tokio::test]
async fn bad_channels_are_rejected_one_by_one_and_the_others_served() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.subscriptions_per_connection = 2).await?;
    rig.settle("a", "1").await?;
    let names = "channels=a,a..b,a*,b,c&snapshot=true";
    let rejected = json!([
        { "channel": "a..b", "code": "invalid_channel" },
        { "channel": "a*", "code": "invalid_wildcard" },
        { "channel": "c", "code": "too_many_subscriptions" },
    ]);
    let answer = get(rig.client_addr, &format!("/poll?{names}")).await?.json()?;
    assert_eq!((&answer["rejected"], &answer["messages"][0]["data"]), (&rejected, &json!(1)));
    let mut events = Events::open(&rig, names, "").await?;
    events.expect("connection:established").await?;
    assert_eq!(events.expect("subscription_ack").await?.json()?["rejected"], rejected);
    assert_eq!(events.expect("").await?.json()?["data"], 1);
    // With nothing left to wait for, nobody waits.
    let answer = get(rig.client_addr, "/poll?channels=a..b&cursor=e:1&wait=55").await?.json()?;
    assert_eq!(answer["rejected"][0]["code"], "invalid_channel");
    Ok(())
}

#[tokio::test]
async fn payloads_of_any_kind_and_size_come_by_event_stream_and_long_poll() -> Result<()> {
    let rig =
        Rig::start_with(|config| config.capacity.outbox_bytes_per_connection = 8 << 20).await?;
    // The largest that NATS takes as it comes, lines that would end an event, and what is no text, or nothing at all.
    let large = json!("x".repeat((1 << 20) - 2)).to_string().into_bytes();
    let payloads = [large, b"{\n\r\n\"a\":\n1}".to_vec(), b"\xff\xfe".into(), Vec::new()];
    rig.publish_all(payloads.iter().map(|payload| ("a".to_owned(), payload.clone()))).await?;
    rig.settle("a", "7").await?;
    let mut live = rig.client().await?;
    let resume = json!({ "epoch": live.epoch(), "offset": 0 });
    let cursor = format!("{}:0", live.epoch());
    live.send(&json!({ "type": "subscribe", "channels": ["a"], "resume": resume })).await?;
    live.expect("subscription_ack").await?;

    let mut events = Events::open(&rig, &format!("channels=a&cursor={cursor}"), "").await?;
    events.expect("connection:established").await?;
    events.expect("subscription_ack").await?;
    let (mut polled, mut from) = (Vec::new(), cursor);
    while polled.len() < 5 {
        let path = format!("/poll?channels=a&cursor={from}");
        let answer = get(rig.client_addr, &path).await?.json()?;
        polled.extend(answer["messages"].as_array().context("no messages")?.clone());
        from = answer["cursor"].as_str().context("no cursor")?.to_owned();
    }
    for polled in polled {
        let wanted = live.expect("message").await?;
        assert_eq!(events.expect("").await?.json()?, wanted);
        assert_eq!(polled, wanted);
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_reason() -> Result<()> {
    let rig = Rig::start().await?;
    for path in ["/sse", "/poll"] {
        for (query, code) in [
            ("", "invalid_channels"),
            ("?channels=", "invalid_channels"),
            ("?channels=,", "invalid_channels"),
            ("?channels=a&cursor=7", "invalid_cursor"),
            ("?channels=a&cursor=e:-7", "invalid_cursor"),
            ("?channels=a&wait=soon", "invalid_query"),
            ("?channels=a&channels=b", "invalid_query"),
        ] {
            let refusal = get(rig.client_addr, &format!("{path}{query}")).await?;
            let got = (refusal.status, refusal.json()?["code"].clone());
            assert_eq!(got, (400, json!(code)), "{path}{query}");
            let readable = refusal.header("access-control-allow-origin");
            assert_eq!(readable, Some("*"), "pages of other origins may read why");
        }
    }
    let closed = Rig::start_with(|config| {
        config.listener.event_source = false;
        config.listener.long_poll = false;
    })
    .await?;
    for path in ["/sse?channels=a", "/poll?channels=a"] {
        assert_eq!(get(closed.client_addr, path).await?.status, 404);
    }
    Ok(())
}
