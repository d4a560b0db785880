//! A shard without threads and with made-up time, its clients, and what they are sent while nothing happens.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wsgateway_config::{Channels, GatewayConfig, MemorySource, Millis, Source};
use wsgateway_proto::decoder::{Decoder, Event, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};

use crate::encode::{Encoder, Message};
use crate::history::archive::archive;
use crate::history::{Bounds, History, Past};
use crate::hub::arrivals::Handover;
use crate::hub::inbox::{Entry, Inbox};
use crate::hub::shard::commands::Commands;
use crate::hub::shard::{Settings, Shard, input};

/// What the default configuration promises, in ticks.
const INTERVAL: u32 = 250;
const TIMEOUT: u32 = 100;

const STEP: Duration = Duration::from_millis(100);

struct Client {
    socket: UnixStream,
    decoder: Decoder,
}

/// Frames that a client got.
#[derive(Debug, Default, PartialEq)]
struct Got {
    pings: usize,
    texts: usize,
    close_code: Option<u16>,
}

impl Client {
    fn read(&mut self) -> Got {
        let (mut bytes, mut got) = (vec![0; 64 << 10], Got::default());
        let limits = Limits { message_bytes: 1 << 20, fragments: 1, deflate: false };
        loop {
            let (count, mut position) = match self.socket.read(&mut bytes) {
                Ok(0) => return got,
                Ok(count) => (count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return got,
                Err(error) => panic!("{error}"),
            };
            let input = &mut bytes[..count];
            while let Some(event) = self.decoder.next(input, &mut position, &limits).unwrap() {
                match event {
                    Event::Ping(_) => got.pings += 1,
                    Event::Text(_) => got.texts += 1,
                    Event::Close(close) => got.close_code = close.map(|close| close.code),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn write(&mut self, opcode: Opcode, payload: &str) {
        let mut frame = Vec::new();
        frame::write_masked(&mut frame, opcode, payload.as_bytes(), [0; 4]);
        self.socket.write_all(&frame).unwrap();
    }
}

struct Rig {
    shard: Shard,
    inbox: Arc<Inbox>,
    clients: Vec<Client>,
}

impl Rig {
    /// A shard with so many clients that are subscribed to everything, all heard in the same tick.
    fn new(clients: usize) -> Self {
        let history = History::new(Bounds { messages: 10, bytes: 1 << 20, age_ms: 60_000 });
        let past = Past { history, archive: archive().0 };
        let config = GatewayConfig::new("test/idle", Source::Memory(MemorySource::default()));
        let settings = Settings::new(&config, 1, "pod", 0);
        let (shard, inbox, _) = Shard::new(&settings, &Commands, 0, past).unwrap();
        inbox.push(Entry::Opened { epoch: "e".into(), position: 0 });
        let mut rig = Self { shard, inbox, clients: Vec::new() };
        for _ in 0..clients {
            let client = rig.adopt();
            rig.clients.push(client);
        }
        while rig.shard.clients().len() < clients {
            rig.turn();
        }
        for client in &mut rig.clients {
            client.write(Opcode::Text, r#"{"type":"subscribe","channels":[">"]}"#);
        }
        rig.turn();
        rig.read_all();
        assert!(rig.read().iter().all(|got| *got == Got { texts: 2, ..Got::default() }));
        rig
    }

    /// Has the shard work with other settings.
    fn configure(&mut self, change: impl FnOnce(&mut GatewayConfig)) {
        let mut config = GatewayConfig::new("test/idle", Source::Memory(MemorySource::default()));
        change(&mut config);
        let settings = Settings::new(&config, 1, "pod", 0);
        self.inbox.push(Entry::Configure(Arc::new(settings)));
        self.turn();
    }

    fn adopt(&self) -> Client {
        let (socket, theirs) = UnixStream::pair().unwrap();
        for end in [&socket, &theirs] {
            end.set_nonblocking(true).unwrap();
        }
        self.inbox.arrive(Handover::new(TcpStream::from(OwnedFd::from(theirs))));
        Client { socket, decoder: Decoder::new(Role::Client) }
    }

    /// Lets the shard read all that clients have sent.
    fn read_all(&mut self) {
        while !self.shard.input.is_idle() {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.shard.turn(Duration::ZERO).unwrap();
    }

    /// Lets time pass in one step. Returns the tick of the shard afterwards.
    fn pass(&mut self, time: Duration) -> u32 {
        self.shard.parts.live.clients.clock.advance(time);
        self.turn();
        self.shard.clients().clock.tick
    }

    fn publish(&self) {
        let message = Message {
            subject: "a".into(),
            sequence: 1,
            timestamp: 0,
            payload: Bytes::from_static(b"1"),
            deleted: None,
            trace: None,
        };
        let channels = Channels { strip_prefix: String::new(), rules: Vec::new() };
        self.inbox.push(Entry::Deliver(Encoder::new(&channels).encode(&message)));
    }

    fn read(&mut self) -> Vec<Got> {
        self.clients.iter_mut().map(Client::read).collect()
    }

    fn pings(&mut self) -> usize {
        self.read().iter().map(|got| got.pings).sum()
    }
}

#[test]
fn a_client_that_never_answers_is_closed_within_interval_and_timeout_of_its_last_word() {
    let mut rig = Rig::new(3);
    let heard = rig.shard.clients().clock.tick;
    let mut pinged = [None; 3];
    let mut open = [true; 3];
    while open.contains(&true) {
        let tick = rig.pass(STEP);
        for (number, got) in rig.read().into_iter().enumerate() {
            if got.pings > 0 {
                assert_eq!(pinged[number].replace(tick), None, "pinged twice");
            }
            if got.close_code.is_some() {
                let asked = pinged[number].expect("a ping before the verdict");
                assert!(tick >= asked + TIMEOUT, "it has its time to answer");
                assert_eq!(got.close_code, Some(4011));
                open[number] = false;
            }
            assert!(!open[number] || tick < heard + INTERVAL + TIMEOUT, "closed by now");
        }
    }
}

#[test]
fn another_heartbeat_begins_anew_for_everybody_and_ends_nobody_at_once() {
    const CLIENTS: usize = 50;
    let (interval, timeout) = (100, 10);
    let mut rig = Rig::new(CLIENTS);
    rig.pass(STEP * INTERVAL);
    while rig.shard.clients().has_late_timers() {
        rig.turn();
    }
    assert_eq!(rig.pings(), CLIENTS, "nobody has answered");
    rig.pass(STEP * (TIMEOUT / 2));
    rig.configure(|config| {
        (config.heartbeat.interval, config.heartbeat.timeout) = (Millis(10_000), Millis(1_000));
    });
    let changed = rig.shard.clients().clock.tick;
    let (mut pinged, mut open) = ([None; CLIENTS], CLIENTS);
    while open > 0 {
        let tick = rig.pass(STEP);
        for (number, got) in rig.read().into_iter().enumerate() {
            if got.pings > 0 {
                assert!(tick >= changed + interval / 2 && tick <= changed + interval + 1, "{tick}");
                assert_eq!(pinged[number].replace(tick), None, "pinged twice");
            }
            if got.close_code.is_some() {
                let asked = pinged[number].expect("a ping by the new heartbeat");
                assert!(tick >= asked + timeout, "it has its time to answer");
                open -= 1;
            }
        }
        assert!(open == 0 || tick < changed + interval + 2 * timeout, "closed by now");
    }
    let ticks: std::collections::BTreeSet<_> = pinged.iter().flatten().collect();
    assert!(ticks.len() > 3, "spread over the interval: {ticks:?}");
}

#[test]
fn proxies_see_a_frame_in_every_interval_however_slowly_an_idle_client_answers() {
    let mut rig = Rig::new(1);
    let (mut last, mut answer_at, mut pings) = (rig.shard.clients().clock.tick, u32::MAX, 0);
    while pings < 5 {
        let tick = rig.pass(STEP);
        match rig.pings() {
            0 => assert!(tick < last + INTERVAL, "nothing since {last}, and it is {tick}"),
            _ => (last, answer_at, pings) = (tick, tick + TIMEOUT / 2, pings + 1),
        }
        if tick >= answer_at {
            rig.clients[0].write(Opcode::Pong, "");
            answer_at = u32::MAX;
        }
    }
}

#[test]
fn a_message_leaves_between_the_pings_of_a_large_burst() {
    let mut rig = Rig::new(100);
    rig.pass(STEP * INTERVAL);
    let first = rig.pings();
    assert!((1..100).contains(&first), "{first} at once");
    assert_eq!(rig.shard.gather_pongs(), Duration::ZERO, "the next turn continues");
    rig.publish();
    rig.turn();
    assert!(rig.read().iter().all(|got| got.texts == 1), "whoever was not pinged, too");
    while rig.shard.clients().has_late_timers() {
        rig.turn();
    }
    // All of the rest, by the messages' turn or after it.
    rig.clients.iter_mut().for_each(|client| client.write(Opcode::Pong, ""));
    rig.turn();
    rig.read_all();
    assert!(rig.shard.clients().open().all(|(_, connection)| !connection.owes_pong));
}

#[test]
fn a_message_waits_for_no_pong() {
    let mut rig = Rig::new(20);
    assert_eq!(rig.shard.gather_pongs(), rig.shard.idle_for(), "nobody was pinged");
    rig.pass(STEP * INTERVAL);
    assert_eq!(rig.pings(), 20);
    rig.shard.clients().clock.now_us = 0; // however long the turn took
    let idle = rig.shard.idle_for();
    assert!(rig.shard.gather_pongs() < idle, "pongs were waited for");
    rig.publish();
    assert_eq!(rig.shard.gather_pongs(), Duration::ZERO);
    rig.turn();
    assert!(rig.read().iter().all(|got| got.texts == 1));
    rig.clients.iter_mut().for_each(|client| client.write(Opcode::Pong, ""));
    rig.turn();
    rig.read_all();
    assert_eq!(rig.shard.gather_pongs(), rig.shard.idle_for(), "all have answered");
}

#[test]
fn a_socket_that_waited_for_its_turn_is_not_read_again_when_it_was_emptied() {
    let mut rig = Rig::new(1);
    rig.clients[0].write(Opcode::Ping, "");
    rig.shard.poll(Duration::ZERO).unwrap();
    rig.shard.serve_sockets(0);
    assert!(!rig.shard.input.is_idle(), "the turn had no time for it");
    rig.shard.poll(Duration::ZERO).unwrap();
    rig.shard.serve_sockets(input::PER_TURN);
    assert!(rig.shard.input.is_idle(), "what was there has been read");
    rig.clients[0].socket.shutdown(std::net::Shutdown::Write).unwrap();
    rig.shard.poll(Duration::ZERO).unwrap();
    rig.shard.serve_sockets(0);
    rig.turn();
    assert!(rig.shard.clients().len() == 0, "its end was seen, though it had to wait");
}
