//! Admission: how many connections this process holds.
//!
//! A [`Permit`] is taken before the upgrade is answered and travels with the connection; its drop gives the place
//! back, whichever way the connection ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::limits::Counted;
use crate::users::UserPlace;

/// The places of this process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    places: Arc<Places>,
}

#[derive(Debug)]
struct Places {
    capacity: AtomicU64,
    taken: AtomicU64,
    /// Event streams and long-polls among the places: most, and taken.
    fallback_capacity: AtomicU64,
    fallbacks: AtomicU64,
    admitted: AtomicU64,
    closed: AtomicBool,
    held: AtomicBool,
    overloaded: AtomicBool,
}

/// Why a client was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Every place is taken.
    Full,
    /// Every place for event streams and long-polls is taken.
    FallbacksFull,
    /// The process is about to stop.
    Draining,
    /// It sends clients elsewhere.
    Shedding,
    /// The container is short of CPU or memory.
    Overloaded,
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Arc<Places>,
    is_fallback: bool,
    /// Held for its drop: the connection in the limits of its address.
    _counted: Option<Arc<Counted>>,
    /// The connection in the limit of its user.
    user: Option<Box<UserPlace>>,
}

impl Permit {
    /// The same for a connection that limits count.
    pub(crate) fn counted(self, counted: Option<Arc<Counted>>) -> Self {
        let mut permit = self;
        permit._counted = counted;
        permit
    }

    /// The same for a connection that counts for a user.
    pub(crate) fn of_user(self, place: Option<UserPlace>) -> Self {
        let mut permit = self;
        permit.join_user(place);
        permit
    }

    /// The connection counts for a user from now on.
    pub(crate) fn join_user(&mut self, place: Option<UserPlace>) {
        self.user = place.map(Box::new);
    }

    /// What counts for its user.
    pub(crate) fn user(&self) -> Option<&UserPlace> {
        self.user.as_deref()
    }

    /// The connection ends, or is sent elsewhere: its user may come back at once.
    pub(crate) fn leave_user(&mut self) {
        self.user = None;
    }
}

impl Admission {
    /// So many places, and how many of them event streams and long-polls may take: those are for clients that cannot do
    /// better, and come again and again.
    pub(crate) fn new(capacity: u32, fallbacks: u32) -> Self {
        let places = Places {
            capacity: AtomicU64::new(u64::from(capacity)),
            taken: AtomicU64::new(0),
            fallback_capacity: AtomicU64::new(u64::from(fallbacks)),
            fallbacks: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            held: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
        };
        Self { places: Arc::new(places) }
    }

    /// Takes a place, or says why there is none.
    pub(crate) fn admit(&self) -> Result<Permit, Refused> {
        let places = &self.places;
        if let Some(refused) = self.barred() {
            return Err(refused);
        }
        take(&places.taken, &places.capacity).ok_or(Refused::Full)?;
        let permit =
            Permit { places: Arc::clone(places), is_fallback: false, _counted: None, user: None };
        // Whoever closes looks at `taken` afterwards: either this is seen there, or the closing here.
        if places.closed.load(Ordering::SeqCst) {
            return Err(Refused::Draining);
        }
        places.admitted.fetch_add(1, Ordering::Relaxed);
        Ok(permit)
    }

    /// Takes a place for an event stream or long-poll, or says why there is none.
    pub(crate) fn admit_fallback(&self) -> Result<Permit, Refused> {
        let mut permit = self.admit()?;
        let places = &self.places;
        take(&places.fallbacks, &places.fallback_capacity).ok_or(Refused::FallbacksFull)?;
        permit.is_fallback = true;
        Ok(permit)
    }

    /// Why [`Admission::admit`] would refuse now, if it would.
    pub(crate) fn refuses(&self) -> Option<Refused> {
        let places = &self.places;
        let full = || {
            let taken = places.taken.load(Ordering::Relaxed);
            (taken >= self.capacity()).then_some(Refused::Full)
        };
        self.barred().or_else(full)
    }

    fn closed(&self) -> Option<Refused> {
        let places = &self.places;
        if places.closed.load(Ordering::Relaxed) {
            return Some(Refused::Draining);
        }
        places.held.load(Ordering::Relaxed).then_some(Refused::Shedding)
    }

    /// Why nobody is admitted, however much room there is.
    fn barred(&self) -> Option<Refused> {
        let overloaded =
            || self.places.overloaded.load(Ordering::Relaxed).then_some(Refused::Overloaded);
        self.closed().or_else(overloaded)
    }

    /// Admits nobody while the container is short of something.
    pub(crate) fn overload(&self, is_overloaded: bool) {
        self.places.overloaded.store(is_overloaded, Ordering::Relaxed);
    }

