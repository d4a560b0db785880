//! A gateway that compresses, for clients that ask for it and others.

use anyhow::{Result, ensure};
use serde_json::json;

use super::recorder::{Recorder, builder};
use super::servers::{Gateway, Relay, Source};

/// What the gateway delivers for 40 messages of 20 KiB to a client, which is cut off in between.
async fn delivered(gateway: &Gateway, source: &Source, compression: bool) -> Result<u64> {
    let relay = Relay::to(gateway.address()).await?;
    let before = gateway.metric("wsgateway_delivered_bytes_total").await?;
    let channel = format!("big.{compression}");
    let builder = builder(relay.url()).compression(compression);
    let mut r = Recorder::subscribed(builder, &[&channel]).await?;
    let text = |n: usize| format!("{n} {}", "price of something; ".repeat(1024));
    for n in 0..40 {
        source.publish(&channel, json!(text(n)).to_string()).await?;
        if n == 20 {
            r.received(10).await?;
            relay.cut();
        }
    }
    r.received(40).await?;
    for (n, message) in r.messages().enumerate() {
        ensure!(message.decode::<String>()? == text(n), "message {n} differs");
    }
    Ok(gateway.metric("wsgateway_delivered_bytes_total").await? - before)
}

#[tokio::test]
async fn a_client_that_asks_for_compression_gets_the_same_messages_in_fewer_bytes() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let plain = delivered(&gateway, &source, false).await?;
    let compressed = delivered(&gateway, &source, true).await?;
    ensure!(plain > 40 * 20_000, "{plain}");
    ensure!(compressed < plain / 10, "{compressed} of {plain}");
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_does_not_compress_serves_a_client_that_asks_for_it() -> Result<()> {
    let source = Source::start().await?;
    let off = json!({ "listener": { "compression": false } });
    let gateway = Gateway::start_with(&source, &off).await?;
    let mut r = Recorder::subscribed(builder(gateway.url()).compression(true), &["a"]).await?;
    source.number("a", 1).await?;
    r.complete(1).await
}
