//! Inbox: the way into a shard, with one lock and one wake-up per batch.
//!
//! Deliveries are bounded in bytes and entries: [`Inbox::deliver`] waits for room. Other entries are few by nature
//! and always find room. Fresh connections have a queue of their own, see [`Arrivals`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use wsgateway_config::ShedReason;

use super::arrivals::{Arrivals, Handover};
use super::shard::Settings;
use crate::encode::Delivery;
use crate::history::archive::{Asker, Fetched, Query};

/// Deliveries that may wait: a shard that is this far behind has been busy for tens of milliseconds, and waiting at
/// the source is cheaper than memory here.
const MAX_DELIVERIES: usize = 8_192;

/// Bytes of deliveries that may wait (shared between shards, counted in each).
const MAX_BYTES: usize = 16 << 20;

/// Which clients go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// Why, which decides who goes first.
    pub reason: ShedReason,
    /// Only those who have been here for so long.
    pub min_age: Option<Duration>,
}

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Entry {
    /// One message.
    Deliver(Arc<Delivery>),
    /// The stream's identity, and the position after which deliveries follow.
    Opened { epoch: Arc<str>, position: u64 },
    /// The stream discarded messages up to `position`: every connection gets the frame that says so.
    Lost { gap: Bytes, position: u64 },
    /// The answer to a lookup of what is older than the history.
    Fetched { query: Query, fetched: Fetched },
    /// Ask every connection to reconnect, evenly spread over the window.
    Drain { window: Duration, reason: &'static str },
    /// Ask so many connections to reconnect, evenly spread over the window.
    Shed { count: usize, window: Duration, who: Who },
    /// Close the connections of users that have these numbers, which are sorted: they are too many.
    CloseUsers(Arc<[u32]>),
    /// The connections that are left may stay.
    Keep,
    /// Work with other settings from now on.
    Configure(Arc<Settings>),
    /// End the thread.
    Stop,
}

impl Asker for Inbox {
    fn answer(&self, query: Query, fetched: Fetched) {
        self.push(Entry::Fetched { query, fetched });
    }
}

/// Queues and wake-up of one shard.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    arrivals: Arrivals,
    waker: mio::Waker,
    /// Wakes a shard that waits for entries alone.
    arrived: Condvar,
    room: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    entries: Vec<Entry>,
    deliveries: usize,
    bytes: usize,
    refused: bool,
    /// The shard is in [`Inbox::wait`].
    waiting: bool,
    /// Connections have arrived since the shard last took what there is.
    called: bool,
    /// The shard has ended: nobody takes anything any more.
    closed: bool,
}

/// Whom an entry wakes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// The shard has been woken for an earlier entry.
    Nobody,
    /// The shard that is in [`Inbox::wait`].
    Waiting,
    /// The shard that works or polls.
    Polling,
}

impl Queue {
    fn add(&mut self, entry: Entry) -> Wake {
        self.entries.push(entry);
        match self.entries.len() {
            1 if self.waiting => Wake::Waiting,
            1 => Wake::Polling,
            _ => Wake::Nobody,
        }
    }
}

