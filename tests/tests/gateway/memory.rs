//! Memory per idle connection, of the real program.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::{Nats, wait_until};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::events::Events;
use super::http::{get, upgrade_request};
use super::poller::Poller;
use super::process::Process;
use super::raw::{Raw, TEXT, frame};
use super::rig::{SOON, config, nats_with_stream, publish_all, ready};
use super::tunnel::{Secured, connect as connect_secured};

/// User memory that an idle connection with three subscriptions may cost: about 310 bytes without optimisation, and pages of
/// the allocator that are not full.
const BOUND: u64 = 400;

/// Connects and subscribes one after the other: a crowd at once would measure the upgrade, not the idle state.
async fn connect(
    gateway: &Process,
    names: std::ops::Range<usize>,
    headers: &str,
) -> Result<Vec<Raw>> {
    let mut connections = Vec::new();
    for n in names {
        let mut raw = Raw::connect_asking(gateway.client_addr, headers).await?;
        let command =
            format!(r#"{{"type":"subscribe","channels":["T{}.price","all","*.trade"]}}"#, n % 500);
        raw.write(&frame(TEXT, command.as_bytes())).await;
        assert_eq!(raw.json().await?["count"], 3);
        connections.push(raw);
    }
    Ok(connections)
}

const COUNT: u64 = 2_000;

/// A gateway where everything that is allocated once is there before the first look.
async fn warm(nats: &Nats, headers: &str) -> Result<Process> {
    let gateway = Process::start(&config(&nats.url())).await?;
    ready(gateway.admin_addr).await?;
    drop(connect(&gateway, 0..50, headers).await?);
    emptied(&gateway).await?;
    Ok(gateway)
}

/// Waits until the gateway holds nobody: who still leaves shares tables with who comes, which double at powers of two.
async fn emptied(gateway: &Process) -> Result<()> {
    wait_until(SOON, "an empty gateway", async || {
        let stats = async || get(gateway.client_addr, "/stats").await?.json();
        stats().await.is_ok_and(|stats| stats["currentConnections"] == 0)
    })
    .await
}

#[tokio::test]
async fn an_idle_connection_with_three_subscriptions_costs_at_most_400_bytes() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    for headers in ["", ODIN] {
        let gateway = warm(&nats, headers).await?;
        let before = gateway.resident()?;
        let held = connect(&gateway, 0..COUNT as usize, headers).await?;
        let each = gateway.resident()?.saturating_sub(before) / COUNT;
        println!("{each} bytes of user memory a connection {headers:?}");
        assert!(each <= BOUND, "{each} bytes a connection {headers:?}");
        drop(held);
    }
    Ok(())
}

/// What an event stream may cost besides: its longer request leaves gaps between what is held (about 30 bytes, and twice 16
/// more or less from run to run).
const STREAM: u64 = 64;

#[tokio::test]
async fn an_idle_event_stream_costs_at_most_64_bytes_more() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let gateway = warm(&nats, "").await?;
    for count in [50, COUNT] {
        let before = gateway.resident()?;
        let mut held = Vec::new();
        for n in 0..count {
            let query = format!("channels=T{}.price,all,*.trade", n % 500);
            let mut events = Events::open_at(gateway.client_addr, &query, "").await?;
            events.next().await?;
            held.push(events);
        }
        let each = gateway.resident()?.saturating_sub(before) / count;
        println!("{each} bytes of user memory an event stream of {count}");
        assert!(count < COUNT || each <= BOUND + STREAM, "{each} bytes an event stream");
        drop(held);
        emptied(&gateway).await?;
    }
    Ok(())
}

/// The same of a connection with TLS, besides: what the sizing of a pod counts for its keys.
const TLS_BOUND: u64 = 6 << 10;

#[tokio::test]
async fn an_idle_connection_with_tls_costs_at_most_6_kilobytes_more() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let secured = Secured::new()?;
    let mut config = config(&nats.url());
    secured.listen(&mut config);
    let gateway = Process::start(&config).await?;
    ready(gateway.admin_addr).await?;
    let client = secured.usual()?;
    let mut held = Vec::new();
    for count in [50, COUNT / 2] {
        let before = gateway.resident()?;
        for _ in 0..count {
            let mut stream = connect_secured(gateway.client_addr, Arc::clone(&client)).await?;
            stream.write_all(upgrade_request("").as_bytes()).await?;
            let (mut heard, mut bytes) = (String::new(), [0; 4_096]);
            while !heard.contains("connection:established") {
                let read = timeout(SOON, stream.read(&mut bytes)).await??;
                ensure!(read > 0, "closed: {heard}");
                heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            held.push(stream);
        }
        let each = gateway.resident()?.saturating_sub(before) / count;
        println!("{each} bytes of user memory a connection with TLS of {count}");
        assert!(count < COUNT / 2 || each <= BOUND + TLS_BOUND, "{each} bytes a connection");
    }
    Ok(())
}

