//! TLS on the client port: every transport over it, its limits, and a certificate that is renewed.

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use harness::{Authority, wait_until};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, version};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use wsgateway_config::ProxyProtocol;

use super::client::{Client, essence};
use super::events::Events;
use super::http::{Answer, get, upgrade_request};
use super::poller::{Poller, cursor};
use super::raw::{TEXT, frame};
use super::resume::resume;
use super::rig::{Rig, SOON};
use super::tunnel::{Secured, connect, over, pair, request};

/// A gateway with TLS, and a port through which clients without it reach it.
struct Fixture {
    rig: Rig,
    secured: Secured,
    tunnel: SocketAddr,
}

impl Fixture {
    async fn start() -> Result<Self> {
        let secured = Secured::new()?;
        let rig = Rig::start_with(|config| secured.listen(config)).await?;
        let tunnel = secured.tunnel(rig.client_addr).await?;
        Ok(Self { rig, secured, tunnel })
    }

    async fn client(&self) -> Result<Client> {
        Client::connect(self.tunnel).await
    }

    async fn handshakes(&self, outcome: &str) -> Result<u64> {
        self.rig.metric(&format!("wsgateway_tls_handshakes_total{{outcome=\"{outcome}\"}}")).await
    }

    async fn connections(&self, count: u64) -> Result<()> {
        wait_until(SOON, "so many connections", async || {
            self.rig.stat("currentConnections").await.is_ok_and(|now| now == count)
        })
        .await
    }
}

#[tokio::test]
async fn every_transport_works_over_tls_and_a_client_goes_on_where_it_was() -> Result<()> {
    let Fixture { rig, tunnel, secured: _secured } = Fixture::start().await?;
    let mut client = Client::connect(tunnel).await?;
    client.subscribe(&["a"]).await?;
    let mut events = Events::open_at(tunnel, "channels=a", "").await?;
    while events.next().await?.kind != "subscription_ack" {}
    let mut poller = Poller::connect(tunnel).await?;
    let mut from = poller.begin("a").await?;
    for n in 0..3 {
        let offset = rig.publish("a", format!("{n}")).await?;
        let message = client.expect("message").await?;
        assert_eq!((&message["data"], essence(&message).0), (&json!(n), offset));
        assert_eq!(events.expect("").await?.json()?["data"], n);
        // The same connection again and again: its session goes to a shard and comes back.
        let answer = poller.poll(&format!("channels=a&cursor={from}")).await?;
        assert_eq!(answer["messages"][0]["data"], n, "{answer}");
        from = cursor(&answer)?;
        assert!(!poller.is_last(), "{}", poller.head);
    }
    let last = rig.publish("a", "\"last seen\"").await?;
    assert_eq!(essence(&client.expect("message").await?).0, last);
    drop(client);
    rig.settle("a", "\"missed\"").await?;
    let mut client = Client::connect(tunnel).await?;
    let ack = resume(&mut client, &["a"], last).await?;
    assert_eq!(ack["recovered"], true);
    assert_eq!(client.expect("message").await?["data"], "missed");
    Ok(())
}

#[tokio::test]
async fn versions_1_2_and_1_3_with_http_1_1_are_spoken_and_nothing_else() -> Result<()> {
    let fixture = Fixture::start().await?;
    let gateway = fixture.rig.client_addr;
    for (versions, agreed) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let config = fixture.secured.client(&[versions], &["h2", "http/1.1"])?;
        let stream = connect(gateway, config).await?;
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(agreed));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    // A client that says nothing about protocols, as old ones, gets HTTP/1.1 as well.
    let none = fixture.secured.client(rustls::ALL_VERSIONS, &[])?;
    assert_eq!(request(gateway, none, HEALTH).await?.status, 200);
    let h2 = fixture.secured.client(rustls::ALL_VERSIONS, &["h2"])?;
    let refused = connect(gateway, h2).await.map(drop).unwrap_err();
    assert!(format!("{refused:#}").contains("NoApplicationProtocol"), "{refused:#}");
    // Of another client, which knows old versions and weak suites.
    for (options, agreed) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], false),
        (&["-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"], false),
    ] {
        let output = openssl(gateway, options).await?;
        assert_eq!(output.contains("Cipher is (NONE)"), !agreed, "{options:?}: {output}");
        // 70: the version, 40: the suites. An answer, not silence.
        assert!(agreed || output.contains("alert number"), "{options:?}: {output}");
    }
    assert!(fixture.handshakes("failed").await? >= 3);
    Ok(())
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

