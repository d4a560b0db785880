//! One waiting frame.

use std::sync::Arc;

use bytes::Bytes;
use wsgateway_proto::v1;

use super::memory::Shared;

/// A frame, and what conflation needs to know of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub frame: Bytes,
    /// Present while the frame is memory that other outboxes may hold too.
    pub shared: Option<Shared>,
    /// The message, as long as a newer one of its channel may replace it.
    pub latest: Option<Latest>,
    /// Messages of the channel that this one has replaced.
    pub skipped: Option<Skipped>,
}

/// A message of a `Latest` channel.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    pub channel: Arc<str>,
    pub offset: u64,
}

/// Offsets of the first and the last message that were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    from: u64,
    to: u64,
}

impl Skipped {
    /// `earlier`, and behind it the message at `offset`.
    pub(super) fn with(earlier: Option<Self>, offset: u64) -> Self {
        Self { from: earlier.map_or(offset, |range| range.from), to: offset }
    }

    /// `earlier`, and behind it `later`.
    pub(super) fn join(earlier: Option<Self>, later: Option<Self>) -> Option<Self> {
        match (earlier, later) {
            (Some(earlier), Some(later)) => Some(Self { from: earlier.from, to: later.to }),
            (one, other) => one.or(other),
        }
    }
}

impl Entry {
    /// Makes the gap part of what is sent.
    pub(super) fn tell_gap(&mut self) {
        // Without one a newer message may still replace this one.
        let Some(skipped) = self.skipped.take() else { return };
        let Some(latest) = self.latest.take() else { return };
        let mut both = Vec::new();
        v1::gap(&mut both, &latest.channel, skipped.from, skipped.to, "slow_consumer");
        both.extend_from_slice(&self.frame);
        self.frame = both.into();
        self.shared = None;
    }
}
