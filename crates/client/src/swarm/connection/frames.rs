//! Frames of a WebSocket: what each of them says, and the close code that ends the conversation.

use wsgateway_proto::decoder::{Event, Limits, Violation};
use wsgateway_proto::frame::{self, Opcode};

use super::{Connection, MAX_OUTBOX};
use crate::mask_key;
use crate::swarm::hear::Ear;
use crate::swarm::record::Record;

impl Connection {
    /// Treats every message; returns the close code that ends the conversation, if one came.
    pub(super) fn hear(&mut self, bytes: &mut [u8], record: &mut Record) -> Option<u16> {
        let limits = Limits { deflate: self.deflate, ..record.limits };
        let number = self.number as usize;
        let Self { decoder, place, tally, ledger, rest, .. } = self;
        let mut ear = Ear { number, place, arrival: record.arrival(), tally, ledger, rest };
        let mut position = 0;
        loop {
            let heard = match decoder.next(bytes, &mut position, &limits) {
                Ok(None) => return None,
                Ok(Some(Event::Deflated(opcode, data))) => deflated(opcode, data, &mut ear, record),
                Ok(Some(event)) => treat(&event, &mut ear, record),
                Err(violation) => Err(violation),
            };
            match heard {
                Ok(None) => {}
                Ok(Some(code)) => return Some(code),
                Err(violation) => {
                    record.counters.violations += 1;
                    record.last_error = Some(violation.to_string());
                    return Some(violation.close_code);
                }
            }
        }
    }
}

/// One message; the code of a close frame.
fn treat(
    event: &Event<'_>,
    ear: &mut Ear<'_>,
    record: &mut Record,
) -> Result<Option<u16>, Violation> {
    match *event {
        Event::Text(text) => ear.text(text, record),
        Event::Binary(bytes) => ear.binary(bytes, record),
        Event::Ping(payload) => {
            record.counters.pings += 1;
            if record.answer_pings && record.out.len() < MAX_OUTBOX {
                frame::write_masked(&mut record.out, Opcode::Pong, payload, mask_key());
            }
        }
        Event::Pong(_) | Event::Deflated(..) => {}
        Event::Close(close) => return Ok(Some(close.map_or(1005, |close| close.code))),
    }
    Ok(None)
}

/// One compressed message.
fn deflated(
    opcode: Opcode,
    data: &[u8],
    ear: &mut Ear<'_>,
    record: &mut Record,
) -> Result<Option<u16>, Violation> {
    record.counters.deflated += 1;
    let mut inflater = record.inflater.take().unwrap_or_default();
    let heard = match inflater.message(opcode, data, record.limits.message_bytes) {
        Ok(event) => treat(&event, ear, record),
        Err(violation) => Err(violation),
    };
    record.inflater = Some(inflater);
    heard
}
