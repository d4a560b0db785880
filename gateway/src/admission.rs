//! Admission: how many connections this process holds.
//!
//! A [`Permit`] is taken before the upgrade is answered and travels with the connection; its drop gives the place
//! back, whichever way the connection ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The places of this process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    places: Arc<Places>,
}

#[derive(Debug)]
struct Places {
    capacity: u64,
    taken: AtomicU64,
    admitted: AtomicU64,
    closed: AtomicBool,
}

/// Why a client was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Every place is taken.
    Full,
    /// The process is about to stop.
    Draining,
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Arc<Places>,
}

impl Admission {
    pub(crate) fn new(capacity: u32) -> Self {
        let places = Places {
            capacity: u64::from(capacity),
            taken: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        };
        Self { places: Arc::new(places) }
    }

    /// Takes a place, or says why there is none.
    pub(crate) fn admit(&self) -> Result<Permit, Refused> {
        let places = &self.places;
        if places.closed.load(Ordering::Relaxed) {
            return Err(Refused::Draining);
        }
        let one_more = |taken: u64| (taken < places.capacity).then_some(taken + 1);
        places
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_| Refused::Full)?;
        places.admitted.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { places: Arc::clone(places) })
    }

    /// Why [`Admission::admit`] would refuse now, if it would.
    pub(crate) fn refuses(&self) -> Option<Refused> {
        let places = &self.places;
        if places.closed.load(Ordering::Relaxed) {
            return Some(Refused::Draining);
        }
        (places.taken.load(Ordering::Relaxed) >= places.capacity).then_some(Refused::Full)
    }

    /// Admits nobody any more.
    pub(crate) fn close(&self) {
        self.places.closed.store(true, Ordering::Relaxed);
    }

    /// Whether [`Admission::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.places.closed.load(Ordering::Relaxed)
    }

    /// Connections held now, upgrades under way included.
    pub(crate) fn taken(&self) -> u64 {
        self.places.taken.load(Ordering::Relaxed)
    }

    /// Connections admitted since the start.
    pub(crate) fn admitted(&self) -> u64 {
        self.places.admitted.load(Ordering::Relaxed)
    }

    /// Most connections held at once.
    pub(crate) fn capacity(&self) -> u64 {
        self.places.capacity
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_its_permit_is_dropped() {
        let admission = Admission::new(1);
        let permit = admission.admit().unwrap();
        assert_eq!(admission.admit().unwrap_err(), Refused::Full);
        assert_eq!(admission.refuses(), Some(Refused::Full));
        drop(permit);
        assert_eq!(admission.refuses(), None);
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn a_closed_admission_refuses_even_when_there_is_room() {
        let admission = Admission::new(1);
        admission.close();
        assert_eq!(admission.admit().unwrap_err(), Refused::Draining);
        assert_eq!(admission.refuses(), Some(Refused::Draining));
    }
}
