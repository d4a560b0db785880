//! WsGateways that something has woken and whose reconciliation has not begun.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;

use crate::wake::Name;

/// More than this are not told apart from each other: then it is certain that something is wrong.
const MOST: usize = 20_000;

/// Who waits for a reconciliation.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<HashSet<Name>>,
    running: IntGauge,
}

/// A reconciliation that runs, until its drop.
#[derive(Debug)]
pub(crate) struct Running(IntGauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Queue {
    pub(super) fn new(running: IntGauge) -> Self {
        Self { waiting: Mutex::default(), running }
    }

    /// A WsGateway is to be reconciled.
    pub(crate) fn wait(&self, name: Name) {
        let mut waiting = self.lock();
        if waiting.len() < MOST {
            waiting.insert(name);
        }
    }

    /// Its reconciliation begins.
    pub(crate) fn begin(&self, name: &Name) -> Running {
        self.lock().remove(name);
        self.running.inc();
        Running(self.running.clone())
    }

    /// How many wait of those that exist. Those that do not are forgotten: they were deleted before their turn.
    pub(super) fn depth(&self, exists: impl Fn(&Name) -> bool) -> usize {
        let mut waiting = self.lock();
        waiting.retain(exists);
        waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Name>> {
        // Valid after any panic: at worst one too many waits.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_counted_once_until_its_turn_or_its_end() {
        let running = IntGauge::new("running", "running").unwrap();
        let queue = Queue::new(running.clone());
        let [odin, thor] = ["odin", "thor"].map(|name| Name::new("trading", name));
        for name in [&odin, &thor, &odin] {
            queue.wait(name.clone());
        }
        assert_eq!(queue.depth(|_| true), 2);
        let turn = queue.begin(&odin);
        assert_eq!((queue.depth(|_| true), running.get()), (1, 1));
        drop(turn);
        assert_eq!((queue.depth(|_| false), running.get()), (0, 0));
        assert_eq!(queue.depth(|_| true), 0, "who does not exist is not kept");
        (0..MOST + 5).for_each(|number| queue.wait(Name::new("a", &number.to_string())));
        assert_eq!(queue.depth(|_| true), MOST);
    }
}
