//! Event streams, and what they and long-polls refuse: the same cursor and the same limits, without WebSocket.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::Millis;

use super::http::{ask, get};
use super::rig::{Rig, SOON};

/// An open event stream.
struct Events {
    lines: BufReader<TcpStream>,
    head: String,
}

#[derive(Debug, Default)]
struct Event {
    id: String,
    kind: String,
    retry: String,
    data: String,
}

impl Event {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.data).with_context(|| format!("not JSON: {self:?}"))
    }
}

impl Events {
    async fn open(rig: &Rig, query: &str, headers: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(rig.client_addr).await?;
        let request = format!("GET /sse?{query} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut events = Self { lines: BufReader::new(stream), head: String::new() };
        loop {
            let line = events.line().await?;
            if line.is_empty() {
                break;
            }
            events.head += &line;
            events.head.push('\n');
        }
        ensure!(events.head.starts_with("HTTP/1.1 200"), "{}", events.head);
        Ok(events)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read =
            timeout(SOON, self.lines.read_line(&mut line)).await.context("no line came")??;
        ensure!(read > 0, "the stream ended");
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next event.
    async fn next(&mut self) -> Result<Event> {
        loop {
            let block = self.block().await?;
            if !block.data.is_empty() {
                return Ok(block);
            }
        }
    }

    /// The next fields up to an empty line; chunk lengths between the lines of a chunked body are passed over.
    async fn block(&mut self) -> Result<Event> {
        let mut event = Event::default();
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", kind)) => event.kind = kind.to_owned(),
                Some(("retry", after)) => event.retry = after.to_owned(),
                Some(("data", data)) => event.data += data,
                _ if line.is_empty() && (!event.data.is_empty() || !event.id.is_empty()) => {
                    return Ok(event);
                }
                _ => {}
            }
        }
    }

    async fn expect(&mut self, kind: &str) -> Result<Event> {
        let event = self.next().await?;
        ensure!(event.kind == kind, "expected {kind:?}, got {event:?}");
        Ok(event)
    }
}

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
    assert_eq!(ack.id, format!("{epoch}:1"));
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
