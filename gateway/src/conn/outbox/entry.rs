//! One waiting frame.

use std::sync::Arc;

use bytes::Bytes;
use wsgateway_proto::frame;

use super::memory::Shared;
use crate::conn::events;
use crate::encode::Skipped;

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

impl Entry {
    /// Makes the gap part of what is sent; `events`: as an event of an event stream.
    pub(super) fn tell_gap(&mut self, events: bool) {
        // Without one a newer message may still replace this one.
        let Some(skipped) = self.skipped.take() else { return };
        let Some(latest) = self.latest.take() else { return };
        let mut both = Vec::new();
        skipped.report(&latest.channel, &mut both);
        if events {
            both = events::gap(frame::payload(&both));
        }
        both.extend_from_slice(&self.frame);
        self.frame = both.into();
        self.shared = None;
    }
}
