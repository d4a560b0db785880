//! Waits: what a job waits for from elsewhere, and for how long. Nobody waits unanswered for a stream that is away.

use std::time::Duration;

use super::job::{JobId, Stage};
use super::{Next, Shard};
use crate::hub::shard::ticks;

/// Longest wait for an acknowledgement, an answer to a lookup, or the stream: more than a restart of the consumer or a
/// new leader takes. Another pod may do better.
pub(super) const ANSWER: Duration = Duration::from_secs(15);

/// What clients are told.
pub(super) const OLDER: &str = "older messages cannot be read now";
const STREAM: &str = "the stream cannot be read now";

impl Shard {
    /// A job needs the history of our stream, which is being read anew.
    pub(super) fn want_source(&mut self, id: JobId) {
        self.replays.sourceless.push((id, self.clock.tick + ticks(ANSWER)));
    }

    /// Those that this pod was behind of: it may have caught up, or be too late.
    pub(super) fn look_for_the_late(&mut self) {
        let mut behind = std::mem::take(&mut self.replays.behind);
        behind.retain(|id| {
            let Some(job) = self.replays.jobs.get_mut(id) else { return false };
            let late = matches!(job.stage, Stage::Behind { until } if until <= self.clock.tick);
            if late || job.cursor <= self.position {
                job.waits = Next::Again;
                self.replays.ready.push(job.timer.conn, *id);
                return false;
            }
            true
        });
        behind.append(&mut self.replays.behind);
        self.replays.behind = behind;
    }

    /// Those whose stream the history did not hold: it may by now, or take too long.
    pub(super) fn look_for_the_sourceless(&mut self) {
        if self.replays.sourceless.is_empty() {
            return;
        }
        let held = self.past.history.view(&self.epoch).is_some();
        for (id, until) in std::mem::take(&mut self.replays.sourceless) {
            match self.replays.jobs.get_mut(&id) {
                None => {}
                Some(job) if held => {
                    job.waits = Next::Again;
                    self.replays.ready.push(job.timer.conn, id);
                }
                Some(_) if until <= self.clock.tick => self.fail(id, "no stream", STREAM),
                Some(_) => self.replays.sourceless.push((id, until)),
            }
        }
    }

    /// Ends the waits that were too long.
    pub(super) fn expire(&mut self) {
        let now = self.clock.tick;
        if std::mem::replace(&mut self.replays.checked, now) == now {
            return;
        }
        while let Some((until, id)) = self.replays.unanswered.front().copied()
            && until <= now
        {
            self.replays.unanswered.pop_front();
            let Some(job) = self.replays.jobs.get(&id) else { continue };
            match (job.stage, job.waits) {
                (Stage::Sending, _) => {}
                // Its own connection keeps it waiting, or the line of those that can go on.
                (_, Next::After | Next::Again | Next::Blocked) => {
                    self.replays.unanswered.push_back((now + ticks(ANSWER), id));
                }
                (_, Next::Source) => self.fail(id, "no stream", STREAM),
                _ => self.fail(id, "no answer", OLDER),
            }
        }
        let late = self.replays.blocks.iter().filter(|(_, asked)| asked.until <= now);
        let late: Vec<_> = late.map(|(query, _)| query.clone()).collect();
        for query in late {
            let asked = self.replays.blocks.remove(&query).unwrap_or_default();
            for id in asked.jobs {
                self.fail(id, "no answer to a lookup", OLDER);
            }
        }
    }
}
