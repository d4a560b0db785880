//! The verdict on slow clients: a function of numbers.
//!
//! A client whose outbox is more than half full is under pressure: it is given a grace to come back below. One that
//! fills its whole bound, or for which the pod has no memory left, is closed at once, and can come back and resume.
//! So one stalled reader costs the pod a known amount and costs the others nothing.

/// What bounds the memory and the time of slow clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most bytes waiting for one connection.
    pub per_connection: usize,
    /// Most bytes waiting for all connections of the shard.
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
    /// Bytes waiting for all connections of the shard.
    pub shard: usize,
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
        if now.shard > self.per_shard && now.shard > now.waiting {
            return Verdict::Close("slow consumer, and the pod is out of memory for them: resume");
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { per_connection: 100, per_shard: 250, grace: 50 };

    fn judge(waiting: usize, shard: usize, pressed_for: Option<u32>) -> Verdict {
        BOUNDS.judge(Situation { waiting, frames: 2, shard, pressed_for })
    }

    #[test]
    fn half_the_bound_is_free_then_the_grace_runs_and_the_whole_bound_ends_it() {
        assert_eq!(judge(50, 50, None), Verdict::Fine);
        assert_eq!(judge(50, 50, Some(1_000)), Verdict::Fine, "back below: the past is forgotten");
        assert_eq!(judge(51, 51, None), Verdict::Pressed);
        assert_eq!(judge(100, 100, Some(49)), Verdict::Pressed);
        assert!(matches!(judge(51, 51, Some(50)), Verdict::Close(_)));
        assert!(matches!(judge(101, 101, None), Verdict::Close(_)));
    }

    #[test]
    fn the_memory_of_the_pod_ends_the_grace_of_whoever_asks_for_more() {
        assert_eq!(judge(40, 250, None), Verdict::Fine);
        assert!(matches!(judge(40, 251, None), Verdict::Close(_)));
    }

    #[test]
    fn a_single_frame_larger_than_every_bound_may_wait_alone() {
        let alone = Situation { waiting: 1_000, frames: 1, shard: 1_000, pressed_for: None };
        assert_eq!(BOUNDS.judge(alone), Verdict::Pressed);
        assert!(matches!(BOUNDS.judge(Situation { shard: 1_001, ..alone }), Verdict::Close(_)));
    }
}
