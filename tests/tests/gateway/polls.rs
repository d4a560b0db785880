//! Long-polls as connections of a shard: one descriptor, one place, and the way back to the HTTP server.

use anyhow::{Result, ensure};
use harness::wait_until;
use serde_json::{Value, json};
use wsgateway_config::Millis;

use super::http::{Answer, get, request};
use super::poller::{Poller, cursor};
use super::process::Process;
use super::rig::{Rig, SOON, config, nats_with_stream, ready};

/// Waits until so many polls of one channel wait.
async fn waiting(rig: &Rig, polls: u64) -> Result<()> {
    wait_until(SOON, "polls to wait", async || {
        rig.metric("wsgateway_subscriptions").await.is_ok_and(|count| count == polls)
    })
    .await
}

fn data(answer: &Value) -> Vec<Value> {
    let messages = answer["messages"].as_array().map_or(&[][..], Vec::as_slice);
    messages.iter().map(|message| message["data"].clone()).collect()
}

#[tokio::test]
async fn a_waiting_poll_takes_one_file_descriptor_and_keeps_it_for_the_next_one() -> Result<()> {
    const POLLS: usize = 100;
    let (nats, jetstream) = nats_with_stream().await?;
    let gateway = Process::start(&config(&nats.url())).await?;
    ready(gateway.admin_addr).await?;
    let mut from = Poller::connect(gateway.client_addr).await?.begin("a").await?;
    let stats = async || get(gateway.admin_addr, "/stats").await?.json();
    wait_until(SOON, "an empty gateway", async || {
        stats().await.is_ok_and(|stats| stats["currentConnections"] == 0)
    })
    .await?;
    // The connections of probes have ended when there are as few as without any.
    let (pid, mut before) = (gateway.pid()?, usize::MAX);
    let open = move || anyhow::Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count());
    wait_until(SOON, "a steady number of descriptors", async || {
        let count = open().unwrap_or_default();
        std::mem::replace(&mut before, count) == count
    })
    .await?;
    let mut polls = Vec::new();
    for _ in 0..POLLS {
        polls.push(Poller::connect(gateway.client_addr).await?);
    }
    for round in 0..3 {
        for poll in &mut polls {
            poll.ask(&format!("/poll?channels=a&wait=55&cursor={from}"), "").await?;
        }
        let held = || open().map(|count| count.saturating_sub(before));
        wait_until(SOON, "all polls to wait, with a descriptor each", async || {
            stats().await.is_ok_and(|stats| stats["currentConnections"] == POLLS)
                && held().is_ok_and(|held| held == POLLS)
        })
        .await?;
        super::rig::publish_all(&jetstream, [("a".to_owned(), b"1".to_vec())]).await?;
        for poll in &mut polls {
            let answer = poll.answer().await?;
            assert_eq!((data(&answer), poll.is_last()), (vec![json!(1)], false), "{round}");
            from = cursor(&answer)?;
        }
        assert_eq!(held()?, POLLS, "connections that are kept, in round {round}");
    }
    Ok(())
}

#[tokio::test]
async fn one_connection_is_polled_again_and_again_and_misses_nothing() -> Result<()> {
    let rig = Rig::start().await?;
    let mut poller = Poller::connect(rig.client_addr).await?;
    let mut from = poller.begin("a").await?;
    let mut got = Vec::new();
    for n in 0..20 {
        // Every other message is there before it is asked for.
        if n % 2 == 0 {
            rig.settle("a", &n.to_string()).await?;
        }
        poller.ask(&format!("/poll?channels=a&wait=55&cursor={from}"), "").await?;
        if n % 2 == 1 {
            waiting(&rig, 1).await?;
            rig.publish("a", n.to_string()).await?;
        }
        let answer = poller.answer().await?;
        assert!(!poller.is_last(), "{}", poller.head);
        got.extend(data(&answer));
        from = cursor(&answer)?;
    }
    assert_eq!(got, (0..20).map(Value::from).collect::<Vec<_>>());
    // It is an HTTP connection like any other.
    poller.ask("/health", "Connection: close\r\n").await?;
    assert_eq!(poller.answer().await?["status"], "healthy");
    Ok(())
}