impl Inbox {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Self {
            queue: Mutex::default(),
            arrivals: Arrivals::default(),
            waker,
            arrived: Condvar::new(),
            room: Notify::new(),
        }
    }

    /// Adds an entry whatever the bounds say.
    pub(crate) fn push(&self, entry: Entry) {
        let wake = {
            let mut queue = self.lock();
            if queue.closed {
                return;
            }
            queue.add(entry)
        };
        self.wake(wake);
    }

    /// Adds a connection whatever the bounds say.
    pub(crate) fn arrive(&self, handover: Handover) {
        if self.arrivals.push(handover) {
            self.call();
        }
    }

    /// Adds connections that were accepted together, as soon as there is room, and leaves `burst` empty.
    pub(crate) async fn arrive_together(&self, burst: &mut Vec<Handover>) {
        if self.arrivals.extend(burst).await {
            self.call();
        }
    }

    /// Takes so many connections at most; true if there are more, of which the shard is not told again.
    pub(crate) fn take_arrivals(&self, most: usize, taken: &mut Vec<Handover>) -> bool {
        self.arrivals.take(most, taken)
    }

    /// Adds a message, as soon as there is room. Without a shard there always is, and nobody hears of it: the others
    /// go on until the process ends.
    pub(crate) async fn deliver(&self, delivery: &Arc<Delivery>) {
        while !self.try_deliver(delivery) {
            // A permit is stored if the shard took the batch in between. There is one producer.
            self.room.notified().await;
        }
    }

    fn try_deliver(&self, delivery: &Arc<Delivery>) -> bool {
        let wake = {
            let mut queue = self.lock();
            if queue.closed {
                return true;
            }
            if queue.deliveries >= MAX_DELIVERIES || queue.bytes >= MAX_BYTES {
                queue.refused = true;
                return false;
            }
            queue.deliveries += 1;
            queue.bytes += delivery.frame.len();
            queue.add(Entry::Deliver(Arc::clone(delivery)))
        };
        self.wake(wake);
        true
    }

    /// Takes everything that waits; `batch` must be empty, its memory is used for the next one.
    pub(crate) fn take(&self, batch: &mut Vec<Entry>) {
        debug_assert!(batch.is_empty(), "the last batch must be done");
        let refused = {
            let mut queue = self.lock();
            std::mem::swap(&mut queue.entries, batch);
            queue.called = false;
            queue.deliveries = 0;
            queue.bytes = 0;
            std::mem::take(&mut queue.refused)
        };
        if refused {
            self.room.notify_one();
        }
    }

    /// Waits for entries and connections, `span` at most, without the shard's sockets; false when there are none.
    pub(crate) fn wait(&self, span: Duration) -> bool {
        let mut queue = self.lock();
        queue.waiting = true;
        let nothing = |queue: &mut Queue| queue.entries.is_empty() && !queue.called;
        let waited = self.arrived.wait_timeout_while(queue, span, nothing);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.waiting = false;
        !nothing(&mut queue)
    }

    /// Deliveries that wait now.
    pub(crate) fn depth(&self) -> usize {
        self.lock().deliveries
    }

    /// Takes nothing more in: the shard has ended. What waits is dropped, and who waits for room goes on.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut queue = self.lock();
            queue.closed = true;
            queue.deliveries = 0;
            std::mem::take(&mut queue.entries)
        };
        drop(dropped);
        self.room.notify_one();
        self.arrivals.close();
    }

    /// Wakes the shard for connections that have arrived.
    fn call(&self) {
        let wake = {
            let mut queue = self.lock();
            queue.called = true;
            if queue.waiting { Wake::Waiting } else { Wake::Polling }
        };
        self.wake(wake);
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::Waiting => self.arrived.notify_one(),
            Wake::Polling => {
                if let Err(error) = self.waker.wake() {
                    tracing::error!(%error, "cannot wake a shard");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is complete before anything can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use wsgateway_config::Channels;

    use super::*;
    use crate::encode::{Encoder, Message};

    fn delivery() -> Arc<Delivery> {
        let payload = Bytes::from_static(b"1");
        let message = Message {
            subject: "a".into(),
            sequence: 1,
            timestamp: 0,
            payload,
            deleted: None,
            trace: None,
        };
        Encoder::new(&Channels::default()).encode(&message)
    }

    #[test]
    fn what_comes_while_the_shard_waits_for_pongs_ends_the_wait() {
        const FOREVER: Duration = Duration::from_secs(3_600);
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (inbox, delivery) = (Arc::new(Inbox::new(waker)), delivery());
        assert!(!inbox.wait(Duration::ZERO), "there is nothing");
        let shard = {
            let inbox = Arc::clone(&inbox);
            std::thread::spawn(move || inbox.wait(FOREVER))
        };
        while !inbox.lock().waiting {
            std::thread::yield_now();
        }
        assert!(inbox.try_deliver(&delivery));
        assert!(shard.join().unwrap());
        assert!(inbox.wait(FOREVER), "what is there already is not waited for");
    }

    #[test]
    fn a_source_that_waits_for_room_goes_on_when_the_shard_has_ended() {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (inbox, delivery) = (Inbox::new(waker), delivery());
        while inbox.try_deliver(&delivery) {}
        assert!(inbox.depth() > 0);
        let mut waiting = pin!(inbox.deliver(&delivery));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        inbox.close();
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        assert!(inbox.try_deliver(&delivery));
        assert_eq!(inbox.depth(), 0, "nothing is kept for nobody");
    }
}
