//! Long-polls in a shard without threads and with made-up time: when they end, and what becomes of their sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use wsgateway_config::{Channels, GatewayConfig, MemorySource, Millis, Source};

use super::commands::Commands;
use super::{Settings, Shard};
use crate::conn::Transport;
use crate::conn::poll::answer::{Broken, Terms};
use crate::conn::poll::{Origin, Outcome, Request};
use crate::encode::{Encoder, Message};
use crate::history::{Archive, Bounds, History, Past};
use crate::hub::arrivals::Handover;
use crate::hub::inbox::{Entry, Inbox};
use crate::tls::Link;

/// What the default configuration promises: interval and timeout of the heartbeat.
const SILENCE: Duration = Duration::from_secs(35);

/// Time of a message to be joined by others.
const GATHER: Duration = Duration::from_millis(20);

/// The HTTP connection of a test: keeps what comes back.
#[derive(Clone, Debug, Default)]
struct Back(Arc<Mutex<Vec<(TcpStream, Outcome)>>>);

impl Origin for Back {
    fn keeps(&self) -> bool {
        true
    }

    fn take_back(self: Box<Self>, link: Link, outcome: Outcome) {
        self.0.lock().unwrap().push((link.stream, outcome));
    }
}

impl Back {
    fn outcome(&self) -> Option<Outcome> {
        self.0.lock().unwrap().pop().map(|(_, outcome)| outcome)
    }
}

struct Rig {
    shard: Shard,
    history: History,
    inbox: Arc<Inbox>,
    sequence: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let history = History::new(Bounds { messages: 10, bytes: 1 << 20, age_ms: 60_000 });
        history.reset(&"e".into(), 0);
        let past = Past { history: history.clone(), archive: Archive::none() };
        let mut config = GatewayConfig::new("test/polls", Source::Memory(MemorySource::default()));
        change(&mut config);
        let settings = Settings::new(&config, 1, "pod", 0);
        let (shard, inbox, _) = Shard::new(&settings, &Commands, 0, past).unwrap();
        inbox.push(Entry::Opened { epoch: "e".into(), position: 0 });
        Self { shard, history, inbox, sequence: 0 }
    }

    /// A client that polls everything from the beginning.
    fn poll(&mut self, wait: Duration) -> (UnixStream, Back) {
        self.poll_from(0, wait)
    }

    fn poll_from(&mut self, offset: u64, wait: Duration) -> (UnixStream, Back) {
        let (socket, theirs) = UnixStream::pair().unwrap();
        for end in [&socket, &theirs] {
            end.set_nonblocking(true).unwrap();
        }
        let (back, terms) = (Back::default(), Terms { begins: false, values: false, wait });
        let resume = json!({ "epoch": "e", "offset": offset });
        let subscribe = json!({ "type": "subscribe", "channels": [">"], "resume": resume });
        self.inbox.arrive(Handover {
            commands: vec![subscribe.to_string()],
            transport: Transport::Poll,
            poll: Some(Request {
                terms,
                chunked: true,
                origin: Box::new(back.clone()),
                cors: "".into(),
            }),
            ..Handover::new(TcpStream::from(OwnedFd::from(theirs)))
        });
        self.turn();
        self.turn();
        (socket, back)
    }

    fn turn(&mut self) {
        self.shard.turn(Duration::ZERO).unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.shard.clients().clock.advance(time);
        self.turn();
    }

    fn publish(&mut self, bytes: usize) {
        self.sequence += 1;
        let message = Message {
            subject: "a".into(),
            sequence: self.sequence,
            timestamp: 0,
            payload: Bytes::from(format!("\"{}\"", "x".repeat(bytes))),
            deleted: None,
            trace: None,
        };
        let channels = Channels { strip_prefix: String::new(), rules: Vec::new() };
        self.inbox.push(Entry::Deliver(Encoder::new(&channels).encode(&message)));
        self.turn();
    }

    fn held(&mut self) -> usize {
        self.shard.clients().len()
    }
}

