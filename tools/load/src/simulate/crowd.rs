//! The traders of one worker: places that are taken, left, and taken again.
//!
//! Whoever leaves comes back after a while or makes room for another one; a place is kept for those who come back. So there
//! are always as many traders of each type as the hour and the pace ask for, but for those who are away.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::market::Market;
use super::traders::{AWAY, KINDS, Kind, RESUME_PERCENT, RETURN_PERCENT, drawn, quotas};

mod totals;

pub use totals::{CrowdTotals, KindTotals};

/// What happens at a place: a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A trader connects.
    Come {
        /// Where.
        place: u32,
        /// The number of the trader in this crowd, from 0 on.
        trader: u32,
        /// Continues where the same trader was before; otherwise begins anew.
        resume: bool,
    },
    /// The trader there disconnects.
    Leave {
        /// Where.
        place: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Here,
    Away { resume: bool },
}

#[derive(Clone, Copy, Debug)]
struct Place {
    state: State,
    kind: Kind,
    trader: u32,
    /// Tells what is due from what was given up.
    generation: u32,
    /// When the session began.
    since: Duration,
}

/// A crowd.
#[derive(Debug)]
pub struct Crowd {
    market: Market,
    rng: fastrand::Rng,
    places: Vec<Place>,
    free: Vec<u32>,
    /// Ends of sessions and of absences; of another generation: given up.
    due: BinaryHeap<Reverse<(Duration, u32, u32)>>,
    percent: u8,
    traders: u32,
    totals: CrowdTotals,
}

impl Crowd {
    /// Nobody is there yet. `number` tells the crowds of several workers apart.
    #[must_use]
    pub fn new(market: Market, places: u32, number: u32) -> Self {
        let free = Place {
            state: State::Free,
            kind: Kind::Quick,
            trader: 0,
            generation: 0,
            since: Duration::ZERO,
        };
        // A multiple of an odd number: seeds of workers are far apart, and those of two runs do not meet.
        let seed = market.seed ^ u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self {
            rng: fastrand::Rng::with_seed(seed),
            market,
            places: vec![free; places as usize],
            free: (0..places).rev().collect(),
            due: BinaryHeap::new(),
            percent: 100,
            traders: 0,
            totals: CrowdTotals { percent: 100, ..CrowdTotals::default() },
        }
    }

    /// How many of 100 traders may be there from now on.
    pub fn pace(&mut self, percent: u8) {
        self.percent = percent.min(100);
    }

    /// Goes on to a time of the market, which must not fall.
    pub fn step(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Some(&Reverse((at, place, generation))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            let known =
                self.places.get(place as usize).filter(|known| known.generation == generation);
            match known.map(|known| known.state) {
                Some(State::Here) => self.session_ends(place, at, actions),
                Some(State::Away { resume }) => self.comes_back(place, resume, at, actions),
                Some(State::Free) | None => {}
            }
        }
        let share = self.market.share(now) * f64::from(self.percent) / 100.0;
        let aim = (self.places.len() as f64 * share).round() as u32;
        let quotas = quotas(aim);
        for (kind, quota) in Kind::ALL.into_iter().zip(quotas) {
            while self.totals.occupied(kind) < quota && self.newcomer(kind, now, actions) {}
        }
        if self.percent < 100 {
            self.send_away(quotas, now, actions);
        }
        self.totals.aim = aim;
        self.totals.percent = self.percent;
        self.totals.market_seconds = now.as_secs_f64();
    }

    /// When somebody leaves or comes back next (time of the market).
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// What happened so far.
    #[must_use]
    pub fn totals(&self) -> &CrowdTotals {
        &self.totals
    }

    /// Whether a trader is connected, or should be.
    #[must_use]
    pub fn is_here(&self, place: u32) -> bool {
        self.places.get(place as usize).is_some_and(|place| place.state == State::Here)
    }

    /// False when there is no place.
    fn newcomer(&mut self, kind: Kind, now: Duration, actions: &mut Vec<Action>) -> bool {
        let Some(number) = self.free.pop() else { return false };
        let trader = self.traders;
        self.traders = self.traders.wrapping_add(1);
        if let Some(place) = self.places.get_mut(number as usize) {
            (place.kind, place.trader) = (kind, trader);
        }
        self.totals.of(kind).traders += 1;
        self.begins(number, now);
        actions.push(Action::Come { place: number, trader, resume: false });
        true
    }

    fn begins(&mut self, number: u32, now: Duration) {
        let Some(place) = self.places.get_mut(number as usize) else { return };
        (place.state, place.since) = (State::Here, now);
        place.generation = place.generation.wrapping_add(1);
        let length = drawn(place.kind.session(), &mut self.rng);
        self.due.push(Reverse((now.saturating_add(length), number, place.generation)));
        let kind = self.totals.of(place.kind);
        kind.present += 1;
        kind.sessions += 1;
    }

    fn session_ends(&mut self, number: u32, at: Duration, actions: &mut Vec<Action>) {
        let Some(place) = self.places.get_mut(number as usize) else { return };
        let kind = self.totals.of(place.kind);
        kind.present -= 1;
        kind.ended += 1;
        kind.seconds += at.saturating_sub(place.since).as_secs_f64();
        actions.push(Action::Leave { place: number });
        if self.rng.u32(..100) >= RETURN_PERCENT {
            kind.gone += 1;
            self.release(number);
            return;
        }
        let resume = self.rng.u32(..100) < RESUME_PERCENT && self.market.resumes;
        kind.away += 1;
        place.state = State::Away { resume };
        place.generation = place.generation.wrapping_add(1);
        let back = at.saturating_add(drawn(AWAY, &mut self.rng));
        self.due.push(Reverse((back, number, place.generation)));
    }

    fn comes_back(&mut self, number: u32, resume: bool, at: Duration, actions: &mut Vec<Action>) {
        let Some(place) = self.places.get(number as usize) else { return };
        let trader = place.trader;
        let kind = self.totals.of(place.kind);
        kind.away -= 1;
        kind.resumed += u64::from(resume);
        kind.anew += u64::from(!resume);
        self.begins(number, at);
        actions.push(Action::Come { place: number, trader, resume });
    }

    /// As many as are too many, from a random place on; those who are away do not come back.
    fn send_away(&mut self, quotas: [u32; KINDS], now: Duration, actions: &mut Vec<Action>) {
        let mut excess = [0; KINDS];
        for (kind, quota) in Kind::ALL.into_iter().zip(quotas) {
            excess[kind.index()] = self.totals.occupied(kind).saturating_sub(quota);
        }
        let count = self.places.len() as u32;
        if excess.iter().all(|excess| *excess == 0) || count == 0 {
            return;
        }
        let first = self.rng.u32(..count);
        for number in (0..count).map(|at| (first + at) % count) {
            let Some(place) = self.places.get(number as usize).copied() else { continue };
            let excess = &mut excess[place.kind.index()];
            if place.state == State::Free || *excess == 0 {
                continue;
            }
            *excess -= 1;
            let kind = self.totals.of(place.kind);
            if place.state == State::Here {
                kind.present -= 1;
                kind.sent_away += 1;
                kind.seconds += now.saturating_sub(place.since).as_secs_f64();
                actions.push(Action::Leave { place: number });
            } else {
                kind.away -= 1;
                kind.gone += 1;
            }
            self.release(number);
        }
    }

    fn release(&mut self, number: u32) {
        if let Some(place) = self.places.get_mut(number as usize) {
            place.state = State::Free;
            place.generation = place.generation.wrapping_add(1);
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests;
