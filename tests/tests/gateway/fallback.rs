//! Event streams and long-polls: the same cursor and the same limits, without WebSocket.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::get;
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

    /// The next event; chunk lengths between the lines of a chunked body are passed over.
    async fn next(&mut self) -> Result<Event> {
        let mut event = Event::default();
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", kind)) => event.kind = kind.to_owned(),
                Some(("retry", after)) => event.retry = after.to_owned(),
                Some(("data", data)) => event.data += data,
                _ if line.is_empty() && !event.data.is_empty() => return Ok(event),
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
    rig.publish("a", r#"{"n":1}"#).await?;
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
    // Line ends between the tokens of the publisher's JSON.
    rig.publish("b.c", "{\"n\":\r\n2,\n\"m\": [\r3]}").await?;
    let message = events.expect("").await?;
    assert_eq!(message.id, format!("{epoch}:2"));
    let json = message.json()?;
    assert_eq!((&json["channel"], &json["data"]), (&json!("b.c"), &json!({ "n": 2, "m": [3] })));
    drop(events);
    for n in 3..=5 {
        rig.publish("a", n.to_string()).await?;
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
async fn a_place_comes_back_when_an_event_stream_ends() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let mut events = Events::open(&rig, "channels=a", "").await?;
    events.expect("connection:established").await?;
    let full = get(rig.client_addr, "/sse?channels=a").await?;
    assert_eq!((full.status, full.json()?["code"].clone()), (503, json!("full")));
    drop(events);
    // What is written to a client that has gone is how the gateway learns of it.
    harness::wait_until(SOON, "the place to come back", async || {
        drop(rig.publish("a", "1").await);
        rig.metric("wsgateway_connections").await.is_ok_and(|count| count == 0)
    })
    .await
}

#[tokio::test]
async fn a_long_poll_begins_with_a_cursor_and_follows_it() -> Result<()> {
    let rig = Rig::start().await?;
    rig.publish("a", "1").await?;
    let poll = async |query: String| get(rig.client_addr, &format!("/poll?{query}")).await?.json();
    let begin = poll("channels=a,b&snapshot=true".to_owned()).await?;
    assert_eq!(
        (&begin["messages"][0]["snapshot"], &begin["messages"][0]["data"]),
        (&json!(true), &json!(1))
    );
    let cursor = begin["cursor"].as_str().context("no cursor")?.to_owned();
    for n in 2..=3 {
        rig.publish("a", n.to_string()).await?;
    }
    let more = poll(format!("channels=a,b&cursor={cursor}")).await?;
    let data: Vec<_> = more["messages"]
        .as_array()
        .context("no messages")?
        .iter()
        .map(|m| m["data"].clone())
        .collect();
    assert_eq!((data, &more["recovered"]), (vec![json!(2), json!(3)], &json!(true)));
    let cursor = more["cursor"].as_str().context("no cursor")?.to_owned();
    assert!(cursor.ends_with(":3"), "{cursor}");
    // Nothing there yet: the answer comes with the next message.
    let waiting = poll(format!("channels=a,b&cursor={cursor}&wait=50"));
    let publishing = async {
        harness::wait_until(SOON, "the poll to wait", async || {
            rig.metric("wsgateway_subscriptions").await.is_ok_and(|count| count == 2)
        })
        .await?;
        rig.publish("b", "4").await
    };
    let (answer, offset) = tokio::try_join!(waiting, publishing)?;
    assert_eq!(answer["messages"][0]["offset"], offset);
    // Nothing comes: the cursor stays.
    let cursor = answer["cursor"].as_str().context("no cursor")?.to_owned();
    let nothing = poll(format!("channels=a,b&cursor={cursor}&wait=0")).await?;
    assert_eq!(
        (&nothing["messages"], nothing["cursor"].as_str()),
        (&json!([]), Some(cursor.as_str()))
    );
    Ok(())
}

#[tokio::test]
async fn a_poll_from_another_stream_is_told_the_gap_and_goes_on() -> Result<()> {
    let rig = Rig::start().await?;
    rig.publish("a", "1").await?;
    let answer = get(rig.client_addr, "/poll?channels=a&cursor=other:7&wait=0").await?.json()?;
    assert_eq!(answer["recovered"], false);
    let gap = json!({ "type": "gap", "channel": "a", "from": 0, "to": 1, "reason": "epoch" });
    assert_eq!(answer["gaps"], json!([gap]));
    assert!(answer["cursor"].as_str().is_some_and(|cursor| cursor.ends_with(":1")), "{answer}");
    Ok(())
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_a_reason() -> Result<()> {
    let rig = Rig::start().await?;
    for path in ["/sse", "/poll"] {
        for (query, code) in [
            ("", "invalid_channels"),
            ("?channels=", "invalid_channels"),
            ("?channels=a..b", "invalid_channel"),
            ("?channels=a*", "invalid_wildcard"),
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
