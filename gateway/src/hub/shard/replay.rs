//! Replays: clients that look back, each at its own pace, until they are where everybody is.
//!
//! A client that resumes, wants last values or asks for a range again gets a [`Job`]. While it runs, its new
//! subscriptions are not in the index: the job follows the history, a chunk per write, only while the socket takes it.
//! When its cursor reaches the shard's position the subscriptions enter the index, in this very thread and instant: so
//! the cut loses nothing and repeats nothing, however fast the stream runs and however slow the client is. Owned by the
//! shard. What must hold: memory and time per turn are bounded however many look back at once, and live messages go
//! first.

mod job;
mod numbered;
mod open;
mod send;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Shard;
use crate::conn::Phase;
use crate::history::Interest;
use crate::history::archive::{Fetched, LOOKUPS, block_of};
use crate::hub::wheel::Timer;
pub(super) use job::{From, Opening};
use job::{Goal, Job, JobId, Stage};

/// Replays of one connection at once: a page's resume, and what its parts ask for besides.
pub(super) const PER_CONNECTION: usize = 4;

/// Chunks written per turn, all replays together: some hundred microseconds, which live messages wait at most.
const CHUNKS: usize = 32;

/// Replays that may send their first chunk in the turn in which they were asked for; others wait for their turn.
const FRESH: usize = 32;

/// Everybody of this shard who looks back.
#[derive(Debug, Default)]
pub(super) struct Replays {
    jobs: HashMap<JobId, Job>,
    last: JobId,
    by_conn: HashMap<u32, Vec<JobId>>,
    /// Those that can go on, in turn. An id whose job is gone is passed over, here as in all lists.
    ready: VecDeque<JobId>,
    /// Those that are ahead of this pod.
    behind: Vec<JobId>,
    /// Those that wait for a block, by its first sequence.
    blocks: HashMap<u64, Vec<JobId>>,
    /// Those that will ask for a block when others have got theirs.
    queued: VecDeque<JobId>,
    /// Blocks asked for or held.
    looking: usize,
    /// Those that began in this turn.
    fresh: usize,
    gather: Vec<u8>,
}

