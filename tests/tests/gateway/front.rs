//! The client port under pressure: no number of connections, and no want of descriptors, keeps a new client out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use harness::{Exposition, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::Millis;

use super::client::Client;
use super::events::Events;
use super::http::{Answer, ask, get, refused_upgrade, request, upgrade_request};
use super::process::Process;
use super::raw::Raw;
use super::rig::{Rig, SOON, config, nats_with_stream, ready};

/// More than there are places for pending connections.
const CROWD: usize = 4_200;

async fn crowd(address: SocketAddr, start: &str) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(start.as_bytes()).await?;
        streams.push(stream);
    }
    Ok(streams)
}

#[tokio::test]
async fn more_silent_connections_than_there_are_places_do_not_keep_a_client_out() -> Result<()> {
    let rig = Rig::start().await?;
    for start in ["", "GET /ws HTTP/1.1\r\nHost: test\r\n"] {
        let before = rig.metric("wsgateway_pending_evicted_total").await?;
        let silent = crowd(rig.client_addr, start).await?;
        let mut client = rig.subscriber(&["a"]).await?;
        rig.publish("a", "1").await?;
        client.expect("message").await?;
        // The kernel shows a connection that says nothing a little later.
        wait_until(SOON, "evictions", async || {
            rig.metric("wsgateway_pending_evicted_total").await.is_ok_and(|count| count > before)
        })
        .await?;
        let mut other = rig.subscriber(&["a"]).await?;
        rig.publish("a", "2").await?;
        other.expect("message").await?;
        drop(silent);
    }
    wait_until(SOON, "no pending connections", async || {
        rig.metric("wsgateway_pending_connections").await.is_ok_and(|pending| pending == 0)
    })
    .await
}

#[tokio::test]
async fn an_upgrade_request_is_understood_however_it_is_cut() -> Result<()> {
    let rig = Rig::start().await?;
    let request = upgrade_request("");
    for size in [1, 17, request.len() - 1, request.len()] {
        let mut stream = TcpStream::connect(rig.client_addr).await?;
        stream.set_nodelay(true)?;
        for piece in request.as_bytes().chunks(size) {
            stream.write_all(piece).await?;
            tokio::task::yield_now().await;
        }
        let (mut heard, mut bytes) = (String::new(), [0; 4096]);
        while !heard.contains("connection:established") {
            let count = timeout(SOON, stream.read(&mut bytes)).await??;
            ensure!(count > 0, "closed: {heard}");
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        ensure!(heard.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{heard}");
    }
    Ok(())
}

#[tokio::test]
async fn more_kept_connections_than_there_are_places_do_not_keep_a_client_out() -> Result<()> {
    let rig = Rig::start().await?;
    let kept = crowd(rig.client_addr, "GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n").await?;
    let mut client = rig.subscriber(&["a"]).await?;
    rig.publish("a", "1").await?;
    client.expect("message").await?;
    drop(kept);
    Ok(())
}

#[tokio::test]
async fn a_capacity_that_the_open_files_do_not_allow_is_cut_and_reported() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut gateway = Process::start_limited(&config(&nats.url()), "ulimit -n 400").await?;
    ready(gateway.admin_addr).await?;
    let capacity = get(gateway.admin_addr, "/status").await?.json()?["capacity"].as_u64();
    let capacity = capacity.context("no capacity")?;
    ensure!((1..400).contains(&capacity), "{capacity} connections with 400 descriptors");
    let mut held = Vec::new();
    for _ in 0..capacity {
        held.push(Raw::connect(gateway.client_addr).await?);
    }
    for _ in 0..50 {
        let refused = refused_upgrade(gateway.client_addr).await?;
        assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("full")));
    }
    let log = gateway.end_log().await?;
    ensure!(!log.contains("cannot accept"), "{log}");
    Ok(())
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let gateway = Process::start_limited(&config(&nats.url()), "ulimit -Sn 300").await?;
    let metrics = get(gateway.admin_addr, "/metrics").await?.body;
    let limit = metrics.lines().find_map(|line| line.strip_prefix("process_max_fds "));
    ensure!(limit.context("no process_max_fds")?.parse::<f64>()? > 300.0, "{limit:?}");
    Ok(())
}

/// Lowers what a running gateway may open to what it has open, and a few more.
async fn starve(gateway: &Process, more: usize) -> Result<usize> {
    let pid = gateway.pid()?;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    set_limit(pid, open + more).await?;
    Ok(open)
}

