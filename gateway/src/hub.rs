//! Hub: the shards, and the one queue into each.
//!
//! A message costs the hub one queue entry per shard, never one per connection. Connections are given to the shard
//! that holds the fewest. Owns the shards' inboxes and threads; a shard owns everything behind its inbox.

pub(crate) mod arrivals;
pub(crate) mod few;
pub(crate) mod inbox;
pub(crate) mod shard;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wsgateway_runtime::readiness::Readiness;

use crate::clients::CLOSE_TIMEOUT;
use crate::counters::{Counters, Totals, Turns};
use crate::encode::Delivery;
use crate::history::Past;
use arrivals::Handover;
use inbox::{Entry, Inbox, Who};
use shard::handler::Handler;
use shard::{Settings, Shard};

/// Handle to all shards. Clones see the same shards.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    shards: Arc<[Lane]>,
}

#[derive(Debug)]
struct Lane {
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
}

/// One shard, as metrics show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub totals: Totals,
    pub turns: Turns,
    pub longest_turn_us: u64,
    /// Deliveries that wait for it.
    pub inbox: usize,
}

/// Connections that were accepted together, by shard.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    lanes: Vec<Vec<Handover>>,
}

/// The threads behind a [`Hub`].
#[derive(Debug)]
pub(crate) struct Threads {
    hub: Hub,
    threads: Vec<JoinHandle<()>>,
}

/// Starts `count` shards.
///
/// # Errors
/// When the system gives no epoll instance or no thread.
pub(crate) fn start(
    (settings, handler): (&Settings, &'static dyn Handler),
    count: usize,
    past: &Past,
    readiness: &Readiness,
) -> io::Result<(Hub, Threads)> {
    let (mut lanes, mut shards) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for number in 0..count {
        let (shard, inbox, counters) = Shard::new(settings, handler, number, past.clone())?;
        lanes.push(Lane { inbox, counters });
        shards.push(shard);
    }
    let hub = Hub { shards: lanes.into() };
    // Dropped on the way out when a thread cannot be had: those before it end.
    let mut threads = Threads { hub: hub.clone(), threads: Vec::with_capacity(count) };
    for (number, shard) in shards.into_iter().enumerate() {
        let vital = readiness.vital("shard");
        let run = move || {
            if shard.run(vital.pulse()).is_ok() {
                vital.finish();
            }
        };
        let thread = std::thread::Builder::new().name(format!("shard-{number}")).spawn(run)?;
        threads.threads.push(thread);
    }
    Ok((hub, threads))
}

impl Hub {
    /// Gives a message to every shard, in order. Waits while a shard's inbox is full: the stream keeps what we do
    /// not take.
    pub(crate) async fn deliver(&self, delivery: &Arc<Delivery>) {
        for lane in self.shards.iter() {
            lane.inbox.deliver(delivery).await;
        }
    }

    /// The stream's identity, and the position after which messages follow.
    pub(crate) fn open(&self, epoch: &Arc<str>, position: u64) {
        self.tell(|| Entry::Opened { epoch: Arc::clone(epoch), position });
    }

    /// Messages up to `position` will not come; `gap` is the frame that tells every connection.
    pub(crate) fn lost(&self, gap: &Bytes, position: u64) {
        self.tell(|| Entry::Lost { gap: gap.clone(), position });
    }

    /// Asks every connection to reconnect, evenly spread over `window`.
    pub(crate) fn drain(&self, window: Duration, reason: &'static str) {
        self.tell(|| Entry::Drain { window, reason });
    }

    /// Asks so many connections to reconnect, from each shard its share, evenly spread over `window`.
    pub(crate) fn shed(&self, count: u64, window: Duration, who: Who) {
        let loads: Vec<u64> = self.shards.iter().map(|lane| lane.counters.load()).collect();
        for (lane, count) in self.shards.iter().zip(shares(&loads, count)) {
            if count > 0 {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                lane.inbox.push(Entry::Shed { count, window, who });
            }
        }
    }

    /// Closes connections that their users have too many, by the numbers of their places.
    pub(crate) fn close_users(&self, mut numbers: Vec<u32>) {
        numbers.sort_unstable();
        let numbers: Arc<[u32]> = numbers.into();
        self.tell(|| Entry::CloseUsers(Arc::clone(&numbers)));
    }

    /// Lets the connections stay that [`Hub::shed`] has not reached.
    pub(crate) fn keep(&self) {
        self.tell(|| Entry::Keep);
    }

    /// Has every shard work with other settings from now on.
    pub(crate) fn configure(&self, settings: Settings) {
        let settings = Arc::new(settings);
        self.tell(|| Entry::Configure(Arc::clone(&settings)));
    }

    /// Gives a fresh connection to the shard that holds the fewest.
    pub(crate) fn adopt(&self, handover: Handover) {
        if let Some(lane) = self.shards.iter().min_by_key(|lane| lane.counters.load()) {
            lane.counters.expect_one();
            lane.inbox.arrive(handover);
        }
    }

    /// Chooses the shard of a fresh connection: the one that holds the fewest, those of the burst included.
    pub(crate) fn assign(&self, burst: &mut Burst, handover: Handover) {
        burst.lanes.resize_with(self.shards.len(), Vec::new);
        let lanes = self.shards.iter().zip(&mut burst.lanes);
        if let Some((lane, assigned)) = lanes.min_by_key(|(lane, _)| lane.counters.load()) {
            lane.counters.expect_one();
            assigned.push(handover);
        }
    }

    /// Gives connections to the shards that were chosen, with one wake-up each. Waits while one of these has enough to do
    /// with those that came before.
    pub(crate) async fn adopt_together(&self, burst: &mut Burst) {
        for (lane, assigned) in self.shards.iter().zip(&mut burst.lanes) {
            if !assigned.is_empty() {
                lane.inbox.arrive_together(assigned).await;
            }
        }
    }

    /// Sums over all shards.
    pub(crate) fn totals(&self) -> Totals {
        self.shards.iter().map(|lane| lane.counters.totals()).sum()
    }

    /// Deliveries of all shards, as last published.
    pub(crate) fn deliveries(&self) -> u64 {
        self.shards.iter().map(|lane| lane.counters.deliveries()).sum()
    }

    /// Messages that the shards have put on the lists of their receivers: each counts once in each shard.
    pub(crate) fn marked(&self) -> u64 {
        self.shards.iter().map(|lane| lane.counters.messages()).sum()
    }

    /// What each shard tells of itself; its longest turn is that since this was last asked.
    pub(crate) fn take_views(&self) -> impl Iterator<Item = View> {
        self.shards.iter().map(|lane| View {
            totals: lane.counters.totals(),
            turns: lane.counters.turns(),
            longest_turn_us: lane.counters.take_longest_turn_us(),
            inbox: lane.inbox.depth(),
        })
    }

    /// Number of shards.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    fn tell(&self, entry: impl Fn() -> Entry) {
        for lane in self.shards.iter() {
            lane.inbox.push(entry());
        }
    }
}

