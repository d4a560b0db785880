//! Archive: what is older than the ring, looked up in the stream a block at a time.
//!
//! In: a [`Query`], from shards. Out: its block, to everybody who asked the same while it was fetched or soon after. Owns
//! a small cache; the fetching itself is the source's. What must hold: at most [`FETCHES`] lookups at once however many
//! clients catch up, first come first served; memory is bounded.

mod cache;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Interest;
use crate::encode::Delivery;
use cache::Cache;

/// Sequences in a block: one request to NATS, a quarter of a millisecond to encode.
pub(crate) const BLOCK: u64 = 256;

/// Bytes of payloads asked for at once: what a block of large messages is cut to.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Lookups at once: enough to keep one connection to NATS busy, few enough that live messages do not wait behind them.
const FETCHES: usize = 4;

/// Between two lookups while what can wait is to wait: a thousand messages a second still come, so that nobody who catches up
/// waits for ever.
const PAUSE: Duration = Duration::from_millis(250);

/// Requests that may wait to be looked at. Shards have at most [`LOOKUPS`] each on their way.
const QUEUE: usize = 4_096;

/// Lookups that one shard has under way at once, with the blocks that it holds.
pub(crate) const LOOKUPS: usize = 64;

/// Patterns that a source may be asked to filter by; an interest of more is served from blocks of everything.
const MAX_FILTERS: usize = 16;

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Query {
    /// Everything in the aligned block of sequences with `from`, from there on.
    Block { from: u64 },
    /// The messages of some channels from `from` on: about [`BLOCK`] of them or [`BLOCK_BYTES`], however many sequences
    /// that is, or all to the end of the stream.
    Messages { interest: Arc<Interest>, from: u64 },
    /// The newest message of each of some channels, where that is from `from` to `until`: about [`BLOCK`] of them or
    /// [`BLOCK_BYTES`]. A channel that has spoken after `until` need not be there.
    Values { interest: Arc<Interest>, from: u64, until: u64 },
}

/// The answer to a [`Query`]: some messages of the stream, in its order.
#[derive(Debug)]
pub(crate) struct Block {
    /// The stream's life.
    pub epoch: Arc<str>,
    /// What was found at the sequences `from` to `to`: there is no more of it up to `to`.
    pub messages: Vec<Arc<Delivery>>,
    pub from: u64,
    pub to: u64,
    /// First and last sequence of the stream when it was asked.
    pub first: u64,
    pub last: u64,
    /// Whether sequences without a message are gone from the stream. Always so for [`Query::Block`]. For
    /// [`Query::Messages`] where the stream lacks any sequence between its first and last: what is missing may have been
    /// of these channels. Otherwise they are other channels'.
    pub missing_is_gone: bool,
}

/// Why there is no block; whoever asked may ask again later.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// Nothing outside the ring exists, or this cannot be asked: the source keeps nothing of the kind.
    #[error("the source keeps no older messages")]
    Nothing,
    /// NATS did not answer, or refused.
    #[error("{0}")]
    Failed(Arc<str>),
}

pub(crate) type Fetched = Result<Arc<Block>, LookupError>;

#[derive(Debug)]
struct Request {
    query: Query,
    asker: Arc<dyn Asker>,
}

/// Handle for those who ask. Clones reach the same archive.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    requests: Option<mpsc::Sender<Request>>,
    /// Whether the source filters by channels.
    filters: Arc<AtomicBool>,
}

/// The receiving end: the source runs it.
#[derive(Debug)]
pub(crate) struct Desk {
    requests: mpsc::Receiver<Request>,
    filters: Arc<AtomicBool>,
    /// The first one, once it is there.
    first: Option<Request>,
    /// Whether what can wait is to wait.
    pauses: Option<watch::Receiver<bool>>,
}

/// Where the block with this sequence begins.
pub(crate) fn block_of(sequence: u64) -> u64 {
    sequence.saturating_sub(1) / BLOCK * BLOCK + 1
}

impl Query {
    /// The sequence at which it begins.
    pub(crate) fn from(&self) -> u64 {
        match self {
            Self::Block { from } | Self::Messages { from, .. } | Self::Values { from, .. } => *from,
        }
    }
}

/// An archive, and the end that serves it.
pub(crate) fn archive() -> (Archive, Desk) {
    let (sender, requests) = mpsc::channel(QUEUE);
    let filters = Arc::new(AtomicBool::new(false));
    let archive = Archive { requests: Some(sender), filters: Arc::clone(&filters) };
    (archive, Desk { requests, filters, first: None, pauses: None })
}

