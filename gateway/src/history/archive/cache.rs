//! Cache: the blocks fetched last, for a moment. A pure structure: time comes in as a parameter.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::cost;
use super::{Block, Query};

/// Blocks and bytes kept for those who come next: clients that were cut off together look back together.
pub(super) const CACHED: usize = 128;
const CACHED_BYTES: usize = 16 << 20;

/// How long: a block says where the stream begins and ends, and must not say what is long past.
pub(super) const LIFETIME: Duration = Duration::from_secs(2);

/// The blocks fetched last, of the newest epoch seen.
#[derive(Debug, Default)]
pub(super) struct Cache {
    blocks: VecDeque<Cached>,
    bytes: usize,
}

#[derive(Debug)]
struct Cached {
    query: Query,
    block: Arc<Block>,
    fetched: Instant,
}

impl Cache {
    pub(super) fn get(&mut self, query: &Query, now: Instant) -> Option<Arc<Block>> {
        let old = |cached: &Cached| now.duration_since(cached.fetched) > LIFETIME;
        while self.blocks.front().is_some_and(old) {
            self.drop_oldest();
        }
        let found = self.blocks.iter().find(|cached| cached.query == *query);
        found.map(|cached| Arc::clone(&cached.block))
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.blocks.pop_front() {
            self.bytes -= size(&oldest.block);
        }
    }

    pub(super) fn put(&mut self, query: &Query, block: &Arc<Block>, now: Instant) {
        // A block that reaches the end of the stream is not finished. Last values are as of their moment.
        if block.to >= block.last && !matches!(query, Query::Values { .. }) {
            return;
        }
        if self.blocks.back().is_some_and(|known| known.block.epoch != block.epoch) {
            *self = Self::default();
        }
        self.bytes += size(block);
        let (query, block) = (query.clone(), Arc::clone(block));
        self.blocks.push_back(Cached { query, block, fetched: now });
        while !self.blocks.is_empty() && (self.blocks.len() > CACHED || self.bytes > CACHED_BYTES) {
            self.drop_oldest();
        }
    }
}

fn size(block: &Block) -> usize {
    block.messages.iter().map(cost).sum()
}
