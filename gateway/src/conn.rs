//! One connection as its shard sees it: the socket, what it waits for, and how long it was silent.
//!
//! Owned by exactly one shard from upgrade to end. Idle, it owns no buffers: the decoder's and the outbox's memory
//! exist only while a message is half read or half written.

pub(crate) mod odin;
pub(crate) mod outbox;
pub(crate) mod rate;
pub(crate) mod slow;

use std::num::NonZeroU32;

use mio::net::TcpStream;
use wsgateway_config::Protocol;
use wsgateway_proto::decoder::Decoder;

use crate::admission::Permit;
use crate::hub::NONE;
use crate::hub::index::Subscription;
use odin::Sequence;
use outbox::Outbox;
use rate::Rate;

/// What the gateway does with a connection's input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Commands in, deliveries out.
    Open,
    /// A close frame is on its way; input is discarded until the client hangs up or the deadline passes.
    Closing,
}

/// What a connection's data frames look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// permessage-deflate was agreed.
    pub deflate: bool,
    /// Several messages may share a frame: the client asked for it.
    pub batch: bool,
    /// What is spoken.
    pub protocol: Protocol,
}

impl Form {
    /// Whether a message is put together for each client, in the buffer that it is sent from; otherwise all clients of
    /// this form share its frame.
    pub(crate) fn is_private(self) -> bool {
        self.protocol != Protocol::WsGateway
    }

    /// Whether a client can tell a deletion from a value. For one of symbols.v1 everything is a trade.
    pub(crate) fn knows_deletions(self) -> bool {
        self.protocol != Protocol::Symbols
    }
}

/// State of one connection. Its size is a tested number: 100,000 of these are held.
#[derive(Debug)]
pub(crate) struct Connection {
    pub stream: TcpStream,
    pub decoder: Decoder,
    /// Frames that the socket did not take; present only while there are some.
    pub outbox: Option<Box<Outbox>>,
    /// Of odin.v1, from the first delivery on.
    pub sequence: Option<Box<Sequence>>,
    /// Back-index into the shard's subject index.
    pub subscriptions: Vec<Subscription>,
    pub rate: Rate,
    /// Stamp of the last delivery, so that overlapping patterns deliver once.
    pub stamp: u64,
    /// First and last entry of the list of deliveries that are not written yet.
    pub due_first: u32,
    pub due_last: u32,
    /// Shard-wide number of this connection; tells a timer's connection from a later one in the same slot.
    pub serial: u32,
    /// Tick of the last sign of life.
    pub heard: u32,
    /// Tick at which a closing connection is dropped.
    pub close_by: u32,
    pub phase: Phase,
    pub form: Form,
    /// Whether the due list leaves in this turn.
    pub urgent: bool,
    /// Whether the shard's list of connections on hold has it.
    pub on_hold: bool,
    /// Whether it has looked back: its jobs may wait for its socket.
    pub replays: bool,
    /// Whether its outbox waits in the line of those who look back.
    pub writes_later: bool,
    /// Whether a ping is out since the last sign of life.
    pub pinged: bool,
    /// Whether a ping is out that no pong has answered: that one is free.
    pub owes_pong: bool,
    /// Whether the shard's list of sockets with more to read has it.
    pub unread: bool,
    /// Whether the client has hung up: what it sent before is read to its end.
    pub hung_up: bool,
    /// Tick at which a message began that has not ended.
    pub unfinished_since: Option<NonZeroU32>,
    /// Whether a timer will look at it.
    pub message_timer: bool,
    /// Held for its drop: gives the place back. A request of this process holds its own.
    pub _permit: Option<Permit>,
}

impl Connection {
    /// Whether deliveries wait to be written to it.
    pub(crate) fn has_due(&self) -> bool {
        self.due_first != NONE
    }

    /// Number of the next message, for protocols that count.
    pub(crate) fn next_number(&self) -> u64 {
        self.sequence.as_ref().map_or(0, |sequence| sequence.last()) + 1
    }

    /// Counts a message that leaves for this client, if its protocol counts; returns its number.
    pub(crate) fn count(&mut self, offset: u64) -> u64 {
        match self.form.protocol {
            Protocol::Odin => {
                self.sequence.get_or_insert_with(|| Box::new(Sequence::new())).count(offset)
            }
            Protocol::WsGateway | Protocol::Symbols => 0,
        }
    }

    /// Whether earlier frames still wait for the socket.
    pub(crate) fn is_blocked(&self) -> bool {
        self.outbox.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_small() {
        // The outbox exists only while something waits, the heap of the subscriptions is 8 bytes each.
        let size = size_of::<Connection>();
        assert!(size <= 192, "{size} bytes");
        assert_eq!((size_of::<Subscription>(), size_of::<Rate>()), (8, 16));
        assert!(size_of::<Outbox>() <= 96, "{} bytes", size_of::<Outbox>());
    }
}
