//! Roster: the connections of each user, on this pod and on the others, and which of them are too many.
//!
//! In: connections that open and close here, and what other pods report. Out: whether one more may open, and which of
//! this pod's connections must close. Pure: no socket, no clock.
//!
//! Every pod orders the connections of a user in the same way, so that pods which know the same connections agree on
//! those that stay, without asking each other: a limit that two pods exceed in the same instant is mended by the pod
//! that holds the later connection.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;

/// A user, by a hash of the name: pods report no names to each other.
pub(crate) type UserKey = u64;

/// A process, by a random number of its own.
pub(crate) type PodId = u64;

/// Most connections that are known of all other pods together (24 bytes each, about 40 in the set): a WsGateway of a
/// hundred pods. What is beyond is not counted, so that limits hold per pod at worst.
pub(crate) const MOST_REPORTED: usize = 1 << 20;

/// Connections closed by one call: the rest follows with the next one.
pub(crate) const MOST_CLOSED: usize = 256;

/// Users whose connections one sweep looks at.
const SWEEP: usize = 1_024;

/// What happens to a connection above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The new one is refused.
    RejectNew,
    /// The oldest is closed.
    CloseOldest,
}

/// A connection as every pod orders it: of one user, by age; pod and number settle ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub user: UserKey,
    /// When it opened (Unix time, ms), by the clock of its pod.
    pub opened: u64,
    pub pod: PodId,
    /// Number of the connection in its pod.
    pub number: u32,
}

/// Who is connected, and how many may be.
#[derive(Debug)]
pub(crate) struct Roster {
    own: PodId,
    /// Most connections of a user; 0: any number.
    limit: u32,
    policy: Policy,
    entries: BTreeSet<Entry>,
    /// Entries of other pods.
    reported: usize,
    /// Where the next sweep begins.
    swept: UserKey,
    /// Whether a sweep has begun and not reached the end.
    sweeping: bool,
    peers: HashMap<PodId, usize>,
}

impl Roster {
    pub(crate) fn new(own: PodId, limit: u32, policy: Policy) -> Self {
        Self {
            own,
            limit,
            policy,
            entries: BTreeSet::new(),
            reported: 0,
            swept: 0,
            sweeping: false,
            peers: HashMap::new(),
        }
    }

    /// Takes up another limit. Who is too many now closes with the next calls of [`Roster::sweep`].
    pub(crate) fn set(&mut self, limit: u32, policy: Policy) {
        if (self.limit, self.policy) != (limit, policy) {
            (self.limit, self.policy) = (limit, policy);
            (self.swept, self.sweeping) = (0, true);
        }
    }

    /// Whether one more connection of a user may open.
    pub(crate) fn has_room(&self, user: UserKey) -> bool {
        match self.policy {
            _ if self.limit == 0 => true,
            Policy::CloseOldest => true,
            Policy::RejectNew => self.count(user, self.limit as usize) < self.limit as usize,
        }
    }

    /// Connections of a user, counted up to `most`.
    fn count(&self, user: UserKey, most: usize) -> usize {
        self.entries.range(range(user)).take(most).count()
    }

    /// A connection opens here. Which ones close for it says [`Roster::excess`].
    pub(crate) fn open(&mut self, user: UserKey, opened: u64, number: u32) -> Entry {
        let entry = Entry { user, opened, pod: self.own, number };
        self.entries.insert(entry);
        entry
    }

    /// A connection of this pod closes, or is sent to another pod; false if it was not known any more.
    pub(crate) fn close(&mut self, entry: Entry) -> bool {
        self.entries.remove(&entry)
    }

    /// Another pod reports a connection; false if it was known, or cannot be counted.
    pub(crate) fn report(&mut self, entry: Entry) -> bool {
        if entry.pod == self.own || self.reported >= MOST_REPORTED || !self.entries.insert(entry) {
            return false;
        }
        self.reported += 1;
        *self.peers.entry(entry.pod).or_default() += 1;
        true
    }

    /// Another pod reports the end of a connection; false if it was not known.
    pub(crate) fn withdraw(&mut self, entry: Entry) -> bool {
        if entry.pod == self.own || !self.entries.remove(&entry) {
            return false;
        }
        self.reported = self.reported.saturating_sub(1);
        if let Some(count) = self.peers.get_mut(&entry.pod) {
            *count = count.saturating_sub(1);
        }
        true
    }

