//! What a message replaces: earlier ones of its channel that some clients do not get, and the `gap` that says so.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wsgateway_proto::{frame, v1};

use super::Delivery;

/// Why clients do not get them. It is the reason that clients of earlier versions know for channels of latest values.
const REASON: &str = "slow_consumer";

/// Offsets of the first and the last message that were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub from: u64,
    pub to: u64,
}

/// What stands before a message's own frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    skipped: Skipped,
    /// Bytes of the `gap`.
    gap_len: usize,
}

impl Skipped {
    /// `earlier`, and after it the message at `offset`.
    pub(crate) fn with(earlier: Option<Self>, offset: u64) -> Self {
        Self { from: earlier.map_or(offset, |range| range.from), to: offset }
    }

    /// `earlier`, and after it `later`.
    pub(crate) fn join(earlier: Option<Self>, later: Option<Self>) -> Option<Self> {
        match (earlier, later) {
            (Some(earlier), Some(later)) => Some(Self { from: earlier.from, to: later.to }),
            (one, other) => one.or(other),
        }
    }

    /// Appends the frame that reports them.
    pub(crate) fn report(self, channel: &str, out: &mut Vec<u8>) {
        v1::gap(out, channel, self.from, self.to, REASON);
    }
}

impl Delivery {
    /// The same message for clients that did not get these before it.
    pub(crate) fn after(&self, skipped: Skipped) -> Arc<Self> {
        let mut both = Vec::new();
        skipped.report(&self.channel, &mut both);
        let gap_len = both.len();
        let own = self.frame.get(self.gap_len()..).unwrap_or_default();
        let data_at = self.data_at as usize - self.gap_len() + gap_len;
        both.extend_from_slice(own);
        Arc::new(Self {
            channel: Arc::clone(&self.channel),
            offset: self.offset,
            ts: self.ts,
            frame: both.into(),
            treatment: self.treatment,
            deleted: self.deleted,
            trace: self.trace.clone(),
            before: Some(Box::new(Before { skipped, gap_len })),
            data_at: u32::try_from(data_at).unwrap_or(u32::MAX),
            message_type: self.message_type.clone(),
            flat: self.flat,
            odin_head: OnceLock::new(),
            deflated: OnceLock::new(),
        })
    }

    /// Messages of the channel that were left out before it.
    pub(crate) fn skipped(&self) -> Option<Skipped> {
        self.before.as_ref().map(|before| before.skipped)
    }

    /// Bytes at the beginning of [`Delivery::frame`] that are the frame of a `gap`.
    pub(crate) fn gap_len(&self) -> usize {
        self.before.as_ref().map_or(0, |before| before.gap_len)
    }

    /// The JSON of that `gap`.
    pub(crate) fn gap_body(&self) -> Option<&[u8]> {
        let gap = self.frame.get(..self.gap_len()).filter(|gap| !gap.is_empty())?;
        Some(frame::payload(gap))
    }

    /// A frame of the message with the `gap` in front of it, if there is one.
    pub(super) fn behind_gap(&self, own: Vec<u8>) -> Bytes {
        match self.gap_len() {
            0 => own.into(),
            len => [self.frame.get(..len).unwrap_or_default(), &own].concat().into(),
        }
    }
}
