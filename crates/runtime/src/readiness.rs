//! Readiness as a set of named gates: the process is ready when every gate is open.
//!
//! A gate is a guard: whoever owns the condition holds it, and dropping it closes it for good, so a stage that died
//! can never look ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared view of all gates. Clones see the same gates.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<&'static str, bool>>>,
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

#[cfg(test)]
mod tests {
    use super::*;

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
