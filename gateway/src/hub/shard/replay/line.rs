//! Line: everybody of one shard who looks back, and what each of them waits for.
//!
//! A job is in at most one list at a time, and its [`Job::waits`] says in which: so nobody is served twice in a round,
//! and nobody is woken by what he does not wait for. Slots for lookups are counted here and nowhere else.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::job::{Job, JobId, Next, Stage};
use super::turns::Turns;
use crate::clients::wheel::Timer;
use crate::history::Past;
use crate::history::archive::Query;
use crate::hub::few::Few;
use crate::hub::inbox::Inbox;
use crate::hub::shard::live::Live;

/// Everybody of this shard who looks back.
#[derive(Debug)]
pub(crate) struct Replays {
    /// What was before.
    pub(super) past: Past,
    /// Where answers to lookups come to.
    pub(super) inbox: Arc<Inbox>,
    pub(super) jobs: HashMap<JobId, Job>,
    last: JobId,
    by_conn: HashMap<u32, Vec<JobId>>,
    /// Those that can go on, in turn. An id whose job is gone is passed over, here as in all lists.
    pub(super) ready: Turns,
    /// Connections that look back, have something in their outbox, and whose sockets take bytes again.
    pub(super) writable: VecDeque<Timer>,
    /// Those that are ahead of this pod.
    pub(super) behind: Vec<JobId>,
    /// Those whose stream the history does not hold any more, or not yet, and until when (tick).
    pub(super) sourceless: Vec<(JobId, u32)>,
    /// Those that began, in order, and when they must have their acknowledgement (tick).
    pub(super) unanswered: VecDeque<(u32, JobId)>,
    /// Those that wait for a block, by what was asked for.
    pub(super) blocks: HashMap<Query, Asked>,
    /// Tick at which deadlines were looked at.
    pub(super) checked: u32,
    /// Those that will ask for a block when others have got theirs.
    pub(super) queued: VecDeque<JobId>,
    /// Blocks asked for or held.
    pub(super) looking: usize,
    /// Those that began in this turn.
    pub(super) fresh: usize,
    /// Chunks that were compressed for one client in this turn.
    pub(super) deflated: usize,
    /// Live messages counted, and until when more of them are expected (µs of the shard's clock).
    pub(super) messages: u64,
    pub(super) live_until_us: u64,
    pub(super) gather: Vec<u8>,
}

/// A lookup under way.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub jobs: Vec<JobId>,
    /// When it must have been answered (tick).
    pub until: u32,
}

impl Replays {
    /// Nobody catches up. Answers to lookups will come to `inbox`.
    pub(in crate::hub::shard) fn new(past: Past, inbox: Arc<Inbox>) -> Self {
        Self {
            past,
            inbox,
            jobs: HashMap::new(),
            last: 0,
            by_conn: HashMap::new(),
            ready: Turns::default(),
            writable: VecDeque::new(),
            behind: Vec::new(),
            sourceless: Vec::new(),
            unanswered: VecDeque::new(),
            blocks: HashMap::new(),
            checked: 0,
            queued: VecDeque::new(),
            looking: 0,
            fresh: 0,
            deflated: 0,
            messages: 0,
            live_until_us: 0,
            gather: Vec::new(),
        }
    }

    pub(in crate::hub::shard) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.writable.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether a connection looks back now.
    pub(in crate::hub::shard) fn has(&self, conn: u32) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// Whether the socket of a connection, which takes bytes again, waits for its turn with the replays: what is left of a
    /// chunk is not written between two live messages.
    pub(in crate::hub::shard) fn defers(&mut self, live: &mut Live, conn: u32) -> bool {
        let Some(connection) = live.clients.get_mut(conn) else { return false };
        let defers = connection.outbox.is_some() && self.has(conn);
        // However often the socket reports it, it is in the line once.
        if defers && !std::mem::replace(&mut connection.writes_later, true) {
            self.writable.push_back(Timer { conn, serial: connection.serial });
        }
        defers
    }

    fn ids(&self, conn: u32) -> &[JobId] {
        self.by_conn.get(&conn).map_or(&[][..], Vec::as_slice)
    }

    pub(super) fn of(&self, conn: u32) -> impl Iterator<Item = &Job> {
        self.ids(conn).iter().filter_map(|id| self.jobs.get(id))
    }

    /// Those of a connection that will end in a subscription.
    fn subscribing(&self, conn: u32) -> impl Iterator<Item = &Job> {
        self.of(conn).filter(|job| job.subscribes())
    }

    /// Whether a replay of a connection has a block, or has asked for one.
    pub(super) fn looks(&self, conn: u32) -> bool {
        self.of(conn).any(|job| job.looks)
    }

    /// Subscriptions of a connection that are on their way, and whether they have been acknowledged.
    pub(in crate::hub::shard) fn openings(&self, conn: u32) -> HashMap<&str, bool> {
        let mut all = HashMap::new();
        for job in self.subscribing(conn) {
            for (text, _) in job.interest.iter() {
                *all.entry(text).or_default() |= job.stage == Stage::Sending;
            }
        }
        all
    }

    /// Subscriptions that a connection has, or is about to have.
    pub(in crate::hub::shard) fn subscription_count(&self, live: &Live, conn: u32) -> usize {
        count(live, &live.held_patterns(conn), &self.openings(conn))
    }

