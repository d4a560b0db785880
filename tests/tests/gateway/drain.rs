//! Stopping: unready first, then clients leave one after the other, then the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::wait_until;
use serde_json::Value;
use tokio::task::JoinSet;
use wsgateway_config::{Drain, Millis};

use super::client::Client;
use super::http::{get, refused_upgrade};
use super::rig::{Rig, SOON};

/// Reads to the end: the advice, when it came, and the close code.
async fn dismissed(mut client: Client) -> Result<(Value, Instant, u16)> {
    let advice = client.expect("reconnect").await?;
    let at = Instant::now();
    let (more, code) = client.until_closed().await?;
    anyhow::ensure!(more.is_empty(), "{more:?} behind the advice");
    Ok((advice, at, code))
}

#[tokio::test]
async fn a_stopping_gateway_is_unready_admits_nobody_and_still_delivers() -> Result<()> {
    let mut rig = Rig::start_with(|config| config.drain.window = Millis(3_000)).await?;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(rig.subscriber(&["a"]).await?);
    }
    let gateway = rig.take_gateway()?;
    let stopped = tokio::task::spawn_blocking(|| gateway.shutdown());
    wait_until(SOON, "an unready gateway", async || {
        get(rig.admin_addr, "/readyz").await.is_ok_and(|answer| answer.status == 503)
    })
    .await?;
    let refused = refused_upgrade(rig.client_addr).await?;
    assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("draining")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(get(rig.admin_addr, "/status").await?.json()?["draining"], true);
    assert_eq!(get(rig.client_addr, "/health").await?.status, 503);

    rig.publish("a", "1").await?;
    let mut delivered = 0;
    for client in &mut clients {
        let (pushes, code) = client.until_closed().await?;
        assert_eq!(code, 1012);
        delivered += pushes.iter().filter(|push| push["type"] == "message").count();
        assert_eq!(pushes.last().context("no advice")?["type"], "reconnect");
    }
    assert!(delivered > 0, "nobody got the message that was published while draining");
    Ok(tokio::time::timeout(SOON, stopped).await??)
}

#[tokio::test]
async fn clients_are_told_to_reconnect_one_after_the_other_over_the_window() -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(2);
    let mut rig = Rig::start_with(|config| config.drain.window = Millis(2_000)).await?;
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        readers.spawn(dismissed(rig.client().await?));
    }
    rig.shutdown().await?;
    let mut times = Vec::new();
    while let Some(read) = readers.join_next().await {
        let (advice, at, code) = read??;
        assert_eq!((code, advice["reason"].as_str()), (1012, Some("restart")));
        assert!(advice["afterMs"].as_u64().is_some_and(|after| after <= 1_000), "{advice}");
        times.push(at);
    }
    times.sort();
    let middle = times[80] - times[20];
    assert!(middle > WINDOW / 4, "60 of 100 clients were told within {middle:?}");
    Ok(())
}

#[tokio::test]
async fn few_clients_leave_at_the_pace_that_is_asked_for_and_not_over_the_whole_window()
-> Result<()> {
    let mut rig = Rig::start_with(|config| {
        config.drain = Drain { window: Millis(3_600_000), connections_per_minute: 3_000 };
    })
    .await?;
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        readers.spawn(dismissed(rig.client().await?));
    }
    rig.shutdown().await?;
    let mut times = Vec::new();
    while let Some(read) = readers.join_next().await {
        times.push(read??.1);
    }
    times.sort();
    // Two seconds for all of them, and more on a busy machine.
    let middle = times[80] - times[20];
    assert!(middle > Duration::from_millis(500), "60 of 100 clients were told within {middle:?}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_hang_up_does_not_hold_up_the_end() -> Result<()> {
    let mut rig = Rig::start().await?;
    // Never reads, never answers the close frame.
    let mut deaf = super::raw::Raw::connect(rig.client_addr).await?;
    rig.shutdown().await?;
    assert_eq!(deaf.json().await?["type"], "reconnect");
    assert_eq!(deaf.close_code().await?, Some(1012));
    Ok(())
}

#[tokio::test]
async fn a_gateway_without_clients_stops_at_once_and_frees_its_ports() -> Result<()> {
    let mut rig = Rig::start_with(|config| config.drain.window = Millis(3_600_000)).await?;
    rig.shutdown().await?;
    for address in [rig.client_addr, rig.admin_addr] {
        drop(std::net::TcpListener::bind(address)?);
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_behind_still_gets_what_was_due_and_the_advice() -> Result<()> {
    let mut rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 8 << 20;
        config.channels.rules = vec![wsgateway_config::Rule {
            r#match: "held".to_owned(),
            delivery: wsgateway_config::Delivery::Every,
            batch_window: Millis(1_000),
            ..wsgateway_config::Rule::default()
        }];
    })
    .await?;
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let mut behind = Client::connect_over(socket.connect(rig.client_addr).await?).await?;
    behind.subscribe(&["a", "held"]).await?;
    let payload = format!("\"{}\"", "x".repeat(16 << 10)).into_bytes();
    rig.publish_all((0..100).map(|_| ("a".to_owned(), payload.clone()))).await?;
    let last = rig.publish("held", "1").await?;
    wait_until(SOON, "every message to be taken", async || {
        let taken = rig.metric("wsgateway_source_last_sequence").await;
        taken.is_ok_and(|sequence| sequence == last)
    })
    .await?;
    assert!(rig.metric("wsgateway_outbox_bytes").await? > 1 << 20, "the client was not behind");
    let gateway = rig.take_gateway()?;
    let stopped = tokio::task::spawn_blocking(|| gateway.shutdown());
    let (pushes, code) = behind.until_closed().await?;
    assert_eq!(code, 1012);
    let messages: Vec<_> = pushes.iter().filter(|push| push["type"] == "message").collect();
    assert_eq!(messages.len(), 101);
    assert_eq!(messages[100]["offset"], last);
    assert_eq!(pushes.last().context("no advice")?["type"], "reconnect");
    Ok(tokio::time::timeout(SOON, stopped).await??)
}
