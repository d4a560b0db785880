//! The verdict on slow clients: a function of numbers.
//!
//! A client whose outbox is more than half full is under pressure: it is given a grace to come back below. One that
//! fills its whole bound is closed at once, and can come back and resume. When the memory of the shard is used up,
//! those with the most waiting are closed, not the one that happens to ask next. So one stalled reader costs the pod a
//! known amount and costs the others nothing.

/// What bounds the memory and the time of slow clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most bytes waiting for one connection.
    pub per_connection: usize,
    /// Most bytes of memory for what waits for all connections of the shard; a frame that several of them wait for
    /// counts once.
    pub per_shard: usize,
    /// Ticks that a client may stay under pressure.
    pub grace: u32,
}

/// A connection's outbox as it would be with what is to be added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// Bytes waiting for the connection.
    pub waiting: usize,
    /// Frames waiting for the connection.
    pub frames: usize,
    /// Ticks since the pressure began; `None` without pressure.
    pub pressed_for: Option<u32>,
}

/// What to do with a slow client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It keeps up well enough.
    Fine,
    /// It is under pressure: the grace runs.
    Pressed,
    /// Close it with 4008 and this reason.
    Close(&'static str),
}

impl Bounds {
    /// Bytes beyond which a client is under pressure.
    pub(crate) fn pressure(&self) -> usize {
        self.per_connection / 2
    }

    /// The verdict. A frame larger than the bound may wait alone, or nobody with a full socket could receive it.
    pub(crate) fn judge(&self, now: Situation) -> Verdict {
        if now.frames > 1 && now.waiting > self.per_connection {
            return Verdict::Close("slow consumer: reconnect and resume");
        }
        if now.waiting <= self.pressure() {
            return Verdict::Fine;
        }
        match now.pressed_for {
            Some(ticks) if ticks >= self.grace => {
                Verdict::Close("slow consumer for too long: reconnect and resume")
            }
            _ => Verdict::Pressed,
        }
    }
}

/// A connection that something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its slot in the shard.
    pub conn: u32,
    /// Bytes waiting for it.
    pub bytes: usize,
    /// Tick at which its pressure began.
    pub pressed_since: Option<u32>,
}

/// Sorts connections by who is to be closed first when the memory is used up: the most waiting, then the longest
/// under pressure.
pub(crate) fn sort_by_burden(all: &mut [Waiting]) {
    all.sort_unstable_by_key(|one| {
        (std::cmp::Reverse(one.bytes), one.pressed_since.unwrap_or(u32::MAX))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { per_connection: 100, per_shard: 250, grace: 50 };

    fn judge(waiting: usize, pressed_for: Option<u32>) -> Verdict {
        BOUNDS.judge(Situation { waiting, frames: 2, pressed_for })
    }

    #[test]
    fn half_the_bound_is_free_then_the_grace_runs_and_the_whole_bound_ends_it() {
        assert_eq!(judge(50, None), Verdict::Fine);
        assert_eq!(judge(50, Some(1_000)), Verdict::Fine, "back below: the past is forgotten");
        assert_eq!(judge(51, None), Verdict::Pressed);
        assert_eq!(judge(100, Some(49)), Verdict::Pressed);
        assert!(matches!(judge(51, Some(50)), Verdict::Close(_)));
        assert!(matches!(judge(101, None), Verdict::Close(_)));
    }

    #[test]
    fn when_the_memory_is_used_up_the_most_waiting_goes_first_then_the_longest_pressed() {
        let one = |conn, bytes, pressed_since| Waiting { conn, bytes, pressed_since };
        let mut all =
            [one(1, 10, None), one(2, 90, Some(7)), one(3, 90, Some(3)), one(4, 90, None)];
        sort_by_burden(&mut all);
        assert_eq!(all.map(|one| one.conn), [3, 2, 4, 1]);
    }

    #[test]
    fn a_single_frame_larger_than_every_bound_may_wait_alone() {
        let alone = Situation { waiting: 1_000, frames: 1, pressed_for: None };
        assert_eq!(BOUNDS.judge(alone), Verdict::Pressed);
    }
}
