//! Sums over all clients.

use serde::Serialize;

use super::Verdict;

/// What happened between two settlements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Messages that came, the good and the bad.
    pub delivered: u64,
    /// Messages that did not come and of which nothing was told.
    pub lost: u64,
    /// Messages that came again.
    pub twice: u64,
    /// Messages that came after later ones.
    pub out_of_order: u64,
    /// Messages of channels that were not asked for.
    pub stray: u64,
    /// Messages without a number.
    pub garbled: u64,
    /// Messages that the stream itself holds twice.
    pub stored_twice: u64,
    /// `gap` pushes with reason `retention`.
    pub told_retention: u64,
    /// `gap` pushes with reason `epoch`.
    pub told_epoch: u64,
    /// `gap` pushes with another reason, which excuse nothing here.
    pub told_otherwise: u64,
    /// Messages that did not come and that a gap named.
    pub told_missing: u64,
}

impl Counts {
    pub(super) fn enter(&mut self, verdict: Verdict) {
        self.delivered += 1;
        match verdict {
            // A hole is counted when it is settled.
            Verdict::Next | Verdict::AfterHole => {}
            Verdict::Twice => self.twice += 1,
            Verdict::OutOfOrder => self.out_of_order += 1,
            Verdict::StoredTwice => self.stored_twice += 1,
            Verdict::Stray => self.stray += 1,
        }
    }

    /// Whether nothing was lost, repeated, reordered or made up, and no loss was told but for this reason.
    pub fn is_faultless(&self, excuse: Excuse) -> bool {
        let wrong = self.lost + self.twice + self.out_of_order + self.stray + self.garbled;
        let told = match excuse {
            Excuse::Nothing => self.told_epoch + self.told_retention + self.told_missing,
            Excuse::Retention => self.told_epoch,
            Excuse::Epoch => self.told_retention,
        };
        wrong + told + self.told_otherwise == 0
    }
}

/// For which reason gaps may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// For none: everything is there.
    Nothing,
    /// The stream has discarded something.
    Retention,
    /// The stream is another one.
    Epoch,
}
