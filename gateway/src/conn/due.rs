//! What is due to whom: one arena of links for all connections of a shard, and the bytes of the next write.
//!
//! A connection's due deliveries are a list of links in stream order. A delivery that may wait for others
//! (`batchWindow`) leaves its connection on hold: everything on hold leaves together when the first one has waited long
//! enough, or with the next delivery to that connection that may not wait. Links live until nothing is on hold.

mod batch;
mod events;
pub(crate) mod private;

use std::sync::Arc;

use bytes::Bytes;
use wsgateway_proto::deflate::Deflater;

use super::events as stream;
use super::form::{Form, Transport};
use super::outbox::memory::{Meter, Shared};
use super::outbox::{Frame, Latest};
use crate::encode::{Delivery, Skipped};
use batch::Batches;

/// No link: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// Frames due to one connection are gathered into one buffer and one `send` up to this size: copying is cheaper
/// than the kernel's work for a vector of small slices. A larger frame is sent by itself.
const GATHER: usize = 16 << 10;

/// Links after which everything is flushed: 8 MiB of arena, and a bound on how stale the first message gets.
const MAX_LINKS: usize = 1 << 20;

/// Bytes of messages after which everything is flushed.
const MAX_BYTES: usize = 16 << 20;

/// Deliveries of one shard that are not written yet.
#[derive(Debug)]
pub(crate) struct Due {
    deliveries: Vec<Arc<Delivery>>,
    /// Identity of the stream that the messages are of.
    pub epoch: Arc<str>,
    /// The charges for frames that wait in outboxes, plain and compressed, by delivery; as long as there are any.
    shared: Vec<[Option<Shared>; 2]>,
    links: Vec<Link>,
    /// Connections with something that leaves in this turn.
    pub dirty: Vec<u32>,
    /// Connections with something that may wait.
    pub held: Vec<u32>,
    /// When what is on hold leaves (µs of the shard's clock).
    pub hold_until_us: u64,
    /// Number of the last message marked, in this shard's life.
    pub stamp: u64,
    /// Bytes of the messages kept.
    bytes: usize,
    gather: Vec<u8>,
    batches: Batches,
    /// Made when the first client wants compression: its tables are 300 kB.
    deflater: Option<Deflater>,
}

/// A connection's due deliveries: a list of links, and when it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    first: u32,
    last: u32,
    /// Whether it leaves in this turn.
    urgent: bool,
    /// Whether the connections on hold include this one.
    on_hold: bool,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE, urgent: false, on_hold: false }
    }
}

impl List {
    /// Whether nothing is due.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Takes the first link, to write the whole list; [`NONE`] when nothing is due.
    pub(crate) fn take(&mut self) -> u32 {
        self.urgent = false;
        std::mem::replace(&mut self.first, NONE)
    }

    /// The connections on hold do not include this one any more.
    pub(crate) fn release(&mut self) {
        self.on_hold = false;
    }
}

/// One delivery in a connection's list.
#[derive(Clone, Copy, Debug)]
struct Link {
    delivery: u32,
    next: u32,
}

/// The bytes of one write, as [`Due::bytes`] gives them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    first: u32,
    /// The link behind the last message in the chunk.
    pub end: u32,
    /// Messages in the chunk.
    pub messages: u64,
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// One message's own frame, sent from where it is.
    Frame,
    /// Several messages' frames, copied together.
    Gathered,
    /// Several messages in one frame, made in the gathering buffer.
    Batch,
    /// Several messages in one compressed frame, which is shared between connections.
    SharedBatch(u32),
    /// Messages as events, made in the gathering buffer.
    Events,
}

/// What a socket left over of a chunk.
pub(crate) enum Rest {
    /// A frame that belongs to this chunk alone: queue these bytes; what follows begins at the link.
    Bytes(Bytes, u32),
    /// Messages from this link on; so many bytes of the first one's frame are out.
    Link(u32, usize),
}

impl Default for Due {
    fn default() -> Self {
        Self {
            deliveries: Vec::new(),
            epoch: "".into(),
            shared: Vec::new(),
            links: Vec::new(),
            dirty: Vec::new(),
            held: Vec::new(),
            hold_until_us: u64::MAX,
            stamp: 0,
            bytes: 0,
            gather: Vec::new(),
            batches: Batches::default(),
            deflater: None,
        }
    }
}

impl Chunk {
    /// Whether several messages share a frame.
    pub(crate) fn is_batch(&self) -> bool {
        matches!(self.content, Content::Batch | Content::SharedBatch(_))
    }

