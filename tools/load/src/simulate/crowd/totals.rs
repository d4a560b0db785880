//! What a crowd did so far.

use serde::{Deserialize, Serialize};

use crate::simulate::traders::{KINDS, Kind};

/// Traders of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KindTotals {
    /// Who is there now.
    pub present: u32,
    /// Who has left and will be back.
    pub away: u32,
    /// Traders that came for the first time.
    pub traders: u64,
    /// Sessions that began: of these, and of those who came back.
    pub sessions: u64,
    /// Sessions that ended by themselves.
    pub ended: u64,
    /// Who came back and continued.
    pub resumed: u64,
    /// Who came back and began anew.
    pub anew: u64,
    /// Who left for good.
    pub gone: u64,
    /// Whose session was cut short, since the target warned.
    pub sent_away: u64,
    /// Lengths of all sessions that are over, in sum (s of the market).
    pub seconds: f64,
}

/// A crowd, or those of all workers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CrowdTotals {
    /// The market's time since the start.
    pub market_seconds: f64,
    /// How many traders there should be.
    pub aim: u32,
    /// How many of 100 the target's health allows.
    pub percent: u8,
    /// Messages that were published while somebody was away, and received by resuming.
    pub caught_up: u64,
    /// By type.
    pub kinds: [KindTotals; KINDS],
}

impl KindTotals {
    /// Of 100 sessions that ended by themselves, how many were followed by another one of the same trader, or will be.
    #[must_use]
    pub fn return_percent(&self) -> Option<f64> {
        let back = self.resumed + self.anew + u64::from(self.away);
        (self.ended > 0).then(|| back as f64 / self.ended as f64 * 100.0)
    }

    /// Mean length of the sessions that are over (s of the market).
    #[must_use]
    pub fn mean_seconds(&self) -> Option<f64> {
        let over = self.ended + self.sent_away;
        (over > 0).then(|| self.seconds / over as f64)
    }

    fn add(&mut self, other: &Self) {
        self.present += other.present;
        self.away += other.away;
        self.traders += other.traders;
        self.sessions += other.sessions;
        self.ended += other.ended;
        self.resumed += other.resumed;
        self.anew += other.anew;
        self.gone += other.gone;
        self.sent_away += other.sent_away;
        self.seconds += other.seconds;
    }
}

impl CrowdTotals {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.market_seconds = self.market_seconds.max(other.market_seconds);
        self.aim += other.aim;
        self.caught_up += other.caught_up;
        self.percent = other.percent;
        self.kinds.iter_mut().zip(&other.kinds).for_each(|(kind, other)| kind.add(other));
    }

    /// All types together.
    #[must_use]
    pub fn all(&self) -> KindTotals {
        let mut all = KindTotals::default();
        self.kinds.iter().for_each(|kind| all.add(kind));
        all
    }

    pub(super) fn of(&mut self, kind: Kind) -> &mut KindTotals {
        &mut self.kinds[kind.index()]
    }

    /// Places of a type that are taken or kept.
    pub(super) fn occupied(&self, kind: Kind) -> u32 {
        let kind = &self.kinds[kind.index()];
        kind.present + kind.away
    }
}