    /// Up to where a connection has been sent everything of its subscriptions that are on their way; those with these
    /// names, or all.
    pub(in crate::hub::shard) fn cursor(&self, conn: u32, names: &[&str]) -> Option<u64> {
        let named = |job: &&Job| names.is_empty() || names.iter().any(|name| job.opens(name));
        self.subscribing(conn).filter(named).map(|job| job.cursor).min()
    }

    /// Whether this subscription of a connection is on its way, and has been acknowledged.
    pub(in crate::hub::shard) fn opens(&self, conn: u32, text: &str) -> Option<bool> {
        let mut own = self.of(conn).filter(|job| job.opens(text)).peekable();
        own.peek()?;
        Some(own.any(|job| job.stage == Stage::Sending))
    }

    /// Whether a replay of a connection is still to bring messages of a channel or pattern.
    pub(in crate::hub::shard) fn overlap(&self, conn: u32, pattern: &str) -> bool {
        self.subscribing(conn).any(|job| job.interest.overlaps(pattern))
    }

    /// A live subscription has ended at this position; up to there its messages have been sent.
    pub(in crate::hub::shard) fn leave_out(&mut self, conn: u32, pattern: &str, position: u64) {
        for id in self.by_conn.get(&conn).map_or(&[][..], Vec::as_slice) {
            if let Some(job) = self.jobs.get_mut(id) {
                job.leave_out(pattern, position);
            }
        }
    }

    /// Takes a subscription that is on its way back; false if there is none.
    pub(in crate::hub::shard) fn withdraw(&mut self, conn: u32, text: &str) -> bool {
        let ids = self.by_conn.get(&conn).map_or(&[][..], Vec::as_slice);
        let jobs = &mut self.jobs;
        let cursor = ids.iter().find_map(|id| {
            let job = jobs.get_mut(id).filter(|job| job.subscribes())?;
            job.withdraw(text).then_some((*id, job.cursor))
        });
        let Some((withdrawn, cursor)) = cursor else { return false };
        // Those that come after it bring what it did not.
        for id in ids {
            if let Some(job) = jobs.get_mut(id).filter(|job| job.after.contains(&withdrawn)) {
                job.leave_out(text, cursor);
            }
        }
        // What has nothing more to send does not wait for the client to read.
        if let Some(job) = jobs.get_mut(&withdrawn).filter(|job| job.waits == Next::Blocked) {
            job.waits = Next::Again;
            self.ready.push(conn, withdrawn);
        }
        true
    }

    /// The connection takes bytes again.
    pub(in crate::hub::shard) fn wake(&mut self, conn: u32) {
        self.wake_those(conn, Next::Blocked);
    }

    fn wake_those(&mut self, conn: u32, waits: Next) {
        for id in self.by_conn.get(&conn).map_or(&[][..], Vec::as_slice) {
            if let Some(job) = self.jobs.get_mut(id).filter(|job| job.waits == waits) {
                job.waits = Next::Again;
                self.ready.push(conn, *id);
            }
        }
    }

    /// Replays of the same connection whose channels a new one would share.
    fn before(&self, job: &Job) -> Vec<JobId> {
        let shared = |id: &&JobId| {
            let other = self.jobs.get(id).filter(|other| other.subscribes());
            other.is_some_and(|other| {
                job.interest.iter().any(|(pattern, _)| other.interest.overlaps(pattern))
            })
        };
        self.ids(job.timer.conn).iter().filter(shared).copied().collect()
    }

    /// Takes a job in; it is in no list yet.
    pub(super) fn add(&mut self, mut job: Job) -> JobId {
        if job.subscribes() {
            job.after = self.before(&job);
        }
        self.last += 1;
        self.by_conn.entry(job.timer.conn).or_default().push(self.last);
        self.jobs.insert(self.last, job);
        self.last
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Job> {
        let mut job = self.jobs.remove(&id)?;
        self.release(&mut job);
        let conn = job.timer.conn;
        if let Some(ids) = self.by_conn.get_mut(&conn) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_conn.remove(&conn);
            }
        }
        self.wake_those(conn, Next::After);
        Some(job)
    }

    /// Removes all jobs of a connection, which ends, or may not be sent anything any more.
    pub(in crate::hub::shard) fn remove_all(&mut self, conn: u32) {
        for id in self.by_conn.remove(&conn).unwrap_or_default() {
            if let Some(mut job) = self.jobs.remove(&id) {
                self.release(&mut job);
            }
        }
    }

    /// The job needs no block any more.
    pub(super) fn release(&mut self, job: &mut Job) {
        job.block = None;
        if let Some(values) = &mut job.values {
            values.block = None;
        }
        if std::mem::take(&mut job.looks) {
            self.looking -= 1;
        }
    }

    /// Puts a job where it belongs by what it waits for now. Those that need a block are asked for by the caller.
    pub(super) fn put(&mut self, id: JobId, mut job: Job, waits: Next) {
        job.waits = waits;
        match waits {
            Next::Again => self.ready.push(job.timer.conn, id),
            Next::Late => {
                self.release(&mut job);
                self.behind.push(id);
            }
            Next::Blocked | Next::After | Next::Source => self.release(&mut job),
            Next::Older | Next::End => {}
        }
        self.jobs.insert(id, job);
    }
}

/// Subscriptions that are held or on their way, each once.
pub(in crate::hub::shard) fn count(
    live: &Live,
    held: &Few<u32>,
    openings: &HashMap<&str, bool>,
) -> usize {
    held.len() + openings.keys().filter(|text| !live.is_among(held, text)).count()
}