    /// Forgets everything that another pod has reported: it has ended, or begins anew.
    pub(crate) fn forget(&mut self, pod: PodId) {
        if pod == self.own || self.peers.remove(&pod).is_none_or(|count| count == 0) {
            return;
        }
        let before = self.entries.len();
        self.entries.retain(|entry| entry.pod != pod);
        self.reported = self.reported.saturating_sub(before - self.entries.len());
    }

    /// Connections of this pod that a user has too many, [`MOST_CLOSED`] at most. They are taken out, as if closed.
    pub(crate) fn excess(&mut self, user: UserKey) -> Vec<Entry> {
        let limit = self.limit as usize;
        if limit == 0 || self.count(user, limit + 1) <= limit {
            return Vec::new();
        }
        let (own, range) = (self.own, self.entries.range(range(user)));
        let is_own = |entry: &&Entry| entry.pod == own;
        let excess: Vec<Entry> = match self.policy {
            Policy::RejectNew => {
                range.skip(limit).filter(is_own).take(MOST_CLOSED).copied().collect()
            }
            Policy::CloseOldest => {
                range.rev().skip(limit).filter(is_own).take(MOST_CLOSED).copied().collect()
            }
        };
        for entry in &excess {
            self.entries.remove(entry);
        }
        excess
    }

    /// Looks at some users after a change of the limit; empty when nobody is too many or all have been looked at.
    pub(crate) fn sweep(&mut self) -> Vec<Entry> {
        let mut excess = Vec::new();
        for _ in 0..SWEEP {
            if !self.sweeping || excess.len() >= MOST_CLOSED {
                break;
            }
            let first = Entry { user: self.swept, opened: 0, pod: 0, number: 0 };
            let Some(user) = self.entries.range(first..).next().map(|entry| entry.user) else {
                self.sweeping = false;
                break;
            };
            let found = self.excess(user);
            // One with more than fit into a call is looked at again.
            if found.len() < MOST_CLOSED {
                (self.swept, self.sweeping) = match user.checked_add(1) {
                    Some(next) => (next, true),
                    None => (0, false),
                };
            }
            excess.extend(found);
        }
        excess
    }

    /// Whether a sweep has not reached its end.
    #[cfg(test)]
    pub(crate) fn is_sweeping(&self) -> bool {
        self.sweeping
    }

    /// Connections of this pod.
    pub(crate) fn own_entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().filter(|entry| entry.pod == self.own).copied()
    }

    /// Connections of a user, wherever they are.
    #[cfg(test)]
    pub(super) fn of_user(&self, user: UserKey) -> Vec<Entry> {
        self.entries.range(range(user)).copied().collect()
    }

    /// Connections that other pods have reported.
    pub(crate) fn reported(&self) -> usize {
        self.reported
    }
}

