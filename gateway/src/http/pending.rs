//! Pending: the places of HTTP connections that are not upgraded (yet).
//!
//! A connection has one from its acceptance to its end or upgrade. Event streams and long-polls last, and are counted by
//! admission like WebSocket clients: they lend theirs back, so that no number of them keeps others from being accepted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// One connection's place.
#[derive(Debug)]
pub(super) struct Pending {
    places: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    crowded: Notify,
}

/// A place given back for as long as this lives. Its drop takes one again; if there is none, the connection is to end.
#[derive(Debug)]
pub(super) struct Lent {
    pending: Arc<Pending>,
}

impl Pending {
    pub(super) fn new(places: Arc<Semaphore>, held: OwnedSemaphorePermit) -> Self {
        Self { places, held: Mutex::new(Some(held)), crowded: Notify::new() }
    }

    pub(super) fn lend(self: Arc<Self>) -> Lent {
        drop(self.held().take());
        Lent { pending: self }
    }

    /// Waits until the connection has no place any more, and is not served beyond its present request.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    fn held(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// Whether there is a place to come back to, as things are now.
    pub(super) fn has_room(&self) -> bool {
        self.pending.places.available_permits() > 0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let pending = &self.pending;
        match Arc::clone(&pending.places).try_acquire_owned() {
            Ok(place) => *pending.held() = Some(place),
            Err(_) => pending.crowded.notify_one(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(places: &Arc<Semaphore>) -> Arc<Pending> {
        let place = Arc::clone(places).try_acquire_owned().unwrap();
        Arc::new(Pending::new(Arc::clone(places), place))
    }

    #[test]
    fn a_place_that_is_lent_is_there_for_others_and_taken_again() {
        let places = Arc::new(Semaphore::new(1));
        let one = connection(&places);
        let lent = Arc::clone(&one).lend();
        assert!(lent.has_room());
        drop(lent);
        assert_eq!(places.available_permits(), 0);
        drop(one);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_connection_whose_place_is_taken_by_another_one_ends() {
        let places = Arc::new(Semaphore::new(1));
        let one = connection(&places);
        let lent = Arc::clone(&one).lend();
        let _other = connection(&places);
        assert!(!lent.has_room());
        drop(lent);
        one.crowded().await;
    }
}
