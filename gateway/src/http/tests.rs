//! The client port of a gateway without a server behind it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use wsgateway_config::{GatewayConfig, MemorySource, Source};
use wsgateway_runtime::readiness::Readiness;

use super::{Hall, Places, Shortage, client_routes, paths, serve};
use crate::app::{self, Options, Running};
use crate::hub::shard::commands::Commands;
use crate::metrics::{AcceptErrors, PendingMetrics, Rejections};
use crate::reload::Given;
use crate::resources::cgroup;

/// How long anything may take on a machine that compiles at the same time.
const SOON: Duration = Duration::from_secs(60);

/// A gateway, and a second client port of it with few places for pending connections.
struct Crowded {
    gateway: Running,
    address: SocketAddr,
    pending: PendingMetrics,
    _stop: DropGuard,
}

fn config(path: &str) -> GatewayConfig {
    let mut config = GatewayConfig::new("n", Source::Memory(MemorySource {}));
    config.listener.address = [127, 0, 0, 1].into();
    config.listener.port = 0;
    path.clone_into(&mut config.listener.path);
    (config.admin.address, config.admin.port) = ([127, 0, 0, 1].into(), 0);
    config.capacity.shards = 1;
    config
}

fn crowded(places: usize) -> Crowded {
    let mut routes = None;
    let keep = |site: &_| routes.insert(client_routes(site)).clone();
    let options = Options { pod: "p".to_owned() };
    let given = Given::of(config("/ws")).unwrap();
    let gateway = app::start_with(
        given,
        options,
        Path::new(cgroup::ROOT),
        |settings| (settings, &Commands),
        keep,
    )
    .unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let registry = prometheus::Registry::new();
    let metrics = PendingMetrics::register(&registry).unwrap();
    let pending = metrics.clone();
    let places = Places::new(places, SOON, metrics);
    let refused = Rejections::register(&registry).unwrap().descriptors;
    let errors = AcceptErrors::register(&registry).unwrap();
    let shortage = Shortage::new(Readiness::new().gate("descriptors"), refused, errors).unwrap();
    let (routes, door) = routes.unwrap();
    let hall = Hall { door, routes, places, secure: None };
    tokio::spawn(serve(listener, hall, shortage, stop.clone()));
    Crowded { gateway, address, pending, _stop: stop.drop_guard() }
}

impl Crowded {
    /// Opens connections that say nothing, until so many places are taken.
    async fn fill(&self, places: i64) -> Vec<TcpStream> {
        let mut silent = Vec::new();
        for taken in self.pending.held.get()..places {
            silent.push(TcpStream::connect(self.address).await.unwrap());
            self.taken(taken + 1).await;
        }
        silent
    }

    /// Waits until so many places are taken.
    async fn taken(&self, places: i64) {
        let taken = async {
            while self.pending.held.get() != places {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, taken).await.expect("other places are taken");
    }
}

/// An HTTP connection.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn get(address: SocketAddr, path: &str) -> Self {
        let mut client = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        client.ask(path, "").await;
        client
    }

    async fn ask(&mut self, path: &str, headers: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
    }

    /// Everything up to a line that contains this.
    async fn until(&mut self, needle: &str) -> String {
        let mut text = String::new();
        while !text.lines().last().is_some_and(|line| line.contains(needle)) {
            let read = self.0.read_line(&mut text);
            let count = tokio::time::timeout(SOON, read).await.expect("no line came").unwrap();
            assert!(count > 0, "no {needle} in {text}");
        }
        text
    }

    /// An answer of known length.
    async fn answer(&mut self) -> (String, serde_json::Value) {
        let head = self.head().await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        let read = self.0.read_exact(&mut body);
        tokio::time::timeout(SOON, read).await.expect("no body came").unwrap();
        (head, serde_json::from_slice(&body).unwrap())
    }

    async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head);
            let count = tokio::time::timeout(SOON, read).await.expect("no head came").unwrap();
            assert!(count > 0, "no end of {head}");
        }
        head.to_ascii_lowercase()
    }
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn more_event_streams_and_polls_than_pending_places_leave_room_for_an_upgrade() {
    let crowded = crowded(2);
    let mut streams = Vec::new();
    let mut cursor = String::new();
    for _ in 0..5 {
        let mut stream = Client::get(crowded.address, "/sse?channels=a").await;
        let opened = stream.until("subscription_ack").await + &stream.until("data: ").await;
        let id = opened.lines().find_map(|line| line.strip_prefix("id: "));
        id.unwrap().clone_into(&mut cursor);
        streams.push(stream);
    }
    let poll = format!("/poll?channels=a&wait=55&cursor={cursor}");
    for _ in 0..5 {
        streams.push(Client::get(crowded.address, &poll).await);
    }
    let mut client = Client(BufReader::new(TcpStream::connect(crowded.address).await.unwrap()));
    client.ask("/ws", UPGRADE).await;
    client.until("HTTP/1.1 101").await;
}

