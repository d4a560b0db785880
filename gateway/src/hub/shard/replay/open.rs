//! Opening: what a client that resumes is told first, and where it goes on.

use wsgateway_proto::v1::{self, KeptId};

use super::job::opening::{Opening, Start};
use super::job::values::Values;
use super::job::{Goal, Job, Next, Stage};
use super::line::Replays;
use crate::clients::clock::ticks;
use crate::epoch::is_restored;
use crate::history::Reach;
use crate::hub::shard::live::Live;
use crate::time::unix_ms;

/// How long a client waits for a pod that is behind its cursor: a pod that is later than this is in trouble, and
/// another one may not be.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// What becomes of a cursor.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It goes on behind `cursor`; this range before it is gone.
    Begin { recovered: Option<bool>, cursor: u64, gone: Option<(u64, u64)>, reason: &'static str },
    /// Ask the stream first.
    Ask,
    /// This pod is not there yet.
    Wait,
    /// The history is another stream's by now.
    Replaced,
}

impl Decision {
    /// What the client had not seen of its own stream is gone; of this one it gets what is behind `cursor`.
    fn elsewhere(cursor: u64) -> Self {
        let gone = Some((0, cursor));
        Self::Begin { recovered: Some(false), cursor, gone, reason: "epoch" }
    }

    /// From `offset` on, or from `cursor` if that is later. `whole`: nothing behind it is known to be gone; what is, is
    /// told where it is missing.
    fn resumed(offset: u64, cursor: u64, whole: bool) -> Self {
        let gone = (cursor > offset).then_some((offset + 1, cursor));
        let recovered = Some(whole && gone.is_none());
        Self::Begin { recovered, cursor, gone, reason: "retention" }
    }
}

impl Replays {
    /// Decides where a new subscription begins, and acknowledges it.
    pub(super) fn decide(&mut self, live: &mut Live, job: &mut Job) -> Next {
        if !job.after.is_empty() {
            job.after.retain(|id| self.jobs.contains_key(id));
            if !job.after.is_empty() {
                return Next::After;
            }
            // What came first may come live by now.
            job.shares = job.shares || self.shares(live, job);
        }
        let Goal::Subscribe(opening) = &job.goal else { return Next::End };
        match self.verdict(live, job, opening.from) {
            Decision::Ask => Next::Older,
            Decision::Wait => self.wait(live, job),
            Decision::Replaced => Next::Source,
            Decision::Begin { recovered, cursor, gone, reason } => {
                live.clients.totals.count_resume(recovered);
                self.count_away(live, opening.from);
                self.acknowledge(live, job, recovered, cursor);
                if let Some(gone) = gone {
                    job.tell_gone(gone, reason);
                }
                if let Goal::Subscribe(opening) = &mut job.goal {
                    match opening.from {
                        Start::Offset(_) if recovered == Some(true) => {
                            let view = self.past.history.view(live.epoch()).filter(|_| live.paces);
                            let values = view
                                .as_ref()
                                .and_then(|view| Values::in_doubt(view, &job.interest, cursor));
                            job.values = values;
                        }
                        _ => job.values = Values::of(opening, &job.interest, cursor),
                    }
                    // Said; the rest may take a while.
                    (opening.held, opening.rejected) = Default::default();
                }
                job.cursor = cursor;
                job.born = live.position;
                job.stage = Stage::Sending;
                Next::Again
            }
        }
    }

    /// Notes how long a client was away: since the first message after its cursor that this pod still has.
    fn count_away(&self, live: &mut Live, from: Start) {
        let Start::Offset(offset) = from else { return };
        // A stranger may send any number as a cursor.
        let next = offset.checked_add(1);
        let missed =
            self.past.history.view(live.epoch()).zip(next).and_then(|(view, next)| view.get(next));
        let away = missed.map_or(0, |missed| unix_ms().saturating_sub(missed.ts));
        live.clients.totals.count_away(away);
    }

