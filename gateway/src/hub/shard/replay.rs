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

use super::{Shard, ticks};
use crate::conn::Phase;
use crate::history::Interest;
use crate::hub::wheel::Timer;
pub(super) use job::{From, Opening};
use job::{Goal, Job, JobId, Stage};
pub(super) use line::Replays;
use send::{CHUNK, LARGEST_CHUNK};
use waits::ANSWER;

/// Replays of one connection at once: a page's resume, and what its parts ask for besides.
pub(super) const PER_CONNECTION: usize = 4;

/// Subscriptions of one connection that wait for its replays, besides.
const WAITING: usize = 12;

/// Chunks written per turn, and their bytes, all replays together.
const CHUNKS: usize = 32;
const BYTES: u64 = 512 << 10;

/// The same while messages come live: about a hundred microseconds, which they wait at most.
const BYTES_BESIDE_LIVE: u64 = 64 << 10;

/// How long after a message more of them are expected (µs).
const LIVE_US: u64 = 100_000;

/// Replays that may send their first chunk in the turn in which they were asked for; others wait for their turn.
const FRESH: usize = 32;

impl Shard {
    /// Begins a subscription that looks back, or waits for one that does. Its acknowledgement comes from here.
    pub(super) fn open(&mut self, conn: u32, opening: Opening, interest: Interest) {
        let cursor = match opening.from {
            From::Offset(offset) => offset,
            From::Now | From::Elsewhere => self.position,
        };
        self.begin(conn, Goal::Subscribe(opening), interest, (cursor, u64::MAX));
    }

    /// Begins to send a range again, both offsets included.
    pub(super) fn send_again(
        &mut self,
        conn: u32,
        id: Option<wsgateway_proto::v1::KeptId>,
        interest: Interest,
        range: (u64, u64),
    ) {
        let (from, until) = (range.0.max(1), range.1.min(self.position));
        let goal = Goal::Replay { id, from, gone: None };
        self.begin(conn, goal, interest, (from - 1, until));
    }

    fn begin(&mut self, conn: u32, goal: Goal, interest: Interest, range: (u64, u64)) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        connection.replays = true;
        let timer = Timer { conn, serial: connection.serial };
        let mut job = Job::new(timer, goal, interest, range, self.position);
        job.shares = job.subscribes() && self.shares(&job);
        // Its names are in memory until it ends, and may become patterns of the index.
        job.room = Some(self.index.reserve(job.name_bytes()));
        let id = self.replays.add(job);
        self.replays.unanswered.push_back((self.clock.tick + ticks(ANSWER), id));
        self.replays.fresh += 1;
        // Most are done with one chunk: then the client has its answer in this turn. A crowd waits in a line, so that
        // live messages do not wait for the crowd.
        match self.replays.fresh <= FRESH {
            true => self.step(id),
            false => self.replays.ready.push(conn, id),
        }
    }

    /// Whether a connection may look back once more.
    pub(super) fn may_look_back(&self, conn: u32) -> bool {
        self.replays.of(conn).count() < PER_CONNECTION
    }

    /// Whether a connection may wait for its replays once more.
    pub(super) fn may_wait(&self, conn: u32) -> bool {
        self.replays.of(conn).count() < PER_CONNECTION + WAITING
    }

    /// Patterns that come live to a connection.
    fn held(&self, conn: u32) -> impl Iterator<Item = &str> {
        let connection = self.connections.get(conn as usize);
        let held = connection.map_or(&[][..], |connection| connection.subscriptions.as_slice());
        held.iter().filter_map(|held| self.index.text(held.pattern))
    }

    /// Whether some of a job's channels come live to its connection.
    fn shares(&self, job: &Job) -> bool {
        self.held(job.timer.conn).any(|held| job.interest.overlaps(held))
    }

    /// Goes on with those whose turn it is.
    pub(super) fn replay(&mut self) {
        self.replays.fresh = 0;
        self.replays.deflated = 0;
        self.look_for_the_late();
        self.look_for_the_sourceless();
        self.expire();
        let mut left = self.replay_bytes();
        for _ in 0..CHUNKS {
            match self.replay_one() {
                Some(bytes) if bytes < left => left -= bytes,
                _ => break,
            }
        }
        self.serve_queue();
        self.totals.replays = self.replays.len() as u64;
    }

    /// One write for somebody who looks back; its bytes, or none when there is nobody.
    fn replay_one(&mut self) -> Option<u64> {
        let before = (self.totals.delivered_bytes, self.totals.outbox_bytes);
        if let Some(timer) = self.replays.writable.pop_front() {
            let connection = self.connections.get_mut(timer.conn as usize);
            if let Some(connection) = connection.filter(|c| c.serial == timer.serial) {
                connection.writes_later = false;
                self.write_outbox(timer.conn);
            }
            return Some(before.1.saturating_sub(self.totals.outbox_bytes));
        }
        let id = self.replays.ready.pop()?;
        self.step(id);
        Some(self.totals.delivered_bytes - before.0)
    }

    /// Bytes that replays may write in this turn.
    fn replay_bytes(&mut self) -> u64 {
        let messages = self.totals.messages;
        if std::mem::replace(&mut self.replays.messages, messages) != messages {
            self.replays.live_until_us = self.clock.now_us + LIVE_US;
        }
        if self.clock.now_us < self.replays.live_until_us { BYTES_BESIDE_LIVE } else { BYTES }
    }

    /// One chunk of a job, or what it does instead.
    fn step(&mut self, id: JobId) {
        let Some(mut job) = self.replays.jobs.remove(&id) else { return };
        let mut next = match job.stage {
            Stage::Deciding | Stage::Behind { .. } => self.decide(&mut job),
            Stage::Sending => Next::Again,
        };
        if job.stage == Stage::Sending {
            // The acknowledgement leaves in one write with what follows it.
            next = self.send_chunk(&mut job);
        }
        if !job.said.is_empty() && self.is_open(job.timer) {
            let mut said = std::mem::take(&mut job.said);
            self.send(job.timer.conn, |out| out.append(&mut said));
        }
        // A close on the way has removed the connection's list of jobs.
        if !self.is_open(job.timer) {
            return self.replays.release(&mut job);
        }
        if self.is_blocked(job.timer) {
            job.chunk = CHUNK;
            next = if next == Next::Again { Next::Blocked } else { next };
        } else {
            job.chunk = (2 * job.chunk).min(LARGEST_CHUNK);
        }
        self.replays.put(id, job, next);
        match next {
            Next::End => drop(self.replays.remove(id)),
            Next::Source => self.want_source(id),
            Next::Older => self.want_block(id),
            Next::Again | Next::Blocked | Next::Late | Next::After => {}
        }
    }

    /// Whether a connection may be sent anything.
    fn is_open(&self, timer: Timer) -> bool {
        let connection = self.connections.get(timer.conn as usize);
        connection.is_some_and(|c| c.serial == timer.serial && c.phase == Phase::Open)
    }

    fn is_blocked(&self, timer: Timer) -> bool {
        let connection = self.connections.get(timer.conn as usize);
        connection.is_none_or(crate::conn::Connection::is_blocked)
    }
}

/// How a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// In its turn.
    Again,
    /// When the client has read.
    Blocked,
    /// When this pod has caught up.
    Late,
    /// When a block is there.
    Older,
    /// When the history is that of our stream: soon, or every client is told that the stream is another one.
    Source,
    /// When another one of its connection has ended.
    After,
    /// It is done.
    End,
}

#[cfg(test)]
mod tests;
