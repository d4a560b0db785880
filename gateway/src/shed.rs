//! Shedding: a pod that goes on running sends clients elsewhere, at a pace, until as many are left as it may keep.
//!
//! In: an instruction ([`Shed`]), or that there is none any more. Out: the entrance closes once load balancers have had time to
//! hear of it, then shards are told how many clients go now. Until then new ones are welcome: nobody is sent to a closed door.
//! Without an instruction the pod serves as before. How many go when is a function of numbers ([`Pass`]).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wsgateway_config::{Shed, ShedReason};

use crate::admission::Admission;
use crate::app::Running;
use crate::hub::Hub;
use crate::hub::inbox::Who;
use crate::reload::{self, FileError};
use crate::settle::Settle;

/// The file with the instruction of this pod.
#[derive(Debug)]
pub(crate) struct Instructions {
    file: PathBuf,
    read: Settle<Result<String, FileError>>,
}

impl Instructions {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, read: Settle::new() }
    }

    /// Takes up what the file says now, once that has settled. What is no instruction changes nothing.
    pub(crate) fn follow(&mut self, running: &Running) {
        let Some(now) = self.read.look(reload::read(&self.file)) else { return };
        let file = self.file.display();
        match now.as_deref().map(Shed::parse) {
            Ok(Ok(shed)) => running.shed(shed),
            Ok(Err(error)) => {
                tracing::error!(%file, %error, "no instruction: what was before goes on")
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can tell this pod to hand over its clients")
            }
        }
    }
}

/// Clients go in portions of this time.
const TICK: Duration = Duration::from_millis(250);

/// Clients that were sent away and are still there after so long came in meanwhile.
const AGAIN: Duration = Duration::from_secs(10);

/// The instruction in force. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shedding(Arc<Mutex<Option<Pass>>>);

/// How far an instruction is, for /status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub shed: Shed,
    /// New clients are turned away.
    pub is_closed: bool,
    /// Clients that were asked to go.
    pub told: u64,
}

/// An instruction that is being carried out.
#[derive(Debug)]
struct Pass {
    shed: Shed,
    /// When the entrance closes.
    closes: Instant,
    is_closed: bool,
    /// When clients began to go at this pace, and how many of them were asked since.
    paced_since: Instant,
    paced: u64,
    /// Clients to ask, counted when the entrance was found closed, and how many of them were.
    excess: Option<u64>,
    asked: u64,
    /// When the last one was asked.
    last: Instant,
    told: u64,
}

impl Pass {
    fn new(shed: Shed, now: Instant) -> Self {
        let closes = now + Duration::from_millis(shed.delay_ms.into());
        Self {
            shed,
            closes,
            is_closed: false,
            paced_since: closes,
            paced: 0,
            excess: None,
            asked: 0,
            last: closes,
            told: 0,
        }
    }

    /// Takes up the same instruction with other numbers.
    fn change(&mut self, shed: Shed, now: Instant) {
        self.paced_since = now.max(self.closes);
        self.paced = 0;
        self.excess = None;
        self.asked = 0;
        self.shed = shed;
    }

    /// How many clients are to be asked now, of so many that are there.
    fn due(&mut self, taken: u64, now: Instant) -> u64 {
        if now < self.closes {
            return 0;
        }
        self.is_closed = true;
        let beyond = taken.saturating_sub(self.shed.keep);
        let excess = *self.excess.get_or_insert(beyond);
        if self.asked >= excess {
            if beyond > 0 && now.saturating_duration_since(self.last) >= AGAIN {
                (self.excess, self.asked, self.paced, self.paced_since) = (None, 0, 0, now);
            }
            return 0;
        }
        let elapsed = now.saturating_duration_since(self.paced_since).as_micros();
        let allowed = elapsed * u128::from(self.shed.per_minute) / 60_000_000;
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_sub(self.paced);
        // Some leave of themselves, and some that were asked have not left yet: neither is a reason to ask more of them.
        let count = allowed.min(excess - self.asked).min(beyond);
        self.paced += count;
        self.asked += count;
        self.told += count;
        if count > 0 {
            self.last = now;
        }
        count
    }
}

impl Shedding {
    /// Takes up an instruction, or that there is none any more.
    pub(crate) fn set(&self, shed: Option<Shed>, now: Instant) {
        let mut pass = self.lock();
        match (shed, pass.as_mut()) {
            (None, None) => {}
            (None, Some(before)) => {
                tracing::info!(
                    id = before.shed.id,
                    told = before.told,
                    "no clients are sent away any more"
                );
                *pass = None;
            }
            (Some(shed), Some(before)) if before.shed == shed => {}
            (Some(shed), Some(before)) if before.shed.id == shed.id => before.change(shed, now),
            (Some(shed), _) => {
                let Shed { id, keep, per_minute, .. } = &shed;
                let reason = shed.reason.as_str();
                tracing::info!(id, reason, keep, per_minute, "clients are to be sent elsewhere");
                *pass = Some(Pass::new(shed, now));
            }
        }
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let pass = self.lock();
        let of = |pass: &Pass| Progress {
            shed: pass.shed.clone(),
            is_closed: pass.is_closed,
            told: pass.told,
        };
        pass.as_ref().map(of)
    }