/// The same of a long-poll that waits: what the sizing of a pod counts for one besides a connection.
const POLL_BOUND: u64 = 4 << 10;

#[tokio::test]
async fn a_waiting_poll_costs_at_most_4_kilobytes() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let gateway = warm(&nats, "").await?;
    let from = Poller::connect(gateway.client_addr).await?.begin("all").await?;
    let mut held = Vec::new();
    for count in [50, COUNT] {
        let before = gateway.resident()?;
        for n in 0..count {
            let query = format!("channels=T{}.price,all,*.trade&wait=55&cursor={from}", n % 500);
            let mut poller = Poller::connect(gateway.client_addr).await?;
            poller.ask(&format!("/poll?{query}"), "").await?;
            held.push(poller);
        }
        wait_until(SOON, "every poll to wait", async || {
            let stats = async || get(gateway.admin_addr, "/stats").await?.json();
            stats().await.is_ok_and(|stats| stats["currentConnections"] == held.len())
        })
        .await?;
        let each = gateway.resident()?.saturating_sub(before) / count;
        println!("{each} bytes of user memory a waiting poll of {count}");
        assert!(count < COUNT || each <= POLL_BOUND, "{each} bytes a waiting poll");
    }
    Ok(())
}

/// Subscribes to 128 patterns that nobody else has, as deep and as many as may be.
async fn hostile(gateway: &Process, number: usize) -> Result<(Raw, u64)> {
    let mut raw = Raw::connect(gateway.client_addr).await?;
    let pattern = |n: usize| format!("{number}.{n}.a.*.b.*.c.*.d.*.e.*.f.*.g.>");
    let names: Vec<String> = (0..128).map(pattern).collect();
    let command = json!({ "type": "subscribe", "channels": names }).to_string();
    raw.write(&frame(TEXT, command.as_bytes())).await;
    let ack = raw.json().await?;
    let full = ack["rejected"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(full.iter().all(|one| one["code"] == "index_full"), "{ack}");
    Ok((raw, ack["count"].as_u64().unwrap_or(0)))
}

#[tokio::test]
async fn hostile_names_cost_no_more_than_the_pod_is_sized_for_and_leave_others_what_they_have()
-> Result<()> {
    const CAPACITY: u32 = 5_000;
    const CROWD: usize = 200;
    let (nats, jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    config.capacity.connections = CAPACITY;
    let gateway = Process::start(&config).await?;
    ready(gateway.admin_addr).await?;
    let mut honest = connect(&gateway, 0..50, "").await?;
    let before = gateway.resident()?;
    let (mut held, mut patterns) = (Vec::new(), Vec::new());
    for number in 0..CROWD {
        let (raw, count) = hostile(&gateway, number).await?;
        held.push(raw);
        patterns.push(count);
    }
    assert_eq!(patterns[0], 128, "there is room for one of them");
    assert_eq!(patterns.last(), Some(&0), "there is an end to it");
    let used = gateway.resident()?.saturating_sub(before);
    let sized = config.capacity.name_bytes() + CROWD as u64 * (BOUND + 128 * 32);
    println!("{used} bytes of user memory for hostile names, {sized} in the sizing");
    assert!(used <= sized, "{used} bytes");
    // Names that are there already cost nothing more, and go on.
    honest.extend(connect(&gateway, 0..50, "").await?);
    publish_all(&jetstream, [("all".to_owned(), b"1".to_vec())]).await?;
    for raw in &mut honest {
        assert_eq!(raw.json().await?["channel"], "all");
    }
    drop(held);
    wait_until(SOON, "room for new names", async || {
        hostile(&gateway, CROWD).await.is_ok_and(|(_, count)| count == 128)
    })
    .await
}

const ODIN: &str = "Sec-WebSocket-Protocol: odin.v1\r\n";

/// What the numbers of an odin.v1 connection cost that has had ten messages.
const NUMBERS: u64 = 256;

#[tokio::test]
async fn an_odin_connection_that_has_had_ten_messages_costs_at_most_256_bytes_more() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let gateway = warm(&nats, ODIN).await?;
    let before = gateway.resident()?;
    let mut held = connect(&gateway, 0..COUNT as usize, ODIN).await?;
    for n in 0..10 {
        publish_all(&jetstream, [("all".to_owned(), n.to_string().into_bytes())]).await?;
        for raw in &mut held {
            assert_eq!(raw.json().await?["seq"], n + 1);
        }
    }
    let each = gateway.resident()?.saturating_sub(before) / COUNT;
    println!("{each} bytes of user memory a connection with numbers");
    assert!(each <= BOUND + NUMBERS, "{each} bytes a connection");
    Ok(())
}