    /// Admits nobody as long as this holds.
    pub(crate) fn hold(&self, is_held: bool) {
        self.places.held.store(is_held, Ordering::Relaxed);
    }

    /// Has so many places from now on. Nobody leaves for it: as long as more are taken, nobody is admitted.
    pub(crate) fn resize(&self, capacity: u32, fallbacks: u32) {
        self.places.capacity.store(u64::from(capacity), Ordering::Relaxed);
        self.places.fallback_capacity.store(u64::from(fallbacks), Ordering::Relaxed);
    }

    /// Admits nobody any more. Those who hold a place are in [`Admission::taken`] from now on.
    pub(crate) fn close(&self) {
        self.places.closed.store(true, Ordering::SeqCst);
    }

    /// Whether [`Admission::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.places.closed.load(Ordering::Relaxed)
    }

    /// Whether somebody who comes is let in as long as there is room.
    pub(crate) fn is_open(&self) -> bool {
        self.closed().is_none()
    }

    /// Connections held now, upgrades under way included.
    pub(crate) fn taken(&self) -> u64 {
        self.places.taken.load(Ordering::SeqCst)
    }

    /// Connections admitted since the start.
    pub(crate) fn admitted(&self) -> u64 {
        self.places.admitted.load(Ordering::Relaxed)
    }

    /// Most connections held at once.
    pub(crate) fn capacity(&self) -> u64 {
        self.places.capacity.load(Ordering::Relaxed)
    }
}

fn take(taken: &AtomicU64, capacity: &AtomicU64) -> Option<u64> {
    let capacity = capacity.load(Ordering::Relaxed);
    let one_more = |taken: u64| (taken < capacity).then_some(taken + 1);
    taken.fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more).ok()
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_fallback {
            self.places.fallbacks.fetch_sub(1, Ordering::Relaxed);
        }
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_its_permit_is_dropped() {
        let admission = Admission::new(1, 1);
        let permit = admission.admit().unwrap();
        assert_eq!(admission.admit().unwrap_err(), Refused::Full);
        assert_eq!(admission.refuses(), Some(Refused::Full));
        drop(permit);
        assert_eq!(admission.refuses(), None);
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn event_streams_and_polls_take_no_more_than_their_share() {
        let admission = Admission::new(3, 1);
        let stream = admission.admit_fallback().unwrap();
        assert_eq!(admission.admit_fallback().unwrap_err(), Refused::FallbacksFull);
        assert_eq!(admission.taken(), 1);
        let _clients = [admission.admit().unwrap(), admission.admit().unwrap()];
        assert_eq!(admission.admit_fallback().unwrap_err(), Refused::Full);
        drop(stream);
        assert!(admission.admit_fallback().is_ok());
    }

    #[test]
    fn a_smaller_admission_turns_nobody_out_and_admits_nobody_until_enough_have_left() {
        let admission = Admission::new(3, 2);
        let mut held =
            vec![admission.admit_fallback().unwrap(), admission.admit_fallback().unwrap()];
        admission.resize(2, 1);
        assert_eq!((admission.taken(), admission.capacity()), (2, 2));
        assert_eq!(admission.admit().unwrap_err(), Refused::Full);
        held.pop();
        assert_eq!(admission.admit_fallback().unwrap_err(), Refused::FallbacksFull);
        let _client = admission.admit().unwrap();
        admission.resize(4, 2);
        assert!(admission.admit_fallback().is_ok());
    }

    #[test]
    fn a_closed_admission_refuses_even_when_there_is_room() {
        let admission = Admission::new(1, 1);
        admission.close();
        assert_eq!(admission.admit().unwrap_err(), Refused::Draining);
        assert_eq!(admission.refuses(), Some(Refused::Draining));
    }

    #[test]
    fn one_that_is_overloaded_refuses_whoever_comes_and_keeps_those_who_are_there() {
        let admission = Admission::new(2, 2);
        let _client = admission.admit().unwrap();
        admission.overload(true);
        assert_eq!(admission.admit_fallback().unwrap_err(), Refused::Overloaded);
        assert_eq!((admission.refuses(), admission.taken()), (Some(Refused::Overloaded), 1));
        assert!(admission.is_open(), "a poll that is kept goes on");
        admission.close();
        assert_eq!(admission.admit().unwrap_err(), Refused::Draining);
        let other = Admission::new(1, 1);
        other.overload(true);
        other.overload(false);
        assert!(other.admit().is_ok());
    }

    #[test]
    fn one_that_is_held_admits_again_afterwards() {
        let admission = Admission::new(1, 1);
        admission.hold(true);
        assert_eq!(admission.admit().unwrap_err(), Refused::Shedding);
        assert_eq!((admission.refuses(), admission.is_closed()), (Some(Refused::Shedding), false));
        admission.hold(false);
        assert!(admission.admit().is_ok());
    }
}
