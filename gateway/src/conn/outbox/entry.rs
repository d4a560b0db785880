//! One waiting frame.

use std::sync::Arc;

use bytes::Bytes;
use wsgateway_proto::v1;

use crate::encode::Delivery;

/// A frame, and what conflation needs to know of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub frame: Bytes,
    /// The message, as long as a newer one of its channel may replace it.
    pub latest: Option<Arc<Delivery>>,
    /// Messages of the channel that this one has replaced.
    pub skipped: Option<Skipped>,
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

    /// This range, and behind it `later`.
    pub(super) fn before(self, later: Option<Self>) -> Self {
        Self { from: self.from, to: later.map_or(self.to, |range| range.to) }
    }
}

impl Entry {
    /// Makes the gap part of what is sent.
    pub(super) fn tell_gap(&mut self) {
        let (Some(skipped), Some(delivery)) = (self.skipped.take(), self.latest.take()) else {
            return;
        };
        let mut both = Vec::new();
        v1::gap(&mut both, &delivery.channel, skipped.from, skipped.to, "slow_consumer");
        both.extend_from_slice(&self.frame);
        self.frame = both.into();
    }
}