    /// Whether its bytes are not those of the messages' own frames.
    fn is_own(&self) -> bool {
        self.is_batch() || self.content == Content::Events
    }
}

impl Due {
    /// Registers a message. Returns its number, for [`Due::link`].
    pub(crate) fn next_number(&mut self) -> u32 {
        self.stamp += 1;
        self.deliveries.len() as u32
    }

    /// Puts a message at the end of a connection's list. `conn` is the connection's slot; the message leaves in this
    /// turn, or at `until_us` at the latest (µs of the shard's clock).
    pub(crate) fn link(&mut self, list: &mut List, conn: u32, number: u32, until_us: Option<u64>) {
        let link = self.links.len() as u32;
        self.links.push(Link { delivery: number, next: NONE });
        if list.is_empty() {
            list.first = link;
        } else if let Some(last) = self.links.get_mut(list.last as usize) {
            last.next = link;
        }
        list.last = link;
        match until_us {
            _ if list.urgent => {}
            None => {
                list.urgent = true;
                self.dirty.push(conn);
            }
            Some(until_us) => {
                self.hold_until_us = self.hold_until_us.min(until_us);
                if !list.on_hold {
                    list.on_hold = true;
                    self.held.push(conn);
                }
            }
        }
    }

    /// Keeps a message that somebody was linked to.
    pub(crate) fn keep(&mut self, delivery: Arc<Delivery>) {
        self.bytes += delivery.frame.len();
        self.deliveries.push(delivery);
    }

    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }

    /// When the stream stored each message that somebody is linked to and that waits for no rule (Unix ms).
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> {
        // Where a rule makes messages wait, their age says nothing of this pod.
        let unpaced = self.deliveries.iter().filter(|delivery| delivery.treatment.max_rate == 0);
        unpaced.map(|delivery| delivery.ts)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.links.len() >= MAX_LINKS || self.bytes >= MAX_BYTES
    }

    /// Compressions of batches that a flush of this many connections may make.
    pub(crate) fn allow_batches(&mut self, connections: usize) {
        self.batches.allow(connections);
    }

    /// Forgets everything: no connection has links any more.
    pub(crate) fn clear(&mut self) {
        self.links.clear();
        self.deliveries.clear();
        self.shared.clear();
        self.bytes = 0;
        self.shrink();
    }

    /// What an outbox must know of a message of a `Latest` channel, and what is to be reported before it; `None` for other
    /// channels.
    pub(crate) fn latest(&self, link: u32) -> Option<(Latest, Option<Skipped>)> {
        let (delivery, _) = self.message(link)?;
        let (channel, offset) = (Arc::clone(&delivery.channel), delivery.offset);
        let latest = Latest { channel, offset };
        delivery.treatment.latest.then(|| (latest, delivery.skipped()))
    }

    /// Bytes of the gap at the beginning of [`Due::frame`], for a client of this form.
    pub(crate) fn gap_len(&self, link: u32, form: Form) -> usize {
        let Some((delivery, _)) = self.message(link) else { return 0 };
        match (form.is_events(), delivery.gap_body()) {
            (true, Some(gap)) => stream::gap(gap).len(),
            _ => delivery.gap_len(),
        }
    }

    /// The compressor, made when it is needed first.
    pub(crate) fn deflater(&mut self) -> &mut Deflater {
        self.deflater.get_or_insert_default()
    }

    /// The message of a link, and the link behind it.
    pub(crate) fn message(&self, link: u32) -> Option<(&Arc<Delivery>, u32)> {
        let link = self.links.get(link as usize)?;
        Some((self.deliveries.get(link.delivery as usize)?, link.next))
    }

    /// The frame of a link for an outbox of a client of this form, and the link behind it. `number` is the message's
    /// among those of the client. Outboxes that share a frame share its charge.
    pub(crate) fn frame(
        &mut self,
        link: u32,
        form: Form,
        number: u64,
        meter: &Meter,
    ) -> Option<(Frame, u32)> {
        let Self { links, deliveries, deflater, shared, epoch, .. } = self;
        let link = links.get(link as usize)?;
        let delivery = deliveries.get(link.delivery as usize)?;
        if let Transport::Events(stream) = form.transport {
            let mut own = Vec::new();
            stream.message(delivery, epoch, &mut own);
            return Some((Bytes::from(own).into(), link.next));
        }
        if form.is_private() {
            let mut own = Vec::with_capacity(private::len(delivery, form, number));
            private::write(&mut own, delivery, form, number);
            return Some((Bytes::from(own).into(), link.next));
        }
        let bytes = frame_of(delivery, form, deflater).clone();
        shared.resize_with(deliveries.len(), Default::default);
        let [plain, compressed] = shared.get_mut(link.delivery as usize)?;
        // A message that does not shrink has one frame for both.
        let own = form.deflate && bytes.as_ptr() != delivery.frame.as_ptr();
        let charge = if own { compressed } else { plain };
        let charge = charge.get_or_insert_with(|| Shared::new(meter, bytes.len()));
        Some((Frame { bytes, shared: Some(charge.clone()) }, link.next))
    }

    /// Bytes of the frame that [`Due::frame`] gives, and the link behind it.
    fn frame_len(&mut self, link: u32, form: Form, number: u64) -> Option<(usize, u32)> {
        let Self { links, deliveries, deflater, .. } = self;
        let link = links.get(link as usize)?;
        let delivery = deliveries.get(link.delivery as usize)?;
        let len = match form.is_private() {
            true => private::len(delivery, form, number),
            false => frame_of(delivery, form, deflater).len(),
        };
        Some((len, link.next))
    }

    /// The next write of a list: one frame, or as many messages as fit [`GATHER`]. `number` is the first message's among
    /// those of the client.
    pub(crate) fn chunk(&mut self, first: u32, form: Form, number: u64) -> Option<Chunk> {
        if let Transport::Events(stream) = form.transport {
            return self.event_chunk(first, stream);
        }
        if form.is_private() {
            return self.private_chunk(first, form, number);
        }
        if form.batch
            && let Some(chunk) = self.batch(first, form)
        {
            return Some(chunk);
        }
        let Self { links, deliveries, deflater, gather, .. } = self;
        gather.clear();
        let mut next = |link: u32| {
            let link = links.get(link as usize)?;
            let delivery = deliveries.get(link.delivery as usize)?;
            Some((frame_of(delivery, form, deflater), link.next))
        };
        let (frame, mut end) = next(first)?;
        let (mut messages, mut bytes) = (1, frame.len());
        while end != NONE
            && let Some((more, behind)) = next(end)
        {
            if bytes + more.len() > GATHER {
                break;
            }
            if messages == 1 {
                gather.extend_from_slice(frame);
            }
            gather.extend_from_slice(more);
            (messages, bytes, end) = (messages + 1, bytes + more.len(), behind);
        }
        let content = if messages == 1 { Content::Frame } else { Content::Gathered };
        Some(Chunk { first, end, messages, content })
    }

    /// What to write for a chunk, as long as no other one was asked for.
    pub(crate) fn bytes(&self, chunk: &Chunk, form: Form) -> &[u8] {
        match chunk.content {
            Content::Gathered | Content::Batch | Content::Events => &self.gather,
            Content::SharedBatch(place) => self.batches.frame(place),
            Content::Frame => self.message(chunk.first).map_or(&[], |(delivery, _)| {
                if form.deflate { delivery.twin() } else { &delivery.frame }
            }),
        }
    }

    /// What is left of a chunk when `written` bytes of it are out, and the messages that are wholly out. `number` is the
    /// first message's among those of the client.
    pub(crate) fn rest(
        &mut self,
        chunk: &Chunk,
        form: Form,
        number: u64,
        mut written: usize,
    ) -> (Rest, u64) {
        if written == 0 {
            // Nothing was begun: message by message, so that conflation can work on them.
            return (Rest::Link(chunk.first, 0), 0);
        }
        if chunk.is_own() {
            let rest = self.bytes(chunk, form).get(written..).unwrap_or_default();
            return (Rest::Bytes(Bytes::copy_from_slice(rest), chunk.end), 0);
        }
        let (mut link, mut done) = (chunk.first, 0);
        while let Some((len, next)) = self.frame_len(link, form, number + done) {
            if written < len {
                break;
            }
            written -= len;
            (link, done) = (next, done + 1);
        }
        (Rest::Link(link, written), done)
    }
}

/// The frame of a message for a client of this form.
fn frame_of<'a>(delivery: &'a Delivery, form: Form, deflater: &mut Option<Deflater>) -> &'a Bytes {
    if form.deflate { delivery.deflated(deflater.get_or_insert_default()) } else { &delivery.frame }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Subscriber;

    #[test]
    fn what_every_delivery_touches_stays_small() {
        assert_eq!((size_of::<Link>(), size_of::<Subscriber>()), (8, 8));
        assert!(size_of::<Delivery>() <= 176, "{} bytes", size_of::<Delivery>());
    }
}
