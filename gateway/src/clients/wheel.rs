//! One timer wheel per shard, instead of a timer per connection.
//!
//! Each connection has one entry for its liveness, which is visited when its earliest deadline might be due; the
//! visitor decides from the connection's own state and puts the entry back. A sign of life costs nothing here: the
//! visit is lazy. A slow client has a second entry while its grace runs.

/// Ticks a turn of the wheel: with ticks of 100 ms, deadlines up to 51 s take one visit, later ones a few.
const SLOTS: usize = 512;

/// A connection's entry: its slot in the shard, and the serial that tells it from a later one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer {
    pub conn: u32,
    pub serial: u32,
}

/// What is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// Ping, pong, or the end of a closing connection.
    Liveness,
    /// The end of the grace of a slow client.
    Grace,
    /// The end of the time that a message may take to come.
    Message,
    /// The end of the time of a long-poll's answer.
    Answer,
    /// The end of a token, or when its client is told of it.
    Token,
}

/// Entries by the tick at which they are to be looked at.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Box<[Vec<(Timer, Deadline)>]>,
    /// Every tick before this one has been visited.
    next: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: vec![Vec::new(); SLOTS].into(), next: 0 }
    }

    /// Forgets all entries.
    pub(crate) fn clear(&mut self) {
        for slot in &mut *self.slots {
            *slot = Vec::new();
        }
    }

    /// Looks at the entry again at `tick`, or as late as the wheel reaches, whichever is earlier.
    pub(crate) fn insert(&mut self, timer: Timer, deadline: Deadline, tick: u32) {
        let tick = self.within_reach(tick);
        if let Some(slot) = self.slots.get_mut(tick as usize % SLOTS) {
            slot.push((timer, deadline));
        }
    }

    /// The tick at which an entry for `tick` is visited.
    pub(crate) fn within_reach(&self, tick: u32) -> u32 {
        tick.clamp(self.next, self.next + SLOTS as u32 - 1)
    }

    /// The first tick to be visited that has entries, or the one `reach` ticks ahead, whichever is earlier.
    pub(crate) fn next_within(&self, reach: u32) -> u32 {
        let has_entries = |tick: &u32| {
            self.slots.get(*tick as usize % SLOTS).is_some_and(|slot| !slot.is_empty())
        };
        let end = self.next + reach;
        (self.next..end).find(has_entries).unwrap_or(end)
    }

    /// Whether a tick that is not after `now` has not been visited.
    pub(crate) fn is_behind(&self, now: u32) -> bool {
        self.next <= now
    }

    /// Takes the entries of the next tick that is not after `now` into `due`; false when there is no such tick.
    /// `due` must be empty; its memory is used again.
    pub(crate) fn advance(&mut self, now: u32, due: &mut Vec<(Timer, Deadline)>) -> bool {
        debug_assert!(due.is_empty(), "the last tick must be done");
        if !self.is_behind(now) {
            return false;
        }
        if let Some(slot) = self.slots.get_mut(self.next as usize % SLOTS) {
            // Copied, not swapped: a slot keeps its memory only as long as it is worth it.
            due.append(slot);
            slot.shrink_to(due.len());
        }
        self.next += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(wheel: &mut Wheel, until: u32) -> Vec<u32> {
        let (mut seen, mut due) = (Vec::new(), Vec::new());
        while wheel.advance(until, &mut due) {
            seen.extend(due.drain(..).map(|(timer, _)| timer.conn));
        }
        seen
    }

    #[test]
    fn an_entry_is_visited_at_its_tick_and_not_before() {
        let mut wheel = Wheel::new();
        wheel.insert(Timer { conn: 1, serial: 1 }, Deadline::Liveness, 250);
        assert!(visits(&mut wheel, 249).is_empty());
        assert_eq!(visits(&mut wheel, 250), [1]);
    }

    #[test]
    fn the_next_tick_with_entries_is_found_within_reach() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.next_within(10), 10);
        for tick in [SLOTS as u32 - 1, SLOTS as u32 + 9] {
            visits(&mut wheel, tick - 5);
            wheel.insert(Timer { conn: 1, serial: 1 }, Deadline::Liveness, tick);
            assert_eq!((wheel.next_within(10), wheel.next_within(2)), (tick, tick - 2));
            assert_eq!(visits(&mut wheel, tick), [1]);
        }
    }

    #[test]
    fn a_deadline_in_the_past_is_visited_at_the_next_tick() {
        let mut wheel = Wheel::new();
        visits(&mut wheel, 1_000);
        wheel.insert(Timer { conn: 7, serial: 1 }, Deadline::Liveness, 3);
        assert_eq!(visits(&mut wheel, 1_001), [7]);
    }

    #[test]
    fn a_deadline_beyond_the_wheel_is_visited_early_rather_than_late() {
        let mut wheel = Wheel::new();
        wheel.insert(Timer { conn: 7, serial: 1 }, Deadline::Liveness, 1_000_000);
        assert_eq!(visits(&mut wheel, SLOTS as u32), [7]);
    }
}
