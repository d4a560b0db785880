//! Lookups: what is older than the memory comes as blocks of the stream, and those who need one stand in line: one
//! block for a connection at a time, whatever it asks for.

use std::sync::Arc;

use wsgateway_proto::v1::{self, KeptId};

use super::job::{Goal, JobId, Next, Stage};
use super::line::Replays;
use super::waits::{ANSWER, OLDER};
use crate::clients::clock::ticks;
use crate::history::archive::{Fetched, LOOKUPS, LookupError, Query};
use crate::hub::shard::live::Live;

impl Replays {
    /// A job needs a block: at once if there is room, else behind those who wait already. Who has no answer yet comes
    /// before those who have: it may be one block that it needs.
    pub(super) fn want_block(&mut self, live: &mut Live, id: JobId) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        let room = job.looks || self.looking < LOOKUPS && !self.looks(job.timer.conn);
        if !room || !self.queued.is_empty() {
            self.release(&mut job);
            match job.stage {
                Stage::Sending => self.queued.push_back(id),
                _ => self.queued.push_front(id),
            }
        }
        let now = room && self.queued.is_empty();
        self.jobs.insert(id, job);
        if now {
            self.look_up(live, id);
        }
    }

    /// Serves those who stand in line, as far as there is room.
    pub(super) fn serve_queue(&mut self, live: &mut Live) {
        // Passed over are at most those of connections that have a block: few for each of at most so many.
        let mut place = 0;
        while self.looking < LOOKUPS
            && let Some(id) = self.queued.get(place).copied()
        {
            let conn = self.jobs.get(&id).map(|job| job.timer.conn);
            if conn.is_some_and(|conn| self.looks(conn)) {
                place += 1;
                continue;
            }
            self.queued.remove(place);
            self.look_up(live, id);
        }
    }

    /// Asks for the block that a job needs. There must be room.
    fn look_up(&mut self, live: &mut Live, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !std::mem::replace(&mut job.looks, true) {
            self.looking += 1;
        }
        let query = job.query(live.position, &self.past.archive);
        let asked = self.blocks.entry(query.clone()).or_default();
        asked.jobs.push(id);
        if asked.jobs.len() == 1 {
            asked.until = live.clients.clock.tick + ticks(ANSWER);
            self.past.archive.ask(query, Arc::clone(&self.inbox));
        }
    }

    /// A block has come, or the reason why not.
    pub(in crate::hub::shard) fn fetched(
        &mut self,
        live: &mut Live,
        query: &Query,
        fetched: &Fetched,
    ) {
        let asked = self.blocks.remove(query).unwrap_or_default();
        for id in asked.jobs {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let taken = match fetched {
                Ok(block) if block.epoch != *live.epoch() => {
                    Err("the stream was replaced".to_owned())
                }
                Ok(block) => job.take(query, block),
                Err(LookupError::Nothing) => job.go_without(),
                Err(error) => Err(error.to_string()),
            };
            match taken {
                Ok(()) => {
                    job.waits = Next::Again;
                    self.ready.push(job.timer.conn, id);
                }
                Err(why) => self.fail(live, id, &why, OLDER),
            }
        }
    }

    /// What a job needs is not available now: the client must try again, here or on another pod. `what` is told.
    pub(super) fn fail(&mut self, live: &mut Live, id: JobId, why: &str, what: &str) {
        let Some(job) = self.remove(id) else { return };
        tracing::debug!(why, "a client cannot look back");
        live.clients.totals.lookups_failed += 1;
        let conn = job.timer.conn;
        let id = match job.goal {
            Goal::Subscribe(_) => {
                return live.clients.close(conn, 1013, &format!("{what}: resume again later"));
            }
            Goal::Numbered(numbered) => numbered.id,
            Goal::Replay { id, .. } => id,
        };
        let message = format!("{what}: try again later");
        let id = id.as_ref().map(KeptId::id);
        live.clients.send(conn, |out| v1::error(out, id, "history_unavailable", &message));
    }
}
