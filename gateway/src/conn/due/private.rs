//! Private frames: those of protocols in which no two clients get the same bytes, or which share too little to keep.
//!
//! They are put together in the buffer that they are sent from: no allocation, and of the message only its envelope is
//! written anew. What a socket does not take is copied for its outbox. They are neither compressed nor batched.

use wsgateway_config::Protocol;
use wsgateway_proto::{odin, symbols};

use super::{Chunk, Content, Due, GATHER, NONE};
use crate::conn::form::Form;
use crate::encode::Delivery;

/// Memory that the gathering buffer keeps beyond a flush: a message of a megabyte is no reason to hold one for ever.
const KEPT: usize = 4 * GATHER;

/// Appends the frame of a message for a client of this form; `number` is the message's among those of the client.
pub(crate) fn write(out: &mut Vec<u8>, message: &Delivery, form: Form, number: u64) {
    match form.protocol {
        Protocol::WsGateway => out.extend_from_slice(&message.frame),
        Protocol::Odin => odin::frame(out, number, message.odin_head(), message.odin_tail()),
        Protocol::Symbols => symbols::trade(out, message.tail(), message.ts),
    }
}

/// Bytes that [`write`] appends.
pub(super) fn len(message: &Delivery, form: Form, number: u64) -> usize {
    match form.protocol {
        Protocol::WsGateway => message.frame.len(),
        Protocol::Odin => odin::frame_len(number, message.odin_head(), message.odin_tail()),
        Protocol::Symbols => symbols::trade_len(message.tail(), message.ts),
    }
}

impl Due {
    /// The next write of a list: as many messages as fit [`GATHER`], or one larger one. The first one's number is
    /// `number`.
    pub(super) fn private_chunk(&mut self, first: u32, form: Form, number: u64) -> Option<Chunk> {
        let Self { links, deliveries, gather, .. } = self;
        gather.clear();
        let (mut end, mut messages) = (first, 0);
        while end != NONE {
            let link = links.get(end as usize)?;
            let message = deliveries.get(link.delivery as usize)?;
            if messages > 0 && gather.len() + len(message, form, number + messages) > GATHER {
                break;
            }
            write(gather, message, form, number + messages);
            (end, messages) = (link.next, messages + 1);
        }
        (messages > 0).then_some(Chunk { first, end, messages, content: Content::Gathered })
    }

    /// Offsets of the messages of a list, from a link on.
    pub(crate) fn offsets(&self, mut link: u32) -> impl Iterator<Item = u64> {
        std::iter::from_fn(move || {
            let (message, next) = self.message(link)?;
            link = next;
            Some(message.offset)
        })
    }

    /// Gives back what a large message has made the buffer grow by.
    pub(super) fn shrink(&mut self) {
        if self.gather.capacity() > KEPT {
            self.gather.clear();
            self.gather.shrink_to(KEPT);
        }
    }
}
