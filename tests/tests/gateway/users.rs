//! Limits of a user hold over all pods: through a balancer that knows nothing of them, a crash, a drain, and without NATS.

use std::net::SocketAddr;
use std::time::Duration;

use ::gateway::app::Running;
use anyhow::{Result, ensure};
use futures_util::StreamExt as _;
use harness::{Nats, wait_until, wait_until_some};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::{AboveLimit, GatewayConfig, Shed, ShedReason};

use super::client::Client;
use super::http::{Answer, get, request, upgrade_request};
use super::process::Process;
use super::rig::{Rig, SOON, config, metric, nats_with_stream, ready, start};
use super::tokens::{Issuer, anonymous, token};

const PODS: &str = "wsgateway_user_pods";
const REPORTED: &str = "wsgateway_user_reported_connections";

/// A configuration with so many connections a user.
fn limited(nats: &Nats, issuer: &Issuer, most: u32, above: AboveLimit) -> GatewayConfig {
    let mut config = config(&nats.url());
    config.auth = Some(issuer.auth());
    config.capacity.connections_per_user = most;
    config.capacity.above_connections_per_user = above;
    config
}

/// Pods of one WsGateway that have heard of each other. They end before their server.
struct Pods {
    pods: Vec<Running>,
    nats: Nats,
    issuer: Issuer,
}

impl Pods {
    async fn start(count: usize, most: u32, above: AboveLimit) -> Result<Self> {
        let (nats, _) = nats_with_stream().await?;
        let mut pods = Self { pods: Vec::new(), nats, issuer: Issuer::new()? };
        for _ in 0..count {
            pods.pods.push(start(limited(&pods.nats, &pods.issuer, most, above))?);
        }
        for pod in 0..count {
            ready(pods.pods[pod].admin_addr).await?;
            pods.knows(pod, PODS, count as u64 - 1).await?;
        }
        Ok(pods)
    }

    fn address(&self, pod: usize) -> SocketAddr {
        self.pods[pod].client_addr
    }

    async fn metric(&self, pod: usize, name: &str) -> Result<u64> {
        metric(self.pods[pod].admin_addr, name).await
    }

    async fn knows(&self, pod: usize, name: &str, value: u64) -> Result<()> {
        wait_until(SOON, &format!("{name} {value}"), async || {
            self.metric(pod, name).await.is_ok_and(|read| read == value)
        })
        .await
    }
}

/// A connection of a user.
async fn connect(address: SocketAddr, user: &str) -> Result<Client> {
    let stream = TcpStream::connect(address).await?;
    let path = format!("/ws?token={}", token(user, &json!({})));
    let mut client = Client::open(stream, &path, Some("wsgateway.v1")).await?;
    client.hello = client.expect("connection:established").await?;
    Ok(client)
}

/// The answer to another connection of a user.
async fn refused(address: SocketAddr, user: &str) -> Result<Answer> {
    let token = token(user, &json!({}));
    let text = upgrade_request(&format!("Authorization: Bearer {token}\r\nConnection: close\r\n"))
        .replace("Connection: Upgrade", "Connection: upgrade, close");
    request(address, &text).await
}

/// A connection of a user as soon as there is room for it.
async fn connect_soon(address: SocketAddr, user: &str) -> Result<Client> {
    wait_until_some(SOON, "room for another connection", async || connect(address, user).await.ok())
        .await
}

#[tokio::test]
async fn three_connections_of_a_user_are_three_on_all_pods_together() -> Result<()> {
    let pods = Pods::start(3, 3, AboveLimit::RejectNew).await?;
    let mut held = Vec::new();
    for pod in 0..3 {
        held.push(connect(pods.address(pod), "ann").await?);
    }
    for pod in 0..3 {
        pods.knows(pod, REPORTED, 2).await?;
        let answer = refused(pods.address(pod), "ann").await?;
        assert_eq!(
            (answer.status, answer.json()?["code"].as_str()),
            (429, Some("user_connections"))
        );
        ensure!(answer.header("retry-after").is_some(), "{answer:?}");
        let counted = "wsgateway_upgrade_rejections_total{reason=\"user_connections\"}";
        assert_eq!(pods.metric(pod, counted).await?, 1);
        // Others are not concerned.
        connect(pods.address(pod), &format!("bob{pod}")).await?;
    }
    drop(held.pop());
    held.push(connect_soon(pods.address(0), "ann").await?);
    Ok(())
}

