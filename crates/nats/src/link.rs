//! Link: one connection to one server, read by our own protocol reader, so that no message that a server stores can end
//! it.
//!
//! In: bytes from the socket, commands from its one owner. Out: messages, complaints, and the reason why it ended. Owns
//! the socket and its buffers; answers the server's pings, sends its own, and watches the files that it was made with.
//! A [`Dialer`] makes links, one after the other.

mod dial;
mod dialer;
mod hello;
mod requests;

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

pub use dialer::Dialer;
use dialer::Watch;
pub(crate) use hello::Answer;
pub use hello::ServerInfo;
pub use requests::{Replies, RequestError, Requests, requests};

use crate::wire::{Message, Op, Parser, Violation, command};

/// How often a link looks after itself.
const TICK: Duration = Duration::from_secs(2);
/// A dead connection without a TCP reset is noticed after two unanswered pings of 10 s.
const TICKS_PER_PING: u32 = 5;
const UNANSWERED_PINGS: u32 = 2;
/// Bytes read from the socket at once.
const READ: usize = 64 << 10;

/// A socket without or with TLS.
type Socket = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What a link gives to its owner.
#[derive(Debug)]
pub enum Incoming {
    /// A message of one of its subscriptions.
    Message(Message),
    /// The server complains, about a missing permission say; the link may go on.
    Complaint(String),
    /// The server is about to stop: go elsewhere.
    LameDuck,
}

/// Why a link ended. Another one is to be made.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The server hung up.
    #[error("the connection to NATS was lost")]
    Closed,
    /// The socket failed.
    #[error("the connection to NATS was lost: {0}")]
    Io(#[from] std::io::Error),
    /// The server broke the protocol.
    #[error("the connection to NATS was given up: {0}")]
    Protocol(#[from] Violation),
    /// Pings stayed without answer.
    #[error("the connection to NATS was given up: no answer to {UNANSWERED_PINGS} pings")]
    Silent,
    /// The credentials or certificates it was made with have changed.
    #[error("NATS credentials have changed")]
    Renewed,
}

/// One connection to one server, after its handshake.
#[derive(Debug)]
pub struct Link {
    socket: Socket,
    parser: Parser,
    input: BytesMut,
    output: BytesMut,
    info: ServerInfo,
    last_sid: u64,
    /// Prefix of the inboxes of this link, unique to it.
    inbox: String,
    tick: Interval,
    ticks: u32,
    unanswered: u32,
    watch: Watch,
}

impl Link {
    fn new(socket: Socket, input: BytesMut, info: ServerInfo, inbox: String, watch: Watch) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            socket,
            parser: Parser::default(),
            input,
            output: BytesMut::new(),
            info,
            last_sid: 0,
            inbox,
            tick,
            ticks: 0,
            unanswered: 0,
            watch,
        }
    }

    /// What the server last said of itself.
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// A subject that nobody else knows, to receive answers at.
    pub fn inbox(&self, name: &str) -> String {
        format!("{}.{name}", self.inbox)
    }

    /// Subscribes to a subject; returns the number that its messages carry. It leaves with the next flush.
    pub fn subscribe(&mut self, subject: &str) -> u64 {
        self.last_sid += 1;
        command::subscribe(&mut self.output, subject, self.last_sid);
        self.last_sid
    }

    /// Ends a subscription. Messages that are on their way still come.
    pub fn unsubscribe(&mut self, sid: u64) {
        command::unsubscribe(&mut self.output, sid);
    }

    /// Publishes; `reply` is where an answer is expected. It leaves with the next flush.
    pub fn publish(&mut self, subject: &[u8], reply: Option<&str>, payload: &[u8]) {
        command::publish(&mut self.output, subject, reply, payload);
    }

    /// Sends everything queued. Safe to cancel: what has left is not sent again.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn flush(&mut self) -> Result<(), Lost> {
        if self.output.is_empty() {
            return Ok(());
        }
        while !self.output.is_empty() {
            if self.socket.write_buf(&mut self.output).await? == 0 {
                return Err(Lost::Closed);
            }
        }
        Ok(self.socket.flush().await?)
    }

    /// The next thing that the server says. Safe to cancel.
    ///
    /// # Errors
    /// When the link has ended; it is of no use any more.
    pub async fn next(&mut self) -> Result<Incoming, Lost> {
        loop {
            if let Some(op) = self.parser.next(&mut self.input)? {
                if let Some(incoming) = self.operation(op) {
                    return Ok(incoming);
                }
                continue;
            }
            self.flush().await?;
            self.input.reserve(READ);
            tokio::select! {
                read = self.socket.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(Lost::Closed);
                    }
                }
                _ = self.tick.tick() => self.look_after()?,
                () = self.watch.changed() => return Err(Lost::Renewed),
            }
        }
    }

    fn operation(&mut self, op: Op) -> Option<Incoming> {
        match op {
            Op::Message(message) => return Some(Incoming::Message(message)),
            Op::Ping => command::pong(&mut self.output),
            Op::Pong => self.unanswered = 0,
            Op::Ok => {}
            Op::Err(text) => {
                return Some(Incoming::Complaint(String::from_utf8_lossy(&text).into_owned()));
            }
            Op::Info(json) => match ServerInfo::parse(&json) {
                Ok(info) => {
                    let lame = info.lame_duck_mode && !self.info.lame_duck_mode;
                    self.info = info;
                    return lame.then_some(Incoming::LameDuck);
                }
                Err(error) => tracing::debug!(%error, "NATS sent an INFO that cannot be read"),
            },
        }
        None
    }

    fn look_after(&mut self) -> Result<(), Lost> {
        self.watch.look();
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_PER_PING) {
            if self.unanswered >= UNANSWERED_PINGS {
                return Err(Lost::Silent);
            }
            self.unanswered += 1;
            command::ping(&mut self.output);
        }
        Ok(())
    }
}
