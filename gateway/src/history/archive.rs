//! Archive: what is older than the ring, looked up in the stream a block at a time.
//!
//! In: the offset at which a block begins, from shards. Out: the block, to everybody who asked for it
//! while it was fetched or soon after. Owns a small cache; the fetching itself is the source's. What must hold: at most
//! [`FETCHES`] lookups at once however many clients look back, first come first served; memory is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cost;
use crate::encode::Delivery;
use crate::hub::inbox::{Entry, Inbox};

/// Sequences in a block: one request to NATS, a quarter of a millisecond to encode.
pub(crate) const BLOCK: u64 = 256;

/// Bytes of payloads asked for at once: what a block of large messages is cut to.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Lookups at once: enough to keep one connection to NATS busy, few enough that live messages do not wait behind them.
const FETCHES: usize = 4;

/// Requests that may wait to be looked at. Shards have at most [`LOOKUPS`] each on their way.
const QUEUE: usize = 4_096;

/// Lookups that one shard has under way at once, with the blocks that it holds.
pub(crate) const LOOKUPS: usize = 64;

/// Blocks and bytes kept for those who come next: clients that were cut off together look back together.
const CACHED: usize = 128;
const CACHED_BYTES: usize = 16 << 20;

/// How long: a block says where the stream begins and ends, and must not say what is long past.
const LIFETIME: Duration = Duration::from_secs(2);

/// Some sequences of the stream.
#[derive(Debug)]
pub(crate) struct Block {
    /// The stream's life.
    pub epoch: Arc<str>,
    /// What is left of the sequences `from` to `to`.
    pub messages: Vec<Arc<Delivery>>,
    pub from: u64,
    pub to: u64,
    /// First and last sequence of the stream when it was asked.
    pub first: u64,
    pub last: u64,
}

/// Why there is no block; whoever asked may ask again later.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// Nothing outside the ring exists: the source keeps nothing.
    #[error("the source keeps no older messages")]
    Nothing,
    /// NATS did not answer, or refused.
    #[error("{0}")]
    Failed(Arc<str>),
}

pub(crate) type Fetched = Result<Arc<Block>, LookupError>;

#[derive(Debug)]
struct Request {
    from: u64,
    asker: Arc<Inbox>,
}

/// Handle for those who ask. Clones reach the same archive.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    requests: Option<mpsc::Sender<Request>>,
}

/// The receiving end: the source runs it.
#[derive(Debug)]
pub(crate) struct Desk {
    requests: mpsc::Receiver<Request>,
    /// The first one, once it is there.
    first: Option<Request>,
}

/// Where the block with this sequence begins.
pub(crate) fn block_of(sequence: u64) -> u64 {
    sequence.saturating_sub(1) / BLOCK * BLOCK + 1
}

/// An archive, and the end that serves it.
pub(crate) fn archive() -> (Archive, Desk) {
    let (sender, requests) = mpsc::channel(QUEUE);
    (Archive { requests: Some(sender) }, Desk { requests, first: None })
}

impl Archive {
    /// For sources that keep nothing.
    pub(crate) fn none() -> Self {
        Self { requests: None }
    }

    /// Whether there is anything older than the ring.
    pub(crate) fn exists(&self) -> bool {
        self.requests.is_some()
    }

    /// Asks for the block that begins at `from`; the answer comes to the shard's inbox.
    pub(crate) fn ask(&self, from: u64, asker: Arc<Inbox>) {
        let (asker, why) = match &self.requests {
            None => (asker, LookupError::Nothing),
            Some(requests) => match requests.try_send(Request { from, asker }) {
                Ok(()) => return,
                Err(error) => (error.into_inner().asker, LookupError::busy()),
            },
        };
        answer(&asker, from, Err(why));
    }
}

impl LookupError {
    fn busy() -> Self {
        Self::Failed("too many clients look back at once".into())
    }
}

fn answer(asker: &Inbox, from: u64, fetched: Fetched) {
    asker.push(Entry::Fetched { from, fetched });
}

impl Desk {
    /// Waits until somebody asks.
    pub(crate) async fn wanted(&mut self) {
        if self.first.is_none() {
            self.first = self.requests.recv().await;
        }
    }

