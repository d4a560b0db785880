//! Inbox: the one queue into a shard, with one lock and one wake-up per batch.
//!
//! Deliveries are bounded in bytes and entries: [`Inbox::deliver`] waits for room. Other entries are few by nature
//! (a connection needs a permit first) and always find room.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use wsgateway_config::Protocol;

use crate::admission::Permit;
use crate::encode::Delivery;
use crate::history::archive::{Fetched, Query};

/// Deliveries that may wait: a shard that is this far behind has been busy for tens of milliseconds, and waiting at
/// the source is cheaper than memory here.
const MAX_DELIVERIES: usize = 8_192;

/// Bytes of deliveries that may wait (shared between shards, counted in each).
const MAX_BYTES: usize = 16 << 20;

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Entry {
    /// One message.
    Deliver(Arc<Delivery>),
    /// One connection, upgraded.
    Adopt(Box<Handover>),
    /// The stream's identity, and the position after which deliveries follow.
    Opened { epoch: Arc<str>, position: u64 },
    /// The stream discarded messages up to `position`: every connection gets the frame that says so.
    Lost { gap: Bytes, position: u64 },
    /// The answer to a lookup of what is older than the history.
    Fetched { query: Query, fetched: Fetched },
    /// Ask every connection to reconnect, evenly spread over the window.
    Drain { window: Duration, reason: &'static str },
    /// End the thread.
    Stop,
}

/// A socket that the HTTP side has upgraded.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Non-blocking, options set.
    pub stream: TcpStream,
    /// Bytes that came behind the handshake.
    pub leftover: Bytes,
    /// Whether permessage-deflate was agreed.
    pub deflate: bool,
    /// What is spoken.
    pub protocol: Protocol,
    /// The connection's place, unless the other end holds it.
    pub permit: Option<Permit>,
}

/// Queue and wake-up of one shard.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    waker: mio::Waker,
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    deliveries: usize,
    bytes: usize,
    refused: bool,
}

impl Inbox {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Self { queue: Mutex::default(), waker, room: Notify::new() }
    }

    /// Adds an entry whatever the bounds say.
    pub(crate) fn push(&self, entry: Entry) {
        let wake = {
            let mut queue = self.lock();
            queue.entries.push(entry);
            queue.entries.len() == 1
        };
        if wake {
            self.wake();
        }
    }

    /// Adds a message, as soon as there is room.
    pub(crate) async fn deliver(&self, delivery: &Arc<Delivery>) {
        while !self.try_deliver(delivery) {
            // A permit is stored if the shard took the batch in between. There is one producer.
            self.room.notified().await;
        }
    }

    fn try_deliver(&self, delivery: &Arc<Delivery>) -> bool {
        let wake = {
            let mut queue = self.lock();
            if queue.deliveries >= MAX_DELIVERIES || queue.bytes >= MAX_BYTES {
                queue.refused = true;
                return false;
            }
            queue.deliveries += 1;
            queue.bytes += delivery.frame.len();
            queue.entries.push(Entry::Deliver(Arc::clone(delivery)));
            queue.entries.len() == 1
        };
        if wake {
            self.wake();
        }
        true
    }

    /// Takes everything that waits; `batch` must be empty, its memory is used for the next one.
    pub(crate) fn take(&self, batch: &mut Vec<Entry>) {
        debug_assert!(batch.is_empty(), "the last batch must be done");
        let refused = {
            let mut queue = self.lock();
            std::mem::swap(&mut queue.entries, batch);
            queue.deliveries = 0;
            queue.bytes = 0;
            std::mem::take(&mut queue.refused)
        };
        if refused {
            self.room.notify_one();
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before anything can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