fn range(user: UserKey) -> RangeInclusive<Entry> {
    let least = Entry { user, opened: 0, pod: 0, number: 0 };
    let most = Entry { user, opened: u64::MAX, pod: PodId::MAX, number: u32::MAX };
    least..=most
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: PodId = 5;
    const OTHER: PodId = 9;

    fn other(user: UserKey, opened: u64, number: u32) -> Entry {
        Entry { user, opened, pod: OTHER, number }
    }

    fn numbers(entries: &[Entry]) -> Vec<u32> {
        entries.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn a_user_with_as_many_as_may_be_gets_no_more_wherever_they_are() {
        let mut roster = Roster::new(ME, 3, Policy::RejectNew);
        roster.open(1, 10, 0);
        assert!(roster.report(other(1, 11, 0)) && !roster.report(other(1, 11, 0)));
        assert!(roster.has_room(1));
        roster.report(other(1, 12, 1));
        assert!(!roster.has_room(1) && roster.has_room(2));
        roster.withdraw(other(1, 12, 1));
        assert!(roster.has_room(1));
        roster.report(other(1, 12, 1));
        roster.forget(OTHER);
        assert!(roster.has_room(1));
        assert_eq!(roster.reported(), 0);
    }

    #[test]
    fn of_two_that_open_on_two_pods_in_one_instant_the_later_one_closes() {
        let mut roster = Roster::new(ME, 1, Policy::RejectNew);
        let mut peer = Roster::new(OTHER, 1, Policy::RejectNew);
        let (mine, theirs) = (roster.open(1, 10, 0), peer.open(1, 10, 0));
        roster.report(theirs);
        peer.report(mine);
        assert_eq!(roster.excess(1), [], "by the number of the pod this one is first");
        assert_eq!(peer.excess(1), [theirs]);
        assert_eq!(peer.excess(1), []);
    }

    #[test]
    fn the_oldest_closes_if_the_policy_says_so() {
        let mut roster = Roster::new(ME, 2, Policy::CloseOldest);
        roster.open(1, 10, 0);
        roster.open(1, 20, 1);
        assert!(roster.has_room(1));
        roster.open(1, 30, 2);
        assert_eq!(numbers(&roster.excess(1)), [0]);
        roster.report(other(1, 40, 0));
        roster.report(other(1, 41, 1));
        assert_eq!(numbers(&roster.excess(1)), [2, 1]);
    }

    #[test]
    fn without_a_limit_nobody_is_too_many() {
        let mut roster = Roster::new(ME, 0, Policy::RejectNew);
        for number in 0..10 {
            assert!(roster.has_room(1));
            roster.open(1, 1, number);
        }
        assert_eq!(roster.excess(1), []);
    }

    #[test]
    fn a_lower_limit_closes_what_is_too_many_in_steps() {
        let mut roster = Roster::new(ME, 0, Policy::RejectNew);
        let (users, each) = (700, 3);
        for user in 0..users {
            for number in 0..each {
                roster.open(user, u64::from(number), number);
            }
        }
        roster.set(1, Policy::RejectNew);
        let (mut closed, mut steps) = (0, 0);
        while roster.is_sweeping() {
            closed += roster.sweep().len();
            steps += 1;
        }
        assert_eq!(closed as u64, users * 2);
        assert!(steps > 3, "{steps}");
        assert_eq!(roster.own_entries().count() as u64, users);
    }

    #[test]
    fn a_user_with_very_many_connections_is_no_burden() {
        let mut roster = Roster::new(ME, 2, Policy::CloseOldest);
        for number in 0..50_000 {
            roster.report(other(1, u64::from(number), number));
        }
        roster.open(1, 0, 0);
        assert_eq!(numbers(&roster.excess(1)), [0]);
    }

    #[test]
    fn what_a_pod_that_lies_reports_is_bounded() {
        let mut roster = Roster::new(ME, 1, Policy::RejectNew);
        let count =
            (0..MOST_REPORTED as u64 + 5).filter(|n| roster.report(other(*n, 0, 0))).count();
        assert_eq!((count, roster.reported()), (MOST_REPORTED, MOST_REPORTED));
        assert!(
            !roster.report(Entry { user: 1, opened: 0, pod: ME, number: 7 }),
            "in our own name"
        );
    }

    proptest! {
        /// Pods that have heard of all connections agree: each user keeps as many as may be, and the same everywhere.
        #[test]
        fn pods_that_know_the_same_agree_on_who_stays(
            opened in prop::collection::vec((0..3_u64, 0..3_u64, 0..20_u64), 0..40),
            limit in 1..4_u32,
            oldest in any::<bool>(),
        ) {
            let policy = if oldest { Policy::CloseOldest } else { Policy::RejectNew };
            let mut pods: Vec<Roster> =
                (0..3).map(|pod| Roster::new(pod, limit, policy)).collect();
            let mut all = Vec::new();
            for (number, (user, pod, at)) in opened.iter().enumerate() {
                all.push(pods[*pod as usize].open(*user, *at, number as u32));
            }
            for pod in &mut pods {
                all.iter().for_each(|entry| { pod.report(*entry); });
            }
            let closed: Vec<Vec<Entry>> =
                pods.iter_mut().map(|pod| (0..3).flat_map(|user| pod.excess(user)).collect()).collect();
            let closed: BTreeSet<Entry> = closed.into_iter().flatten().collect();
            for user in 0..3 {
                let mut mine: Vec<&Entry> = all.iter().filter(|entry| entry.user == user).collect();
                mine.sort();
                let stay: Vec<_> = mine.iter().filter(|entry| !closed.contains(entry)).collect();
                prop_assert_eq!(stay.len(), mine.len().min(limit as usize));
                let keeps_first = stay.first().map(|entry| ***entry) == mine.first().map(|entry| **entry);
                prop_assert!(oldest || keeps_first);
            }
        }
    }
}
