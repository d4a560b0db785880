//! Who wants to know more than the counters say.

use crate::envelope::Envelope;

/// An acknowledgement of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Everything after it will be delivered.
    pub offset: Option<u64>,
    /// On a resume: whether all since the cursor is coming.
    pub recovered: Option<bool>,
    /// Channels taken.
    pub count: u64,
    /// Channels refused.
    pub rejected: u64,
}

/// What a server says is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// The channel as subscribed; it may be a pattern.
    pub channel: &'a str,
    /// First offset that is gone.
    pub from: u64,
    /// Last offset that is gone.
    pub to: u64,
    /// Why.
    pub reason: &'a str,
}

/// Hears what happens to each connection of a swarm, by its number, on the swarm's thread.
pub trait Observer: Send {
    /// A data message.
    fn message(&mut self, client: usize, envelope: &Envelope<'_>);

    /// A subscription was acknowledged.
    fn acknowledged(&mut self, client: usize, acknowledgement: &Acknowledgement);

    /// The server admits a loss.
    fn gap(&mut self, client: usize, gap: &Gap<'_>);

    /// An answer to a ping of the protocol: the server's time (Unix ms).
    fn pong(&mut self, _client: usize, _ts: i64) {}

    /// An attempt or a connection is over; only of a swarm that reconnects.
    fn ended(&mut self, client: usize, close_code: Option<u16>);
}
