//! Messages as events: put together for each event stream, since every `id` depends on where the stream is.

use super::{Chunk, Content, Due, GATHER, NONE};
use crate::conn::events::EventStream;

impl Due {
    /// The next write of a list: events of about [`GATHER`] bytes, or one larger one.
    pub(super) fn event_chunk(&mut self, first: u32, stream: EventStream) -> Option<Chunk> {
        let Self { links, deliveries, gather, epoch, .. } = self;
        gather.clear();
        let (mut end, mut messages) = (first, 0);
        while end != NONE && gather.len() < GATHER {
            let link = links.get(end as usize)?;
            let message = deliveries.get(link.delivery as usize)?;
            stream.message(message, epoch, gather);
            (end, messages) = (link.next, messages + 1);
        }
        (messages > 0).then_some(Chunk { first, end, messages, content: Content::Events })
    }
}
