//! Redis Pub/Sub: one connection per process, read as it comes.
//!
//! Redis keeps nothing and numbers nothing, so both are ours: sequences are counted here from 1, and the epoch is this
//! process. What is published while no connection stands is lost. How much that was cannot be known; one number is spent
//! for all of it, and every client is told that number as a gap. The same goes for a message too large to take.
//! A reader too slow for Redis is cut off by it (`client-output-buffer-limit pubsub`), which is a lost connection.

mod connection;
mod copies;
mod names;
mod publisher;
mod resp;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wsgateway_config::RedisSource;

use connection::{Connection, QUIET};
use copies::Copies;
use resp::{Garbled, Item, Reply};

pub use publisher::{RedisError, RedisPublisher, RedisTrouble, check_redis};

use super::Sink;
use super::status::State;
use crate::encode::Message;
use crate::time::unix_ms;

/// Pause between two attempts, from the first to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Longest name of a channel (bytes), as NATS has it for subjects: names are remembered, payloads are not.
const LONGEST_NAME: usize = 1 << 10;

/// Messages that were left out are told to clients together after this time, or before the next message: whoever
/// publishes them must not decide how much we write.
const TELL: Duration = Duration::from_millis(500);
/// At most one line in the log about them in this time.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Why a connection ended, or never began. Each is tried again; the words are logged.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot connect to {server}: {why}")]
    Unreachable { server: String, why: String },
    #[error(
        "Redis closed the connection: it stopped, somebody killed the client, or this gateway read too slowly for \
         client-output-buffer-limit pubsub"
    )]
    Closed,
    #[error("the connection to Redis broke: {0}")]
    Broken(std::io::Error),
    #[error("no sign of life from Redis for {} s", 2 * QUIET.as_secs())]
    Silent,
    #[error("{server} refuses {what}: {why}")]
    Refused { server: String, what: &'static str, why: String },
    #[error("what the server says is not Redis' protocol: {0}")]
    Garbled(#[from] Garbled),
    #[error("source.redis.{0}")]
    Settings(String),
}

impl Ended {
    /// Whether somebody has to correct something, rather than wait.
    fn is_error(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Garbled(_) | Self::Settings(_))
    }
}

/// Reads the channels until cancelled, through every loss of the connection.
pub(crate) async fn run(source: RedisSource, name: String, sink: Sink, stop: CancellationToken) {
    let mut reader = Reader::new(source, name, sink);
    stop.run_until_cancelled(reader.run()).await;
}

/// Owner of the numbers.
struct Reader {
    source: RedisSource,
    name: String,
    sink: Sink,
    epoch: Arc<str>,
    /// The last number given; None before the first connection.
    sequence: Option<u64>,
    /// Which server is next.
    turn: usize,
    copies: Copies,
    left_out: LeftOut,
}

/// Messages that were left out.
#[derive(Debug, Default)]
struct LeftOut {
    /// First and last of those that clients have not been told of, and when they will be.
    untold: Option<(u64, u64, Instant)>,
    /// How many the log does not know of, and when it was last told.
    unsaid: u64,
    said: Option<Instant>,
}

impl Reader {
    fn new(source: RedisSource, name: String, sink: Sink) -> Self {
        // Two processes that start in the same instant must not take each other's numbers for their own.
        let epoch = format!("redis-{:x}-{:08x}", unix_ms(), fastrand::u32(..)).into();
        Self {
            source,
            name,
            sink,
            epoch,
            sequence: None,
            turn: 0,
            copies: Copies::default(),
            left_out: LeftOut::default(),
        }
    }

