//! The NATS client protocol, sans-io: bytes in, operations out; and the bytes of what a client sends.
//!
//! Subjects and headers are bytes: nats-server stores and delivers whatever a publisher sends, and so does this reader.
//! It refuses only what breaks the framing itself. Memory is bounded by [`MAX_LINE`] and [`MAX_MESSAGE`].

pub mod command;
mod headers;
mod parser;

use bytes::Bytes;

pub use headers::Headers;
pub use parser::{Parser, Violation};

/// Longest line (bytes): INFO lists every server of a cluster; all others are far shorter.
pub const MAX_LINE: usize = 1 << 20;

/// Largest message with its headers (bytes). nats-server advises against a `max_payload` above 8 MiB.
pub const MAX_MESSAGE: usize = 64 << 20;

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// What it says of itself, as JSON; again whenever that changes.
    Info(Bytes),
    /// A message of a subscription.
    Message(Message),
    /// Wants a pong.
    Ping,
    /// The answer to a ping.
    Pong,
    /// In verbose mode, the answer to every command.
    Ok,
    /// A complaint, without its quotes.
    Err(Bytes),
}

/// A message of a subscription. Its parts share one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published: any bytes but white space.
    pub subject: Bytes,
    /// The subscription.
    pub sid: u64,
    /// Where an answer is expected.
    pub reply: Option<Bytes>,
    /// The header block as it came, empty if there is none. See [`Message::headers`].
    pub header_block: Bytes,
    /// The payload.
    pub payload: Bytes,
}

impl Message {
    /// The headers, read as leniently as the server stores them.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(&self.header_block)
    }
}