/// What a socket has, as far as a limit goes.
fn read(socket: &mut UnixStream, limit: usize) -> Vec<u8> {
    let mut got = vec![0; limit];
    let mut count = 0;
    while count < limit {
        match socket.read(&mut got[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    got.truncate(count);
    got
}

fn body(answer: &[u8]) -> Value {
    let text = std::str::from_utf8(answer).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

const WHOLE: Outcome = Outcome::Answered { rest: Vec::new(), keep: true };

#[test]
fn messages_that_come_within_a_moment_share_an_answer_and_the_socket_goes_back_with_it() {
    let mut rig = Rig::new();
    let (mut client, back) = rig.poll(Duration::from_secs(25));
    rig.publish(1);
    rig.publish(1);
    assert_eq!((read(&mut client, 9_999).len(), back.outcome()), (0, None), "others may come");
    rig.pass(GATHER);
    let answer = body(&read(&mut client, 9_999));
    assert_eq!(
        (answer["messages"].as_array().map(Vec::len), &answer["cursor"]),
        (Some(2), &"e:2".into())
    );
    assert_eq!((back.outcome(), rig.held()), (Some(WHOLE), 0));
}

#[test]
fn a_wait_ends_when_it_is_over_however_long_it_is() {
    // The longest is beyond what the timers reach at once.
    for wait in [0, 1, 25, 55].map(Duration::from_secs) {
        let mut rig = Rig::new();
        let (mut client, back) = rig.poll(wait);
        for _ in 0..wait.as_secs() {
            assert_eq!((back.outcome(), rig.held()), (None, 1), "{wait:?}");
            rig.pass(Duration::from_secs(1));
        }
        rig.pass(Duration::from_millis(100));
        assert_eq!(body(&read(&mut client, 9_999))["cursor"], "e:0", "{wait:?}");
        assert_eq!((back.outcome(), rig.held()), (Some(WHOLE), 0));
    }
}

#[test]
fn a_wait_ends_in_time_when_the_heartbeat_is_changed_meanwhile() {
    let mut rig = Rig::new();
    let (mut client, back) = rig.poll(Duration::from_secs(25));
    let mut config = GatewayConfig::new("test/polls", Source::Memory(MemorySource::default()));
    config.heartbeat.interval = Millis(10_000);
    rig.inbox.push(Entry::Configure(Arc::new(Settings::new(&config, 1, "pod", 0))));
    rig.pass(Duration::from_secs(24));
    assert_eq!(back.outcome(), None);
    rig.pass(Duration::from_millis(1_100));
    assert_eq!(body(&read(&mut client, 9_999))["cursor"], "e:0");
    assert_eq!(back.outcome(), Some(WHOLE));
}

#[test]
fn what_a_client_sends_while_it_waits_is_still_there_when_its_socket_goes_back() {
    let mut rig = Rig::new();
    let (mut client, back) = rig.poll(Duration::from_secs(25));
    client.write_all(b"GET /next").unwrap();
    rig.turn();
    rig.publish(1);
    rig.pass(GATHER);
    let (mut stream, outcome) = back.0.lock().unwrap().pop().unwrap();
    assert_eq!(outcome, WHOLE);
    let mut next = [0; 9];
    stream.read_exact(&mut next).unwrap();
    assert_eq!(&next, b"GET /next");
}

#[test]
fn a_client_that_hangs_up_while_it_waits_is_released_at_once() {
    let mut rig = Rig::new();
    let (mut client, back) = rig.poll(Duration::from_secs(25));
    client.write_all(b"GET /next").unwrap();
    drop(client);
    rig.turn();
    assert_eq!((back.outcome(), rig.held()), (None, 0));
}

#[test]
fn an_answer_that_nobody_reads_breaks_off_after_the_silence_that_ends_every_connection() {
    let mut rig = Rig::new();
    let (_client, back) = rig.poll(Duration::from_secs(25));
    rig.publish(4 << 20);
    assert_eq!((back.outcome(), rig.held()), (None, 1));
    rig.pass(SILENCE - Duration::from_secs(1));
    assert_eq!(rig.held(), 1);
    rig.pass(Duration::from_secs(2));
    assert_eq!((back.outcome(), rig.held()), (None, 0), "it is closed, not handed back");
    assert_eq!(rig.shard.clients().totals().outbox_memory, 0);
}

#[test]
fn an_answer_that_is_read_slowly_is_finished_and_the_socket_goes_back() {
    let mut rig = Rig::new();
    let (mut client, back) = rig.poll(Duration::from_secs(25));
    let size = 4 << 20;
    rig.publish(size);
    assert!(rig.shard.clients().totals().outbox_memory > 0, "the socket took everything");
    let mut answer = Vec::new();
    while answer.len() < size {
        rig.pass(SILENCE - Duration::from_secs(1));
        let some = read(&mut client, 256 << 10);
        assert!(!some.is_empty(), "broke off after {} bytes", answer.len());
        answer.extend(some);
        rig.turn();
    }
    answer.extend(read(&mut client, size));
    assert_eq!(body(&answer)["messages"][0]["data"].as_str().map(str::len), Some(size));
    rig.turn();
    assert_eq!((back.outcome(), rig.held()), (Some(WHOLE), 0));
}

#[test]
fn answers_that_wait_for_more_end_at_once_when_the_memory_for_slow_clients_is_used_up() {
    const BOUND: u32 = 64 << 10;
    let mut rig = Rig::with(|config| {
        config.capacity.outbox_bytes_per_connection = BOUND;
        config.capacity.outbox_bytes_total = BOUND.into();
    });
    let polls: Vec<_> = (0..20).map(|_| rig.poll(Duration::from_secs(25))).collect();
    rig.publish(10 << 10);
    let answered = polls.iter().filter(|(_, back)| back.outcome() == Some(WHOLE)).count();
    assert!((1..20).contains(&answered), "{answered} did not wait");
    let memory = rig.shard.clients().totals().outbox_memory;
    assert!(memory < 2 * u64::from(BOUND), "{memory} bytes");
    rig.pass(GATHER);
    assert_eq!(rig.held(), 0);
}

#[test]
fn a_poll_that_is_sent_away_before_its_acknowledgement_is_refused_by_the_http_server() {
    let mut rig = Rig::new();
    // The pod is about to read what the client has seen elsewhere.
    rig.history.advance(5);
    let (mut client, back) = rig.poll_from(5, Duration::from_secs(25));
    assert_eq!(back.outcome(), None);
    rig.inbox.push(Entry::Drain { window: Duration::ZERO, reason: "restart" });
    rig.turn();
    let broken = Broken::Unavailable("restart: try again".to_owned());
    assert_eq!(back.outcome(), Some(Outcome::Refused(broken)));
    assert_eq!(read(&mut client, 9_999), b"", "the HTTP server says it");
}
