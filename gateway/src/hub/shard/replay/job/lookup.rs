//! What a job asks of the archive, and what it takes from the answer.

use std::sync::Arc;

use super::{Job, Stage};
use crate::history::archive::{LookupError, Query, block_of};
use crate::history::{Archive, Block};

impl Job {
    /// Takes the answer to its lookup.
    pub(crate) fn take(&mut self, query: &Query, block: &Arc<Block>) -> Result<(), String> {
        if matches!(query, Query::Values { .. }) {
            if block.to < query.from() {
                return Err("an answer that says nothing of last values".to_owned());
            }
            if let Some(values) = &mut self.values {
                values.block = Some(Arc::clone(block));
            }
            return Ok(());
        }
        // A block that was cut short may be an old one: the stream may have gone on since.
        let fresh = block.to >= block.last;
        self.stream_last = Some(if fresh { block.last } else { u64::MAX });
        self.answers += 1;
        self.block = Some(Arc::clone(block));
        Ok(())
    }

    /// The source does not know last values: those of the history are sent.
    pub(crate) fn go_without(&mut self) -> Result<(), String> {
        match &mut self.values {
            Some(values) if self.stage == Stage::Sending => values.alone = true,
            _ => return Err(LookupError::Nothing.to_string()),
        }
        Ok(())
    }

    /// What it needs next, for a pod that has come to `position`.
    pub(crate) fn query(&self, position: u64, archive: &Archive) -> Query {
        let sending = self.stage == Stage::Sending;
        if let Some(values) = self.values.as_ref().filter(|_| sending) {
            return values.query();
        }
        let from = self.next_block(position);
        // Where the stream begins and ends is asked for together with everybody else.
        match sending && archive.filters_by(&self.interest) {
            true => Query::Messages { interest: Arc::new(self.interest.sorted()), from },
            false => Query::Block { from },
        }
    }

    /// First sequence of the block that it needs next, for a pod that has come to `position`. A cursor from beyond that
    /// is held against the end of the stream, which the block behind our position tells.
    fn next_block(&self, position: u64) -> u64 {
        let next = self.cursor.min(position) + 1;
        match &self.block {
            // One that was filtered ends anywhere.
            Some(block) if block.to + 1 == next && block_of(block.to) != block_of(block.from) => {
                next
            }
            // A block that was cut short goes on behind itself.
            Some(block) if block_of(next) == block_of(block.from) && next > block.to => {
                (block.to + 1).max(block.from)
            }
            _ => block_of(next),
        }
    }
}