async fn openssl(gateway: SocketAddr, options: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["s_client", "-connect", &gateway.to_string()]).args(options);
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(SOON, run).await.context("openssl did not end")?.context("no openssl")?;
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Ok(format!("{out}{error}"))
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_its_session_with_a_ticket() -> Result<()> {
    let fixture = Fixture::start().await?;
    for version in [&version::TLS12, &version::TLS13] {
        let config = fixture.secured.client(&[version], &["http/1.1"])?;
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = connect(fixture.rig.client_addr, Arc::clone(&config)).await?;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
            // The ticket comes with the answer.
            stream.write_all(HEALTH.as_bytes()).await?;
            stream.read_to_end(&mut Vec::new()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_client_without_tls_is_told_so_and_garbage_is_hung_up_on() -> Result<()> {
    let fixture = Fixture::start().await?;
    let answer = get(fixture.rig.client_addr, "/ws").await?;
    assert_eq!((answer.status, &answer.json()?["code"]), (400, &json!("tls_required")));
    assert!(answer.body.contains("this port speaks TLS"), "{answer:?}");
    assert_eq!(fixture.handshakes("plain").await?, 1);
    for garbage in
        [&b"\x16\x03\x01\xff\xff"[..], b"\x16\x03\x01\0\x04\x01\0\xff\xff", &[0x16; 9_000]]
    {
        let mut stream = TcpStream::connect(fixture.rig.client_addr).await?;
        stream.write_all(garbage).await?;
        // An alert or a reset, and then the end.
        let _heard = timeout(SOON, stream.read_to_end(&mut Vec::new())).await?;
    }
    fixture.client().await?.subscribe(&["a"]).await?;
    Ok(())
}

/// The bytes with which a handshake begins.
async fn hello(config: Arc<ClientConfig>) -> Result<Vec<u8>> {
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let mut client = rustls::ClientConnection::new(config, name)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    Ok(bytes)
}

#[tokio::test]
async fn more_handshakes_than_there_are_places_for_do_not_keep_a_client_out() -> Result<()> {
    const CROWD: usize = 1_200;
    let fixture = Fixture::start().await?;
    let (gateway, hello) = (fixture.rig.client_addr, hello(fixture.secured.usual()?).await?);
    let half = hello.len() / 2;
    // Those that stop within their hello, and those that never answer ours.
    for begin in [&hello[..1], &hello[..half], &hello] {
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            let mut stream = TcpStream::connect(gateway).await?;
            stream.write_all(begin).await?;
            crowd.push(stream);
        }
        wait_until(SOON, "evictions", async || {
            let evicted = fixture.rig.metric("wsgateway_tls_evicted_handshakes_total").await;
            evicted.is_ok_and(|count| count > 0)
        })
        .await?;
        let held = fixture.rig.metric("wsgateway_tls_pending_handshakes").await?;
        assert!(held <= 1_024, "{held} handshakes");
        let mut client = fixture.client().await?;
        client.subscribe(&["a"]).await?;
        fixture.rig.publish("a", "1").await?;
        client.expect("message").await?;
        drop(crowd);
    }
    wait_until(SOON, "no handshakes", async || {
        let held = fixture.rig.metric("wsgateway_tls_pending_handshakes").await;
        held.is_ok_and(|held| held == 0)
    })
    .await
}

#[tokio::test]
async fn a_handshake_is_understood_byte_by_byte_and_one_that_takes_too_long_ends() -> Result<()> {
    let fixture = Fixture::start().await?;
    // A wire that carries one byte at a time, in both directions.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let slow = listener.local_addr()?;
    let gateway = fixture.rig.client_addr;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(gateway).await else { return };
            let _set = (near.set_nodelay(true), far.set_nodelay(true));
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(bytewise(from_near, to_far));
            tokio::spawn(bytewise(from_far, to_near));
        }
    });
    let answer = request(slow, fixture.secured.usual()?, HEALTH).await?;
    assert_eq!(answer.status, 200);
    let mut silent = TcpStream::connect(gateway).await?;
    silent.write_all(&hello(fixture.secured.usual()?).await?[..5]).await?;
    timeout(SOON, silent.read_to_end(&mut Vec::new())).await.context("no end")??;
    assert_eq!(fixture.handshakes("too_slow").await?, 1);
    Ok(())
}