#[tokio::test]
async fn event_streams_and_polls_count_too() -> Result<()> {
    let pods = Pods::start(1, 1, AboveLimit::RejectNew).await?;
    let _held = connect(pods.address(0), "ann").await?;
    for path in ["/sse?channels=a", "/poll?channels=a"] {
        let path = format!("{path}&token={}", token("ann", &json!({})));
        let answer = get(pods.address(0), &path).await?;
        assert_eq!(answer.status, 429, "{path}");
        assert_eq!(answer.json()?["code"], "user_connections", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_oldest_connection_closes_on_whichever_pod_it_is_if_that_is_wanted() -> Result<()> {
    let pods = Pods::start(2, 1, AboveLimit::CloseOldest).await?;
    let mut old = connect(pods.address(0), "ann").await?;
    pods.knows(1, REPORTED, 1).await?;
    let mut new = connect(pods.address(1), "ann").await?;
    let (_, code) = old.until_closed().await?;
    assert_eq!(code, 4010);
    assert_eq!(new.subscribe(&["a"]).await?["count"], 1, "the new one stays");
    Ok(())
}

#[tokio::test]
async fn connections_that_two_pods_let_in_at_once_are_brought_down_to_the_limit() -> Result<()> {
    let pods = Pods::start(3, 2, AboveLimit::RejectNew).await?;
    // Before anything is reported: each pod knows of its own only.
    let all = (0..6).map(|n| connect(pods.address(n % 3), "ann"));
    let opened = futures_util::future::join_all(all).await;
    let mut opened: Vec<Client> = opened.into_iter().flatten().collect();
    ensure!(opened.len() >= 2, "{} were let in", opened.len());
    wait_until(SOON, "two connections", async || {
        let mut held = 0;
        for pod in 0..3 {
            held += pods.metric(pod, "wsgateway_connections").await.unwrap_or_default();
        }
        held == 2
    })
    .await?;
    let mut closed = 0;
    for client in &mut opened {
        if let Ok(ended) = timeout(Duration::from_millis(100), client.until_closed()).await {
            assert_eq!(ended?.1, 4010);
            closed += 1;
        }
    }
    assert_eq!(opened.len() - closed, 2);
    Ok(())
}

#[tokio::test]
async fn a_pod_that_was_killed_gives_its_places_back() -> Result<()> {
    let pods = Pods::start(1, 1, AboveLimit::RejectNew).await?;
    let config = limited(&pods.nats, &pods.issuer, 1, AboveLimit::RejectNew);
    let process = Process::start(&config).await?;
    ready(process.admin_addr).await?;
    let mut held = connect(process.client_addr, "ann").await?;
    pods.knows(0, REPORTED, 1).await?;
    assert_eq!(refused(pods.address(0), "ann").await?.status, 429);
    drop(process);
    ensure!(held.next().await.is_err(), "the pod is dead");
    connect_soon(pods.address(0), "ann").await?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_sent_to_another_pod_is_not_refused_for_its_own_shadow() -> Result<()> {
    let pods = Pods::start(2, 1, AboveLimit::RejectNew).await?;
    let mut client = connect(pods.address(0), "ann").await?;
    pods.knows(1, REPORTED, 1).await?;
    let (id, reason) = ("1".to_owned(), ShedReason::Drain);
    let (per_minute, delay_ms) = (60_000, 0);
    let shed = Shed { id, reason, keep: 0, per_minute, delay_ms, min_age_seconds: 0, until: 0 };
    pods.pods[0].shed(Some(shed));
    client.expect("reconnect").await?;
    // The old socket is still open: its client has not read the end.
    connect_soon(pods.address(1), "ann").await?;
    let (_, code) = client.until_closed().await?;
    assert_eq!(code, 1012);
    Ok(())
}

#[tokio::test]
async fn without_nats_each_pod_counts_for_itself_and_afterwards_all_together() -> Result<()> {
    let mut pods = Pods::start(2, 1, AboveLimit::RejectNew).await?;
    let _first = connect(pods.address(0), "ann").await?;
    pods.knows(1, REPORTED, 1).await?;
    pods.nats.stop().await?;
    pods.knows(1, PODS, 0).await?;
    let mut second = connect(pods.address(1), "ann").await?;
    assert_eq!(refused(pods.address(1), "ann").await?.status, 429, "per pod");
    pods.nats.restart().await?;
    let (_, code) = second.until_closed().await?;
    assert_eq!(code, 4010, "the later one is too many");
    Ok(())
}

#[tokio::test]
async fn who_shows_a_token_later_counts_from_then_on() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = Rig::start_with(|config| {
        let mut auth = issuer.auth();
        auth.anonymous = anonymous(&["public"]);
        config.auth = Some(auth);
        config.capacity.connections_per_user = 1;
    })
    .await?;
    let mut late = [rig.client().await?, rig.client().await?];
    for (n, client) in late.iter_mut().enumerate() {
        client.send(&json!({ "type": "auth", "token": token("ann", &json!({})) })).await?;
        let answer = client.next().await?;
        match n {
            0 => assert_eq!(answer["type"], "auth_ack"),
            _ => assert_eq!(answer["code"], "user_connections"),
        }
    }
    assert_eq!(refused(rig.client_addr, "ann").await?.status, 429);
    Ok(())
}

#[tokio::test]
async fn a_connection_costs_thirty_six_bytes_in_reports_and_no_name_leaves_the_pod() -> Result<()> {
    let pods = Pods::start(2, 3, AboveLimit::RejectNew).await?;
    let listener = pods.nats.client().await?;
    let mut reports = listener.subscribe("wsgateway.users.>").await?;
    listener.flush().await?;
    let mut held = Vec::new();
    for n in 0..50 {
        held.push(connect(pods.address(0), &format!("somebody-{n}")).await?);
    }
    pods.knows(1, REPORTED, 50).await?;
    drop(held);
    pods.knows(1, REPORTED, 0).await?;
    let mut bytes = 0;
    while let Ok(Some(message)) = timeout(Duration::from_millis(50), reports.next()).await {
        ensure!(!message.payload.windows(8).any(|part| part == b"somebody"), "a name was reported");
        // Changes begin with their version, kind, pod, number and count: 20 bytes.
        if message.payload.get(1) == Some(&2) {
            bytes += message.payload.len() - 20;
        }
    }
    assert_eq!(bytes, 50 * 36);
    Ok(())
}
