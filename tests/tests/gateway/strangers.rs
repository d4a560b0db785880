//! Who may come in: pages, hosts, proxies, and how many of one address.

use std::net::SocketAddr;

use ::gateway::reload::Given;
use anyhow::{Context as _, Result, ensure};
use harness::wait_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::{AcceptRate, ForwardedHeader, GatewayConfig, ProxyProtocol};

use super::events::Events;
use super::http::{Answer, ask, request, upgrade_refused, upgrade_request};
use super::raw::{Raw, frame};
use super::rig::{Rig, SOON, config, nats_with_stream, ready, start};

const APP: &str = "https://app.example.com";

fn pages(config: &mut GatewayConfig) {
    config.listener.allowed_origins = vec![APP.into(), "https://*.example.org".into()];
}

fn behind_a_proxy(config: &mut GatewayConfig) {
    config.listener.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
}

fn origin(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

fn forwarded(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

/// Everything that comes until the gateway ends the connection.
async fn answer(stream: &mut TcpStream) -> Result<Answer> {
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await.context("no end of the answer")??;
    Answer::parse(&String::from_utf8_lossy(&bytes))
}

/// Status and code of a refusal of a clean upgrade request, which the front door answers.
async fn refused(address: SocketAddr, headers: &str) -> Result<(u16, String)> {
    let answer = request(address, &upgrade_request(headers)).await?;
    Ok((answer.status, answer.json()?["code"].as_str().unwrap_or_default().to_owned()))
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn rejections(rig: &Rig, reason: &str) -> Result<u64> {
    rig.metric(&format!("wsgateway_upgrade_rejections_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn pages_of_the_list_and_clients_that_are_no_browsers_get_in_and_no_other_page_does()
-> Result<()> {
    let rig = Rig::start_with(pages).await?;
    for good in ["", &origin(APP), &origin("https://a.example.org")] {
        Raw::connect_asking(rig.client_addr, good).await?;
    }
    let twice = origin(APP) + &origin(APP);
    for bad in
        [&origin("null"), &origin("https://evil.example"), &origin("https://example.org"), &twice]
    {
        let forbidden = refusal(403, "origin_not_allowed");
        assert_eq!(refused(rig.client_addr, bad).await?, forbidden, "{bad}");
        // The same of the HTTP server, on every path.
        let answer = upgrade_refused(rig.client_addr, bad).await?;
        assert_eq!(
            (answer.status, answer.json()?["code"].as_str()),
            (403, Some("origin_not_allowed"))
        );
        for path in ["/sse?channels=a", "/poll?channels=a", "/", "/stats", "/nothing"] {
            let answer = ask(rig.client_addr, path, &format!("{bad}Connection: close\r\n")).await?;
            assert_eq!(answer.status, 403, "{path} {bad}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{path} {bad}");
        }
    }
    ensure!(rejections(&rig, "origin").await? >= 4);
    Ok(())
}

#[tokio::test]
async fn pages_of_the_list_may_read_answers_with_credentials_and_caches_keep_them_apart()
-> Result<()> {
    let rig = Rig::start_with(|config| {
        pages(config);
        config.capacity.fallback_connections = 2;
    })
    .await?;
    let check = |answer: &Answer, path: &str| {
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP), "{path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{path}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    };
    let closing = origin(APP) + "Connection: close\r\n";
    for (path, status) in
        [("/poll?channels=a", 200), ("/poll", 400), ("/sse", 400), ("/nothing", 404)]
    {
        let answer = ask(rig.client_addr, path, &closing).await?;
        assert_eq!(answer.status, status, "{path}");
        check(&answer, path);
    }
    let preflight = format!("OPTIONS /poll HTTP/1.1\r\nHost: test\r\n{closing}\r\n");
    check(&request(rig.client_addr, &preflight).await?, "preflight");
    let stream = Events::open(&rig, "channels=a", &origin(APP)).await?;
    let head = stream.head.to_ascii_lowercase();
    for line in [
        &format!("access-control-allow-origin: {APP}"),
        "access-control-allow-credentials: true",
        "vary: origin",
    ] {
        assert!(head.contains(line), "no {line} in {head}");
    }
    // Full: the refusal can be read, too.
    let _other = Events::open(&rig, "channels=a", "").await?;
    let full = ask(rig.client_addr, "/poll?channels=a", &closing).await?;
    assert_eq!(full.status, 503);
    check(&full, "full");
    // Who names no origin gets no permission of anybody's, and the answer is still one that depends on it.
    let answer = ask(rig.client_addr, "/poll", "Connection: close\r\n").await?;
    assert_eq!(
        (answer.header("access-control-allow-origin"), answer.header("vary")),
        (None, Some("Origin"))
    );
    Ok(())
}

#[tokio::test]
async fn a_name_that_somebody_else_has_made_point_here_reaches_nothing_but_health() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.listener.allowed_hosts = vec!["test".into(), "*.example.org".into()];
    })
    .await?;
    Raw::connect(rig.client_addr).await?;
    let rebound = |text: &str| text.replace("Host: test", "Host: evil.example:8080");
    let denied = request(rig.client_addr, &rebound(&upgrade_request(""))).await?;
    assert_eq!((denied.status, denied.json()?["code"].as_str()), (403, Some("host_not_allowed")));
    for path in ["/sse?channels=a", "/poll?channels=a", "/", "/stats", "/ws"] {
        let text = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(request(rig.client_addr, &rebound(&text)).await?.status, 403, "{path}");
        let absolute = text.replace("GET /", "GET http://evil.example/");
        assert_eq!(request(rig.client_addr, &absolute).await?.status, 403, "{absolute}");
    }
    let health = "GET /health HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nConnection: close\r\n\r\n";
    assert_eq!(request(rig.client_addr, health).await?.status, 200);
    assert!(rejections(&rig, "host").await? >= 11);
    Ok(())
}

#[tokio::test]
async fn an_address_has_so_many_connections_whichever_way_they_come_and_gets_them_back()
-> Result<()> {
    let rig = Rig::start_with(|config| {
        behind_a_proxy(config);
        config.accepts.connections_per_address = 2;
    })
    .await?;
    let (one, address) = (forwarded("192.0.2.1"), rig.client_addr);
    let first = Raw::connect_asking(address, &one).await?;
    let second = Events::open(&rig, "channels=a", &one).await?;
    let limited = request(address, &upgrade_request(&one)).await?;
    assert_eq!(
        (limited.status, limited.json()?["code"].as_str()),
        (429, Some("address_connections"))
    );
    let seconds: u64 = limited.header("retry-after").unwrap_or("none").parse()?;
    let ms = limited.json()?["retryAfterMs"].as_u64().unwrap_or(0);
    assert!(ms > 0 && seconds == ms.div_ceil(1_000), "{seconds} s, {ms} ms");
    assert_eq!(limited.header("connection"), Some("close"));
    // Nobody ends these connections but the gateway.
    assert_eq!(ask(address, "/poll?channels=a", &one).await?.status, 429);
    let mut told =
        Events::open(&rig, "channels=a", &format!("{one}Accept: text/event-stream\r\n")).await?;
    let close = told.next().await?;
    assert_eq!((close.kind.as_str(), &close.json()?["code"]), ("close", &4010.into()));
    assert!(rejections(&rig, "address_connections").await? >= 3);
    // Others are not counted to it, whatever they write to the left of what the proxy appends.
    Raw::connect_asking(address, &forwarded("192.0.2.1, 192.0.2.2")).await?;
    assert_eq!(refused(address, &forwarded("192.0.2.3, 192.0.2.1")).await?.0, 429);
    drop((first, second));
    wait_until(SOON, "the places of the address", async || {
        Raw::connect_asking(address, &one).await.is_ok()
    })
    .await
}

#[tokio::test]
async fn a_long_poll_keeps_what_its_address_has_between_two_requests() -> Result<()> {
    let rig = Rig::start_with(|config| {
        behind_a_proxy(config);
        config.accepts.connections_per_address = 1;
        config.accepts.per_address = AcceptRate { per_second: 1, burst: 2 };
    })
    .await?;
    let one = forwarded("192.0.2.1");
    let mut poller = TcpStream::connect(rig.client_addr).await?;
    for _ in 0..5 {
        let text = format!("GET /poll?channels=a HTTP/1.1\r\nHost: test\r\n{one}\r\n");
        poller.write_all(text.as_bytes()).await?;
        let mut heard = String::new();
        while !heard.contains("\"cursor\"") {
            let mut bytes = [0; 4_096];
            let count = timeout(SOON, poller.read(&mut bytes)).await??;
            ensure!(count > 0, "closed: {heard}");
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        ensure!(heard.starts_with("HTTP/1.1 200"), "{heard}");
        assert_eq!(refused(rig.client_addr, &one).await?, refusal(429, "address_connections"));
    }
    drop(poller);
    wait_until(SOON, "the place of the address", async || {
        Raw::connect_asking(rig.client_addr, &one).await.is_ok()
    })
    .await
}

#[tokio::test]
async fn an_address_that_comes_too_fast_waits_while_others_and_exempt_networks_come_in()
-> Result<()> {
    let rig = Rig::start_with(|config| {
        behind_a_proxy(config);
        config.accepts.per_address = AcceptRate { per_second: 1, burst: 3 };
        config.accepts.exempt_networks = vec!["198.51.100.0/24".parse().unwrap()];
    })
    .await?;
    let (one, office) = (forwarded("192.0.2.1"), forwarded("198.51.100.9"));
    let mut outcomes = Vec::new();
    for _ in 0..8 {
        outcomes.push(Raw::connect_asking(rig.client_addr, &one).await.is_ok());
        Raw::connect_asking(rig.client_addr, &office).await?;
    }
    assert!(outcomes.starts_with(&[true; 3]) && outcomes.contains(&false), "{outcomes:?}");
    Raw::connect_asking(rig.client_addr, &forwarded("2001:db8::1")).await?;
    assert!(rejections(&rig, "address_rate").await? > 0);
    Ok(())
}

#[tokio::test]
async fn all_clients_together_come_no_faster_than_is_allowed() -> Result<()> {
    let rate = AcceptRate { per_second: 1, burst: 3 };
    let rig = Rig::start_with(|config| config.accepts.all = rate).await?;
    let (mut held, mut refused) = (Vec::new(), String::new());
    while !refused.starts_with("HTTP/1.1 429") {
        ensure!(held.len() < 50, "{refused}");
        let (stream, heard) =
            trickled(rig.client_addr, upgrade_request("").as_bytes(), 4_096).await?;
        held.push(stream);
        refused = heard;
    }
    assert!(held.len() > 3 && refused.contains("\"accept_rate\""), "{refused}");
    assert!(rejections(&rig, "accept_rate").await? > 0);
    // Pages are no clients.
    assert_eq!(ask(rig.client_addr, "/health", "Connection: close\r\n").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_cannot_say_where_a_client_is() -> Result<()> {
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let rig = Rig::start_with(|config| {
            config.listener.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
            config.listener.forwarded_header = header;
            config.accepts.connections_per_address = 1;
        })
        .await?;
        let _first = Raw::connect(rig.client_addr).await?;
        for n in 0..20 {
            let spoofed = format!(
                "X-Forwarded-For: 198.51.100.{n}\r\nForwarded: for=198.51.100.{n}\r\nX-Real-IP: 198.51.100.{n}\r\n"
            );
            assert_eq!(
                refused(rig.client_addr, &spoofed).await?,
                refusal(429, "address_connections")
            );
        }
    }
    Ok(())
}

fn version_2(source: [u8; 4]) -> Vec<u8> {
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [&head[..], &source, &[10, 0, 0, 1, 0, 80, 1, 187]].concat()
}

fn version_1(source: [u8; 4]) -> Vec<u8> {
    let [a, b, c, d] = source;
    format!("PROXY TCP4 {a}.{b}.{c}.{d} 10.0.0.1 5000 443\r\n").into_bytes()
}

/// Sends bytes one by one; the first bytes of the answer.
async fn trickled(address: SocketAddr, bytes: &[u8], piece: usize) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    for piece in bytes.chunks(piece) {
        stream.write_all(piece).await?;
        tokio::task::yield_now().await;
    }
    let mut bytes = [0; 4_096];
    let count = timeout(SOON, stream.read(&mut bytes)).await??;
    Ok((stream, String::from_utf8_lossy(&bytes[..count]).into_owned()))
}

#[tokio::test]
async fn a_proxy_header_tells_the_client_however_it_is_cut() -> Result<()> {
    let rig = Rig::start_with(|config| {
        behind_a_proxy(config);
        config.listener.proxy_protocol = ProxyProtocol::Accept;
        config.accepts.connections_per_address = 1;
    })
    .await?;
    let (upgrade, mut held) = (upgrade_request(""), Vec::new());
    for (n, header) in [version_1, version_2].into_iter().enumerate() {
        for (m, piece) in [1, 7, 10_000].into_iter().enumerate() {
            let source = [192, 0, 2, u8::try_from(10 * n + m)?];
            let bytes = [header(source), upgrade.clone().into_bytes()].concat();
            let (stream, heard) = trickled(rig.client_addr, &bytes, piece).await?;
            assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
            held.push(stream);
            // The next of the same client is one too many, whatever other headers say.
            let spoofed = upgrade_request("X-Forwarded-For: 198.51.100.1\r\n").into_bytes();
            let (_, heard) =
                trickled(rig.client_addr, &[header(source), spoofed].concat(), piece).await?;
            assert!(heard.starts_with("HTTP/1.1 429"), "{heard}");
        }
    }
    // An event stream through the HTTP server, and the proxy's own check.
    let sse = b"GET /sse?channels=a HTTP/1.1\r\nHost: test\r\n\r\n";
    let (stream, heard) =
        trickled(rig.client_addr, &[&version_1([192, 0, 2, 99]), &sse[..]].concat(), 1).await?;
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
    held.push(stream);
    let (_, heard) =
        trickled(rig.client_addr, &[&version_2([192, 0, 2, 99]), &sse[..]].concat(), 9).await?;
    assert!(heard.starts_with("HTTP/1.1 429"), "{heard}");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(trickled(rig.client_addr, local, 5).await?.1.starts_with("HTTP/1.1 200"));
    Ok(())
}

#[tokio::test]
async fn where_a_proxy_header_is_required_nobody_comes_in_without() -> Result<()> {
    let rig = Rig::start_with(|config| {
        behind_a_proxy(config);
        config.listener.proxy_protocol = ProxyProtocol::Require;
    })
    .await?;
    let upgrade = upgrade_request("").into_bytes();
    for bytes in [
        upgrade.clone(),
        [&b"PROXY TCP4 nonsense\r\n"[..], &upgrade].concat(),
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &upgrade].concat(),
        b"PROXY ".repeat(200),
    ] {
        let mut stream = TcpStream::connect(rig.client_addr).await?;
        stream.write_all(&bytes).await?;
        let answer = answer(&mut stream).await?;
        assert_eq!((answer.status, answer.json()?["code"].as_str()), (400, Some("proxy_header")));
    }
    assert_eq!(rejections(&rig, "proxy_header").await?, 4);
    let (_, heard) =
        trickled(rig.client_addr, &[version_2([192, 0, 2, 1]), upgrade].concat(), 4_096).await?;
    assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
    Ok(())
}

#[tokio::test]
async fn rules_of_entry_change_while_clients_are_there() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    let gateway = start(config.clone())?;
    ready(gateway.admin_addr).await?;
    let (address, evil) = (gateway.client_addr, origin("https://evil.example"));
    let mut client = Raw::connect_asking(address, &evil).await?;
    behind_a_proxy(&mut config);
    pages(&mut config);
    config.accepts.connections_per_address = 1;
    gateway.reload(Given::of(config.clone())?)?;
    assert_eq!(refused(address, &evil).await?, refusal(403, "origin_not_allowed"));
    let one = forwarded("192.0.2.1");
    let first = Raw::connect_asking(address, &one).await?;
    assert_eq!(refused(address, &one).await?, refusal(429, "address_connections"));
    config.listener.allowed_origins.clear();
    config.accepts.connections_per_address = 0;
    gateway.reload(Given::of(config)?)?;
    Raw::connect_asking(address, &(evil + &one)).await?;
    // Who was there before is there still.
    client.write(&frame(0x89, b"")).await;
    assert_eq!(client.frame().await?.context("closed")?.opcode, 0xA);
    drop(first);
    Ok(())
}

#[tokio::test]
async fn header_and_cookie_bombs_are_refused_and_others_are_served() -> Result<()> {
    let rig = Rig::start_with(|config| {
        pages(config);
        behind_a_proxy(config);
    })
    .await?;
    let mut client = rig.subscriber(&["a"]).await?;
    let cookie = format!("Cookie: {}\r\n", "c=1; ".repeat(20_000));
    let chain = forwarded(&vec!["127.0.0.1"; 10_000].join(","));
    let lines: String = (0..2_000).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let origins = origin(APP).repeat(500);
    for bomb in [&cookie, &chain, &lines, &origins] {
        let mut stream = TcpStream::connect(rig.client_addr).await?;
        // The gateway may hang up before it has heard everything.
        drop(stream.write_all(upgrade_request(bomb).as_bytes()).await);
        let mut bytes = Vec::new();
        drop(timeout(SOON, stream.read_to_end(&mut bytes)).await?);
        let heard = String::from_utf8_lossy(&bytes);
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{heard}");
    }
    rig.publish("a", "1").await?;
    client.expect("message").await?;
    Ok(())
}

#[tokio::test]
async fn answers_say_what_they_are_and_are_not_kept() -> Result<()> {
    let rig = Rig::start().await?;
    for path in ["/", "/health", "/stats", "/nothing", "/ws", "/poll", "/poll?channels=a", "/sse"] {
        let answer = ask(rig.client_addr, path, "Connection: close\r\n").await?;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let kept = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(kept), "{path}");
    }
    let stream = Events::open(&rig, "channels=a", "").await?;
    assert!(stream.head.to_ascii_lowercase().contains("x-content-type-options: nosniff"));
    Ok(())
}