    /// Whether the pod counts as one that goes.
    pub(crate) fn is_draining(&self) -> bool {
        let drains = |pass: &Pass| pass.is_closed && pass.shed.reason == ShedReason::Drain;
        self.lock().as_ref().is_some_and(drains)
    }

    fn due(&self, taken: u64, now: Instant) -> Step {
        let mut pass = self.lock();
        let Some(pass) = pass.as_mut() else { return Step::default() };
        let (was_closed, count) = (pass.is_closed, pass.due(taken, now));
        // Those who are being let in at this very moment are counted the next time.
        let count = if was_closed { count } else { pass.undo(count) };
        Step { is_closed: pass.is_closed, count, who: Some(who(&pass.shed)) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pass>> {
        // Valid after any panic: at worst somebody is asked to go once more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    is_closed: bool,
    count: u64,
    who: Option<Who>,
}

fn who(shed: &Shed) -> Who {
    let age = Duration::from_secs(shed.min_age_seconds.into());
    Who { reason: shed.reason, min_age: Some(age).filter(|age| !age.is_zero()) }
}

impl Pass {
    fn undo(&mut self, count: u64) -> u64 {
        self.excess = None;
        self.paced -= count;
        self.asked -= count;
        self.told -= count;
        0
    }
}

/// Carries out whatever instruction is in force, until cancelled.
pub(crate) async fn run(
    shedding: Shedding,
    admission: Admission,
    hub: Hub,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_shedding = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let step = shedding.due(admission.taken(), Instant::now());
        admission.hold(step.is_closed);
        match step.who {
            Some(who) if step.count > 0 => hub.shed(step.count, TICK, who),
            None if was_shedding => hub.keep(),
            _ => {}
        }
        was_shedding = step.who.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shed(id: &str, keep: u64, per_minute: u32) -> Shed {
        let reason = ShedReason::Rebalance;
        let id = id.to_owned();
        Shed { id, reason, keep, per_minute, delay_ms: 1_000, min_age_seconds: 0, until: 0 }
    }

    /// Seconds at which so many were asked, of clients that leave a moment after they were.
    fn run(pass: &mut Pass, start: Instant, mut clients: u64, seconds: u64) -> (Vec<u64>, u64) {
        let mut asked = vec![0; usize::try_from(seconds).unwrap()];
        for tick in 0..seconds * 4 {
            let now = start + TICK * u32::try_from(tick).unwrap();
            let count = pass.due(clients, now);
            clients -= count;
            asked[usize::try_from(tick / 4).unwrap()] += count;
        }
        (asked, clients)
    }

    #[test]
    fn clients_go_at_the_pace_once_the_entrance_is_closed_and_the_others_stay() {
        let start = Instant::now();
        let mut pass = Pass::new(shed("a", 100, 1_200), start);
        let (asked, left) = run(&mut pass, start, 150, 10);
        assert_eq!(asked[0], 0, "new ones are still taken");
        assert!(asked[1..3].iter().all(|count| (15..=20).contains(count)), "{asked:?}");
        assert_eq!((left, pass.told), (100, 50));
    }

    #[test]
    fn clients_that_leave_of_themselves_spare_others() {
        let start = Instant::now();
        let mut pass = Pass::new(Shed { delay_ms: 0, ..shed("a", 10, 60_000_000) }, start);
        assert_eq!(pass.due(10, start), 0);
        let mut pass = Pass::new(Shed { delay_ms: 0, ..shed("a", 10, 600) }, start);
        assert_eq!(pass.due(30, start), 0);
        assert_eq!(pass.due(30, start + Duration::from_secs(1)), 10);
        // Fifteen left, of whom ten were asked.
        assert_eq!(pass.due(15, start + Duration::from_secs(5)), 5);
        assert_eq!(pass.due(10, start + Duration::from_secs(6)), 0);
    }

    #[test]
    fn who_came_in_at_the_last_moment_is_asked_later() {
        let start = Instant::now();
        let mut pass = Pass::new(Shed { delay_ms: 0, ..shed("a", 0, 6_000) }, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!((pass.due(2, at(0)), pass.due(2, at(1))), (0, 2));
        assert_eq!(pass.due(1, at(5)), 0, "it may be one of those that were asked");
        assert_eq!((pass.due(1, at(12)), pass.due(1, at(12)), pass.due(1, at(13))), (0, 0, 1));
    }

    #[test]
    fn another_pace_goes_on_and_another_instruction_begins_anew() {
        let (shedding, start) = (Shedding::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        shedding.set(Some(shed("a", 0, 60)), start);
        assert_eq!(
            shedding.due(100, at(0)),
            Step { who: Some(who(&shed("a", 0, 60))), ..Step::default() }
        );
        assert!(shedding.due(100, at(1)).is_closed);
        assert_eq!(shedding.due(100, at(2)).count, 1);
        shedding.set(Some(shed("a", 0, 600)), at(2));
        assert_eq!(shedding.due(99, at(3)).count, 10);
        assert_eq!(shedding.progress().unwrap().told, 11);
        shedding.set(Some(shed("b", 0, 600)), at(3));
        assert!(!shedding.progress().unwrap().is_closed);
        shedding.set(None, at(4));
        assert_eq!((shedding.progress(), shedding.due(9, at(9))), (None, Step::default()));
    }
}
