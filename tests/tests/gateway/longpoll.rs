//! Long-polls: a cursor with every answer, each message and each gap in one of them.

use anyhow::{Context, Result};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::{Answer, ask, get};
use super::rig::{Rig, SOON};

#[tokio::test]
async fn a_long_poll_begins_with_a_cursor_and_follows_it() -> Result<()> {
    let rig = Rig::start().await?;
    rig.settle("a", "1").await?;
    let poll = async |query: String| get(rig.client_addr, &format!("/poll?{query}")).await?.json();
    let begin = poll("channels=a,b&snapshot=true".to_owned()).await?;
    assert_eq!(
        (&begin["messages"][0]["snapshot"], &begin["messages"][0]["data"]),
        (&json!(true), &json!(1))
    );
    let cursor = begin["cursor"].as_str().context("no cursor")?.to_owned();
    for n in 2..=3 {
        rig.settle("a", &n.to_string()).await?;
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
    let last = rig.settle("other", "5").await?;
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
    rig.settle("a", "1").await?;
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
    rig.has_read(last).await?;
    let mut reader = TcpStream::connect(rig.client_addr).await?;
    let path = "/poll?channels=a.*&snapshot=true";
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    reader.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1_000];
    timeout(SOON, reader.read_exact(&mut answer)).await.context("no answer")??;
    assert_eq!(ask(rig.client_addr, path, "").await?.status, 503, "the one place is taken");
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
async fn a_poll_that_waits_while_the_pod_stops_is_sent_to_another_connection() -> Result<()> {
    let mut rig = Rig::start().await?;
    let begin = get(rig.client_addr, "/poll?channels=a").await?.json()?;
    let cursor = begin["cursor"].as_str().context("no cursor")?.to_owned();
    let address = rig.client_addr;
    let path = format!("/poll?channels=a&cursor={cursor}&wait=55");
    let waiting = tokio::spawn(async move { ask(address, &path, "").await });
    harness::wait_until(SOON, "the poll to wait", async || {
        rig.metric("wsgateway_subscriptions").await.is_ok_and(|count| count == 1)
    })
    .await?;
    rig.shutdown().await?;
    let answer = waiting.await??;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(answer.json()?["cursor"], cursor);
    Ok(())
}