async fn set_limit(pid: u32, files: usize) -> Result<()> {
    let limit = format!("--nofile={files}:20000");
    let arguments = ["--pid", &pid.to_string(), &limit];
    let status = tokio::process::Command::new("prlimit").args(arguments).status().await?;
    ensure!(status.success(), "prlimit {arguments:?}");
    Ok(())
}

#[tokio::test]
async fn without_descriptors_clients_are_answered_503_and_the_pod_is_unready_until_there_are_some()
-> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let gateway = Process::start(&config(&nats.url())).await?;
    ready(gateway.admin_addr).await?;
    let _held = Raw::connect(gateway.client_addr).await?;
    starve(&gateway, 8).await?;
    let mut clients = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        ensure!(clients.len() < 100, "clients go on to be served without descriptors");
        // Each is answered, whatever with: none hangs.
        match Raw::connect(gateway.client_addr).await {
            Ok(client) => clients.push(client),
            Err(_) => {
                let answer = refused_upgrade(gateway.client_addr).await?;
                assert_eq!(
                    (answer.status, answer.json()?["code"].as_str()),
                    (503, Some("overloaded"))
                );
                refused += 1;
            }
        }
    }
    let unready = get(gateway.admin_addr, "/readyz").await?;
    assert_eq!((unready.status, unready.body.contains("descriptors")), (503, true), "{unready:?}");
    assert_eq!(get(gateway.admin_addr, "/livez").await?.status, 200);
    set_limit(gateway.pid()?, 20_000).await?;
    ready(gateway.admin_addr).await?;
    drop(Raw::connect(gateway.client_addr).await?);
    let page = Exposition::parse(&get(gateway.admin_addr, "/metrics").await?.body)?;
    let of = |name: &str| page.value(&format!("wsgateway_{name}{{reason=\"descriptors\"}}"));
    assert!(of("accept_errors_total")? >= 1.0);
    assert!(of("upgrade_rejections_total")? >= 20.0);
    Ok(())
}

#[tokio::test]
async fn both_ports_listen_on_ipv4_and_ipv6_unless_told_otherwise() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    let default = wsgateway_config::GatewayConfig::new("n", config.source.clone());
    config.listener.address = default.listener.address;
    config.admin.address = default.admin.address;
    let gateway = super::rig::start(config)?;
    for host in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        ready(SocketAddr::new(host, gateway.admin_addr.port())).await?;
        Client::connect(SocketAddr::new(host, gateway.client_addr.port())).await?;
    }
    Ok(())
}

fn preflight(path: &str) -> String {
    format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: test\r\nOrigin: https://app.example\r\n\
         Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: last-event-id\r\n\
         Connection: close\r\n\r\n"
    )
}

fn lists(answer: &Answer, header: &str, entry: &str) -> bool {
    answer
        .header(header)
        .is_some_and(|list| list.split(',').any(|listed| listed.trim().eq_ignore_ascii_case(entry)))
}