    async fn run(&mut self) {
        let mut pause = PAUSE.0;
        loop {
            let started = Instant::now();
            let Err(ended) = self.session().await;
            let state = if ended.is_error() { State::Error } else { State::Connecting };
            self.sink.status.restarted();
            self.sink.status.set(state, Some(ended.to_string()));
            if started.elapsed() > PAUSE.1 {
                pause = PAUSE.0;
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// One connection's life.
    async fn session(&mut self) -> Result<Infallible, Ended> {
        let server = self.turn % self.source.servers.len().max(1);
        // Whatever ends this connection, the next one is to another server, if there is one.
        self.turn = server + 1;
        let address = self.source.servers.get(server).cloned().unwrap_or_default();
        let mut connection = Connection::open(&self.source, &address, &self.name).await?;
        tracing::info!(server = address, "reading Redis");
        self.go_live();
        loop {
            let next = match self.left_out.untold {
                None => connection.next().await,
                Some((.., at)) => match tokio::time::timeout_at(at, connection.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.tell_left_out();
                        continue;
                    }
                },
            };
            match next? {
                Reply::List(items) => self.take(items).await,
                Reply::Single(_) => {}
                Reply::Error(why) => {
                    return Err(Ended::Refused { server: address, what: "to go on", why });
                }
            }
        }
    }

    fn go_live(&mut self) {
        self.copies = Copies::default();
        self.tell_left_out();
        if self.sequence.is_none() {
            self.sink.reset(&self.epoch, 0);
        } else {
            // Whatever was published since the last connection: nobody knows how much.
            let number = self.next_number();
            self.sink.hole(number, number);
        }
        let position = *self.sequence.get_or_insert(0);
        self.sink.live(&self.epoch, position);
    }

    /// A delivery, a confirmation or the answer to a ping.
    async fn take(&mut self, items: Vec<Item>) {
        let mut items = items.into_iter();
        let Some(Item::Text(kind)) = items.next() else { return };
        let (through, channel, payload) = match (&*kind, items.next(), items.next(), items.next()) {
            (b"message", Some(Item::Text(channel)), Some(payload), None) => {
                (self.number_of(&channel), Some(channel), payload)
            }
            (b"pmessage", Some(Item::Text(pattern)), Some(channel), Some(payload)) => {
                let channel = if let Item::Text(channel) = channel { Some(channel) } else { None };
                (self.number_of(&pattern), channel, payload)
            }
            _ => return,
        };
        let channel = channel.filter(|channel| channel.len() <= LONGEST_NAME);
        let (payload, fits) = match payload {
            Item::Text(payload) => (payload, true),
            Item::TooLarge(bytes) => (Bytes::from(bytes.to_string()), false),
            Item::Number(_) => return,
        };
        let name = channel.clone().unwrap_or_default();
        if !self.copies.is_new(&name, &payload, through) {
            return;
        }
        match channel {
            Some(channel) if fits => self.deliver(&channel, payload).await,
            _ => self.leave_out(&name),
        }
    }

    /// The number of one of our subscriptions.
    fn number_of(&self, subscription: &[u8]) -> usize {
        let channels = &self.source.channels;
        channels.iter().position(|channel| channel.as_bytes() == subscription).unwrap_or_default()
    }

    async fn deliver(&mut self, channel: &[u8], payload: Bytes) {
        self.tell_left_out();
        let sequence = self.next_number();
        let (subject, timestamp) = (names::subject(channel), unix_ms());
        let message = Message { subject, sequence, timestamp, payload, deleted: None, trace: None };
        self.sink.message(&message, 0).await;
    }

    /// A message that cannot be taken takes a number all the same, so that every client is told.
    fn leave_out(&mut self, channel: &[u8]) {
        let number = self.next_number();
        let left = &mut self.left_out;
        let (_, last, _) = left.untold.get_or_insert((number, number, Instant::now() + TELL));
        *last = number;
        left.unsaid += 1;
        if left.said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
            tracing::error!(
                channel = %names::subject(channel),
                messages = left.unsaid,
                "left out: larger than source.redis.maxMessageBytes, or on a channel whose name is longer than \
                 {LONGEST_NAME} bytes"
            );
            (left.said, left.unsaid) = (Some(Instant::now()), 0);
        }
    }

    fn tell_left_out(&mut self) {
        if let Some((from, to, _)) = self.left_out.untold.take() {
            self.sink.hole(from, to);
        }
    }

    fn next_number(&mut self) -> u64 {
        let number = self.sequence.unwrap_or_default() + 1;
        self.sequence = Some(number);
        number
    }
}
