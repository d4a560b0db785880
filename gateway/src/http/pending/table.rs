//! Who holds the places of pending connections, and who makes room for the next one. Pure: order stands for time.
//!
//! Every entry has a ticket, which grows with each step that its connection completes: it was accepted, its request was
//! read, its answer was sent. The least ticket is the connection that has been idle for longest. When every place is
//! taken, an address with more than its share gives one up, else whoever has been idle for longest. So no number of
//! connections keeps a new one out, and many from one address cost others nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::peer::Peer;

/// Addresses that may hold their whole share at once. A proxy or a NAT in front of many clients holds more, as long as
/// nobody else needs the places.
const SHARES: usize = 16;

/// Names an entry until its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// The places. `T` is what is needed to end a connection.
#[derive(Debug)]
pub(super) struct Table<T> {
    limit: usize,
    share: usize,
    entries: BTreeMap<Ticket, (Peer, T)>,
    /// The tickets of each address that has any: at most as many as there are places. Its hash is keyed at random, since
    /// strangers choose the addresses.
    peers: HashMap<Peer, BTreeSet<Ticket>>,
    /// Those with more than their share: at most [`SHARES`].
    greedy: BTreeSet<Peer>,
    next: u64,
}

impl<T> Table<T> {
    /// A table of at least one place.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            share: limit.div_ceil(SHARES),
            entries: BTreeMap::new(),
            peers: HashMap::new(),
            greedy: BTreeSet::new(),
            next: 0,
        }
    }

    /// Has so many places from now on. If more are taken, each newcomer takes the place of another.
    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = limit.max(1);
        self.share = self.limit.div_ceil(SHARES);
        let share = self.share;
        let greedy = self.peers.iter().filter(|(_, tickets)| tickets.len() > share);
        self.greedy = greedy.map(|(peer, _)| *peer).collect();
    }

    /// Takes a place. If that takes one place too many, also returns who has to leave.
    pub(super) fn enter(&mut self, peer: Peer, connection: T) -> (Ticket, Option<T>) {
        let evicted = if self.is_full() { self.evict() } else { None };
        let ticket = Ticket(self.next);
        self.next += 1;
        self.entries.insert(ticket, (peer, connection));
        let tickets = self.peers.entry(peer).or_default();
        tickets.insert(ticket);
        if tickets.len() > self.share {
            self.greedy.insert(peer);
        }
        (ticket, evicted)
    }

    /// A connection completed a step: its new ticket, or None if it has had to leave.
    pub(super) fn step(&mut self, ticket: Ticket) -> Option<Ticket> {
        let (peer, connection) = self.leave(ticket)?;
        Some(self.enter(peer, connection).0)
    }

    /// Gives a place back; None if the connection has had to leave before.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<(Peer, T)> {
        let (peer, connection) = self.entries.remove(&ticket)?;
        if let Some(tickets) = self.peers.get_mut(&peer) {
            tickets.remove(&ticket);
            if tickets.len() <= self.share {
                self.greedy.remove(&peer);
            }
            if tickets.is_empty() {
                self.peers.remove(&peer);
            }
        }
        Some((peer, connection))
    }

    fn evict(&mut self) -> Option<T> {
        let count = |peer: &&Peer| self.peers.get(peer).map_or(0, BTreeSet::len);
        let greediest = self.greedy.iter().max_by_key(count);
        let of_greediest = greediest.and_then(|peer| self.peers.get(peer)?.first().copied());
        let idlest = of_greediest.or_else(|| self.entries.keys().next().copied())?;
        self.leave(idlest).map(|(_, connection)| connection)
    }

    /// Places taken.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the next one takes the place of another.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    /// Whether places are so short that connections should not be kept between requests: three quarters are taken.
    pub(super) fn is_pressed(&self) -> bool {
        self.entries.len() > self.limit - self.limit.div_ceil(4)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Peer = Peer::V4(1);
    const TWO: Peer = Peer::V4(2);

    #[test]
    fn the_idlest_makes_room_and_a_step_makes_young() {
        let mut table = Table::new(2);
        let (first, _) = table.enter(ONE, "first");
        let (_, nobody) = table.enter(TWO, "second");
        assert_eq!(nobody, None);
        assert!(table.step(first).is_some());
        let (_, evicted) = table.enter(Peer::V4(3), "third");
        assert_eq!((evicted, table.len()), (Some("second"), 2));
    }

    #[test]
    fn an_address_with_more_than_its_share_makes_room_for_others() {
        let mut table = Table::new(64);
        let (quiet, _) = table.enter(ONE, 0);
        for n in 1..1_000 {
            table.enter(TWO, n);
        }
        assert_eq!(table.len(), 64);
        assert!(table.step(quiet).is_some(), "one connection of another address was evicted");
        let (_, evicted) = table.enter(ONE, -1);
        assert_eq!(evicted, Some(1_000 - 63));
    }

    #[test]
    fn a_table_that_was_made_smaller_grows_no_more_and_sends_nobody_away_by_itself() {
        let mut table = Table::new(8);
        let tickets: Vec<_> = (0..8).map(|n| table.enter(Peer::V4(n), n).0).collect();
        table.resize(2);
        assert!(table.is_full() && table.is_pressed() && table.len() == 8);
        assert_eq!(table.enter(Peer::V4(9), 9).1, Some(0));
        assert_eq!(table.len(), 8);
        for ticket in &tickets[1..8] {
            assert!(table.leave(*ticket).is_some());
        }
        assert_eq!(table.enter(Peer::V4(10), 10).1, None);
    }

    #[test]
    fn who_has_had_to_leave_cannot_come_back_by_a_step() {
        let mut table = Table::new(1);
        let (first, _) = table.enter(ONE, 1);
        table.enter(ONE, 2);
        assert_eq!(table.step(first), None);
        assert_eq!(table.leave(first), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn connections_are_not_kept_once_a_quarter_of_the_places_is_left() {
        let mut table = Table::new(100);
        for n in 0..75 {
            table.enter(ONE, n);
        }
        assert!(!table.is_pressed());
        table.enter(ONE, 75);
        assert!(table.is_pressed() && !table.is_full());
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_the_tallies_agree(
            limit in 1..40_usize,
            acts in prop::collection::vec((0..3_u8, 0..20_u32, any::<prop::sample::Index>()), 0..300),
        ) {
            let mut table = Table::new(limit);
            let mut tickets = vec![table.enter(ONE, ()).0];
            for (act, peer, index) in acts {
                let at = index.index(tickets.len());
                match act {
                    0 => tickets.push(table.enter(Peer::V4(peer), ()).0),
                    1 => if let Some(ticket) = table.step(tickets[at]) { tickets[at] = ticket },
                    _ => drop(table.leave(tickets[at])),
                }
                prop_assert!(table.len() <= limit);
                prop_assert_eq!(table.peers.values().map(BTreeSet::len).sum::<usize>(), table.len());
                prop_assert!(table.peers.values().all(|tickets| !tickets.is_empty()));
                let greedy = table.peers.iter().filter(|(_, tickets)| tickets.len() > table.share);
                prop_assert!(greedy.map(|(peer, _)| peer).collect::<BTreeSet<_>>() == table.greedy.iter().collect());
                prop_assert!(table.greedy.len() <= SHARES);
            }
        }
    }
}
