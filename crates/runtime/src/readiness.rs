//! Readiness as a set of named gates: the process is ready when every gate is open.
//!
//! A gate is a guard: whoever owns the condition holds it, and dropping it closes it for good, so a stage that died
//! can never look ready. A thread that the process cannot live without holds a [`Vital`]: if it ends without having
//! been told to, /livez fails and Kubernetes starts the container anew. The same happens to one that shows no sign of
//! life for [`STUCK_AFTER`]: a thread in a deadlock or an endless loop has not ended, and does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Silence after which a vital thread counts as stuck. No work of one turn takes a second; half a minute leaves room
/// for a machine that is paused or out of CPU, and ends before clients give up on a pod.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Shared view of all gates. Clones see the same gates.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<&'static str, bool>>>,
    dead: Arc<Mutex<BTreeSet<&'static str>>>,
    pulses: Arc<Mutex<Pulses>>,
}

/// Vital threads by name; those that have ended are gone from it at the next start of one.
type Pulses = Vec<(&'static str, Weak<Pulse>)>;

/// The sign of life of one vital thread.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Milliseconds after `start` of the last beat; [`NEVER`] before the first.
    last_ms: AtomicU64,
}

/// No beat yet: a thread that does not show signs of life is not judged by them.
const NEVER: u64 = u64::MAX;

impl Pulse {
    fn new() -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(NEVER) }
    }

    /// The thread lives. Called often, at least a few times within [`STUCK_AFTER`].
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        self.last_ms.store(self.elapsed_ms(now), Relaxed);
    }

    fn is_stuck(&self, now: Instant) -> bool {
        let last = self.last_ms.load(Relaxed);
        let silent = self.elapsed_ms(now).saturating_sub(last);
        last != NEVER && u128::from(silent) >= STUCK_AFTER.as_millis()
    }

    fn elapsed_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(NEVER - 1)
    }
}

impl Readiness {
    /// No gates yet: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a closed gate.
    pub fn gate(&self, name: &'static str) -> Gate {
        self.lock().insert(name, false);
        Gate { name, readiness: self.clone() }
    }

    /// Whether every gate is open.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|open| *open)
    }

    /// Names of the closed gates, for the answer of /readyz.
    pub fn closed(&self) -> Vec<&'static str> {
        self.lock().iter().filter(|(_, open)| !**open).map(|(name, _)| *name).collect()
    }

    /// A guard for a thread that must not end before it is told to.
    pub fn vital(&self, name: &'static str) -> Vital {
        let pulse = Arc::new(Pulse::new());
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|(_, pulse)| pulse.strong_count() > 0);
        pulses.push((name, Arc::downgrade(&pulse)));
        Vital { name, readiness: self.clone(), pulse, finished: false }
    }

    /// Names of the vital threads that show no sign of life any more, for the answer of /livez.
    pub fn stuck(&self, now: Instant) -> Vec<&'static str> {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = pulses
            .iter()
            .filter(|(_, pulse)| pulse.upgrade().is_some_and(|pulse| pulse.is_stuck(now)));
        stuck.map(|(name, _)| *name).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Names of the vital threads that have died, for the answer of /livez.
    pub fn dead(&self) -> Vec<&'static str> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn set(&self, name: &'static str, open: bool) {
        self.lock().insert(name, open);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        // The map is valid after any panic: each change is one insert.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One condition of readiness. Dropped, it stays closed.
#[derive(Debug)]
pub struct Gate {
    name: &'static str,
    readiness: Readiness,
}

impl Gate {
    /// The condition holds.
    pub fn open(&self) {
        self.readiness.set(self.name, true);
    }

    /// The condition does not hold (any more).
    pub fn close(&self) {
        self.readiness.set(self.name, false);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

/// Held by a vital thread. Dropped before [`Vital::finish`], as by a panic, it says that the process is broken.
#[derive(Debug)]
pub struct Vital {
    name: &'static str,
    readiness: Readiness,
    pulse: Arc<Pulse>,
    finished: bool,
}

impl Vital {
    /// What the thread shows its signs of life with.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The thread ends because it was told to.
    pub fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if !self.finished {
            self.readiness.dead.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vital_thread_that_panics_is_dead_and_one_that_finishes_is_not() {
        let readiness = Readiness::new();
        readiness.vital("source").finish();
        let vital = readiness.vital("shard");
        let panicked = std::thread::spawn(move || {
            let _vital = vital;
            panic!("as a test");
        });
        assert!(panicked.join().is_err());
        assert_eq!(readiness.dead(), ["shard"]);
    }

    #[test]
    fn a_vital_thread_that_falls_silent_is_stuck_until_it_beats_again_or_ends() {
        let readiness = Readiness::new();
        let (shard, source) = (readiness.vital("shard"), readiness.vital("source"));
        let now = Instant::now();
        shard.pulse().beat_at(now);
        let later = now + STUCK_AFTER + Duration::from_millis(1);
        assert!(readiness.stuck(now + STUCK_AFTER / 2).is_empty());
        assert_eq!(readiness.stuck(later), ["shard"], "a thread that never beat is not judged");
        shard.pulse().beat_at(later);
        source.pulse().beat_at(later);
        assert!(readiness.stuck(later + STUCK_AFTER / 2).is_empty());
        let much_later = later + 2 * STUCK_AFTER;
        assert_eq!(readiness.stuck(much_later), ["shard", "source"]);
        shard.finish();
        assert_eq!(readiness.stuck(much_later), ["source"]);
    }

    #[test]
    fn ready_needs_every_gate_open_and_a_dropped_gate_stays_closed() {
        let readiness = Readiness::new();
        let (source, drain) = (readiness.gate("source"), readiness.gate("drain"));
        source.open();
        assert_eq!(readiness.closed(), ["drain"]);
        drain.open();
        assert!(readiness.is_ready());
        drop(source);
        assert_eq!(readiness.closed(), ["source"]);
    }
}
