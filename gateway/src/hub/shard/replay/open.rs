//! Opening: what a client that resumes is told first, and where it goes on.

use wsgateway_proto::v1::{self, KeptId};

use super::job::{From, Goal, Job, Opening, Stage};
use super::{Next, Shard};
use crate::history::Reach;
use crate::hub::shard::ticks;

/// How long a client waits for a pod that is behind its cursor: a pod that is later than this is in trouble, and
/// another one may not be.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Gaps told channel by channel; beyond it each range is told once, for all channels.
const MAX_GAPS: usize = 256;

/// What becomes of a cursor.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on behind `cursor`; these ranges are gone.
    Start { recovered: Option<bool>, cursor: u64, gone: Vec<(u64, u64)>, reason: &'static str },
    /// Ask the stream first.
    Ask,
    /// This pod is not there yet.
    Wait,
    /// The history is another stream's by now.
    Replaced,
}

impl Verdict {
    fn elsewhere(position: u64) -> Self {
        let gone = vec![(0, position)];
        Self::Start { recovered: Some(false), cursor: position, gone, reason: "epoch" }
    }

    fn resumed(cursor: u64, gone: Vec<(u64, u64)>) -> Self {
        Self::Start { recovered: Some(gone.is_empty()), cursor, gone, reason: "retention" }
    }
}

impl Shard {
    /// Decides where a new subscription begins, and acknowledges it.
    pub(super) fn decide(&mut self, job: &mut Job) -> Next {
        let Goal::Subscribe(opening) = &job.goal else { return Next::End };
        match self.verdict(job, opening.from) {
            Verdict::Ask => Next::Older,
            Verdict::Wait => self.wait(job),
            // The client is about to be told that the stream is another one.
            Verdict::Replaced => Next::Blocked,
            Verdict::Start { recovered, cursor, gone, reason } => {
                self.totals.count_resume(recovered);
                self.acknowledge(job, recovered, cursor);
                self.tell_gone(job, &gone, reason);
                if let Goal::Subscribe(opening) = &job.goal
                    && opening.snapshot
                    && recovered != Some(true)
                {
                    let view = self.past.history.view(&self.epoch);
                    let values = view.map(|view| view.snapshot(&job.interest, cursor));
                    job.snapshot = values.unwrap_or_default().into_iter();
                }
                job.cursor = cursor;
                job.stage = Stage::Sending;
                Next::Again
            }
        }
    }

    fn verdict(&self, job: &Job, from: From) -> Verdict {
        let position = self.position;
        let offset = match from {
            From::Now => {
                let gone = Vec::new();
                return Verdict::Start { recovered: None, cursor: position, gone, reason: "" };
            }
            From::Elsewhere => return Verdict::elsewhere(position),
            From::Offset(offset) => offset,
        };
        let past = &self.past;
        if offset > position {
            return match past.archive.exists() {
                _ if job.stream_last >= offset => Verdict::Wait,
                true if job.stream_last == 0 => Verdict::Ask,
                // The stream itself has never been there.
                _ => Verdict::elsewhere(position),
            };
        }
        let until_now =
            |(from, to): (u64, u64)| (from <= position).then_some((from, to.min(position)));
        let Some(view) = past.history.view(&self.epoch) else { return Verdict::Replaced };
        match view.reach(&job.interest, offset) {
            Reach::Ring { holes } => {
                Verdict::resumed(offset, holes.into_iter().filter_map(until_now).collect())
            }
            Reach::Older => {
                let first = match &job.block {
                    _ if !past.archive.exists() => view.floor() + 1,
                    Some(block) => block.first,
                    None => return Verdict::Ask,
                };
                let cursor = offset.max(first.saturating_sub(1));
                let mut gone = Vec::new();
                if cursor > offset {
                    gone.push((offset + 1, cursor));
                }
                gone.extend(view.holes(cursor).into_iter().filter_map(until_now));
                // Behind everything that is gone at the beginning; other ranges are told and passed over.
                Verdict::resumed(cursor, gone)
            }
        }
    }

    /// Lets a client wait whose cursor is ahead of this pod.
    fn wait(&mut self, job: &mut Job) -> Next {
        let now = self.clock.tick;
        match job.stage {
            Stage::Behind { until } if until <= now => {
                let reason = "this pod is behind the stream: resume on another one";
                self.close(job.timer.conn, 1013, reason);
                Next::End
            }
            Stage::Behind { .. } => Next::Late,
            _ => {
                job.stage = Stage::Behind { until: now + ticks(PATIENCE) };
                Next::Late
            }
        }
    }

    fn acknowledge(&mut self, job: &Job, recovered: Option<bool>, offset: u64) {
        let Goal::Subscribe(Opening { id, held, rejected, .. }) = &job.goal else { return };
        let conn = job.timer.conn;
        let mut subscribed: Vec<&str> = held.iter().map(|text| &**text).collect();
        subscribed.extend(job.interest.iter().map(|(text, _)| text));
        let rejected: Vec<_> = rejected.iter().map(|(text, code)| (&**text, *code)).collect();
        // This job's own are not counted by the shard while it runs.
        let count = self.subscription_count(conn) + job.opening();
        let ack = v1::Ack {
            id: id.as_ref().map(KeptId::id),
            subscribed: &subscribed,
            rejected: &rejected,
            count,
            recovered,
            offset,
        };
        self.send(conn, |out| v1::subscription_ack(out, &ack));
    }

    /// Tells a client which ranges of its channels are gone.
    pub(super) fn tell_gone(&mut self, job: &Job, gone: &[(u64, u64)], reason: &'static str) {
        if gone.is_empty() {
            return;
        }
        let one_by_one = gone.len() * job.interest.len() <= MAX_GAPS;
        self.send(job.timer.conn, |out| {
            for (from, to) in gone {
                if one_by_one {
                    for (channel, _) in job.interest.iter() {
                        v1::gap(out, channel, *from, *to, reason);
                    }
                } else {
                    v1::gap(out, ">", *from, *to, reason);
                }
            }
        });
    }
}