    async fn next(&mut self) -> Option<Request> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.requests.recv().await,
        }
    }

    /// Serves until every [`Archive`] is gone. `fetch` looks up the block that begins at a sequence.
    pub(crate) async fn run<F>(mut self, fetch: impl Fn(u64) -> F)
    where
        F: Future<Output = Fetched> + Send + 'static,
    {
        let mut cache = Cache::default();
        let mut waiting: HashMap<u64, Vec<Arc<Inbox>>> = HashMap::new();
        let mut fetches: JoinSet<(u64, Fetched)> = JoinSet::new();
        loop {
            tokio::select! {
                request = self.next(), if fetches.len() < FETCHES => {
                    let Some(Request { from, asker }) = request else { return };
                    if let Some(block) = cache.get(from, Instant::now()) {
                        answer(&asker, from, Ok(block));
                    } else if let Some(askers) = waiting.get_mut(&from) {
                        askers.push(asker);
                    } else {
                        waiting.insert(from, vec![asker]);
                        let fetching = fetch(from);
                        fetches.spawn(async move { (from, fetching.await) });
                    }
                }
                Some(done) = fetches.join_next() => {
                    let Ok((from, fetched)) = done else {
                        // A lookup panicked; which one is not known, so all ask again.
                        for (from, askers) in waiting.drain() {
                            for asker in askers {
                                answer(&asker, from, Err(LookupError::busy()));
                            }
                        }
                        continue;
                    };
                    if let Ok(block) = &fetched {
                        cache.put(block, Instant::now());
                    }
                    for asker in waiting.remove(&from).unwrap_or_default() {
                        answer(&asker, from, fetched.clone());
                    }
                }
            }
        }
    }
}

/// The blocks fetched last, of the newest epoch seen.
#[derive(Debug, Default)]
struct Cache {
    blocks: VecDeque<(Arc<Block>, Instant)>,
    bytes: usize,
}

impl Cache {
    fn get(&mut self, from: u64, now: Instant) -> Option<Arc<Block>> {
        let old = |(_, fetched): &(_, Instant)| now.duration_since(*fetched) > LIFETIME;
        while self.blocks.front().is_some_and(old) {
            self.drop_oldest();
        }
        let found = self.blocks.iter().find(|(block, _)| block.from == from);
        found.map(|(block, _)| Arc::clone(block))
    }

    fn drop_oldest(&mut self) {
        if let Some((oldest, _)) = self.blocks.pop_front() {
            self.bytes -= size(&oldest);
        }
    }

    fn put(&mut self, block: &Arc<Block>, now: Instant) {
        // A block that reaches the end of the stream is not finished.
        if block.to >= block.last {
            return;
        }
        if self.blocks.back().is_some_and(|(known, _)| known.epoch != block.epoch) {
            *self = Self::default();
        }
        self.bytes += size(block);
        self.blocks.push_back((Arc::clone(block), now));
        while !self.blocks.is_empty() && (self.blocks.len() > CACHED || self.bytes > CACHED_BYTES) {
            self.drop_oldest();
        }
    }
}

fn size(block: &Block) -> usize {
    block.messages.iter().map(cost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(epoch: &str, from: u64, last: u64) -> Arc<Block> {
        let (to, messages) = (from + BLOCK - 1, Vec::new());
        Arc::new(Block { epoch: epoch.into(), messages, from, to, first: 1, last })
    }

    #[test]
    fn a_block_is_kept_for_a_moment_unless_it_is_not_finished_or_of_another_stream() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        cache.put(&block("e", 1, 9_999), start);
        cache.put(&block("e", 257, 512), start);
        assert!(cache.get(1, start + LIFETIME).is_some());
        assert!(cache.get(257, start).is_none(), "the stream goes on behind it");
        assert!(cache.get(1, start + LIFETIME * 2).is_none(), "what it says of the stream is old");
        cache.put(&block("e", 513, 9_999), start);
        cache.put(&block("f", 1, 9_999), start);
        assert!(cache.get(513, start).is_none() && cache.get(1, start).is_some());
    }

    #[test]
    fn of_too_many_blocks_the_oldest_go() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for n in 0..=CACHED as u64 {
            cache.put(&block("e", n * BLOCK + 1, u64::MAX), now);
        }
        assert!(cache.get(1, now).is_none() && cache.get(BLOCK + 1, now).is_some());
    }
}
