//! Users: how many connections each has, on all pods of the WsGateway together.
//!
//! In: the user of each connection that opens. Out: a place that counts until it is dropped, or a refusal; and the
//! connections that must close because the user has too many. Pods report to each other over core NATS
//! ([`exchange`]), within a tenth of a second; while NATS is away, each counts for itself
//! ([ADR 0050](../../docs/adr/0050-limits-of-a-user-hold-over-all-pods.md)).
//!
//! One lock, taken when a connection opens or closes and ten times a second; no delivery takes it.

pub(crate) mod exchange;
mod peers;
mod roster;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use wsgateway_config::AboveLimit;

use crate::time::unix_ms_u64;
use peers::Peers;
pub(crate) use roster::Policy;
use roster::{Entry, Roster, UserKey};
use wire::Report;

impl From<AboveLimit> for Policy {
    fn from(above: AboveLimit) -> Self {
        match above {
            AboveLimit::RejectNew => Self::RejectNew,
            AboveLimit::CloseOldest => Self::CloseOldest,
        }
    }
}

/// The users of this pod's connections. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// The limit has changed.
    changed: Notify,
    started: Instant,
}

#[derive(Debug)]
struct Inner {
    limit: u32,
    roster: Roster,
    peers: Peers,
    /// Number of the next connection.
    next: u32,
    /// Numbers of connections that are to be closed.
    excess: Vec<u32>,
}

/// One connection of a user. Its drop, or the end of the connection, makes room for another.
#[derive(Debug)]
pub(crate) struct UserPlace {
    shared: Arc<Shared>,
    entry: Entry,
}

/// What other pods have reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// Pods that are heard of.
    pub pods: usize,
    /// Their connections that count for a user.
    pub connections: usize,
}

/// The user has as many connections as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserFull;

impl Users {
    /// Counts up to a limit; 0: does not count.
    pub(crate) fn new(limit: u32, policy: Policy) -> Self {
        let own = fastrand::u64(..);
        let inner = Inner {
            limit,
            roster: Roster::new(own, limit, policy),
            peers: Peers::new(own),
            next: 0,
            excess: Vec::new(),
        };
        let shared =
            Shared { inner: Mutex::new(inner), changed: Notify::new(), started: Instant::now() };
        Self { shared: Arc::new(shared) }
    }

    /// Takes up another limit. Connections that opened while there was none are not counted.
    pub(crate) fn set(&self, limit: u32, policy: Policy) {
        let mut inner = self.shared.lock();
        inner.limit = limit;
        inner.roster.set(limit, policy);
        drop(inner);
        self.shared.changed.notify_waiters();
    }

    /// Counts a connection of a user; `None` while there is no limit.
    pub(crate) fn enter(&self, user: &str) -> Result<Option<UserPlace>, UserFull> {
        let mut inner = self.shared.lock();
        if inner.limit == 0 {
            return Ok(None);
        }
        let user = key(user);
        if !inner.roster.has_room(user) {
            return Err(UserFull);
        }
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        let opened = unix_ms_u64();
        let entry = inner.roster.open(user, opened, number);
        inner.peers.opens(entry);
        inner.settle(user);
        Ok(Some(UserPlace { shared: Arc::clone(&self.shared), entry }))
    }

    /// Numbers of connections that are to be closed since they are too many.
    fn take_excess(&self) -> Vec<u32> {
        let mut inner = self.shared.lock();
        for entry in inner.roster.sweep() {
            inner.close(entry);
        }
        std::mem::take(&mut inner.excess)
    }

    /// Takes up what another pod reports.
    fn hear(&self, report: Report) {
        let mut inner = self.shared.lock();
        let Inner { peers, roster, .. } = &mut *inner;
        for user in peers.take(report, self.shared.started.elapsed(), roster) {
            inner.settle(user);
        }
    }

    /// Does something with the reports, at this time since the start.
    fn with_peers<T>(&self, work: impl FnOnce(&mut Peers, &mut Roster, peers::Now) -> T) -> T {
        let mut inner = self.shared.lock();
        let Inner { peers, roster, .. } = &mut *inner;
        work(peers, roster, self.shared.started.elapsed())
    }

    /// Waits until there is a limit, or none.
    async fn until(&self, is_wanted: bool) {
        loop {
            let changed = self.shared.changed.notified();
            if (self.shared.lock().limit > 0) == is_wanted {
                return;
            }
            changed.await;
        }
    }

    /// What is known of other pods.
    pub(crate) fn reported(&self) -> Reported {
        let inner = self.shared.lock();
        Reported { pods: inner.peers.count(), connections: inner.roster.reported() }
    }
}

impl Inner {
    /// Finds the connections of this pod that a user has too many.
    fn settle(&mut self, user: UserKey) {
        for entry in self.roster.excess(user) {
            self.close(entry);
        }
    }

    /// One that the roster has taken out.
    fn close(&mut self, entry: Entry) {
        self.peers.closes(entry);
        self.excess.push(entry.number);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic in between leaves a count that is off by one at worst.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserPlace {
    /// By which [`Users`] calls it when it has to close.
    pub(crate) fn number(&self) -> u32 {
        self.entry.number
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        if inner.roster.close(self.entry) {
            inner.peers.closes(self.entry);
        }
    }
}

/// The beginning of the name's SHA-256: two users do not meet by chance, nor because one of them chose the name for it,
/// and pods report no names to each other.
fn key(user: &str) -> UserKey {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, user.as_bytes());
    digest.as_ref().first_chunk().map_or(0, |first| UserKey::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_until_it_is_dropped() {
        let users = Users::new(2, Policy::RejectNew);
        let first = users.enter("a").unwrap();
        let _second = users.enter("a").unwrap();
        assert_eq!(users.enter("a").unwrap_err(), UserFull);
        assert!(users.enter("b").is_ok());
        drop(first);
        assert!(users.enter("a").unwrap().is_some());
        assert_eq!(users.take_excess(), [0; 0]);
    }

    #[test]
    fn the_oldest_is_named_when_it_has_to_close() {
        let users = Users::new(1, Policy::CloseOldest);
        let first = users.enter("a").unwrap().unwrap();
        let second = users.enter("a").unwrap().unwrap();
        let closed = users.take_excess();
        assert_eq!(closed.len(), 1);
        assert!(closed[0] == first.number() || closed[0] == second.number());
        drop((first, second));
        assert!(users.enter("a").is_ok() && users.take_excess().is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_counted_and_a_new_one_counts_from_then_on() {
        let users = Users::new(0, Policy::RejectNew);
        assert!(users.enter("a").unwrap().is_none());
        users.set(1, Policy::RejectNew);
        let _place = users.enter("a").unwrap().unwrap();
        assert_eq!(users.enter("a").unwrap_err(), UserFull);
        users.set(0, Policy::RejectNew);
        assert!(users.enter("a").unwrap().is_none());
    }

    #[test]
    fn names_are_told_apart_and_are_the_same_on_every_pod() {
        assert_eq!(key("alice"), 0x2bd8_06c9_7f0e_00af);
        assert_ne!(key("alice"), key("alice "));
    }
}
