//! Lookups: what is older than the memory comes as blocks of the stream, and those who need one stand in line.

use std::sync::Arc;

use wsgateway_proto::v1::{self, KeptId};

use super::job::{Goal, Job, JobId, Stage};
use super::{Next, Shard};
use crate::history::archive::{Fetched, LOOKUPS, block_of};

impl Shard {
    /// A job needs a block: at once if there is room, else behind those who wait already. Who has no answer yet comes
    /// before those who have: it may be one block that it needs.
    pub(super) fn want_block(&mut self, id: JobId) {
        let replays = &mut self.replays;
        let Some(mut job) = replays.jobs.remove(&id) else { return };
        let room = job.looks || replays.looking < LOOKUPS;
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
        while self.replays.looking < LOOKUPS
            && let Some(id) = self.replays.queued.pop_front()
        {
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
        let from = job.next_block(self.position);
        let askers = replays.blocks.entry(from).or_default();
        askers.push(id);
        if askers.len() == 1 {
            self.past.archive.ask(from, Arc::clone(&self.inbox));
        }
    }

    /// A block has come, or the reason why not.
    pub(in crate::hub::shard) fn fetched(&mut self, from: u64, fetched: &Fetched) {
        for id in self.replays.blocks.remove(&from).unwrap_or_default() {
            let Some(job) = self.replays.jobs.get_mut(&id) else { continue };
            match fetched {
                Ok(block) if block.epoch == self.epoch => {
                    // A block that was cut short may be an old one: the stream may have gone on since.
                    let fresh = block.to >= block.last;
                    job.stream_last = Some(if fresh { block.last } else { u64::MAX });
                    job.answers += 1;
                    job.block = Some(Arc::clone(block));
                    job.waits = Next::Again;
                    self.replays.ready.push_back(id);
                }
                Ok(_) => self.fail(id, "the stream was replaced"),
                Err(error) => self.fail(id, &error.to_string()),
            }
        }
    }

    /// What a job needs cannot be had now: the client must try again, here or on another pod.
    fn fail(&mut self, id: JobId, why: &str) {
        let Some(job) = self.replays.remove(id) else { return };
        tracing::debug!(why, "a client cannot look back");
        self.totals.lookups_failed += 1;
        let conn = job.timer.conn;
        match job.goal {
            Goal::Subscribe(_) => {
                self.close(conn, 1013, "older messages cannot be read now: resume again later");
            }
            // Such a job never asks.
            Goal::Numbered(_) => {}
            Goal::Replay { id, .. } => self.send(conn, |out| {
                let message = "older messages cannot be read now: try again later";
                v1::error(out, id.as_ref().map(KeptId::id), "history_unavailable", message);
            }),
        }
    }
}

impl Job {
    /// First sequence of the block that it needs next, for a pod that has come to `position`. A cursor from beyond that
    /// is held against the end of the stream, which the block behind our position tells.
    fn next_block(&self, position: u64) -> u64 {
        let next = self.cursor.min(position) + 1;
        match &self.block {
            // A block that was cut short goes on behind itself.
            Some(block) if block_of(next) == block_of(block.from) && next > block.to => {
                (block.to + 1).max(block.from)
            }
            _ => block_of(next),
        }
    }
}
