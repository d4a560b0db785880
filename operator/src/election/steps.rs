//! What to do about the Lease, as client-go does it (`leaderelection.go`). Pure: the Lease and `now` in, a decision out.
//!
//! Times in the Lease are for people. A holder that is alive changes its Lease again and again; a candidate notes by its
//! own monotonic clock when it saw the last change, and takes the Lease when there was none for its whole duration.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

/// Bounds of what a Lease may say of its own duration: it is written by others.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3_600);

/// The times of an election: `retry` < `renew` < `lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Others take the Lease when they have seen no change of it for this long.
    pub(crate) lease: Duration,
    /// Without a confirmed renewal for this long, the holder stops.
    pub(crate) renew: Duration,
    /// Between two looks at the Lease, and between two renewals.
    pub(crate) retry: Duration,
}

/// Times that exclude each other.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "the times of the leader election need retry < renew < lease, and a lease of at most an hour: lease {lease:?}, renew \
     {renew:?}, retry {retry:?} (--lease-seconds 15 --renew-seconds 10 --retry-seconds 2 are the defaults)"
)]
pub(crate) struct TimingError {
    lease: Duration,
    renew: Duration,
    retry: Duration,
}

impl Timing {
    pub(crate) fn new(
        lease: Duration,
        renew: Duration,
        retry: Duration,
    ) -> Result<Self, TimingError> {
        if retry.is_zero() || retry >= renew || renew >= lease || lease > LONGEST {
            return Err(TimingError { lease, renew, retry });
        }
        Ok(Self { lease, renew, retry })
    }

    /// Longest request for the Lease. It ends before others take the Lease even when it began right before the renew
    /// deadline, and there is time for more than one attempt to renew.
    pub(crate) fn request(&self) -> Duration {
        ((self.lease - self.renew).mul_f64(0.8)).min(self.renew / 3)
    }

    pub(crate) fn pause_after_trouble(&self) -> Duration {
        self.retry / 4
    }
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Empty: nobody.
    pub(crate) holder: String,
    pub(crate) duration: Duration,
    pub(crate) acquired: Option<Timestamp>,
    pub(crate) renewed: Option<Timestamp>,
    /// How often the holder has changed.
    pub(crate) transitions: i32,
}

impl Record {
    /// Free for others at once.
    pub(crate) fn released(self, clock: Timestamp) -> Self {
        Self { holder: String::new(), duration: SHORTEST, renewed: Some(clock), ..self }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Write this; the Lease is held when the API server has confirmed it.
    Claim(Record),
    /// Somebody else holds it: look again after this time.
    Wait(Duration),
    /// It was held and is no longer.
    Lost,
}

/// One candidate's view.
#[derive(Debug)]
pub(crate) struct Election {
    me: String,
    timing: Timing,
    /// The last change of the Lease, and when it was seen.
    seen: Option<(Record, Instant)>,
    /// Until when the Lease is held; never moves back from "held and lost" to "not held".
    held: Option<Instant>,
}

impl Election {
    pub(crate) fn new(me: String, timing: Timing) -> Self {
        Self { me, timing, seen: None, held: None }
    }

    pub(crate) fn identity(&self) -> &str {
        &self.me
    }

    /// Whether the Lease has been claimed; it may be over meanwhile.
    pub(crate) fn is_leading(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the Lease was held and has not been renewed in time.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.held.is_some_and(|until| now >= until)
    }

    /// Time until a Lease that is held is over; for candidates, the duration of a Lease.
    pub(crate) fn until_due(&self, now: Instant) -> Duration {
        self.held.map_or(self.timing.lease, |until| until.saturating_duration_since(now))
    }

    /// Decides about the Lease as it is; `clock` is only written into it.
    pub(crate) fn step(
        &mut self,
        lease: Option<&Record>,
        now: Instant,
        clock: Timestamp,
    ) -> Decision {
        if self.is_over(now) {
            return Decision::Lost;
        }
        if let Some(record) = lease
            && self.seen.as_ref().is_none_or(|(seen, _)| seen != record)
        {
            self.seen = Some((record.clone(), now));
        }
        match lease {
            Some(record) if record.holder == self.me => {
                Decision::Claim(Record { renewed: Some(clock), ..record.clone() })
            }
            Some(_) if self.held.is_some() => Decision::Lost,
            Some(record) if record.holder.is_empty() => Decision::Claim(self.next(clock)),
            // The Lease of a holder that was seen may have been deleted by hand: the holder still has its time.
            _ => match self.remaining(now) {
                Some(remaining) => Decision::Wait(remaining.min(self.timing.retry)),
                None => Decision::Claim(self.next(clock)),
            },
        }
    }

    /// The API server has taken a claim that was sent at `began`. Returns until when it holds.
    pub(crate) fn confirmed(&mut self, record: Record, began: Instant) -> Instant {
        let until = began + self.timing.renew;
        self.seen = Some((record, began));
        self.held = Some(until);
        until
    }

    /// Time that the holder that was seen last still has; `None`: it has none, or it is us.
    fn remaining(&self, now: Instant) -> Option<Duration> {
        let (record, at) = self.seen.as_ref()?;
        if record.holder.is_empty() || record.holder == self.me {
            return None;
        }
        let expiry = *at + record.duration.clamp(SHORTEST, LONGEST);
        Some(expiry.saturating_duration_since(now)).filter(|remaining| !remaining.is_zero())
    }

    fn next(&self, clock: Timestamp) -> Record {
        let before = self.seen.as_ref().map(|(record, _)| record.transitions);
        Record {
            holder: self.me.clone(),
            duration: self.timing.lease,
            acquired: Some(clock),
            renewed: Some(clock),
            transitions: before.map_or(0, |count| count.saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests;
