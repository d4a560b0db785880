//! What addresses owe of their rate, in memory of a fixed size. Pure.
//!
//! A cell whose time is over says nothing and is free, so that an address takes one for no longer than its burst. Each
//! address has a few cells that it may be in, chosen by a hash with a random key; when others need them all, those who owe
//! the least are forgotten. So whatever others do, an address is never thought to owe more than it does: nobody who keeps
//! to the limit is refused, and the table never grows.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::peer::Peer;

/// Cells of the table: 1.5 MiB. With 20 connections a second and a burst of 100, so many addresses can owe at once that a
/// pod would take a million connections a second of them.
const CELLS: usize = 1 << 16;

/// Cells that one address may be in.
const WAYS: usize = 8;

/// What one address owes.
#[derive(Clone, Copy, Debug)]
struct Cell {
    peer: Peer,
    /// When it will have been paid for (ns); 0: nobody's.
    paid_ns: u64,
}

const FREE: Cell = Cell { peer: Peer::V4(0), paid_ns: 0 };

/// The table.
#[derive(Debug)]
pub(super) struct Cells {
    sets: Box<[[Cell; WAYS]]>,
    hasher: RandomState,
}

impl Cells {
    pub(super) fn new() -> Self {
        Self::with(CELLS)
    }

    fn with(cells: usize) -> Self {
        let sets = vec![[FREE; WAYS]; (cells / WAYS).max(1)].into_boxed_slice();
        Self { sets, hasher: RandomState::new() }
    }

    /// When what an address owes will have been paid for; 0 if it owes nothing that is remembered.
    pub(super) fn paid(&mut self, peer: Peer) -> u64 {
        let cell = self.set_of(peer).iter().find(|cell| cell.peer == peer);
        cell.map_or(0, |cell| cell.paid_ns)
    }

    /// Remembers it at `now_ns`, unless all others that it competes with owe as much.
    pub(super) fn remember(&mut self, peer: Peer, paid_ns: u64, now_ns: u64) {
        let cells = self.set_of(peer);
        let own = cells.iter().position(|cell| cell.peer == peer);
        let least = (0..WAYS).min_by_key(|index| cells[*index].paid_ns).unwrap_or_default();
        let cell = &mut cells[own.unwrap_or(least)];
        if own.is_some() || cell.paid_ns <= now_ns || cell.paid_ns < paid_ns {
            *cell = Cell { peer, paid_ns };
        }
    }

    fn set_of(&mut self, peer: Peer) -> &mut [Cell; WAYS] {
        let index = self.hasher.hash_one(peer) as usize % self.sets.len();
        &mut self.sets[index]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::rate::Limit;

    /// Whether one more connection of an address passes.
    fn take(cells: &mut Cells, rate: Limit, peer: Peer, now_ns: u64) -> bool {
        let paid = rate.pay(cells.paid(peer), now_ns, 1);
        if let Ok(paid) = paid {
            cells.remember(peer, paid, now_ns);
        }
        paid.is_ok()
    }

    fn rate(per_second: u32, burst: u32) -> Limit {
        Limit::new(per_second, burst).unwrap()
    }

    #[test]
    fn ten_million_addresses_take_no_more_memory_than_none_and_lock_nobody_out() {
        let (mut cells, rate) = (Cells::new(), rate(20, 100));
        let bytes = size_of_val(&*cells.sets);
        assert!(bytes <= 2 << 20, "{bytes} bytes");
        let honest = Peer::V6(7);
        for n in 0..10_000_000_u32 {
            // A million a second.
            let now_ns = u64::from(n) * 1_000;
            assert!(take(&mut cells, rate, Peer::V4(n), now_ns), "its first connection");
            if n % 500_000 == 0 {
                assert!(take(&mut cells, rate, honest, now_ns), "one in half a second");
            }
        }
        assert_eq!(size_of_val(&*cells.sets), bytes);
    }

    #[test]
    fn an_address_that_owes_much_is_remembered_while_millions_pass_that_owe_little() {
        let (mut cells, rate) = (Cells::new(), rate(20, 100));
        let greedy = Peer::V4(u32::MAX);
        let taken = (0..200).filter(|_| take(&mut cells, rate, greedy, 0)).count();
        assert_eq!(taken, 100);
        for n in 0..2_000_000 {
            take(&mut cells, rate, Peer::V4(n), 0);
        }
        assert!(!take(&mut cells, rate, greedy, 0));
    }

    proptest! {
        /// Against a table without bounds. Few cells and few addresses, so that they get in each other's way.
        #[test]
        fn who_keeps_to_the_limit_is_never_refused_and_with_room_the_limit_holds_exactly(
            per_second in 1..50_u32,
            burst in 1..10_u32,
            acts in prop::collection::vec((0..40_u32, 0..100_000_000_u64), 1..400),
        ) {
            let rate = rate(per_second, burst);
            let (mut small, mut large) = (Cells::with(WAYS * 2), Cells::with(WAYS * 4_096));
            let mut model: HashMap<Peer, u64> = HashMap::new();
            let mut offenders = std::collections::HashSet::new();
            let mut now_ns = 0;
            for (peer, pause_ns) in acts {
                now_ns += pause_ns / 8;
                let peer = Peer::V4(peer);
                let paid = model.entry(peer).or_default();
                let passes = rate.pay(*paid, now_ns, 1).inspect(|next| *paid = *next).is_ok();
                prop_assert_eq!(take(&mut large, rate, peer, now_ns), passes);
                if !passes {
                    offenders.insert(peer);
                }
                let taken = take(&mut small, rate, peer, now_ns);
                prop_assert!(taken || offenders.contains(&peer));
            }
        }
    }
}