impl Replays {
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    fn of(&self, conn: u32) -> impl Iterator<Item = &Job> {
        let ids = self.by_conn.get(&conn).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.jobs.get(id))
    }

    /// Subscriptions of a connection that are on their way.
    pub(super) fn opening(&self, conn: u32) -> usize {
        self.of(conn).map(Job::opening).sum()
    }

    /// How far the subscription of a connection is that is behind the others.
    pub(super) fn cursor(&self, conn: u32) -> Option<u64> {
        let behind = |job: &&Job| match &job.goal {
            Goal::Subscribe(opening) => job.stage == Stage::Sending || opening.from != From::Now,
            Goal::Replay { .. } | Goal::Numbered(_) => false,
        };
        self.of(conn).filter(behind).map(|job| job.cursor).min()
    }

    /// Whether this subscription of a connection is on its way.
    pub(super) fn opens(&self, conn: u32, text: &str) -> bool {
        self.of(conn).any(|job| job.opens(text))
    }

    /// Whether a replay of a connection is still to bring messages of a channel or pattern.
    pub(super) fn overlap(&self, conn: u32, pattern: &str) -> bool {
        let mut opening = self.of(conn).filter(|job| matches!(job.goal, Goal::Subscribe(_)));
        opening.any(|job| job.interest.overlaps(pattern))
    }

    /// A subscription has ended at this position; up to there its messages have been sent.
    pub(super) fn let_go(&mut self, conn: u32, pattern: &str, position: u64) {
        for id in self.by_conn.get(&conn).map_or(&[][..], Vec::as_slice) {
            if let Some(job) = self.jobs.get_mut(id).filter(|job| job.shares) {
                job.ended.push((pattern.into(), position));
            }
        }
    }

    /// Takes a subscription that is on its way back; false if there is none.
    pub(super) fn withdraw(&mut self, conn: u32, text: &str) -> bool {
        let Some(ids) = self.by_conn.get(&conn) else { return false };
        let jobs = &mut self.jobs;
        ids.iter().any(|id| {
            let job = jobs.get_mut(id).filter(|job| matches!(job.goal, Goal::Subscribe(_)));
            job.is_some_and(|job| job.interest.remove(text))
        })
    }

    /// The connection takes bytes again.
    pub(super) fn wake(&mut self, conn: u32) {
        let ids = self.by_conn.get(&conn).map_or(&[][..], Vec::as_slice);
        let sending = |id: &&JobId| {
            self.jobs.get(id).is_some_and(|job| job.stage == Stage::Sending && !job.looks)
        };
        self.ready.extend(ids.iter().filter(sending));
    }

    /// Replays of the same connection whose channels a new one would share.
    fn before(&self, job: &Job) -> Vec<JobId> {
        let ids = self.by_conn.get(&job.timer.conn).map_or(&[][..], Vec::as_slice);
        let shared = |id: &&JobId| {
            let other = self.jobs.get(id).filter(|other| matches!(other.goal, Goal::Subscribe(_)));
            other.is_some_and(|other| {
                job.interest.iter().any(|(pattern, _)| other.interest.overlaps(pattern))
            })
        };
        ids.iter().filter(shared).copied().collect()
    }

    fn add(&mut self, job: Job) -> JobId {
        self.last += 1;
        self.by_conn.entry(job.timer.conn).or_default().push(self.last);
        self.jobs.insert(self.last, job);
        self.last
    }

    fn remove(&mut self, id: JobId) -> Option<Job> {
        let mut job = self.jobs.remove(&id)?;
        self.release(&mut job);
        let conn = job.timer.conn;
        if let Some(ids) = self.by_conn.get_mut(&conn) {
            ids.retain(|other| *other != id);
            let waits =
                |id: &&JobId| self.jobs.get(id).is_some_and(|job| job.stage == Stage::After);
            self.ready.extend(ids.iter().filter(waits));
            if ids.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
        Some(job)
    }

    /// The job needs no block any more.
    fn release(&mut self, job: &mut Job) {
        job.block = None;
        if std::mem::take(&mut job.looks) {
            self.looking -= 1;
        }
    }
}