async fn bytewise(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
) {
    let mut byte = [0];
    while from.read_exact(&mut byte).await.is_ok() {
        if to.write_all(&byte).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    let _ended = to.shutdown().await;
}

#[tokio::test]
async fn large_messages_and_large_commands_arrive_whole() -> Result<()> {
    let fixture = Fixture::start().await?;
    let mut client = fixture.client().await?;
    client.subscribe(&["a"]).await?;
    let mut poller = Poller::connect(fixture.tunnel).await?;
    let mut from = poller.begin("a").await?;
    for size in [100, 16 << 10, 100 << 10, 700 << 10] {
        let text = "x".repeat(size);
        fixture.rig.publish("a", json!(text).to_string()).await?;
        let message = client.expect("message").await?;
        ensure!(message["data"] == text, "{size} bytes");
        let answer = poller.poll(&format!("channels=a&cursor={from}")).await?;
        ensure!(answer["messages"][0]["data"] == text, "{size} bytes");
        from = cursor(&answer)?;
    }
    let names: Vec<String> = (0..120).map(|n| format!("{n}.{}", "y".repeat(200))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(client.subscribe(&names).await?["count"], 121);
    Ok(())
}

/// A WebSocket whose greeting is not read.
async fn upgraded(stream: TcpStream, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let mut stream = over(stream, config).await?;
    stream.write_all(upgrade_request("").as_bytes()).await?;
    let command = json!({ "type": "subscribe", "channels": ["a"] }).to_string();
    stream.write_all(&frame(TEXT, command)).await?;
    stream.flush().await?;
    Ok(stream)
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_within_its_bound_and_the_others_miss_nothing()
-> Result<()> {
    const OUTBOX: u64 = 256 << 10;
    let secured = Secured::new()?;
    let rig = Rig::start_with(|config| {
        secured.listen(config);
        config.capacity.outbox_bytes_per_connection = OUTBOX as u32;
        config.capacity.shards = 1;
    })
    .await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let slow = upgraded(socket.connect(rig.client_addr).await?, secured.usual()?).await?;
    let mut other = Client::connect(secured.tunnel(rig.client_addr).await?).await?;
    other.subscribe(&["a"]).await?;
    wait_until(SOON, "both subscriptions", async || {
        rig.stat("subscriptions").await.is_ok_and(|count| count == 2)
    })
    .await?;
    let (filler, mut most) = ("x".repeat(16 << 10), 0);
    for n in 0..200 {
        rig.publish("a", json!({ "n": n, "x": filler }).to_string()).await?;
        assert_eq!(other.expect("message").await?["data"]["n"], n);
        most = most.max(rig.metric("wsgateway_outbox_bytes").await?);
    }
    assert_eq!(rig.stat("slowConsumers").await?, 1);
    assert!((1..=OUTBOX).contains(&most), "{most} bytes waited for one client");
    drop(slow);
    wait_until(SOON, "no memory of outboxes", async || {
        rig.metric("wsgateway_outbox_bytes").await.is_ok_and(|bytes| bytes == 0)
    })
    .await
}

#[tokio::test]
async fn a_client_that_pauses_gets_everything_in_order_when_it_reads_again() -> Result<()> {
    let fixture = Fixture::start().await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    let stream = socket.connect(fixture.rig.client_addr).await?;
    let mut slow = upgraded(stream, fixture.secured.usual()?).await?;
    wait_until(SOON, "its subscription", async || {
        fixture.rig.stat("subscriptions").await.is_ok_and(|count| count == 1)
    })
    .await?;
    let text = "z".repeat(3_000);
    let all = (0..60).map(|n| ("a".to_owned(), json!({ "n": n, "x": text }).to_string().into()));
    fixture.rig.publish_all(all).await?;
    wait_until(SOON, "something that waits", async || {
        fixture.rig.metric("wsgateway_outbox_bytes").await.is_ok_and(|bytes| bytes > 0)
    })
    .await?;
    let (mut heard, mut bytes, mut next) = (String::new(), vec![0; 1 << 16], 0);
    while next < 60 {
        let count = timeout(SOON, slow.read(&mut bytes)).await??;
        ensure!(count > 0, "closed after {next}");
        heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
        while let Some(at) = heard.find(&format!("\"n\":{next},")) {
            heard.drain(..at);
            next += 1;
        }
    }
    wait_until(SOON, "nothing that waits", async || {
        fixture.rig.metric("wsgateway_outbox_bytes").await.is_ok_and(|bytes| bytes == 0)
    })
    .await
}

#[tokio::test]
async fn an_end_is_announced_by_the_gateway_and_one_of_the_client_frees_its_place() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    let gateway = fixture.rig.client_addr;
    let config = fixture.secured.usual()?;
    let open = async || {
        let stream = upgraded(TcpStream::connect(gateway).await?, Arc::clone(&config)).await?;
        fixture.connections(1).await?;
        anyhow::Ok(stream)
    };
    // With a close_notify, with an end of the socket, and with both halves gone.
    let mut polite = open().await?;
    polite.get_mut().1.send_close_notify();
    polite.flush().await?;
    fixture.connections(0).await?;
    let mut curt = open().await?;
    curt.get_mut().0.shutdown().await?;
    fixture.connections(0).await?;
    drop(open().await?);
    fixture.connections(0).await?;
    let mut last = open().await?;
    let reading = tokio::spawn(async move {
        let mut bytes = Vec::new();
        // Without a close_notify this is an error.
        last.read_to_end(&mut bytes).await.map(|_| bytes)
    });
    fixture.rig.shutdown().await?;
    let heard = timeout(SOON, reading).await???;
    assert!(String::from_utf8_lossy(&heard).contains("\"reconnect\""));
    Ok(())
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_the_handshake() -> Result<()> {
    let secured = Secured::new()?;
    let rig = Rig::start_with(|config| {
        secured.listen(config);
        config.listener.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        config.listener.proxy_protocol = ProxyProtocol::Require;
        config.accepts.connections_per_address = 1;
    })
    .await?;
    let open = async |client: &str| {
        let mut stream = TcpStream::connect(rig.client_addr).await?;
        stream.write_all(format!("PROXY TCP4 {client} 10.0.0.1 5000 443\r\n").as_bytes()).await?;
        let mut stream = upgraded(stream, secured.usual()?).await?;
        let mut head = vec![0; 12];
        timeout(SOON, stream.read_exact(&mut head)).await??;
        anyhow::Ok((stream, String::from_utf8(head)?))
    };
    let (first, head) = open("192.0.2.1").await?;
    assert_eq!(head, "HTTP/1.1 101");
    let (_refused, head) = open("192.0.2.1").await?;
    assert_eq!(head, "HTTP/1.1 429", "the client's address counts");
    let (_other, head) = open("192.0.2.2").await?;
    assert_eq!(head, "HTTP/1.1 101");
    drop(first);
    // Without the header nothing is signed for anybody.
    let mut stream = TcpStream::connect(rig.client_addr).await?;
    stream.write_all(&hello(secured.usual()?).await?).await?;
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await??;
    let answer = Answer::parse(&String::from_utf8_lossy(&bytes))?;
    assert_eq!((answer.status, &answer.json()?["code"]), (400, &json!("proxy_header")));
    Ok(())
}

/// The certificate that a new connection is shown.
async fn shown(fixture: &Fixture) -> Result<Vec<u8>> {
    let config = fixture.secured.usual()?;
    let stream = connect(fixture.rig.client_addr, config).await?;
    let certificates = stream.get_ref().1.peer_certificates().context("no certificates")?;
    Ok(certificates.first().context("no certificate")?.to_vec())
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_clients_and_old_ones_miss_nothing() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = fixture.client().await?;
        client.subscribe(&["a"]).await?;
        clients.push(client);
    }
    let mut events = Events::open_at(fixture.tunnel, "channels=a", "").await?;
    while events.next().await?.kind != "subscription_ack" {}
    let sent = Cell::new(0_u64);
    for _ in 0..3 {
        let before = shown(&fixture).await?;
        fixture.secured.renew()?;
        wait_until(SOON, "the new certificate", async || {
            // Messages go on meanwhile.
            if fixture.rig.publish("a", sent.get().to_string()).await.is_ok() {
                sent.set(sent.get() + 1);
            }
            shown(&fixture).await.is_ok_and(|now| now != before)
        })
        .await?;
    }
    let sent = sent.get();
    for client in &mut clients {
        for n in 0..sent {
            assert_eq!(client.expect("message").await?["data"], n);
        }
    }
    for n in 0..sent {
        assert_eq!(events.expect("").await?.json()?["data"], n);
    }
    let applied = fixture.rig.metric("wsgateway_tls_reloads_total{outcome=\"applied\"}").await?;
    assert_eq!((applied, fixture.rig.stat("currentConnections").await?), (3, 21));
    Ok(())
}

#[tokio::test]
async fn a_bad_pair_is_refused_and_reported_and_the_last_good_one_is_shown() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    let before = shown(&fixture).await?;
    let mut client = fixture.client().await?;
    client.subscribe(&["a"]).await?;
    let authority = Authority::new("another")?;
    let (one, other) = (authority.server()?, authority.server()?);
    let status = async |fixture: &Fixture| {
        get(fixture.rig.admin_addr, "/status").await?.json().map(|status| status["tls"].clone())
    };
    for (certificate, key, why) in [
        (one.certificate.as_str(), other.key.as_str(), "do not belong together"),
        ("", one.key.as_str(), "holds no certificates"),
        (one.certificate.as_str(), "hidden", "holds no private key"),
    ] {
        fixture.secured.secret.replace(&[("tls.crt", certificate), ("tls.key", key)])?;
        wait_until(SOON, "a report", async || {
            let status = status(&fixture).await.unwrap_or_default();
            status["problem"].as_str().is_some_and(|problem| problem.contains(why))
        })
        .await?;
        assert_eq!(shown(&fixture).await?, before);
        assert_eq!(fixture.rig.metric("wsgateway_tls_certificate_refused").await?, 1);
        let health = get(fixture.rig.admin_addr, "/health").await?;
        assert_eq!((health.status, &health.json()?["status"]), (200, &json!("degraded")));
        assert!(health.body.contains(why) && !health.body.contains("hidden"), "{}", health.body);
    }
    fixture.rig.publish("a", "1").await?;
    client.expect("message").await?;
    // Back to a good one.
    let good = fixture.secured.authority.server()?;
    fixture.secured.secret.replace(&pair(&good))?;
    wait_until(SOON, "the end of the problem", async || {
        status(&fixture).await.is_ok_and(|status| status["problem"].is_null())
    })
    .await?;
    assert_ne!(shown(&fixture).await?, before);
    Ok(())
}
