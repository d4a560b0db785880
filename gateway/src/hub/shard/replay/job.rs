//! A job: one client's way from its cursor to where everybody is. Knows neither the shard nor other jobs.

mod lookup;
pub(super) mod numbered;
pub(super) mod opening;
mod reports;
pub(super) mod values;

use std::sync::Arc;

use wsgateway_proto::channel::Kind;
use wsgateway_proto::v1::KeptId;

use crate::clients::wheel::Timer;
use crate::history::{Block, Interest};
use crate::index::{Index, Reservation};
use numbered::Numbered;
use opening::{Opening, Start};
use values::Values;

/// Names a job for the life of its shard.
pub(super) type JobId = u64;

/// How a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
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

/// What the job is for.
#[derive(Debug)]
pub(super) enum Goal {
    /// Acknowledge, catch up, then live.
    Subscribe(Opening),
    /// Send a range again. `gone` is the part of it that nobody has any more.
    Replay { id: Option<KeptId>, from: u64, gone: Option<(u64, u64)> },
    /// Send messages again that the connection has had.
    Numbered(Numbered),
}

/// What the job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// For its acknowledgement to be decided.
    Deciding,
    /// This pod is behind the client's cursor, until this tick at most.
    Behind { until: u32 },
    /// Acknowledged: messages go out.
    Sending,
}

/// Bytes of frames in a job's first write (or one larger frame): every socket takes them. While a client reads, each
/// write is twice the one before, up to the largest; one that does not read leaves no more than one of them in memory.
pub(super) const CHUNK: usize = 16 << 10;
pub(super) const LARGEST_CHUNK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Job {
    pub timer: Timer,
    pub goal: Goal,
    pub interest: Interest,
    /// Room in the index for its names.
    pub room: Option<Reservation>,
    pub stage: Stage,
    /// Replays of the same connection that come first, since they share channels: until it is decided after their end.
    pub after: Vec<JobId>,
    /// Whether some of its channels came live to the connection already when it began: those are left to come so.
    pub shares: bool,
    /// Subscriptions that did so and have ended since, and the offset up to which they brought everything.
    pub ended: Vec<(Box<str>, u64)>,
    /// Where the shard was at the acknowledgement. What was discarded later has been reported to every connection.
    pub born: u64,
    /// Everything up to here is sent, or told as gone.
    pub cursor: u64,
    /// The last offset that is asked for.
    pub until: u64,
    /// Bytes of its next write.
    pub chunk: usize,
    /// Messages sent.
    pub sent: u64,
    /// Frames that leave before anything else, at the end of the step at the latest.
    pub said: Vec<u8>,
    /// Last values still to be sent.
    pub values: Option<Box<Values>>,
    /// What is to be told as gone before the next message.
    pub gone: Option<(u64, u64)>,
    /// Gaps told.
    pub gaps: usize,
    /// Older messages, looked up.
    pub block: Option<Arc<Block>>,
    /// Whether a block is asked for or held.
    pub looks: bool,
    /// Last sequence of the stream, as far as lookups have told it, and how many have.
    pub stream_last: Option<u64>,
    pub answers: u32,
    /// What it waits for, and so in which list it is.
    pub waits: Next,
}

impl Job {
    /// A job that begins while its shard is at `born`.
    pub(super) fn new(
        timer: Timer,
        goal: Goal,
        interest: Interest,
        (cursor, until): (u64, u64),
        born: u64,
    ) -> Self {
        let stage = match goal {
            Goal::Subscribe(_) => Stage::Deciding,
            Goal::Replay { .. } | Goal::Numbered(_) => Stage::Sending,
        };
        Self {
            timer,
            goal,
            interest,
            room: None,
            stage,
            after: Vec::new(),
            shares: false,
            ended: Vec::new(),
            born,
            cursor,
            until,
            chunk: CHUNK,
            sent: 0,
            said: Vec::new(),
            values: None,
            gone: None,
            gaps: 0,
            block: None,
            looks: false,
            stream_last: None,
            answers: 0,
            waits: Next::Again,
        }
    }

    /// Whether the subscription is on its way through this job.
    pub(super) fn opens(&self, text: &str) -> bool {
        self.subscribes() && self.interest.iter().any(|(held, _)| held == text)
    }

    /// Whether nothing from before was asked for: it only waited for another one.
    pub(super) fn is_plain(&self) -> bool {
        matches!(&self.goal, Goal::Subscribe(opening) if !opening.snapshot && opening.from == Start::Now)
    }

    /// Whether it ends in subscriptions.
    pub(super) fn subscribes(&self) -> bool {
        matches!(self.goal, Goal::Subscribe(_))
    }

    /// Most bytes that its names can cost, here and in the index.
    pub(super) fn name_bytes(&self) -> usize {
        let interest = self.interest.iter().map(|(text, _)| Index::most_bytes(text));
        let Goal::Subscribe(Opening { held, rejected, .. }) = &self.goal else {
            return interest.sum();
        };
        let held = held.iter().map(|text| text.len() + size_of::<Box<str>>());
        let rejected = rejected.0.iter().map(|(text, _)| text.len() + 2 * size_of::<Box<str>>());
        interest.chain(held).chain(rejected).sum()
    }

    /// What it will subscribe to.
    pub(super) fn patterns(&self) -> Vec<(Box<str>, Kind)> {
        self.interest.iter().map(|(text, kind)| (text.into(), kind)).collect()
    }

    /// Takes a subscription back that is on its way; false if it is not.
    pub(super) fn withdraw(&mut self, text: &str) -> bool {
        if let Some(values) = &mut self.values {
            values.interest.remove(text);
        }
        self.subscribes() && self.interest.remove(text)
    }

    /// What another subscription has brought of its channels up to an offset is left out.
    pub(super) fn leave_out(&mut self, pattern: &str, until: u64) {
        if let Some(values) = &mut self.values {
            values.interest.remove(pattern);
        }
        if self.subscribes() && self.interest.overlaps(pattern) {
            self.shares = true;
            self.ended.push((pattern.into(), until));
        }
    }
}
