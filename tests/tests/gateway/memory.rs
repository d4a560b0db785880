//! Memory per idle connection, of the real program.

use anyhow::Result;
use harness::wait_until;

use super::http::get;
use super::process::Process;
use super::raw::{Raw, TEXT, frame};
use super::rig::{SOON, config, nats_with_stream, ready};

/// User memory that an idle connection with three subscriptions may cost.
const BOUND: u64 = 800;

/// Connects and subscribes one after the other: a crowd at once would measure the upgrade, not the idle state.
async fn connect(gateway: &Process, names: std::ops::Range<usize>) -> Result<Vec<Raw>> {
    let mut connections = Vec::new();
    for n in names {
        let mut raw = Raw::connect(gateway.client_addr).await?;
        let command =
            format!(r#"{{"type":"subscribe","channels":["T{}.price","all","*.trade"]}}"#, n % 500);
        raw.write(&frame(TEXT, command.as_bytes())).await;
        assert_eq!(raw.json().await?["count"], 3);
        connections.push(raw);
    }
    Ok(connections)
}

#[tokio::test]
async fn an_idle_connection_with_three_subscriptions_costs_at_most_800_bytes() -> Result<()> {
    const COUNT: u64 = 2_000;
    let (nats, _jetstream) = nats_with_stream().await?;
    let gateway = Process::start(&config(&nats.url())).await?;
    ready(gateway.admin_addr).await?;
    // Everything that is allocated once is there before the first look.
    drop(connect(&gateway, 0..50).await?);
    wait_until(SOON, "an empty gateway", async || {
        let stats = async || get(gateway.client_addr, "/stats").await?.json();
        stats().await.is_ok_and(|stats| stats["currentConnections"] == 0)
    })
    .await?;

    let before = gateway.resident()?;
    let held = connect(&gateway, 0..COUNT as usize).await?;
    let each = gateway.resident()?.saturating_sub(before) / COUNT;
    println!("{each} bytes of user memory a connection");
    assert!(each <= BOUND, "{each} bytes a connection");
    drop(held);
    Ok(())
}