#[tokio::test]
async fn a_poll_whose_wait_is_over_is_answered_with_a_cursor_and_the_connection_goes_on()
-> Result<()> {
    let rig = Rig::start().await?;
    let mut poller = Poller::connect(rig.client_addr).await?;
    let from = poller.begin("a").await?;
    for wait in [1, 0, 1] {
        let answer = poller.poll(&format!("channels=a&wait={wait}&cursor={from}")).await?;
        assert_eq!(answer, json!({ "messages": [], "recovered": true, "cursor": from }));
        assert!(!poller.is_last());
    }
    rig.settle("a", "1").await?;
    let answer = poller.poll(&format!("channels=a&cursor={from}")).await?;
    assert_eq!(data(&answer), [json!(1)]);
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_gives_its_place_back() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let from = Poller::connect(rig.client_addr).await?.begin("a").await?;
    let path = format!("/poll?channels=a&wait=55&cursor={from}");
    for more in ["", "GET /health HTTP/1.1\r\nHost: test\r\n\r\n"] {
        let mut poller = Poller::connect(rig.client_addr).await?;
        poller.ask(&path, "").await?;
        waiting(&rig, 1).await?;
        assert_eq!(get(rig.client_addr, &path).await?.status, 503, "the one place is taken");
        // What it sends before it leaves changes nothing.
        poller.write(more).await?;
        drop(poller);
        waiting(&rig, 0).await?;
        wait_until(SOON, "the place", async || {
            get(rig.client_addr, "/poll?channels=a").await.is_ok_and(|answer| answer.status == 200)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_place_of_a_poll_is_free_when_its_client_has_the_answer() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    rig.settle("a", "1").await?;
    let mut poller = Poller::connect(rig.client_addr).await?;
    for _ in 0..50 {
        let answer = poller.poll("channels=a&snapshot=true").await?;
        assert_eq!(data(&answer), [json!(1)], "on the same connection");
        let answer = get(rig.client_addr, "/poll?channels=a").await?;
        assert_eq!(answer.status, 200, "on another one");
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_follow_a_waiting_poll_at_once_are_answered_after_it() -> Result<()> {
    let rig = Rig::start().await?;
    let mut poller = Poller::connect(rig.client_addr).await?;
    let from = poller.begin("a").await?;
    let poll = format!("GET /poll?channels=a&wait=55&cursor={from} HTTP/1.1\r\nHost: test\r\n\r\n");
    let health = "GET /health HTTP/1.1\r\nHost: test\r\n\r\n";
    // In one write with the poll, while it waits, and cut in two.
    let (start, end) = health.split_at(20);
    poller.write(&format!("{poll}{health}{start}")).await?;
    waiting(&rig, 1).await?;
    poller.write(&format!("{end}{health}")).await?;
    rig.publish("a", "1").await?;
    assert_eq!(data(&poller.answer().await?), [json!(1)]);
    for _ in 0..3 {
        assert_eq!(poller.answer().await?["status"], "healthy");
    }
    Ok(())
}

#[tokio::test]
async fn a_poll_with_more_behind_it_than_is_kept_says_that_it_is_the_last_of_its_connection()
-> Result<()> {
    let rig = Rig::start().await?;
    let from = Poller::connect(rig.client_addr).await?.begin("a").await?;
    let poll = format!("GET /poll?channels=a&wait=55&cursor={from} HTTP/1.1\r\nHost: test\r\n\r\n");
    let health = format!("GET /health HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(5_000));
    let mut poller = Poller::connect(rig.client_addr).await?;
    poller.write(&format!("{poll}{health}")).await?;
    waiting(&rig, 1).await?;
    rig.publish("a", "1").await?;
    assert_eq!(data(&poller.answer().await?), [json!(1)]);
    assert!(poller.is_last(), "{}", poller.head);
    assert_eq!(poller.until_closed().await?, "");
    Ok(())
}

#[tokio::test]
async fn the_body_of_a_poll_is_not_taken_for_another_request() -> Result<()> {
    let rig = Rig::start().await?;
    let body = "GET /health HTTP/1.1\r\nHost: test\r\n\r\n";
    for framing in [format!("Content-Length: {}", body.len()), "Transfer-Encoding: chunked".into()]
    {
        let mut poller = Poller::connect(rig.client_addr).await?;
        poller.ask("/poll?channels=a", &format!("{framing}\r\n")).await?;
        // The answer does not depend on the body, which may never come.
        poller.answer().await?;
        assert!(poller.is_last(), "{}", poller.head);
        let _broken = poller.write(body).await;
        assert_eq!(poller.until_closed().await.unwrap_or_default(), "", "{framing}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_its_answer_and_the_end_of_the_connection() -> Result<()> {
    let rig = Rig::start().await?;
    // More than leaves whole.
    let (count, value) = (100, format!("\"{}\"", "x".repeat(8 << 10)));
    let values = (0..count).map(|n| (format!("a.{n}"), value.clone().into_bytes()));
    let last = rig.publish_all(values).await?.last().copied().unwrap_or_default();
    rig.has_read(last).await?;
    for (query, messages) in [("channels=b", 0), ("channels=a.*&snapshot=true", count)] {
        let text = format!("GET /poll?{query} HTTP/1.0\r\nHost: test\r\n\r\n");
        let answer = request(rig.client_addr, &text).await?;
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(data(&answer.json()?).len(), messages);
    }
    Ok(())
}

#[tokio::test]
async fn a_poll_that_is_asked_for_behind_unread_answers_follows_them() -> Result<()> {
    const PAGES: usize = 100;
    let rig = Rig::start().await?;
    let mut poller = Poller::connect(rig.client_addr).await?;
    let page = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let end = "GET /nothing HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    poller.write(&page.repeat(PAGES)).await?;
    poller.write("GET /poll?channels=a HTTP/1.1\r\nHost: test\r\n\r\n").await?;
    poller.write(end).await?;
    let all = poller.until_closed().await?;
    let heads: Vec<_> = all.match_indices("HTTP/1.1 ").map(|(at, _)| at).collect();
    let length = heads[1];
    let whole: Vec<_> = (0..=PAGES).map(|page| page * length).collect();
    assert_eq!(heads[..=PAGES], whole, "a page is missing or cut");
    ensure!(heads.len() == PAGES + 2, "{} answers", heads.len());
    let poll = Answer::parse(&all[heads[PAGES]..heads[PAGES + 1]])?;
    assert!(poll.json()?["cursor"].is_string(), "{poll:?}");
    assert_eq!(Answer::parse(&all[heads[PAGES + 1]..])?.status, 404);
    Ok(())
}

#[tokio::test]
async fn a_stopping_pod_answers_every_poll_that_waits_and_ends_its_connection() -> Result<()> {
    let mut rig = Rig::start_with(|config| config.drain.window = Millis(300)).await?;
    let from = Poller::connect(rig.client_addr).await?.begin("a").await?;
    let mut polls = Vec::new();
    for _ in 0..20 {
        let mut poller = Poller::connect(rig.client_addr).await?;
        poller.ask(&format!("/poll?channels=a&wait=55&cursor={from}"), "").await?;
        polls.push(poller);
    }
    waiting(&rig, 20).await?;
    let gateway = rig.take_gateway()?;
    let stopped = tokio::task::spawn_blocking(|| gateway.shutdown());
    for mut poller in polls {
        assert_eq!(cursor(&poller.answer().await?)?, from);
        assert!(poller.is_last(), "{}", poller.head);
        assert_eq!(poller.until_closed().await?, "");
    }
    Ok(tokio::time::timeout(SOON, stopped).await??)
}