impl Shard {
    /// Begins a subscription that looks back. Its acknowledgement comes from here.
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
        let mut job = Job::new(timer, goal, interest, range);
        if matches!(job.goal, Goal::Subscribe(_)) {
            job.shares = self.held(conn).any(|held| job.interest.overlaps(held));
            job.after = self.replays.before(&job);
        }
        let id = self.replays.add(job);
        self.replays.fresh += 1;
        // Most are done with one chunk: then the client has its answer in this turn. A crowd waits in a line, so that
        // live messages do not wait for the crowd.
        match self.replays.fresh <= FRESH {
            true => self.step(id),
            false => self.replays.ready.push_back(id),
        }
    }

    /// Whether a connection may look back once more.
    pub(super) fn may_look_back(&self, conn: u32) -> bool {
        self.replays.of(conn).count() < PER_CONNECTION
    }

    /// Patterns that come live to a connection.
    fn held(&self, conn: u32) -> impl Iterator<Item = &str> {
        let connection = self.connections.get(conn as usize);
        let held = connection.map_or(&[][..], |connection| connection.subscriptions.as_slice());
        held.iter().filter_map(|held| self.index.text(held.pattern))
    }

    /// A connection ends, or may not be sent anything any more.
    pub(super) fn end_replays(&mut self, conn: u32) {
        for id in self.replays.by_conn.remove(&conn).unwrap_or_default() {
            if let Some(mut job) = self.replays.jobs.remove(&id) {
                self.replays.release(&mut job);
            }
        }
    }

    /// Goes on with those whose turn it is.
    pub(super) fn replay(&mut self) {
        self.replays.fresh = 0;
        self.look_for_the_late();
        for _ in 0..CHUNKS {
            let Some(id) = self.replays.ready.pop_front() else { break };
            self.step(id);
        }
        while self.replays.looking < LOOKUPS
            && let Some(id) = self.replays.queued.pop_front()
        {
            self.look_up(id);
        }
        self.totals.replays = self.replays.len() as u64;
    }

    /// One chunk of a job, or what it does instead.
    fn step(&mut self, id: JobId) {
        let Some(mut job) = self.replays.jobs.remove(&id) else { return };
        let mut next = match job.stage {
            Stage::Deciding | Stage::After | Stage::Behind { .. } => self.decide(&mut job),
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
        let open = self.is_open(job.timer);
        let replays = &mut self.replays;
        if !open || next == Next::End {
            replays.release(&mut job);
            replays.jobs.insert(id, job);
            replays.remove(id);
            return;
        }
        match next {
            Next::Again => replays.ready.push_back(id),
            Next::Late => replays.behind.push(id),
            Next::Blocked => replays.release(&mut job),
            Next::After | Next::Older | Next::End => {}
        }
        replays.jobs.insert(id, job);
        if next == Next::Older {
            self.look_up(id);
        }
    }

    /// Whether a connection may be sent anything.
    fn is_open(&self, timer: Timer) -> bool {
        let connection = self.connections.get(timer.conn as usize);
        connection.is_some_and(|c| c.serial == timer.serial && c.phase == Phase::Open)
    }

    /// Asks for the block that a job needs, or lets it wait for one that others have done with.
    fn look_up(&mut self, id: JobId) {
        let replays = &mut self.replays;
        let Some(job) = replays.jobs.get_mut(&id) else { return };
        if !job.looks {
            if replays.looking >= LOOKUPS {
                return replays.queued.push_back(id);
            }
            job.looks = true;
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
    pub(super) fn fetched(&mut self, from: u64, fetched: &Fetched) {
        for id in self.replays.blocks.remove(&from).unwrap_or_default() {
            let Some(job) = self.replays.jobs.get_mut(&id) else { continue };
            match fetched {
                Ok(block) if block.epoch == self.epoch => {
                    // A block that was cut short may be an old one: the stream may have gone on since.
                    let fresh = block.to >= block.last;
                    job.stream_last = if fresh { block.last } else { u64::MAX };
                    job.block = Some(Arc::clone(block));
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
                let id = id.as_ref().map(wsgateway_proto::v1::KeptId::id);
                let message = "older messages cannot be read now: try again later";
                wsgateway_proto::v1::error(out, id, "history_unavailable", message);
            }),
        }
    }

    /// Those that this pod was behind of: it may have caught up, or be too late.
    fn look_for_the_late(&mut self) {
        let mut behind = std::mem::take(&mut self.replays.behind);
        behind.retain(|id| {
            let Some(job) = self.replays.jobs.get(id) else { return false };
            let late = matches!(job.stage, Stage::Behind { until } if until <= self.clock.tick);
            if late || job.cursor <= self.position {
                self.replays.ready.push_back(*id);
                return false;
            }
            true
        });
        behind.append(&mut self.replays.behind);
        self.replays.behind = behind;
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
    /// When another one has ended.
    After,
    /// It is done.
    End,
}

impl Job {
    /// First sequence of the block that it needs next, for a pod that has come to `position`. A cursor from beyond that
    /// is held against the end of the stream, which the block behind our position tells.
    fn next_block(&self, position: u64) -> u64 {
        let next = self.cursor.min(position) + 1;
        match &self.block {
            // A block that was cut short goes on behind itself.
            Some(block) if block.from <= next && block.to < next => block.to + 1,
            _ => block_of(next),
        }
    }
}

impl From {
    /// Reads a client's cursor.
    pub(super) fn of(resume: Option<&wsgateway_proto::v1::Resume<'_>>, epoch: &str) -> Self {
        match resume {
            None => Self::Now,
            Some(resume) if resume.epoch == epoch => Self::Offset(resume.offset),
            Some(_) => Self::Elsewhere,
        }
    }
}
