//! Replays: clients that look back, each at its own pace, until they are where everybody is.
//!
//! A client that resumes, wants last values or asks for a range again gets a [`Job`]. While it runs, its new
//! subscriptions are not in the index: the job follows the history, a chunk per write, only while the socket takes it.
//! When its cursor reaches the shard's position the subscriptions enter the index, in this very thread and instant: so
//! the cut loses nothing and repeats nothing, however fast the stream runs and however slow the client is. Channels that
//! two subscriptions of a connection share come by the one that was there first. Owned by the shard. What must hold:
//! memory and time per turn are bounded however many look back at once, and live messages go first.

mod job;
mod line;
mod lookup;
mod numbered;
mod open;
mod send;
mod turns;
mod values;
mod waits;

use super::live::Live;
use crate::clients::clock::ticks;
use crate::clients::wheel::Timer;
use crate::conn::Connection;
use crate::history::Interest;
pub(super) use job::opening::{Opening, Start};
use job::{CHUNK, Goal, Job, JobId, LARGEST_CHUNK, Next, Stage};
pub(crate) use line::Replays;
pub(super) use line::count;
use waits::ANSWER;

/// Replays of one connection at once: a page's resume, and what its parts ask for besides.
pub(super) const PER_CONNECTION: usize = 4;

/// Subscriptions of one connection that wait for its replays, besides.
const WAITING: usize = 12;

/// Chunks written per turn, and their bytes, all replays together.
const CHUNKS: usize = 32;
const BYTES: u64 = 512 << 10;

/// The same while messages come live: about fifty microseconds, which they wait at most.
const BYTES_BESIDE_LIVE: u64 = 32 << 10;

/// How long after a message more of them are expected (µs).
const LIVE_US: u64 = 100_000;

/// Replays that may send their first chunk in the turn in which they were asked for; others wait for their turn.
const FRESH: usize = 32;

impl Replays {
    /// Begins a subscription that looks back, or waits for one that does. Its acknowledgement comes from here.
    pub(super) fn open(
        &mut self,
        live: &mut Live,
        conn: u32,
        opening: Opening,
        interest: Interest,
    ) {
        let cursor = match opening.from {
            Start::Offset(offset) => offset,
            Start::Now | Start::Elsewhere => live.position,
        };
        self.begin(live, conn, Goal::Subscribe(opening), interest, (cursor, u64::MAX));
    }

    /// Begins to send a range again, both offsets included.
    pub(super) fn send_again(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<wsgateway_proto::v1::KeptId>,
        interest: Interest,
        range: (u64, u64),
    ) {
        let (from, until) = (range.0.max(1), range.1.min(live.position));
        let goal = Goal::Replay { id, from, gone: None };
        self.begin(live, conn, goal, interest, (from - 1, until));
    }

    fn begin(
        &mut self,
        live: &mut Live,
        conn: u32,
        goal: Goal,
        interest: Interest,
        range: (u64, u64),
    ) {
        let Some(connection) = live.clients.get(conn) else { return };
        let timer = Timer { conn, serial: connection.serial };
        let mut job = Job::new(timer, goal, interest, range, live.position);
        job.shares = job.subscribes() && self.shares(live, &job);
        // Its names are in memory until it ends, and may become patterns of the index.
        job.room = Some(live.index.reserve(job.name_bytes()));
        let id = self.add(job);
        self.unanswered.push_back((live.clients.clock.tick + ticks(ANSWER), id));
        self.fresh += 1;
        // Most are done with one chunk: then the client has its answer in this turn. A crowd waits in a line, so that
        // live messages do not wait for the crowd.
        match self.fresh <= FRESH {
            true => self.step(live, id),
            false => self.ready.push(conn, id),
        }
    }

    /// Whether a connection may look back once more.
    pub(super) fn may_look_back(&self, conn: u32) -> bool {
        self.of(conn).count() < PER_CONNECTION
    }

    /// Whether a connection may wait for its replays once more.
    pub(super) fn may_wait(&self, conn: u32) -> bool {
        self.of(conn).count() < PER_CONNECTION + WAITING
    }

    /// Whether some of a job's channels come live to its connection.
    fn shares(&self, live: &Live, job: &Job) -> bool {
        live.held(job.timer.conn).any(|held| job.interest.overlaps(held))
    }

    /// Goes on with those whose turn it is.
    pub(super) fn turn(&mut self, live: &mut Live) {
        self.fresh = 0;
        self.deflated = 0;
        self.look_for_the_late(live);
        self.look_for_the_sourceless(live);
        self.expire(live);
        let mut left = self.replay_bytes(live);
        for _ in 0..CHUNKS {
            match self.replay_one(live) {
                Some(bytes) if bytes < left => left -= bytes,
                _ => break,
            }
        }
        self.serve_queue(live);
        live.clients.totals.replays = self.len() as u64;
    }

    /// One write for somebody who looks back; its bytes, or none when there is nobody.
    fn replay_one(&mut self, live: &mut Live) -> Option<u64> {
        let before = (live.clients.totals.delivered_bytes, live.clients.totals.outbox_bytes);
        if let Some(timer) = self.writable.pop_front() {
            let connection = live.clients.get_mut(timer.conn);
            if let Some(connection) = connection.filter(|c| c.serial == timer.serial) {
                connection.writes_later = false;
                live.clients.write_outbox(timer.conn);
            }
            return Some(before.1.saturating_sub(live.clients.totals.outbox_bytes));
        }
        let id = self.ready.pop()?;
        self.step(live, id);
        Some(live.clients.totals.delivered_bytes - before.0)
    }

    /// Bytes that replays may write in this turn.
    fn replay_bytes(&mut self, live: &mut Live) -> u64 {
        let messages = live.clients.totals.messages;
        if std::mem::replace(&mut self.messages, messages) != messages {
            self.live_until_us = live.clients.clock.now_us + LIVE_US;
        }
        if live.clients.clock.now_us < self.live_until_us { BYTES_BESIDE_LIVE } else { BYTES }
    }

    /// One chunk of a job, or what it does instead.
    fn step(&mut self, live: &mut Live, id: JobId) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        let mut next = match job.stage {
            Stage::Deciding | Stage::Behind { .. } => self.decide(live, &mut job),
            Stage::Sending => Next::Again,
        };
        if job.stage == Stage::Sending {
            // The acknowledgement leaves in one write with what follows it.
            next = self.send_chunk(live, &mut job);
        }
        if !job.said.is_empty() && live.clients.is_current_and_open(job.timer) {
            let mut said = std::mem::take(&mut job.said);
            live.clients.send(job.timer.conn, |out| out.append(&mut said));
        }
        // A close on the way has removed the connection's list of jobs.
        if !live.clients.is_current_and_open(job.timer) {
            return self.release(&mut job);
        }
        if live.clients.get(job.timer.conn).is_none_or(Connection::is_blocked) {
            job.chunk = CHUNK;
            next = if next == Next::Again { Next::Blocked } else { next };
        } else {
            job.chunk = (2 * job.chunk).min(LARGEST_CHUNK);
        }
        self.put(id, job, next);
        match next {
            Next::End => drop(self.remove(id)),
            Next::Source => self.want_source(live, id),
            Next::Older => self.want_block(live, id),
            Next::Again | Next::Blocked | Next::Late | Next::After => {}
        }
    }
}

#[cfg(test)]
mod tests;
