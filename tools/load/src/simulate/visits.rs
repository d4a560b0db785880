//! Visits of traders on a swarm of connections (the shell of a crowd): what a crowd decides is done as soon as the
//! connections allow it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wsgateway_client::{Swarm, SwarmError};

use super::crowd::{Action, Crowd, CrowdTotals};
use super::market::Market;
use crate::book::Book;
use crate::plan::{Seats, WorkerPlan};
use crate::worker::{IN_FLIGHT, TURN};

/// The shortest turn: sessions of a market that goes fast are shorter than the usual one.
const SHORTEST_TURN: Duration = Duration::from_millis(10);

/// The visits of one worker.
pub(crate) struct Visits {
    crowd: Crowd,
    market: Market,
    seats: Seats,
    start: Option<Instant>,
    /// What the connection of a place was not ready for.
    pending: BTreeMap<u32, Pending>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    /// First of all.
    leave: bool,
    /// Then this trader comes, to continue or not.
    come: Option<(u32, bool)>,
}

impl Visits {
    /// Those of a plan; `None` where clients come once and stay.
    pub(crate) fn new(plan: &WorkerPlan) -> Option<Self> {
        let market = plan.market?;
        let crowd = Crowd::new(market, plan.clients, plan.worker);
        let (seats, pending) = (plan.seats.clone(), BTreeMap::new());
        Some(Self { crowd, market, seats, start: None, pending, ended: false })
    }

    /// How many of 100 traders may be there from now on.
    pub(crate) fn pace(&mut self, percent: u8) {
        self.crowd.pace(percent);
    }

    /// What was done so far.
    pub(crate) fn totals(&self, caught_up: u64) -> CrowdTotals {
        CrowdTotals { caught_up, ..self.crowd.totals().clone() }
    }

    /// Does what is due. Returns how long the swarm may run then. The swarm's observer enters what happens in the same
    /// book, so that it is locked for a moment only.
    pub(crate) fn turn(
        &mut self,
        swarm: &mut Swarm,
        book: &Mutex<Book>,
    ) -> Result<Duration, SwarmError> {
        if self.ended {
            return Ok(TURN);
        }
        let elapsed = self.start.get_or_insert_with(Instant::now).elapsed();
        let now = self.market.time(elapsed).min(self.market.length);
        let mut actions = Vec::new();
        self.crowd.step(now, &mut actions);
        for action in actions {
            self.remember(action);
        }
        for (place, mut pending) in std::mem::take(&mut self.pending) {
            if pending.leave {
                pending.leave = !swarm.leave(place as usize);
            }
            if let Some((trader, resume)) = pending.come.filter(|_| !pending.leave)
                && swarm.counters().connecting < IN_FLIGHT as u64
                && swarm.come(place as usize, resume)?
            {
                self.seats.take(place, trader);
                let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                book.comes(place as usize, resume);
                pending.come = None;
            }
            if pending.leave || pending.come.is_some() {
                self.pending.insert(place, pending);
            }
        }
        let next = self.crowd.next_due().map_or(Duration::MAX, |due| due.saturating_sub(now));
        Ok(self.market.lasts(next).clamp(SHORTEST_TURN, TURN))
    }

    /// Nobody comes or leaves any more; whoever is away needs nothing.
    pub(crate) fn end(&mut self, book: &mut Book) {
        self.ended = true;
        let places = 0..u32::try_from(book.clients()).unwrap_or(u32::MAX);
        let comes = |place| self.pending.get(&place).is_some_and(|pending| pending.come.is_some());
        places
            .filter(|place| !self.crowd.is_here(*place) || comes(*place))
            .for_each(|place| book.excuse(place as usize));
    }

    fn remember(&mut self, action: Action) {
        match action {
            Action::Come { place, trader, resume } => {
                self.pending.entry(place).or_default().come = Some((trader, resume));
            }
            Action::Leave { place } => {
                let pending = self.pending.entry(place).or_default();
                // Whoever did not manage to come has nothing to leave.
                if pending.come.take().is_none() {
                    pending.leave = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Publishing, Wire};
    use crate::simulate::market::tests::market;
    use crate::worker::tests::plan;

    fn visits() -> Visits {
        Visits::new(&WorkerPlan { market: Some(market(1)), ..plan(3) }).unwrap()
    }

    #[test]
    fn who_leaves_before_coming_was_never_there_and_who_leaves_late_is_followed_by_the_next() {
        let mut visits = visits();
        let come = |trader, resume| Action::Come { place: 1, trader, resume };
        visits.remember(come(7, false));
        visits.remember(Action::Leave { place: 1 });
        assert!(!visits.pending[&1].leave && visits.pending[&1].come.is_none());
        visits.remember(Action::Leave { place: 1 });
        visits.remember(come(8, true));
        assert!(visits.pending[&1].leave && visits.pending[&1].come == Some((8, true)));
    }

    #[test]
    fn at_the_end_nothing_is_expected_of_who_is_away() {
        let publishing = Publishing { run: 1, start_ns: 0, rate: 1e9, channels: 1 };
        let plan = WorkerPlan { publishing: Some(publishing), wire: Wire::V1, ..plan(3) };
        let (mut visits, mut book) = (visits(), Book::new(&plan));
        (0..3).for_each(|client| book.acknowledged(client, &[0], 10));
        assert!(book.missing(100) > 200);
        visits.end(&mut book);
        assert_eq!(book.missing(100), 0, "nobody has come yet");
    }
}
