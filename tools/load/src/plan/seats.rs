//! Which trader is at a place now: by its number a client has its channels and its token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The places of a worker, shared by all who ask; empty: a client is the same one for the whole run.
#[derive(Clone, Debug, Default)]
pub struct Seats(Arc<[AtomicU32]>);

impl Seats {
    /// So many places.
    #[must_use]
    pub fn new(places: u32) -> Self {
        Self((0..places).map(AtomicU32::new).collect())
    }

    /// A trader takes a place.
    pub fn take(&self, place: u32, trader: u32) {
        if let Some(seat) = self.0.get(place as usize) {
            seat.store(trader, Ordering::Relaxed);
        }
    }

    /// Who is there.
    #[must_use]
    pub fn of(&self, place: usize) -> Option<u32> {
        self.0.get(place).map(|seat| seat.load(Ordering::Relaxed))
    }
}

/// The same places, not the same traders.
impl PartialEq for Seats {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
    }
}
