//! Batch frames: several messages in one frame, for clients that ask for it.
//!
//! Plain, a batch is copied together for each connection, like any other gathered write. Compressed, it is made once
//! for all connections with the same messages due, which is the rule when they have the same subscriptions; clients
//! that differ from everybody get a bounded share of compressions, then plain batches.

use std::collections::HashMap;

use bytes::Bytes;
use wsgateway_proto::{frame, v1};

use super::{Chunk, Content, Due, GATHER, NONE};
use crate::conn::form::Form;
use crate::encode::MIN_DEFLATE;

/// Compressions that a flush may make however few connections it has.
const FREE: usize = 16;

/// Connections that pay for one more compression: a batch of ten costs about as much as four writes.
const CONNECTIONS_PER_COMPRESSION: usize = 8;

/// Compressed batches of a flush, by the messages in them.
#[derive(Debug, Default)]
pub(super) struct Batches {
    by_messages: HashMap<Box<[u32]>, u32>,
    /// `None` where compression did not pay.
    frames: Vec<Option<Bytes>>,
    /// The messages of the batch at hand.
    numbers: Vec<u32>,
    allowed: usize,
}

impl Batches {
    /// Begins a flush of so many connections: nothing of the one before is kept.
    pub(super) fn allow(&mut self, connections: usize) {
        self.by_messages.clear();
        self.frames.clear();
        self.allowed = FREE + connections / CONNECTIONS_PER_COMPRESSION;
    }

    pub(super) fn frame(&self, place: u32) -> &[u8] {
        self.frames.get(place as usize).and_then(Option::as_deref).unwrap_or_default()
    }
}

impl Due {
    /// The next messages of a list as one frame; `None` when there is only one, or one that is too long to share.
    pub(super) fn batch(&mut self, first: u32, form: Form) -> Option<Chunk> {
        self.batches.numbers.clear();
        let (mut end, mut bytes) = (first, 0);
        while end != NONE {
            let link = self.links.get(end as usize)?;
            let delivery = self.deliveries.get(link.delivery as usize)?;
            let longer = bytes + delivery.body().len() + 1;
            // A gap is a frame of its own.
            if longer > GATHER || delivery.skipped().is_some() {
                break;
            }
            self.batches.numbers.push(link.delivery);
            (end, bytes) = (link.next, longer);
        }
        let messages = self.batches.numbers.len() as u64;
        if messages < 2 {
            return None;
        }
        let content = self.shared(form, bytes).unwrap_or_else(|| {
            self.write_batch();
            Content::Batch
        });
        Some(Chunk { first, end, messages, content })
    }

    /// The compressed batch of the messages at hand, made now if nobody had the same ones before.
    fn shared(&mut self, form: Form, bytes: usize) -> Option<Content> {
        if !form.deflate || bytes < MIN_DEFLATE {
            return None;
        }
        let batches = &mut self.batches;
        if let Some(place) = batches.by_messages.get(batches.numbers.as_slice()).copied() {
            let pays = batches.frames.get(place as usize).is_some_and(Option::is_some);
            return pays.then_some(Content::SharedBatch(place));
        }
        batches.allowed = batches.allowed.checked_sub(1)?;
        self.write_batch();
        let deflater = self.deflater.get_or_insert_default();
        let mut twin = Vec::new();
        let pays = deflater.message(frame::payload(&self.gather), &mut twin);
        let batches = &mut self.batches;
        let place = batches.frames.len() as u32;
        batches.by_messages.insert(batches.numbers.as_slice().into(), place);
        batches.frames.push(pays.then(|| twin.into()));
        pays.then_some(Content::SharedBatch(place))
    }

    /// Writes the messages at hand into the gathering buffer, as one plain frame.
    fn write_batch(&mut self) {
        let Self { deliveries, batches, gather, .. } = self;
        gather.clear();
        let bodies = batches
            .numbers
            .iter()
            .filter_map(|number| deliveries.get(*number as usize))
            .map(|delivery| delivery.body());
        v1::batch(gather, bodies);
    }
}