#[tokio::test]
async fn a_connection_is_kept_after_a_poll_unless_others_need_its_place() {
    let crowded = crowded(4);
    let mut client = Client::get(crowded.address, "/poll?channels=a").await;
    let (head, begin) = client.answer().await;
    assert!(!head.contains("connection: close"), "{head}");
    let cursor = begin["cursor"].as_str().unwrap();
    crowded.taken(1).await;
    client.ask(&format!("/poll?channels=a&wait=55&cursor={cursor}"), "").await;
    crowded.taken(0).await;
    let _others = crowded.fill(4).await;
    crowded.gateway.memory().unwrap().publish("a", "1".into()).unwrap();
    let (head, _) = client.answer().await;
    assert!(head.contains("connection: close"), "{head}");
}

#[tokio::test]
async fn when_places_are_short_every_answer_is_the_last_of_its_connection() {
    let crowded = crowded(8);
    let mut client = Client::get(crowded.address, "/nothing").await;
    assert!(!client.head().await.contains("connection: close"));
    let _others = crowded.fill(8).await;
    for path in ["/", "/nothing", "/health", "/ws", "/poll"] {
        let mut client = Client::get(crowded.address, path).await;
        let head = client.head().await;
        assert!(head.contains("connection: close"), "{path}: {head}");
    }
    let mut client = Client(BufReader::new(TcpStream::connect(crowded.address).await.unwrap()));
    client.ask("/ws", UPGRADE).await;
    client.until("HTTP/1.1 101").await;
}

#[tokio::test]
async fn fallbacks_are_served_beside_every_path_that_an_endpoint_can_have() {
    for path in ["/ws", "/live/ws", "/live/", "//", "/a//b", "/live/sse", "/live/poll", "/..", "/~"]
    {
        let options = Options { pod: "p".to_owned() };
        let gateway = app::start(config(path), options).unwrap();
        for name in ["sse", "poll"] {
            for place in paths(path, name) {
                let mut client = Client::get(gateway.client_addr, &place).await;
                let (_, answer) = client.answer().await;
                assert_eq!(answer["code"], "invalid_channels", "{place} for {path}");
            }
        }
        let mut client =
            Client(BufReader::new(TcpStream::connect(gateway.client_addr).await.unwrap()));
        client.ask(path, UPGRADE).await;
        client.until("HTTP/1.1 101").await;
    }
}

#[test]
fn fallbacks_are_at_the_root_and_beside_the_endpoint() {
    for (endpoint, want) in [
        ("/ws", &["/sse"][..]),
        ("/live/ws", &["/live/sse", "/sse"]),
        ("/live/", &["/live/sse", "/sse"]),
        ("/a/b/c", &["/a/b/sse", "/sse"]),
        ("//", &["//sse", "/sse"]),
        ("/", &["/sse"]),
        // The endpoint itself comes first.
        ("/live/sse", &["/sse"]),
        ("/sse", &[]),
    ] {
        assert_eq!(Vec::from_iter(paths(endpoint, "sse")), want, "{endpoint}");
    }
}