/// Divides a number in proportion to loads; together they are that number, or all that is there.
fn shares(loads: &[u64], count: u64) -> Vec<u64> {
    let total: u64 = loads.iter().sum();
    let count = count.min(total);
    let (mut before, mut given) = (0_u128, 0);
    let share = |load: &u64| {
        before += u128::from(*load);
        let until = u128::from(count) * before / u128::from(total.max(1));
        let share = u64::try_from(until).unwrap_or(u64::MAX) - given;
        given += share;
        share
    };
    loads.iter().map(share).collect()
}

impl Threads {
    /// Drains every connection within `window`, waits for the last one (at most `window` plus the time a closing
    /// handshake may take), then ends the threads. `is_awaited`: somebody was admitted and has not arrived here.
    pub(crate) fn drain_and_stop(
        self,
        window: Duration,
        reason: &'static str,
        is_awaited: impl Fn() -> bool,
    ) {
        self.hub.drain(window, reason);
        let deadline = Instant::now() + window + CLOSE_TIMEOUT;
        let is_left = || self.hub.totals().connections > 0 || is_awaited();
        while is_left() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.stop();
    }

    /// Ends the threads; connections are dropped as they are.
    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.hub.tell(|| Entry::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn each_shard_has_its_share_of_those_who_go() {
        assert_eq!(shares(&[10, 30, 60], 10), [1, 3, 6]);
        assert_eq!(shares(&[1, 1, 1], 1).iter().sum::<u64>(), 1);
        assert_eq!(shares(&[2, 0, 3], 99), [2, 0, 3]);
        assert_eq!((shares(&[0, 0], 5), shares(&[], 5)), (vec![0, 0], vec![]));
        let many = shares(&[u64::from(u32::MAX); 3], u64::from(u32::MAX));
        assert_eq!(many.iter().sum::<u64>(), u64::from(u32::MAX));
    }

    #[test]
    fn a_burst_is_spread_over_the_shards_that_hold_the_fewest() {
        let lane = |number| {
            let poll = mio::Poll::new().unwrap();
            let waker = mio::Waker::new(poll.registry(), mio::Token(number)).unwrap();
            Lane { inbox: Arc::new(Inbox::new(waker)), counters: Arc::default() }
        };
        let hub = Hub { shards: [lane(0), lane(1), lane(2)].into() };
        for _ in 0..4 {
            hub.shards[1].counters.expect_one();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut burst = Burst::default();
        for _ in 0..11 {
            hub.assign(&mut burst, Handover::new(stream.try_clone().unwrap()));
        }
        assert_eq!(burst.lanes.iter().map(Vec::len).collect::<Vec<_>>(), [5, 1, 5]);
    }
}
