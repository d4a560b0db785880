//! What a gateway answers at /metrics: as documented, as Prometheus wants it, and of a size that strangers do not change.

use anyhow::{Result, ensure};
use harness::{Exposition, wait_until};
use serde_json::json;

use super::http;
use super::rig::{Rig, SOON};

const STRANGERS: usize = 40;

async fn page(rig: &Rig) -> Result<Exposition> {
    Exposition::parse(&http::get(rig.admin_addr, "/metrics").await?.body)
}

#[tokio::test]
async fn every_metric_is_documented_and_as_prometheus_wants_it() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    rig.publish("a", "1").await?;
    client.expect("message").await?;
    let page = page(&rig).await?;
    page.is_documented("gateway", &[])?;
    page.lint()
}

#[tokio::test]
async fn strangers_add_no_series() -> Result<()> {
    let rig = Rig::start_with(|config| config.listener.event_source = true).await?;
    let before = page(&rig).await?;
    for number in 0..STRANGERS {
        let agent = format!("User-Agent: stranger-{number}\r\nConnection: close\r\n");
        http::ask(rig.client_addr, &format!("/nowhere-{number}?q={number}"), &agent).await?;
        let origin = format!("Origin: http://stranger-{number}\r\nUser-Agent: s{number}\r\n");
        let request = http::upgrade_request(&origin).replace("Version: 13", "Version: 7");
        let request = request.replace("Connection: Upgrade", "Connection: Upgrade, close");
        http::request(rig.client_addr, &request).await?;
        let channel = format!("stranger-{number}");
        let mut client = rig.subscriber(&[&channel]).await?;
        client.send(&json!({ "type": format!("invented-{number}"), "id": number })).await?;
        client.expect("error").await?;
        rig.publish(&channel, "1").await?;
        client.expect("message").await?;
    }
    let after = page(&rig).await?;
    assert_eq!(before.series(), after.series());
    ensure!(after.value("wsgateway_deliveries_total")? >= 1.0, "nothing was counted");
    Ok(())
}

#[tokio::test]
async fn a_message_is_timed_once_a_shard_however_many_receive_it() -> Result<()> {
    const CLIENTS: usize = 6;
    const MESSAGES: u64 = 25;
    let rig = Rig::start().await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(rig.subscriber(&["a"]).await?);
    }
    for number in 0..MESSAGES {
        rig.publish("a", number.to_string()).await?;
    }
    for client in &mut clients {
        for _ in 0..MESSAGES {
            client.expect("message").await?;
        }
    }
    let timed = async |shard: usize| {
        let series = format!("wsgateway_delivery_latency_seconds_count{{shard=\"{shard}\"}}");
        rig.metric(&series).await
    };
    // A shard publishes its numbers at the end of a turn, a moment after its writes.
    wait_until(SOON, "all messages to be timed", async || {
        let counts = [timed(0).await.unwrap_or(0), timed(1).await.unwrap_or(0)];
        counts == [MESSAGES; 2]
    })
    .await?;
    let page = page(&rig).await?;
    for shard in 0..2 {
        let value = |name: &str| page.value(&format!("wsgateway_{name}{{shard=\"{shard}\"}}"));
        assert_eq!(value("shard_connections")?, CLIENTS as f64 / 2.0);
        assert!(value("shard_turn_seconds_count")? >= 1.0);
        let turns = value("shard_turn_seconds_sum")?;
        assert!(turns > 0.0 && turns >= value("shard_longest_turn_seconds")?);
        let within = "wsgateway_delivery_latency_seconds_bucket";
        let all = page.value(&format!("{within}{{shard=\"{shard}\",le=\"+Inf\"}}"))?;
        assert_eq!(all, MESSAGES as f64);
    }
    Ok(())
}