#[tokio::test]
async fn pages_of_other_origins_may_send_their_token_and_cursor_in_headers() -> Result<()> {
    let rig = Rig::start().await?;
    for path in ["/sse", "/poll", "/sse?channels=a", "/poll?channels=a", "/ws"] {
        let answer = request(rig.client_addr, &preflight(path)).await?;
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(lists(&answer, "access-control-allow-methods", "GET"), "{answer:?}");
        for header in ["last-event-id", "cache-control", "authorization"] {
            assert!(lists(&answer, "access-control-allow-headers", header), "{answer:?}");
        }
        assert!(answer.header("access-control-max-age").is_some(), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_of_other_origins_may_read_why_they_are_refused_and_when_to_come_back() -> Result<()>
{
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let _full = rig.client().await?;
    for (request_line, status) in [
        ("GET /poll?channels=a", 503),
        ("GET /sse?channels=a", 503),
        ("GET /sse", 400),
        ("GET /poll?channels=a&cursor=x", 400),
        ("POST /sse", 405),
        ("DELETE /poll", 405),
        ("GET /nothing", 404),
    ] {
        let text = format!("{request_line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let answer = request(rig.client_addr, &text).await?;
        assert_eq!(answer.status, status, "{request_line}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{request_line}");
        assert!(lists(&answer, "access-control-expose-headers", "retry-after"), "{request_line}");
        assert!(answer.json()?["code"].is_string(), "{request_line}: {answer:?}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{request_line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_between_requests_is_closed_once_it_has_been_kept_for_long_enough()
-> Result<()> {
    let rig = Rig::start_with(|config| config.listener.keep_alive = Millis(100)).await?;
    // The helper reads to the end of the connection, which only the gateway ends.
    let answer = ask(rig.client_addr, "/nothing", "").await?;
    assert_eq!((answer.status, answer.header("connection")), (404, None));
    Ok(())
}

#[tokio::test]
async fn status_pages_can_be_taken_off_the_client_port() -> Result<()> {
    let rig = Rig::start_with(|config| config.listener.status_pages = false).await?;
    for path in ["/", "/health", "/stats"] {
        let answer = get(rig.client_addr, path).await?;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.body.contains("console"), "{answer:?}");
    }
    for path in ["/health", "/stats"] {
        assert_eq!(get(rig.admin_addr, path).await?.status, 200, "{path}");
    }
    // The root is a WebSocket endpoint for clients that know no path.
    let text = upgrade_request("").replace("/ws", "/");
    let mut stream = TcpStream::connect(rig.client_addr).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    assert_eq!(&head, b"HTTP/1.1 101");
    Ok(())
}

#[tokio::test]
async fn event_streams_and_polls_leave_places_for_websocket_clients() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 8).await?;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(Events::open(&rig, "channels=a", "").await?);
    }
    for path in ["/sse?channels=a", "/poll?channels=a"] {
        let refused = get(rig.client_addr, path).await?;
        assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("full")));
    }
    let reason = "wsgateway_upgrade_rejections_total{reason=\"fallbacks_full\"}";
    assert_eq!(rig.metric(reason).await?, 2);
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(rig.client().await?);
    }
    assert_eq!(refused_upgrade(rig.client_addr).await?.status, 503);
    Ok(())
}

#[tokio::test]
async fn an_event_stream_that_is_asked_for_behind_unread_answers_follows_them() -> Result<()> {
    const PAGES: usize = 100;
    let rig = Rig::start().await?;
    let mut stream = TcpStream::connect(rig.client_addr).await?;
    let page = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let events = "GET /sse?channels=a HTTP/1.1\r\nHost: test\r\n\r\n";
    stream.write_all((page.repeat(PAGES) + events).as_bytes()).await?;
    let mut all = Vec::new();
    let is_open = |all: &[u8]| {
        let end = &all[all.len().saturating_sub(2_000)..];
        all.ends_with(b"\n\n") && String::from_utf8_lossy(end).contains("connection:established")
    };
    while !is_open(&all) {
        let read = timeout(SOON, stream.read_buf(&mut all)).await.context("nothing came")??;
        ensure!(read > 0, "the connection ended behind {} bytes", all.len());
    }
    let head = b"HTTP/1.1 200 OK\r\n";
    let at = all.windows(head.len()).enumerate().filter(|(_, bytes)| bytes == head);
    let heads = at.map(|(at, _)| at).collect::<Vec<_>>();
    let length = heads[1];
    let whole = (0..=PAGES).map(|page| page * length).collect::<Vec<_>>();
    assert_eq!(heads, whole, "an answer is missing or cut");
    Ok(())
}

#[tokio::test]
async fn an_event_stream_whose_client_leaves_gives_its_place_back() -> Result<()> {
    let rig = Rig::start().await?;
    for round in 0..3 {
        let events = Events::open(&rig, "channels=a", "").await?;
        assert_eq!(rig.metric("wsgateway_connections").await?, 1, "{round}");
        drop(events);
        wait_until(SOON, "no connections", async || {
            rig.metric("wsgateway_connections").await.is_ok_and(|count| count == 0)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn cpu_time_is_counted_in_fractions_of_a_second() -> Result<()> {
    let rig = Rig::start().await?;
    wait_until(SOON, "a fraction of a second", async || {
        let Ok(metrics) = get(rig.admin_addr, "/metrics").await else { return false };
        let name = "process_cpu_seconds_total ";
        let seconds =
            metrics.body.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
        seconds.is_some_and(|seconds| seconds.fract() > 0.0)
    })
    .await?;
    let metrics = get(rig.admin_addr, "/metrics").await?.body;
    for name in [
        "process_open_fds",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
    ] {
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        ensure!(value.is_some_and(|value| value > 0.0), "{name}: {value:?}");
    }
    Ok(())
}
