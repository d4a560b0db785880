//! What a client reports.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A place in a stream: everything up to the offset has been delivered. It is valid on every pod and meant to be stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cursor {
    /// Names the stream's life; offsets of another epoch mean nothing.
    pub epoch: String,
    /// The sequence of a message in the stream.
    pub offset: i64,
}

/// What comes out of a [`Subscription`](crate::Subscription).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A value of a channel, or the deletion of the value before it.
    Message(Message),
    /// Messages that did not come.
    Gap(Gap),
    /// The gateway delivers channels from now on.
    Subscribed(Subscribed),
    /// The gateway does not deliver a channel, or not any more.
    Rejected(Rejected),
    /// A gateway has greeted a connection.
    Opened(Opened),
    /// A connection or an attempt has ended.
    Closed(Closed),
    /// The gateway is about to close the connection.
    Reconnect(Reconnect),
    /// The token ends soon; another one has been asked for.
    TokenExpiring(TokenExpiring),
    /// An error of the gateway, of what a connection brought, or of the function for tokens.
    Error(Error),
}

/// One message of a channel: a value, or the deletion of the value before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The subject without the prefix that the gateway strips.
    pub channel: String,
    /// The sequence of the message in the stream.
    pub offset: i64,
    /// The offset of the message before it on the same channel; 0 when there is none or it is not known.
    pub prev: i64,
    /// When the stream stored it.
    pub time: SystemTime,
    /// The payload as it was published; empty for a deletion.
    pub data: Bytes,
    /// Set when the payload is not JSON.
    pub binary: bool,
    /// Marks the last value from before the subscription, asked for with
    /// [`subscribe_with_snapshot`](crate::Client::subscribe_with_snapshot).
    pub snapshot: bool,
    /// Why the channel has no value any more: `MaxAge`, `Purge`, `Remove`, `DEL`, `PURGE` or `Unknown`; none for a value.
    pub deleted: Option<String>,
}

impl Message {
    /// Parses the payload as JSON.
    ///
    /// # Errors
    /// When it is not JSON, or not of this type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.data)
    }
}

/// The offsets `first` to `last` of a channel, both included, did not come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// A channel or a pattern.
    pub channel: String,
    /// The first offset that is missing.
    pub first: i64,
    /// The last offset that is missing.
    pub last: i64,
    /// `slow_consumer`, `retention`, `epoch` or `source`; `missed`, when the client has detected it from `prev`; or
    /// `overflow`, when the subscription's queue was full.
    pub reason: String,
}

/// Acknowledged channels: everything after the offset will be delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscribed {
    /// Channels and patterns of this subscription.
    pub channels: Vec<String>,
    /// The place in the stream.
    pub offset: i64,
    /// Set when the channels go on from a cursor.
    pub resumed: bool,
    /// Set when they do and nothing is missing.
    pub recovered: bool,
}

/// The gateway does not deliver a channel. It is asked for again on the next connection.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Rejected {
    /// The channel or pattern.
    #[serde(default)]
    pub channel: String,
    /// Why, in the gateway's words for programs.
    #[serde(default)]
    pub code: String,
}

/// A gateway has greeted a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    /// The life of the stream.
    pub epoch: String,
    /// The gateway's name for the connection, which is in its log.
    pub connection_id: String,
    /// The pod.
    pub pod: String,
}

/// The end of a connection or of an attempt. HTTP refusals come as the close code that means the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Closed {
    /// A WebSocket close code; 1006 when the connection broke.
    pub code: u16,
    /// For people.
    pub reason: String,
    /// The time until the next attempt; none when there is no other attempt.
    pub retry_in: Option<Duration>,
}

/// The gateway is about to close the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reconnect {
    /// When it advises to come back.
    pub after: Duration,
    /// `drain`, `rebalance` or `restart`.
    pub reason: String,
}

/// The token ends soon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenExpiring {
    /// When.
    pub expires_at: SystemTime,
}

/// Something went wrong and the client goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Why a client has given up: trying again would fail again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the gateway refused the connection with {code}: {reason}")]
pub struct Refused {
    /// A WebSocket close code.
    pub code: u16,
    /// For people.
    pub reason: String,
}
