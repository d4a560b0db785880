//! Bridge: a connection of this process to its own hub, for a long-poll.
//!
//! A pair of sockets: a shard holds one end like any client's, a request the other. So a long-poll has the same
//! subscriptions, cursor, limits, outbox, verdicts and drain as everybody else. The place in the
//! pod belongs to the request's end, which may live longer: as long as its client still reads.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use wsgateway_proto::decoder::{Decoder, Event, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};

use super::Site;
use super::place::{Busy, admit_fallback};
use super::query::Wish;
use crate::admission::Permit;
use crate::hub::arrivals::Handover;

/// Bytes read at once: what a shard writes in one go.
const INPUT: usize = 16 << 10;

/// What a shard sends is its own; the bound is for the decoder's sake.
const LIMITS: Limits = Limits { message_bytes: 1 << 30, fragments: 1, deflate: false };

/// The key of every frame: nobody but this process reads them.
const KEY: [u8; 4] = [0; 4];

/// The command that asks up to where everything has been sent.
const QUESTION: &str = r#"{"type":"subscribe","channels":[]}"#;

/// The request's end.
#[derive(Debug)]
pub(super) struct Bridge {
    stream: UnixStream,
    decoder: Decoder,
    input: Vec<u8>,
    /// The part of `input` that is not decoded.
    rest: std::ops::Range<usize>,
    /// Held for its drop: gives the place back.
    _permit: Permit,
}

/// What a shard says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A push, as JSON.
    Push(String),
    /// It asks whether we are alive; it has its answer.
    Ping,
    /// It ends the connection.
    Close { code: u16, reason: String },
}

/// The fields of a push that are needed to pass it on.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: std::borrow::Cow<'a, str>,
    pub epoch: Option<Box<str>>,
    pub offset: Option<u64>,
    #[serde(default)]
    pub snapshot: bool,
}

impl Bridge {
    /// Takes a place, connects to the hub and subscribes.
    pub(super) async fn enter(site: &Site, wish: &Wish) -> Result<Self, Busy> {
        let permit = admit_fallback(site)?;
        let subscribed = match Self::open(site, permit) {
            Ok(mut bridge) => bridge.send(&wish.command()).await.map(|()| bridge),
            Err(error) => Err(error),
        };
        subscribed.map_err(|error| {
            tracing::warn!(%error, "cannot connect a request to the hub");
            Busy::new("overloaded", "no more connections can be opened: try again")
        })
    }

    fn open(site: &Site, permit: Permit) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // The kernel does not ask what kind of stream socket a descriptor is: reading and writing are the same.
        let theirs = TcpStream::from(OwnedFd::from(theirs.into_std()?));
        site.hub.adopt(Handover::new(theirs));
        let decoder = Decoder::new(Role::Client);
        let input = Vec::new();
        Ok(Self { stream: ours, decoder, input, rest: 0..0, _permit: permit })
    }

    /// Sends a command. If that fails the shard has hung up: whoever reads next is told.
    pub(super) async fn say(&mut self, command: &str) {
        let _sent = self.send(command).await;
    }

    async fn send(&mut self, command: &str) -> io::Result<()> {
        let mut out = Vec::new();
        frame::write_masked(&mut out, Opcode::Text, command.as_bytes(), KEY);
        self.stream.write_all(&out).await
    }

    /// Asks up to where everything has been sent. The answer is a further `subscription_ack`.
    pub(super) async fn ask(&mut self) {
        self.say(QUESTION).await;
    }

    /// Says goodbye, so that nobody counts this as a connection that broke.
    pub(super) fn leave(&mut self) {
        let mut close = Vec::new();
        frame::write_masked(&mut close, Opcode::Close, &1000_u16.to_be_bytes(), KEY);
        // A few bytes into an empty buffer: that does not wait.
        let _sent = self.stream.try_write(&close);
    }

    /// The next thing that the shard says; `None` when it has hung up. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Said> {
        loop {
            let mut position = 0;
            let bytes = self.input.get_mut(self.rest.clone()).unwrap_or_default();
            let said = match self.decoder.next(bytes, &mut position, &LIMITS) {
                Ok(None) => None,
                Ok(Some(Event::Text(text))) => Some(Said::Push(text.to_owned())),
                Ok(Some(Event::Ping(_))) => Some(Said::Ping),
                Ok(Some(Event::Close(close))) => {
                    let (code, reason) =
                        close.map_or((1005, ""), |close| (close.code, close.reason));
                    Some(Said::Close { code, reason: reason.to_owned() })
                }
                Ok(Some(_)) => Some(Said::Push(String::new())),
                Err(_) => return None,
            };
            self.rest.start += position;
            match said {
                Some(Said::Ping) => {
                    let mut pong = Vec::new();
                    frame::write_masked(&mut pong, Opcode::Pong, &[], KEY);
                    // A few bytes into an empty buffer: that does not wait.
                    let _sent = self.stream.try_write(&pong);
                    return Some(Said::Ping);
                }
                Some(said) => return Some(said),
                None if self.rest.is_empty() => {
                    // Whoever waits has no buffer: most wait most of the time.
                    self.input = Vec::new();
                    self.stream.readable().await.ok()?;
                    self.input = vec![0; INPUT];
                    match self.stream.try_read(&mut self.input) {
                        Ok(count) if count > 0 => self.rest = 0..count,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Ok(_) | Err(_) => return None,
                    }
                }
                None => {}
            }
        }
    }
}

/// Reads what is needed to pass a push on.
pub(super) fn head(push: &str) -> Option<Head<'_>> {
    serde_json::from_str(push).ok()
}
