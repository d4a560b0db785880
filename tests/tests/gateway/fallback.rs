//! Event streams and long-polls: the same cursor and the same limits, without WebSocket.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::Millis;

use super::http::{Answer, get, request};
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

/// Stores a message and waits for the pod to have it: what is looked back at does not come later.
async fn settle(rig: &Rig, channel: &str, payload: &str) -> Result<u64> {
    let offset = rig.publish(channel, payload).await?;
    has_read(rig, offset).await?;
    Ok(offset)
}

async fn has_read(rig: &Rig, offset: u64) -> Result<()> {
    harness::wait_until(SOON, "the pod to have read it", async || {
        rig.metric("wsgateway_source_last_sequence").await.is_ok_and(|read| read == offset)
    })
    .await
}

#[tokio::test]
async fn an_event_stream_brings_messages_with_their_cursor_and_resumes_from_it() -> Result<()> {
    let rig = Rig::start().await?;
    settle(&rig, "a", r#"{"n":1}"#).await?;
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

/// `GET path` on a connection that only the gateway ends.
async fn ask(rig: &Rig, path: &str, headers: &str) -> Result<Answer> {
    request(rig.client_addr, &format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n"))
        .await
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
    assert_eq!(ask(&rig, "/sse?channels=", "Connection: close\r\n").await?.status, 400);
    Ok(())
}

#[tokio::test]
async fn a_place_comes_back_when_an_event_stream_ends() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let mut events = Events::open(&rig, "channels=a", "").await?;
    events.expect("connection:established").await?;
    for path in ["/sse?channels=a", "/poll?channels=a"] {
        // The connection ends by itself: whoever tries again may find another pod.
        let full = ask(&rig, path, "").await?;
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
async fn a_long_poll_begins_with_a_cursor_and_follows_it() -> Result<()> {
    let rig = Rig::start().await?;
    settle(&rig, "a", "1").await?;
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
    // Nothing comes that matches: the cursor moves on all the same.
    let last = settle(&rig, "other", "5").await?;
    let cursor = answer["cursor"].as_str().context("no cursor")?.to_owned();
    let nothing = poll(format!("channels=a,b&cursor={cursor}&wait=0")).await?;
    assert_eq!(nothing["messages"], json!([]));
    assert!(
        nothing["cursor"].as_str().is_some_and(|c| c.ends_with(&format!(":{last}"))),
        "{nothing}"
    );
    // Nobody broke off.
    let goodbyes = async || rig.metric(r#"wsgateway_disconnects_total{code="1000"}"#).await;
    harness::wait_until(SOON, "every poll to say goodbye", async || {
        goodbyes().await.is_ok_and(|count| count == 4)
    })
    .await
}

#[tokio::test]
async fn a_poll_from_another_stream_is_told_the_gap_once_and_goes_on() -> Result<()> {
    let rig = Rig::start().await?;
    settle(&rig, "a", "1").await?;
    let poll = async |cursor: &str| {
        get(rig.client_addr, &format!("/poll?channels=a&cursor={cursor}&wait=0")).await?.json()
    };
    let answer = poll("other:7").await?;
    assert_eq!(answer["recovered"], false);
    let gap = json!({ "type": "gap", "channel": "a", "from": 0, "to": 0, "reason": "epoch" });
    assert_eq!(answer["gaps"], json!([gap]));
    assert_eq!(answer["messages"][0]["data"], 1, "the pod holds all of the new stream");
    let cursor = answer["cursor"].as_str().context("no cursor")?;
    assert!(cursor.ends_with(":1"), "{answer}");
    let answer = poll(cursor).await?;
    assert_eq!((&answer["recovered"], answer.get("gaps")), (&json!(true), None));
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_keeps_its_place_and_gets_all_of_it() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    // More than the kernel takes for somebody who does not read.
    let (count, value) = (1_500, format!("\"{}\"", "x".repeat(8 << 10)));
    let values = (0..count).map(|n| (format!("a.{n}"), value.clone().into_bytes()));
    let last = rig.publish_all(values).await?.last().copied().context("nothing")?;
    has_read(&rig, last).await?;
    let mut reader = TcpStream::connect(rig.client_addr).await?;
    let path = "/poll?channels=a.*&snapshot=true";
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    reader.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1_000];
    timeout(SOON, reader.read_exact(&mut answer)).await.context("no answer")??;
    assert_eq!(ask(&rig, path, "").await?.status, 503, "the one place is taken");
    timeout(SOON, reader.read_to_end(&mut answer)).await.context("no end")??;
    let answer = Answer::parse(&String::from_utf8_lossy(&answer))?.json()?;
    let messages = answer["messages"].as_array().context("no messages")?;
    assert_eq!(messages.len(), count, "last values are never cut");
    assert!(answer["cursor"].as_str().is_some_and(|cursor| cursor.ends_with(&format!(":{last}"))));
    harness::wait_until(SOON, "the place to come back", async || {
        get(rig.client_addr, "/poll?channels=a.1").await.is_ok_and(|answer| answer.status == 200)
    })
    .await
}

#[tokio::test]
async fn a_backlog_comes_in_answers_of_a_thousand_messages_each_once() -> Result<()> {
    let rig = Rig::start().await?;
    let begin = get(rig.client_addr, "/poll?channels=a,b.*").await?.json()?;
    let mut cursor = begin["cursor"].as_str().context("no cursor")?.to_owned();
    let messages = (0..2_500).map(|n| (format!("b.{}", n % 7), format!("{n}").into_bytes()));
    let stored = rig.publish_all(messages).await?;
    let (mut offsets, mut sizes) = (Vec::new(), Vec::new());
    while offsets.len() < stored.len() {
        let path = format!("/poll?channels=a,b.*&cursor={cursor}&wait=55");
        let answer = get(rig.client_addr, &path).await?.json()?;
        let messages = answer["messages"].as_array().context("no messages")?;
        offsets.extend(messages.iter().filter_map(|message| message["offset"].as_u64()));
        sizes.push(messages.len());
        answer["cursor"].as_str().context("no cursor")?.clone_into(&mut cursor);
    }
    assert_eq!(offsets, stored);
    assert!(sizes.iter().all(|size| *size <= 1_000), "{sizes:?}");
    Ok(())
}

#[tokio::test]
async fn bad_channels_are_rejected_one_by_one_and_the_others_served() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.subscriptions_per_connection = 2).await?;
    settle(&rig, "a", "1").await?;
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
