//! Waits: what a job waits for from elsewhere, and for how long. Nobody waits unanswered for a stream that is away.

use std::time::Duration;

use super::job::{JobId, Next, Stage};
use super::line::Replays;
use crate::clients::clock::ticks;
use crate::hub::shard::live::Live;

/// Longest wait for an acknowledgement, an answer to a lookup, or the stream: more than a restart of the consumer or a
/// new leader takes. Another pod may do better.
pub(super) const ANSWER: Duration = Duration::from_secs(15);

/// What clients are told.
pub(super) const OLDER: &str = "older messages cannot be read now";
const STREAM: &str = "the stream cannot be read now";

impl Replays {
    /// A job needs the history of our stream, which is being read anew.
    pub(super) fn want_source(&mut self, live: &mut Live, id: JobId) {
        self.sourceless.push((id, live.clients.clock.tick + ticks(ANSWER)));
    }

    /// Those that this pod was behind of: it may have caught up, or be too late.
    pub(super) fn look_for_the_late(&mut self, live: &mut Live) {
        let mut behind = std::mem::take(&mut self.behind);
        behind.retain(|id| {
            let Some(job) = self.jobs.get_mut(id) else { return false };
            let late =
                matches!(job.stage, Stage::Behind { until } if until <= live.clients.clock.tick);
            if late || job.cursor <= live.position {
                job.waits = Next::Again;
                self.ready.push(job.timer.conn, *id);
                return false;
            }
            true
        });
        behind.append(&mut self.behind);
        self.behind = behind;
    }

    /// Those whose stream the history did not hold: it may by now, or take too long.
    pub(super) fn look_for_the_sourceless(&mut self, live: &mut Live) {
        if self.sourceless.is_empty() {
            return;
        }
        let held = self.past.history.view(live.epoch()).is_some();
        for (id, until) in std::mem::take(&mut self.sourceless) {
            match self.jobs.get_mut(&id) {
                None => {}
                Some(job) if held => {
                    job.waits = Next::Again;
                    self.ready.push(job.timer.conn, id);
                }
                Some(_) if until <= live.clients.clock.tick => {
                    self.fail(live, id, "no stream", STREAM)
                }
                Some(_) => self.sourceless.push((id, until)),
            }
        }
    }

    /// Ends the waits that were too long.
    pub(super) fn expire(&mut self, live: &mut Live) {
        let now = live.clients.clock.tick;
        if std::mem::replace(&mut self.checked, now) == now {
            return;
        }
        while let Some((until, id)) = self.unanswered.front().copied()
            && until <= now
        {
            self.unanswered.pop_front();
            let Some(job) = self.jobs.get(&id) else { continue };
            match (job.stage, job.waits) {
                (Stage::Sending, _) => {}
                // Its own connection keeps it waiting, or the line of those that can go on.
                (_, Next::After | Next::Again | Next::Blocked) => {
                    self.unanswered.push_back((now + ticks(ANSWER), id));
                }
                (_, Next::Source) => self.fail(live, id, "no stream", STREAM),
                _ => self.fail(live, id, "no answer", OLDER),
            }
        }
        let late = self.blocks.iter().filter(|(_, asked)| asked.until <= now);
        let late: Vec<_> = late.map(|(query, _)| query.clone()).collect();
        for query in late {
            let asked = self.blocks.remove(&query).unwrap_or_default();
            for id in asked.jobs {
                self.fail(live, id, "no answer to a lookup", OLDER);
            }
        }
    }
}
