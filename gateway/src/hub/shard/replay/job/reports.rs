//! What a job reports to its client besides messages.

use wsgateway_proto::v1::{self, KeptId};

use super::numbered::Numbered;
use super::{Goal, Job};

/// Gaps that one job reports channel by channel; beyond it each range is reported once, for all channels.
const MAX_GAPS: usize = 256;

/// Bytes of what a job says in one step, beyond which it says it more shortly.
const MAX_SAID: usize = 64 << 10;

impl Job {
    /// Takes note that nobody has anything up to `to` any more.
    pub(crate) fn pass_over(&mut self, to: u64) {
        if to <= self.cursor {
            return;
        }
        let from = self.gone.map_or(self.cursor + 1, |(from, _)| from);
        self.gone = Some((from, to));
        self.cursor = to;
    }

    /// Tells what was passed over, or keeps it for the end of a range.
    pub(crate) fn tell_passed_over(&mut self) {
        let Some((from, to)) = self.gone.take() else { return };
        match &mut self.goal {
            Goal::Subscribe(_) => self.tell_gone((from, to), "retention"),
            Goal::Replay { gone, .. } => {
                *gone = Some((gone.map_or(from, |(first, _)| first), to));
            }
            Goal::Numbered(_) => {}
        }
    }

    /// Says what became of a numbered replay.
    pub(crate) fn end_numbered(&mut self) {
        let Goal::Numbered(Numbered { id, range: (from, to), gone, .. }) = &self.goal else {
            return;
        };
        let (id, count, out) = (id.as_ref().map(KeptId::id), self.sent, &mut self.said);
        match gone {
            None => v1::replay_complete(out, id, *from, *to, count),
            Some((from, to)) => v1::replay_incomplete(out, id, *from, *to, count),
        }
    }

    /// Tells the client that a range of its channels is gone.
    pub(crate) fn tell_gone(&mut self, (from, to): (u64, u64), reason: &'static str) {
        self.gaps = self.gaps.saturating_add(self.interest.len());
        if self.gaps <= MAX_GAPS && self.said.len() < MAX_SAID {
            for (channel, _) in self.interest.iter() {
                v1::gap(&mut self.said, channel, from, to, reason);
            }
        } else {
            v1::gap(&mut self.said, ">", from, to, reason);
        }
    }
}
