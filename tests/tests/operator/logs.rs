//! What the real operator logs of WsGateways that cannot be served: documented lines, and not more of them the longer it
//! lasts.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use harness::{Guarded, LogBook, Scratch, Signal, built_beside, free_port, wait_until};
use serde_json::json;

use crate::world::{ODIN, SOON, World, asked};

/// Reconciliations of two WsGateways, of which one cannot be served.
const MANY: f64 = 40.0;
const MOST_LINES: usize = 100;

#[tokio::test]
async fn every_line_is_documented_and_what_lasts_is_not_told_again_and_again() -> Result<()> {
    let world = World::without_operator("logs").await?;
    let scratch = Scratch::new("logs")?;
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let command = [
        format!("KUBECONFIG={}", world.plane.kubeconfig().display()),
        "WSGATEWAY_LOG_FORMAT=json".to_owned(),
        built_beside("operator")?.display().to_string(),
        format!("--admin={admin}"),
        format!("--namespace={}", world.namespace),
        format!("--own-namespace={}", world.namespace),
        "--pod=logs".to_owned(),
        "--gateway-image=example.com/gateway:test".to_owned(),
        "--resync-seconds=1".to_owned(),
    ];
    let log = scratch.join("operator.log");
    let mut operator = Guarded::start("/usr/bin/env".as_ref(), &command, &log)?;
    world.create(&json!({})).await?;
    let broken = json!({
        "metadata": { "name": "thor" },
        "spec": {
            "nats": { "servers": ["nats://127.0.0.1:1"] },
            "stream": { "name": "THOR", "subjects": ["thor.>"] },
            "channels": { "stripPrefix": "", "rules": null },
        },
    });
    world.create(&broken).await?;
    world.condition(ODIN, "StreamReady", "True", "StreamAsSpecified").await?;
    wait_until(SOON, "many reconciliations", async || {
        let text = asked(admin, "/metrics").await.unwrap_or_default();
        let lines =
            text.lines().filter(|line| line.starts_with("wsgateway_operator_reconciles_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok()).sum::<f64>()
            >= MANY
    })
    .await?;
    operator.signal(Signal::Term)?;
    wait_until(SOON, "its end", async || !operator.alive()).await?;
    let text = fs::read_to_string(&log).context("a log")?;
    let book = LogBook::of("operator")?;
    let messages = text.lines().map(|line| book.check(line)).collect::<Result<Vec<_>>>()?;
    ensure!(messages.len() <= MOST_LINES, "{} lines:\n{text}", messages.len());
    ensure!(messages.iter().any(|message| message == "condition"), "no condition is told:\n{text}");
    ensure!(messages.iter().any(|message| message == "operator stopped"), "no end:\n{text}");
    Ok(())
}
