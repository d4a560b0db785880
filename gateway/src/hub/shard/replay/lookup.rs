//! Lookups: what is older than the memory comes as blocks of the stream, and those who need one stand in line: one
//! block for a connection at a time, whatever it asks for.

use std::sync::Arc;

use wsgateway_proto::v1::{self, KeptId};

use super::job::{Goal, Job, JobId, Stage};
use super::waits::{ANSWER, OLDER};
use super::{Next, Shard};
use crate::history::archive::{Fetched, LOOKUPS, LookupError, Query, block_of};
use crate::history::{Archive, Block};
use crate::hub::shard::ticks;

impl Shard {
    /// A job needs a block: at once if there is room, else behind those who wait already. Who has no answer yet comes
    /// before those who have: it may be one block that it needs.
    pub(super) fn want_block(&mut self, id: JobId) {
        let replays = &mut self.replays;
        let Some(mut job) = replays.jobs.remove(&id) else { return };
        let room = job.looks || replays.looking < LOOKUPS && !replays.looks(job.timer.conn);
        if !room || !replays.queued.is_empty() {
            replays.release(&mut job);
            match job.stage {
                Stage::Sending => replays.queued.push_back(id),
                _ => replays.queued.push_front(id),
            }
        }
        let now = room && replays.queued.is_empty();
        replays.jobs.insert(id, job);
        if now {
            self.look_up(id);
        }
    }

    /// Serves those who stand in line, as far as there is room.
    pub(super) fn serve_queue(&mut self) {
        // Passed over are at most those of connections that have a block: few for each of at most so many.
        let mut place = 0;
        while self.replays.looking < LOOKUPS
            && let Some(id) = self.replays.queued.get(place).copied()
        {
            let conn = self.replays.jobs.get(&id).map(|job| job.timer.conn);
            if conn.is_some_and(|conn| self.replays.looks(conn)) {
                place += 1;
                continue;
            }
            self.replays.queued.remove(place);
            self.look_up(id);
        }
    }

    /// Asks for the block that a job needs. There must be room.
    fn look_up(&mut self, id: JobId) {
        let replays = &mut self.replays;
        let Some(job) = replays.jobs.get_mut(&id) else { return };
        if !std::mem::replace(&mut job.looks, true) {
            replays.looking += 1;
        }
        let query = job.query(self.position, &self.past.archive);
        let asked = replays.blocks.entry(query.clone()).or_default();
        asked.jobs.push(id);
        if asked.jobs.len() == 1 {
            asked.until = self.clock.tick + ticks(ANSWER);
            self.past.archive.ask(query, Arc::clone(&self.inbox));
        }
    }

    /// A block has come, or the reason why not.
    pub(in crate::hub::shard) fn fetched(&mut self, query: &Query, fetched: &Fetched) {
        let asked = self.replays.blocks.remove(query).unwrap_or_default();
        for id in asked.jobs {
            let Some(job) = self.replays.jobs.get_mut(&id) else { continue };
            let taken = match fetched {
                Ok(block) if block.epoch != self.epoch => Err("the stream was replaced".to_owned()),
                Ok(block) => job.take(query, block),
                Err(LookupError::Nothing) => job.go_without(),
                Err(error) => Err(error.to_string()),
            };
            match taken {
                Ok(()) => {
                    job.waits = Next::Again;
                    self.replays.ready.push(job.timer.conn, id);
                }
                Err(why) => self.fail(id, &why, OLDER),
            }
        }
    }

    /// What a job needs is not available now: the client must try again, here or on another pod. `what` is told.
    pub(super) fn fail(&mut self, id: JobId, why: &str, what: &str) {
        let Some(job) = self.replays.remove(id) else { return };
        tracing::debug!(why, "a client cannot look back");
        self.totals.lookups_failed += 1;
        let conn = job.timer.conn;
        let id = match job.goal {
            Goal::Subscribe(_) => {
                return self.close(conn, 1013, &format!("{what}: resume again later"));
            }
            Goal::Numbered(numbered) => numbered.id,
            Goal::Replay { id, .. } => id,
        };
        let message = format!("{what}: try again later");
        let id = id.as_ref().map(KeptId::id);
        self.send(conn, |out| v1::error(out, id, "history_unavailable", &message));
    }
}

impl Job {
    /// Takes the answer to its lookup.
    fn take(&mut self, query: &Query, block: &Arc<Block>) -> Result<(), String> {
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
    fn go_without(&mut self) -> Result<(), String> {
        match &mut self.values {
            Some(values) if self.stage == Stage::Sending => values.alone = true,
            _ => return Err(LookupError::Nothing.to_string()),
        }
        Ok(())
    }

    /// What it needs next, for a pod that has come to `position`.
    fn query(&self, position: u64, archive: &Archive) -> Query {
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
