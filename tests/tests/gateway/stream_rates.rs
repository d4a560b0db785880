//! `rateLimits.streamMessages` and `rateLimits.deliveries`: what is beyond waits in the stream, is told as lag, and comes
//! later; what the stream discards meanwhile is told as a gap.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::stream;
use harness::wait_until;
use wsgateway_config::{GatewayConfig, SourceRate};

use super::client::Client;
use super::conflation::offset;
use super::resume::numbered;
use super::rig::{Rig, SOON, config, nats_with_stream, stream_config};

fn rate(messages_per_second: u32, deliveries_per_second: u32) -> SourceRate {
    SourceRate { messages_per_second, deliveries_per_second }
}

/// A gateway with these limits, and its configuration. The stream keeps so many messages, if not all.
async fn limited(limits: SourceRate, keeps: Option<i64>) -> Result<(Rig, GatewayConfig)> {
    let (nats, jetstream) = nats_with_stream().await?;
    if let Some(max_messages) = keeps {
        jetstream.update_stream(stream::Config { max_messages, ..stream_config() }).await?;
    }
    let mut config = config(&nats.url());
    config.source_rate = limits;
    Ok((Rig::start_on(nats, jetstream, config.clone()).await?, config))
}

/// Waits until the pod says that so many messages wait in the stream.
async fn lags(rig: &Rig, least: u64) -> Result<()> {
    wait_until(SOON, "messages that wait", async || {
        rig.metric("wsgateway_source_lag_messages").await.is_ok_and(|lag| lag >= least)
    })
    .await
}

/// Lifts the limits.
fn lift(rig: &Rig, config: &GatewayConfig) -> Result<()> {
    let lifted = GatewayConfig { source_rate: SourceRate::default(), ..config.clone() };
    let changed = rig.reload(lifted)?;
    ensure!(changed == ["sourceRate"], "{changed:?}");
    Ok(())
}

/// Every message in order, none left out.
async fn all(client: &mut Client, offsets: &[u64]) -> Result<()> {
    for expected in offsets {
        let message = client.expect("message").await?;
        ensure!(offset(&message, "offset")? == *expected, "{message}, not {expected}");
    }
    Ok(())
}

#[tokio::test]
async fn messages_beyond_the_limit_wait_in_the_stream_and_all_come_in_order() -> Result<()> {
    let (rig, config) = limited(rate(20, 0), None).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    let start = Instant::now();
    let offsets = rig.publish_all(numbered(600)).await?;
    lags(&rig, 400).await?;
    let read = rig.metric("wsgateway_source_messages_total").await? as f64;
    // Two at once, then one in fifty milliseconds.
    let most = start.elapsed().as_secs_f64() * 20.0 + 3.0;
    assert!(read <= most, "{read} messages, and {most} are allowed");
    lift(&rig, &config)?;
    all(&mut client, &offsets).await?;
    rig.has_read(offsets[599]).await?;
    for (metric, value) in [("lost_total", 0), ("restarts_total", 0), ("lag_messages", 0)] {
        assert_eq!(rig.metric(&format!("wsgateway_source_{metric}")).await?, value, "{metric}");
    }
    Ok(())
}

#[tokio::test]
async fn deliveries_beyond_the_limit_slow_the_pod_down_and_none_is_dropped() -> Result<()> {
    const CLIENTS: usize = 10;
    let (rig, config) = limited(rate(0, 50), None).await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(rig.subscriber(&[">"]).await?);
    }
    let start = Instant::now();
    let offsets = rig.publish_all(numbered(300)).await?;
    lags(&rig, 200).await?;
    let made = rig.metric("wsgateway_deliveries_total").await? as f64;
    // A tenth of a second's deliveries at once, and a first batch of five messages whose cost nobody knows.
    let most = start.elapsed().as_secs_f64() * 50.0 + 5.0 + 6.0 * CLIENTS as f64;
    assert!(made <= most, "{made} deliveries, and {most} are allowed");
    lift(&rig, &config)?;
    for client in &mut clients {
        all(client, &offsets).await?;
    }
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_the_stream_discards_while_it_waits_is_told_to_every_client() -> Result<()> {
    let (rig, config) = limited(rate(1, 0), Some(50)).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    let offsets = rig.publish_all(numbered(500)).await?;
    lags(&rig, 40).await?;
    lift(&rig, &config)?;
    let last = offsets.last().copied().context("nothing published")?;
    let (mut at, mut gaps) = (0, 0);
    while at < last {
        let push = client.next().await?;
        if push["type"] == "gap" {
            assert_eq!(push["reason"], "retention", "{push}");
            assert_eq!(offset(&push, "from")?, at + 1, "{push}");
            at = offset(&push, "to")?;
            gaps += 1;
        } else {
            assert_eq!(offset(&push, "offset")?, at + 1, "{push}");
            at += 1;
        }
    }
    assert!(gaps > 0, "nothing was discarded");
    assert!(rig.metric("wsgateway_source_lost_total").await? > 0);
    Ok(())
}

#[tokio::test]
async fn a_limit_that_comes_while_messages_do_loses_none_and_no_connection() -> Result<()> {
    let (rig, config) = limited(SourceRate::default(), None).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    let mut offsets = rig.publish_all(numbered(300)).await?;
    for limits in [rate(2_000, 0), rate(0, 3_000), rate(1_000, 1_000), SourceRate::default()] {
        rig.reload(GatewayConfig { source_rate: limits, ..config.clone() })?;
        offsets.extend(rig.publish_all(numbered(300)).await?);
    }
    tokio::time::timeout(SOON, all(&mut client, &offsets)).await??;
    assert_eq!(rig.metric("wsgateway_connections_accepted_total").await?, 1);
    Ok(())
}

#[tokio::test]
async fn the_debt_of_a_large_fan_out_is_told_as_lag_while_it_is_paid() -> Result<()> {
    // One message to five clients is five seconds' worth: nothing is read meanwhile, and the lag is told all the same.
    let (rig, config) = limited(rate(0, 1), None).await?;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(rig.subscriber(&[">"]).await?);
    }
    let first = rig.publish("T.price", "0").await?;
    rig.has_read(first).await?;
    let rest = rig.publish_all(numbered(20)).await?;
    lags(&rig, 19).await?;
    lift(&rig, &config)?;
    for client in &mut clients {
        all(client, &[&[first], &rest[..]].concat()).await?;
    }
    Ok(())
}
