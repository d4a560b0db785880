//! Readiness as a set of named gates: the process is ready when every gate is open.
//!
//! A gate is a guard: whoever owns the condition holds it, and dropping it closes it for good, so a stage that died
//! can never look ready. A thread that the process cannot live without holds a [`Vital`]: if it ends without having
//! been told to, /livez fails and Kubernetes starts the container anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared view of all gates. Clones see the same gates.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<&'static str, bool>>>,
    dead: Arc<Mutex<BTreeSet<&'static str>>>,
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
        Vital { name, readiness: self.clone(), finished: false }
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
    finished: bool,
}

impl Vital {
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