impl Archive {
    /// For sources that keep nothing.
    pub(crate) fn none() -> Self {
        Self { requests: None, filters: Arc::default() }
    }

    /// Whether there is anything older than the ring.
    pub(crate) fn exists(&self) -> bool {
        self.requests.is_some()
    }

    /// Whether the source filters by channels: then last values can be asked for.
    pub(crate) fn filters(&self) -> bool {
        self.filters.load(Ordering::Relaxed)
    }

    /// Whether the messages of an interest are asked for alone. Blocks of everything are shared by all who look back, so
    /// that is for interests of few patterns.
    pub(crate) fn filters_by(&self, interest: &Interest) -> bool {
        let few = (1..=MAX_FILTERS).contains(&interest.len());
        few && !interest.covers_all() && self.filters()
    }

    /// Asks; the answer comes to the shard's inbox.
    pub(crate) fn ask(&self, query: Query, asker: Arc<impl Asker + 'static>) {
        let asker: Arc<dyn Asker> = asker;
        let (request, why) = match &self.requests {
            None => (Request { query, asker }, LookupError::Nothing),
            Some(requests) => match requests.try_send(Request { query, asker }) {
                Ok(()) => return,
                Err(error) => (error.into_inner(), LookupError::busy()),
            },
        };
        request.asker.answer(request.query, Err(why));
    }
}

impl LookupError {
    fn busy() -> Self {
        Self::Failed("too many clients look back at once".into())
    }
}

/// Somebody who asks: the answer comes to it, on a thread of the source.
pub(crate) trait Asker: Debug + Send + Sync {
    /// The answer to a query.
    fn answer(&self, query: Query, fetched: Fetched);
}

impl Desk {
    /// The source filters by channels.
    pub(crate) fn filters(&self) {
        self.filters.store(true, Ordering::Relaxed);
    }

    /// Serves slowly while this says so.
    pub(crate) fn heed(mut self, pauses: watch::Receiver<bool>) -> Self {
        self.pauses = Some(pauses);
        self
    }

    /// Lookups at once, now.
    fn fetches(&self) -> usize {
        let is_paused = self.pauses.as_ref().is_some_and(|pauses| *pauses.borrow());
        if is_paused { 1 } else { FETCHES }
    }

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

    /// Serves until every [`Archive`] is gone. `fetch` answers a query.
    pub(crate) async fn serve<F>(mut self, fetch: impl Fn(Query) -> F)
    where
        F: Future<Output = Fetched> + Send + 'static,
    {
        let mut cache = Cache::default();
        let mut waiting: HashMap<Query, Vec<Arc<dyn Asker>>> = HashMap::new();
        let mut fetches: JoinSet<(Query, Fetched)> = JoinSet::new();
        loop {
            tokio::select! {
                request = self.next(), if fetches.len() < self.fetches() => {
                    let Some(Request { query, asker }) = request else { return };
                    if let Some(block) = cache.get(&query, Instant::now()) {
                        asker.answer(query, Ok(block));
                    } else if let Some(askers) = waiting.get_mut(&query) {
                        askers.push(asker);
                    } else {
                        waiting.insert(query.clone(), vec![asker]);
                        let fetching = fetch(query.clone());
                        let pause = if self.fetches() == 1 { PAUSE } else { Duration::ZERO };
                        fetches.spawn(async move {
                            tokio::time::sleep(pause).await;
                            (query, fetching.await)
                        });
                    }
                }
                Some(done) = fetches.join_next() => {
                    let Ok((query, fetched)) = done else {
                        // A lookup panicked; which one is not known, so all ask again.
                        for (query, askers) in waiting.drain() {
                            for asker in askers {
                                asker.answer(query.clone(), Err(LookupError::busy()));
                            }
                        }
                        continue;
                    };
                    if let Ok(block) = &fetched {
                        cache.put(&query, block, Instant::now());
                    }
                    for asker in waiting.remove(&query).unwrap_or_default() {
                        asker.answer(query.clone(), fetched.clone());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
impl Desk {
    /// What was asked and by whom, if anything.
    pub(crate) fn take(&mut self) -> Option<(Query, Arc<dyn Asker>)> {
        self.requests.try_recv().ok().map(|request| (request.query, request.asker))
    }
}

#[cfg(test)]
mod tests;
