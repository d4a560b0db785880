//! A shard without threads, one client of it, and a stream that is made up.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use wsgateway_config::{Channels, GatewayConfig, MemorySource, Source};
use wsgateway_proto::Deleted;
use wsgateway_proto::decoder::{Decoder, Event, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};

use crate::encode::{Delivery, Encoder, Message};
use crate::history::archive::{Desk, Query, archive};
use crate::history::{Block, Bounds, History, Past};
use crate::hub::arrivals::Handover;
use crate::hub::inbox::{Entry, Inbox};
use crate::hub::shard::commands::Commands;
use crate::hub::shard::{Settings, Shard};

pub(super) const EPOCH: &str = "e";

/// A message of the stream.
pub(super) fn delivery(channel: &str, offset: u64, deleted: bool) -> Arc<Delivery> {
    let channels = Channels { strip_prefix: String::new(), rules: Vec::new() };
    let deleted = deleted.then_some(Deleted::Purge);
    let payload = Bytes::from_static(b"{}");
    Encoder::new(&channels).encode(&Message {
        subject: channel.into(),
        sequence: offset,
        timestamp: 0,
        payload,
        deleted,
        trace: None,
    })
}

/// What a client was sent.
#[derive(Debug, PartialEq)]
pub(super) enum Got {
    Push(Value),
    Close(u16, String),
}

pub(super) struct Rig {
    shard: Shard,
    pub inbox: Arc<Inbox>,
    pub history: History,
    pub desk: Desk,
    client: UnixStream,
    decoder: Decoder,
    unread: Vec<u8>,
}

impl Rig {
    /// A history that has read the stream from `floor` on, and a client that has been greeted.
    pub(super) fn new(bounds: Bounds, floor: u64) -> Self {
        let history = History::new(bounds);
        history.reset(&EPOCH.into(), floor);
        let (archive, desk) = archive();
        let past = Past { history: history.clone(), archive };
        let config = GatewayConfig::new("test/past", Source::Memory(MemorySource::default()));
        let settings = Settings::new(&config, 1, "pod", 0);
        let (shard, inbox, _counters) = Shard::new(&settings, &Commands, 0, past).unwrap();
        let (client, theirs) = UnixStream::pair().unwrap();
        for end in [&client, &theirs] {
            end.set_nonblocking(true).unwrap();
        }
        inbox.arrive(Handover::new(TcpStream::from(OwnedFd::from(theirs))));
        let decoder = Decoder::new(Role::Client);
        let mut rig = Self { shard, inbox, history, desk, client, decoder, unread: Vec::new() };
        rig.live(EPOCH, floor);
        rig.turn();
        let hello = rig.read();
        assert!(
            matches!(&hello[..], [Got::Push(push)] if push["type"] == "connection:established")
        );
        rig
    }

    /// The shard has been told that the stream is live at a position.
    pub(super) fn live(&self, epoch: &str, position: u64) {
        self.inbox.push(Entry::Opened { epoch: epoch.into(), position });
    }

    pub(super) fn turn(&mut self) {
        self.shard.turn(Duration::ZERO).unwrap();
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        self.shard.parts.live.clients.clock.advance(time);
        self.turn();
    }

    pub(super) fn send(&mut self, command: &Value) {
        let mut out = Vec::new();
        frame::write_masked(&mut out, Opcode::Text, command.to_string().as_bytes(), [0; 4]);
        self.client.write_all(&out).unwrap();
        self.turn();
    }

    /// Everything that has come.
    pub(super) fn read(&mut self) -> Vec<Got> {
        let mut more = vec![0; 1 << 16];
        loop {
            match self.client.read(&mut more) {
                Ok(0) => break,
                Ok(count) => self.unread.extend_from_slice(&more[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let limits = Limits { message_bytes: 1 << 24, fragments: 1, deflate: false };
        let (mut got, mut position) = (Vec::new(), 0);
        while let Some(event) = self.decoder.next(&mut self.unread, &mut position, &limits).unwrap()
        {
            match event {
                Event::Text(text) => got.push(Got::Push(serde_json::from_str(text).unwrap())),
                Event::Close(Some(close)) => {
                    got.push(Got::Close(close.code, close.reason.to_owned()));
                }
                // Any sign of life would do as an answer, and none is due in the times that pass here.
                Event::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
        self.unread.drain(..position);
        got
    }

    /// Answers lookups until a push of a type has come; returns everything up to it.
    pub(super) fn until(
        &mut self,
        kind: &str,
        mut answer: impl FnMut(&Query) -> Block,
    ) -> Vec<Value> {
        let mut pushes = Vec::new();
        for _ in 0..10_000 {
            while let Some((query, asker)) = self.desk.take() {
                let fetched = Ok(Arc::new(answer(&query)));
                asker.answer(query, fetched);
            }
            self.turn();
            for got in self.read() {
                let Got::Push(push) = got else { panic!("{got:?} behind {pushes:?}") };
                let last = push["type"] == kind;
                pushes.push(push);
                if last {
                    return pushes;
                }
            }
        }
        panic!("no {kind} behind {pushes:?}")
    }
}
