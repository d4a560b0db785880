//! Arrivals: fresh connections on their way into a shard, apart from its messages.
//!
//! A shard takes a few at a time, after the messages that are due. Its acceptor waits when enough of them wait here, so
//! that a storm of reconnects waits in the kernel's backlog and does not take the CPU from those who are connected.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use wsgateway_access::Grant;
use wsgateway_config::Protocol;

use crate::admission::Permit;
use crate::conn::{Transport, poll};
use crate::tls::{Link, Session};

/// Connections that are accepted before the shards and everybody else on the acceptor's thread get their turn: a burst costs
/// the shards one wake-up, and takes about a tenth of a millisecond of a CPU on which a shard may be writing.
pub(crate) const BURST: usize = 8;

/// Connections that may wait for a shard before the acceptor waits for it: two bursts, so that the acceptor does not take
/// the CPU from a shard that is busy writing.
const MOST: usize = 2 * BURST;

/// A socket that the HTTP side has upgraded, or that waits for its answer.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Non-blocking, options set.
    pub stream: TcpStream,
    /// Of a connection with TLS.
    pub session: Option<Box<Session>>,
    /// What the client is to be sent before anything else: the answer to its request, unless it has been sent.
    pub response: Vec<u8>,
    /// Bytes that came behind the handshake.
    pub leftover: Bytes,
    /// What it asks for at once: commands that stand in its request.
    pub commands: Vec<String>,
    /// Whether permessage-deflate was agreed.
    pub deflate: bool,
    /// What is spoken.
    pub protocol: Protocol,
    pub transport: Transport,
    /// The request of a long-poll.
    pub poll: Option<poll::Request>,
    /// Who the client is, if anybody asks.
    pub grant: Option<Arc<Grant>>,
    /// The connection's place. Tests have none.
    pub permit: Option<Permit>,
}

impl Handover {
    /// A socket of `wsgateway.v1` that nothing was sent on and nothing has come from.
    pub(crate) fn new(link: impl Into<Link>) -> Self {
        let Link { stream, session } = link.into();
        Self {
            stream,
            session,
            response: Vec::new(),
            leftover: Bytes::new(),
            commands: Vec::new(),
            deflate: false,
            protocol: Protocol::WsGateway,
            transport: Transport::WebSocket,
            poll: None,
            grant: None,
            permit: None,
        }
    }
}

/// The queue of one shard.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    queue: Mutex<Queue>,
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Handover>,
    refused: bool,
    /// The shard has ended: nobody takes anything any more.
    closed: bool,
}

impl Arrivals {
    /// Adds a connection whatever the bound says; true if the shard is to be woken.
    pub(super) fn push(&self, handover: Handover) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            return false;
        }
        queue.waiting.push_back(handover);
        queue.waiting.len() == 1
    }

    /// Adds connections as soon as there is room for some, and leaves `burst` empty; true if the shard is to be woken.
    pub(super) async fn extend(&self, burst: &mut Vec<Handover>) -> bool {
        loop {
            if let Some(wake) = self.try_extend(burst) {
                return wake;
            }
            // A permit is stored if the shard made room in between. There is one acceptor.
            self.room.notified().await;
        }
    }

    fn try_extend(&self, burst: &mut Vec<Handover>) -> Option<bool> {
        let mut queue = self.lock();
        if queue.closed {
            burst.clear();
            return Some(false);
        }
        if queue.waiting.len() >= MOST {
            queue.refused = true;
            return None;
        }
        let wake = queue.waiting.is_empty() && !burst.is_empty();
        queue.waiting.extend(burst.drain(..));
        Some(wake)
    }

    /// Takes so many at most; true if there are more.
    pub(super) fn take(&self, most: usize, taken: &mut Vec<Handover>) -> bool {
        let (left, refused) = {
            let mut queue = self.lock();
            let count = queue.waiting.len().min(most);
            taken.extend(queue.waiting.drain(..count));
            let has_room = queue.waiting.len() < MOST;
            (!queue.waiting.is_empty(), has_room && std::mem::take(&mut queue.refused))
        };
        if refused {
            self.room.notify_one();
        }
        left
    }

    /// Takes nothing more in, and drops what waits.
    pub(super) fn close(&self) {
        let dropped = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        // Outside of the lock: they give their places back.
        drop(dropped);
        self.room.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before anything can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::net::TcpListener;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// So many, all of the same connection.
    fn burst(count: usize) -> Vec<Handover> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let handover = || Handover::new(stream.try_clone().unwrap());
        std::iter::repeat_with(handover).take(count).collect()
    }

    #[test]
    fn an_acceptor_waits_while_enough_wait_and_goes_on_when_the_shard_has_taken_some() {
        let arrivals = Arrivals::default();
        assert_eq!(arrivals.try_extend(&mut burst(MOST)), Some(true));
        let (mut more, mut context) = (burst(2), Context::from_waker(Waker::noop()));
        let mut waiting = pin!(arrivals.extend(&mut more));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        let mut taken = Vec::new();
        assert!(arrivals.take(MOST / 2, &mut taken));
        // The shard has not taken all, so that it looks again by itself.
        assert_eq!(waiting.as_mut().poll(&mut context), std::task::Poll::Ready(false));
        assert!(!arrivals.take(MOST, &mut taken));
        assert_eq!(taken.len(), MOST + 2);
    }

    #[test]
    fn an_acceptor_goes_on_when_the_shard_has_ended() {
        let arrivals = Arrivals::default();
        arrivals.try_extend(&mut burst(MOST)).unwrap();
        let (mut more, mut context) = (burst(1), Context::from_waker(Waker::noop()));
        {
            let mut waiting = pin!(arrivals.extend(&mut more));
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            arrivals.close();
            assert!(waiting.as_mut().poll(&mut context).is_ready());
        }
        assert!(more.is_empty(), "nothing is kept for nobody");
        assert!(!arrivals.push(burst(1).remove(0)));
    }
}
