//! What one connection has received: twice, late, or not at all.
//!
//! In: the envelopes of its data messages, in the order of arrival, and the offsets of its
//! acknowledgements. Out: a verdict per message. The state belongs to one connection: 24 bytes a
//! channel, nothing per message. Pure.
//!
//! The rules are those of the protocol. On a channel each message names the one before it
//! (`prev`), so a hole is seen at the next message, and an acknowledgement says from where on
//! nothing may be missing, so a hole before a channel's first message is seen as well. Offsets of
//! one connection only rise. What lies below is either late, when it falls into a known hole, or
//! a repetition.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::envelope::Envelope;

/// Holes that are remembered to tell a late message from a repeated one. When more are open the
/// oldest is forgotten; by then the verdict "messages are missing" stands anyway.
const MAX_HOLES: usize = 64;

/// What a message says about the delivery so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next one of its channel, and later than everything before.
    InOrder,
    /// Messages of its channel before it did not come.
    AfterGap,
    /// Came before.
    Duplicate,
    /// Came after later ones.
    OutOfOrder,
    /// Contradicts what was said before: its `prev` is older than a message that came, or it lies
    /// before the acknowledged offset.
    Inconsistent,
}

/// Record of one connection.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By hash, so that a channel costs the same whatever its name.
    channels: Vec<Channel>,
    holes: Vec<Hole>,
    last_offset: u64,
    acknowledged: Option<u64>,
}

#[derive(Debug)]
struct Channel {
    hash: u64,
    last_offset: u64,
    /// The payload's own number, where it has one.
    last_number: Option<u64>,
}

/// Offsets of a channel, both ends excluded, within which something is missing.
#[derive(Clone, Copy, Debug)]
struct Hole {
    hash: u64,
    after: u64,
    before: u64,
}

impl Ledger {
    /// An acknowledgement: everything after `offset` will come.
    pub fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(Some(offset));
        self.last_offset = self.last_offset.max(offset);
    }

    /// An acknowledgement that continues nothing: the stream is another one, or has lost what
    /// came between. What follows is judged from `offset` on.
    pub fn restart(&mut self, offset: u64) {
        *self = Self { last_offset: offset, acknowledged: Some(offset), ..Self::default() };
    }

    /// The connection is over: the next one is judged by its own acknowledgement, since `prev` is
    /// another pod's then. The cursor stays.
    pub fn reconnect(&mut self) {
        *self = Self { last_offset: self.last_offset, ..Self::default() };
    }

    /// The highest offset seen or acknowledged: the cursor of a client that resumes.
    pub fn last_offset(&self) -> u64 {
        self.last_offset
    }

    /// Channels on which something came.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Enters a message.
    pub fn message(&mut self, envelope: &Envelope<'_>) -> Verdict {
        let hash = hash(envelope.channel);
        let late = envelope.offset < self.last_offset;
        self.last_offset = self.last_offset.max(envelope.offset);
        match self.channels.binary_search_by_key(&hash, |channel| channel.hash) {
            Ok(at) => self.next(at, envelope, late),
            Err(at) => {
                let last_offset = envelope.offset;
                self.channels.insert(at, Channel { hash, last_offset, last_number: None });
                match self.acknowledged {
                    Some(acknowledged) if envelope.offset <= acknowledged => Verdict::Inconsistent,
                    Some(acknowledged) if envelope.prev > acknowledged => {
                        self.hole(hash, acknowledged, envelope.offset);
                        Verdict::AfterGap
                    }
                    _ if late => Verdict::OutOfOrder,
                    _ => Verdict::InOrder,
                }
            }
        }
    }

    /// Enters the payload's own number, which rises by one on each channel; true when it did.
    /// Call it after [`Self::message`], and only for a message that was neither late nor repeated.
    pub fn number(&mut self, channel: &str, number: u64) -> bool {
        let hash = hash(channel);
        let Ok(at) = self.channels.binary_search_by_key(&hash, |channel| channel.hash) else {
            return false;
        };
        let Some(channel) = self.channels.get_mut(at) else { return false };
        let last = channel.last_number.replace(number);
        last.is_none_or(|last| last.checked_add(1) == Some(number))
    }

    /// A further message of a known channel.
    fn next(&mut self, at: usize, envelope: &Envelope<'_>, late: bool) -> Verdict {
        let Some(channel) = self.channels.get_mut(at) else { return Verdict::Inconsistent };
        let (hash, last) = (channel.hash, channel.last_offset);
        if envelope.offset <= last {
            return if self.fill(hash, envelope.offset) {
                Verdict::OutOfOrder
            } else {
                Verdict::Duplicate
            };
        }
        channel.last_offset = envelope.offset;
        if envelope.prev > last {
            self.hole(hash, last, envelope.offset);
            return Verdict::AfterGap;
        }
        match envelope.prev < last {
            true => Verdict::Inconsistent,
            false if late => Verdict::OutOfOrder,
            false => Verdict::InOrder,
        }
    }

    fn hole(&mut self, hash: u64, after: u64, before: u64) {
        if self.holes.len() == MAX_HOLES {
            self.holes.remove(0);
        }
        self.holes.push(Hole { hash, after, before });
    }

    /// Whether the offset lies in a hole; splits the hole, so that the next one there is a repeat.
    fn fill(&mut self, hash: u64, offset: u64) -> bool {
        let holes = &mut self.holes;
        let inside = |hole: &Hole| hole.hash == hash && hole.after < offset && offset < hole.before;
        let Some(at) = holes.iter().position(inside) else { return false };
        let Hole { after, before, .. } = holes.swap_remove(at);
        holes.push(Hole { hash, after, before: offset });
        holes.push(Hole { hash, after: offset, before });
        holes.truncate(MAX_HOLES);
        true
    }
}

fn hash(channel: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    channel.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