    fn verdict(&self, live: &Live, job: &Job, from: Start) -> Decision {
        let position = live.position;
        let offset = match from {
            Start::Now => {
                // Last values are as of the moment of the command. Who asked for nothing but what comes has waited for
                // another replay: it comes from here on.
                let cursor = if job.is_plain() { position } else { job.cursor };
                return Decision::Begin { recovered: None, cursor, gone: None, reason: "" };
            }
            Start::Elsewhere => return self.beginning(live, job),
            Start::Offset(offset) => offset,
        };
        let past = &self.past;
        if offset > position {
            let (epoch, read) = past.history.now();
            return match job.stream_last {
                // This shard is about to be there.
                _ if epoch == *live.epoch() && read >= offset => Decision::Wait,
                _ if !past.archive.exists() => Decision::elsewhere(position),
                Some(last) if last >= offset => Decision::Wait,
                // The first answer may be of a question that was asked before the stream was there.
                _ if job.answers < 2 => Decision::Ask,
                _ => Decision::elsewhere(position),
            };
        }
        let is_whole = |hole: Option<(u64, u64)>| hole.is_none_or(|(from, _)| from > position);
        let Some(view) = past.history.view(live.epoch()) else { return Decision::Replaced };
        match view.reach(&job.interest, offset) {
            Reach::Ring { hole } => Decision::resumed(offset, offset, is_whole(hole)),
            Reach::Older => {
                let first = match &job.block {
                    _ if !past.archive.exists() => view.floor() + 1,
                    Some(block) => block.first,
                    None => return Decision::Ask,
                };
                let cursor = offset.max(first.saturating_sub(1));
                Decision::resumed(offset, cursor, is_whole(view.hole(cursor)))
            }
        }
    }

    /// Where a client goes on whose cursor is of another stream: a stream that was made anew a moment ago is all in the
    /// ring, and the client has seen nothing of it. Otherwise where everybody is: it did not ask for a whole stream.
    fn beginning(&self, live: &Live, job: &Job) -> Decision {
        let Some(view) = self.past.history.view(live.epoch()) else { return Decision::Replaced };
        let is_whole = |reach| matches!(reach, Reach::Ring { hole: None });
        // Sources without an archive have an epoch per pod: their clients have seen the same messages elsewhere. So have
        // those of a stream that lost its tail.
        let fresh = self.past.archive.exists() && !is_restored(live.epoch());
        let whole = fresh && is_whole(view.reach(&job.interest, 0));
        Decision::elsewhere(if whole { 0 } else { live.position })
    }

    /// Lets a client wait whose cursor is ahead of this pod.
    fn wait(&mut self, live: &mut Live, job: &mut Job) -> Next {
        let now = live.clients.clock.tick;
        match job.stage {
            Stage::Behind { until } if until <= now => {
                let reason = "this pod is behind the stream: resume on another one";
                live.clients.close(job.timer.conn, 1013, reason);
                Next::End
            }
            Stage::Behind { .. } => Next::Late,
            _ => {
                job.stage = Stage::Behind { until: now + ticks(PATIENCE) };
                Next::Late
            }
        }
    }

    fn acknowledge(
        &mut self,
        live: &mut Live,
        job: &mut Job,
        recovered: Option<bool>,
        offset: u64,
    ) {
        let Goal::Subscribe(Opening { id, held, rejected, .. }) = &job.goal else { return };
        let mut subscribed: Vec<&str> = held.iter().map(|text| &**text).collect();
        subscribed.extend(job.interest.iter().map(|(text, _)| text));
        let (rejected, rejected_count) = rejected;
        let rejected: Vec<_> = rejected.iter().map(|(text, code)| (&**text, *code)).collect();
        // This job's own are not counted by the shard while it is at work.
        let conn = job.timer.conn;
        let new = |text| !live.holds(conn, text) && self.opens(conn, text).is_none();
        let own = job.interest.iter().filter(|(text, _)| new(text)).count();
        let count = self.subscription_count(live, conn) + own;
        let ack = v1::Ack {
            id: id.as_ref().map(KeptId::id),
            subscribed: &subscribed,
            rejected: &rejected,
            rejected_count: *rejected_count,
            count,
            recovered,
            offset,
        };
        v1::subscription_ack(&mut job.said, &ack);
    }
}
