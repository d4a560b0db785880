//! The HTTP side: upgrades refused with reasons, health, statistics, metrics, the page.

use anyhow::{Result, ensure};
use harness::wait_until;
use serde_json::Value;

use super::http::{Answer, get, request, upgrade_request};
use super::rig::{PREFIX, Rig, SOON, STREAM};

#[tokio::test]
async fn a_wrong_handshake_is_refused_with_a_status_and_a_json_reason() -> Result<()> {
    let rig = Rig::start().await?;
    let good = upgrade_request("Connection: close\r\n")
        .replace("Connection: Upgrade", "Connection: upgrade, close");
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let cases: [(&str, String, u16); 10] = [
        ("POST", good.replace("GET", "POST"), 405),
        ("HTTP/1.0", good.replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("no upgrade", good.replace("Upgrade: websocket\r\n", ""), 426),
        ("no Connection: Upgrade", good.replace("upgrade, close", "close"), 426),
        ("no version", good.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("version 8", good.replace("Version: 13", "Version: 8"), 426),
        ("no key", good.replace(&format!("{key}\r\n"), ""), 400),
        ("a short key", good.replace(key, "Sec-WebSocket-Key: c2hvcnQ="), 400),
        ("two keys", good.replace(key, &format!("{key}\r\n{key}")), 400),
        (
            "a protocol not spoken here",
            good.replace(
                "Connection: close\r\n",
                "Connection: close\r\nSec-WebSocket-Protocol: mqtt\r\n",
            ),
            400,
        ),
    ];
    for (name, text, status) in cases {
        let answer = request(rig.client_addr, &text).await?;
        ensure!(answer.status == status, "{name}: {answer:?}");
        let body = answer.json()?;
        ensure!(body["code"].is_string() && body["message"].is_string(), "{name}: {body}");
        if status == 426 {
            ensure!(answer.header("sec-websocket-version") == Some("13"), "{name}: {answer:?}");
        }
        if status == 405 {
            ensure!(answer.header("allow") == Some("GET"), "{name}: {answer:?}");
        }
    }
    assert_eq!(rig.metric("wsgateway_upgrade_rejections_total{reason=\"handshake\"}").await?, 10);
    assert_eq!(rig.metric("wsgateway_connections").await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_unknown_path_is_404_with_a_json_hint() -> Result<()> {
    let rig = Rig::start().await?;
    for path in ["/nothing", "/ws/", "/wsx", "/metrics", "/status", "//"] {
        let answer = get(rig.client_addr, path).await?;
        assert_eq!(
            (answer.status, answer.json()?["code"].as_str()),
            (404, Some("not_found")),
            "{path}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_and_nothing_else() -> Result<()> {
    let rig = Rig::start().await?;
    let long = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(1 << 20));
    for garbage in
        ["\0\0\0\0\r\n\r\n", "\x16\x03\x01\x02\0\x01\0\r\n\r\n", "SSH-2.0-x\r\n\r\n", &long]
    {
        // Answered with a status of the 400s, or just hung up on.
        if let Ok(Answer { status, .. }) = request(rig.client_addr, garbage).await {
            assert!((400..500).contains(&status), "{status}");
        }
        assert_eq!(get(rig.client_addr, "/health").await?.status, 200);
    }
    Ok(())
}

/// Whether a path of object keys exists, such as `checks.nats.status`.
fn has(value: &Value, path: &str) -> bool {
    path.split('.').try_fold(value, |value, key| value.get(key)).is_some()
}

#[tokio::test]
async fn health_has_the_fields_that_clients_of_earlier_systems_read() -> Result<()> {
    let rig = Rig::start().await?;
    let _client = rig.client().await?;
    for address in [rig.client_addr, rig.admin_addr] {
        let answer = get(address, "/health").await?;
        let health = answer.json()?;
        assert_eq!((answer.status, health["healthy"].as_bool()), (200, Some(true)), "{health}");
        for path in [
            "status",
            "checks.nats.status",
            "checks.nats.healthy",
            "checks.capacity.current",
            "checks.capacity.max",
            "checks.capacity.percentage",
            "checks.capacity.healthy",
            "checks.memory.used_mb",
            "checks.memory.limit_mb",
            "checks.memory.percentage",
            "checks.memory.healthy",
            "checks.cpu.percentage",
            "checks.cpu.healthy",
            "warnings",
            "errors",
            "uptime",
            "websocket.currentConnections",
            "websocket.totalConnections",
        ] {
            assert!(has(&health, path), "no {path} in {health}");
        }
        assert_eq!(health["checks"]["nats"]["status"], "connected");
        assert_eq!(health["websocket"]["currentConnections"], 1);
        assert_eq!(health["errors"], Value::Array(Vec::new()));
    }
    Ok(())
}

#[tokio::test]
async fn stats_have_the_fields_that_clients_of_earlier_systems_read() -> Result<()> {
    let rig = Rig::start().await?;
    let _client = rig.subscriber(&["a"]).await?;
    for address in [rig.client_addr, rig.admin_addr] {
        let stats = get(address, "/stats").await?.json()?;
        for field in [
            "currentConnections",
            "totalConnections",
            "messagesSent",
            "messagesReceived",
            "uptime",
            "messagesPublished",
            "messagesDelivered",
            "duplicatesDropped",
            "averageLatency",
            "peakLatency",
        ] {
            assert!(stats[field].is_number(), "no {field} in {stats}");
        }
        assert_eq!(
            (&stats["currentConnections"], &stats["totalConnections"]),
            (&1.into(), &1.into())
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_full_gateway_says_so_in_its_health_and_stays_healthy() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.connections = 1).await?;
    let _client = rig.client().await?;
    let health = get(rig.client_addr, "/health").await?.json()?;
    assert_eq!(
        (health["status"].as_str(), health["healthy"].as_bool()),
        (Some("degraded"), Some(true))
    );
    assert!(health["warnings"].to_string().contains("capacity at 100 %"), "{health}");
    Ok(())
}

#[tokio::test]
async fn every_counter_agrees_with_what_the_clients_counted() -> Result<()> {
    let rig = Rig::start().await?;
    let mut clients = Vec::new();
    for channels in [&["a"][..], &["a", "b"], &[">", "a"], &["c"]] {
        clients.push(rig.subscriber(channels).await?);
    }
    for channel in ["a", "b", "a", "d"] {
        rig.publish(channel, "1").await?;
    }
    let mut received = 0;
    let mut bytes = 0;
    for (client, count) in clients.iter_mut().zip([2, 3, 4, 0]) {
        for _ in 0..count {
            // Two bytes of header in front of a text of less than 126 bytes.
            bytes += client.text().await?.len() as u64 + 2;
            received += 1;
        }
    }
    for (name, value) in [
        ("wsgateway_deliveries_total", received),
        ("wsgateway_delivered_bytes_total", bytes),
        ("wsgateway_connections", 4),
        ("wsgateway_connections_accepted_total", 4),
        ("wsgateway_subscriptions", 6),
        ("wsgateway_commands_total", 4),
        ("wsgateway_source_messages_total", 4),
        ("wsgateway_source_last_sequence", 4),
        ("wsgateway_source_state{state=\"live\"}", 1),
        ("wsgateway_source_state{state=\"connecting\"}", 0),
        ("wsgateway_outbox_bytes", 0),
        ("wsgateway_shards", 2),
    ] {
        // A shard publishes its numbers at the end of a turn, a moment after its writes.
        let equal = async || rig.metric(name).await.is_ok_and(|metric| metric == value);
        wait_until(SOON, &format!("{name} to be {value}"), equal).await?;
    }
    for (field, value) in
        [("messagesSent", received), ("currentConnections", 4), ("bytesSent", bytes)]
    {
        assert_eq!(rig.stat(field).await?, value, "{field}");
    }
    Ok(())
}

#[tokio::test]
async fn the_status_for_the_operator_names_stream_epoch_and_configuration() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    let sequence = rig.publish("a", "1").await?;
    client.expect("message").await?;
    let status = get(rig.admin_addr, "/status").await?.json()?;
    let source = &status["source"];
    assert_eq!(
        (status["ready"].as_bool(), status["draining"].as_bool()),
        (Some(true), Some(false))
    );
    assert_eq!(
        (status["connections"].as_u64(), status["capacity"].as_u64()),
        (Some(1), Some(10_000))
    );
    assert_eq!((source["state"].as_str(), source["stream"].as_str()), (Some("live"), Some(STREAM)));
    assert_eq!(source["epoch"], client.epoch());
    assert_eq!(
        (source["lastSequence"].as_u64(), source["lagMessages"].as_u64()),
        (Some(sequence), Some(0))
    );
    assert_eq!(status["configHash"].as_str().map(str::len), Some(16), "{PREFIX}: {status}");
    Ok(())
}

#[tokio::test]
async fn the_page_may_run_its_own_script_and_talk_to_this_host_only() -> Result<()> {
    let rig = Rig::start_with(|config| config.listener.path = "/live".to_owned()).await?;
    let page = get(rig.client_addr, "/").await?;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    let policy = page.header("content-security-policy").unwrap_or_default();
    for rule in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{rule} is not in {policy}");
    }
    assert!(page.body.contains("/live") && !page.body.contains("{{"), "the page knows the path");
    Ok(())
}

#[tokio::test]
async fn the_client_port_tells_nothing_that_belongs_to_the_admin_port() -> Result<()> {
    let rig = Rig::start().await?;
    assert_eq!(get(rig.admin_addr, "/livez").await?.status, 200);
    for path in ["/metrics", "/readyz", "/status", "/livez"] {
        assert_eq!(get(rig.admin_addr, path).await?.status, 200, "{path}");
        assert_eq!(get(rig.client_addr, path).await?.status, 404, "{path}");
    }
    Ok(())
}
