//! One connection as its shard sees it: the socket, what it waits for, and how long it was silent.
//!
//! Owned by exactly one shard from upgrade to end. Idle, it owns no buffers: the decoder's and the outbox's memory
//! exist only while a message is half read or half written.

pub(crate) mod due;
pub(crate) mod events;
pub(crate) mod form;
pub(crate) mod identity;
pub(crate) mod odin;
pub(crate) mod outbox;
pub(crate) mod poll;
mod push;
pub(crate) mod rate;
pub(crate) mod slow;

use std::num::NonZeroU32;
use std::sync::Arc;

use mio::net::TcpStream;
use wsgateway_access::Grant;
use wsgateway_config::Protocol;
use wsgateway_proto::decoder::Decoder;
use wsgateway_proto::frame::Role;

use crate::admission::Permit;
use crate::index::Subscription;
use crate::time::unix_ms_u64;
use crate::tls::Session;
pub(crate) use form::{Form, Transport};
use identity::Identity;
use odin::Sequence;
use outbox::Outbox;
use poll::Poll;
use rate::Rate;

/// The stamp of a connection that no message is due to: later than every message.
pub(crate) const CLOSED: u64 = u64::MAX;

/// What the gateway does with a connection's input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Commands in, deliveries out.
    Open,
    /// A close frame is on its way; input is discarded until the client hangs up or the deadline passes.
    Closing,
    /// The socket is done with; the slot is kept until nothing refers to it any more.
    Ended,
}

/// An upgraded socket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Non-blocking, options set.
    pub stream: TcpStream,
    /// Of a connection with TLS.
    pub tls: Option<Box<Session>>,
    pub form: Form,
    /// Who the client is, if anybody asks.
    pub grant: Option<Arc<Grant>>,
    /// The connection's place. Tests have none.
    pub permit: Option<Permit>,
}

/// State of one connection. Its size is a tested number: 100,000 of these are held.
#[derive(Debug)]
pub(crate) struct Connection {
    pub stream: TcpStream,
    /// Of a connection with TLS: what it writes and reads passes through.
    pub tls: Option<Box<Session>>,
    pub decoder: Decoder,
    /// Frames that the socket did not take; present only while there are some.
    pub outbox: Option<Box<Outbox>>,
    /// Of odin.v1, from the first delivery on.
    pub sequence: Option<Box<Sequence>>,
    /// Of a long-poll, until its socket goes back.
    pub poll: Option<Box<Poll>>,
    /// Back-index into the shard's subject index.
    pub subscriptions: Vec<Subscription>,
    pub rate: Rate,
    /// Stamp of the last delivery, so that overlapping patterns deliver once; [`CLOSED`] when nothing is delivered any
    /// more.
    pub stamp: u64,
    /// Deliveries that are not written yet.
    pub due: due::List,
    /// Shard-wide number of this connection; tells a timer's connection from a later one in the same slot.
    pub serial: u32,
    /// Tick at which it was upgraded.
    pub opened: u32,
    /// Tick of the last sign of life.
    pub heard: u32,
    /// Tick at which a closing connection is dropped.
    pub close_by: u32,
    pub phase: Phase,
    pub form: Form,
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
    /// Who the client is and what it may hear; `None` while nobody asks.
    pub identity: Option<Box<Identity>>,
    /// Held for its drop: gives the place back.
    pub permit: Option<Permit>,
}

impl Connection {
    /// A connection that has just been upgraded, at a tick.
    pub(crate) fn new(socket: Socket, serial: u32, tick: u32) -> Self {
        Self {
            stream: socket.stream,
            tls: socket.tls,
            decoder: Decoder::new(Role::Server),
            outbox: None,
            sequence: None,
            poll: None,
            subscriptions: Vec::new(),
            rate: Rate::default(),
            stamp: 0,
            due: due::List::default(),
            serial,
            opened: tick,
            heard: tick,
            close_by: 0,
            phase: Phase::Open,
            form: socket.form,
            writes_later: false,
            pinged: false,
            owes_pong: false,
            unread: false,
            hung_up: false,
            unfinished_since: None,
            message_timer: false,
            identity: socket.grant.map(|grant| Box::new(Identity::new(grant, unix_ms_u64()))),
            permit: socket.permit,
        }
    }

    /// Whether commands are taken from it and messages are delivered to it.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
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

    /// Bytes of messages, and of records of TLS, that have begun and not ended.
    pub(crate) fn unfinished(&self) -> usize {
        self.decoder.buffered() + self.tls.as_ref().map_or(0, |session| session.partial())
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
        // The outbox exists only while something waits, TLS only where it is spoken; the heap of the subscriptions is 8 bytes each.
        let size = size_of::<Connection>();
        assert!(size <= 200, "{size} bytes");
        assert_eq!((size_of::<Subscription>(), size_of::<Rate>()), (8, 16));
        assert!(size_of::<Outbox>() <= 96, "{} bytes", size_of::<Outbox>());
    }
}
