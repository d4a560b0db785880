//! What a server says, counted: data by its envelope, anything else by its JSON, or all of it by a
//! [`Dialect`] of the caller's.

use std::num::NonZeroU16;

use serde::Deserialize;
use serde_json::value::RawValue;
use wsgateway_proto::frame::{self, Opcode};
use wsgateway_proto::v1;

use super::connection::{MAX_OUTBOX, Tally};
use super::pushes;
use super::record::Record;
use crate::ledger::{Ledger, Verdict};
use crate::{envelope, mask_key};

/// A wire other than `wsgateway.v1`, so that other servers can be measured with the same clients.
pub trait Dialect: Send {
    /// Acknowledgements that a connection gets before it counts as subscribed.
    fn acknowledgements(&self) -> u64;

    /// Hears what has come and was not heard before: one or more whole WebSocket messages, of
    /// which the first may have been heard in part. Returns how many bytes are done with; the rest
    /// comes again, with the next message behind it.
    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize;
}

/// Where a [`Dialect`] enters what it understood.
pub struct Heard<'a> {
    number: usize,
    arrival: u64,
    tally: &'a mut Tally,
    record: &'a mut Record,
}

impl Heard<'_> {
    /// The connection's number in its swarm.
    pub fn number(&self) -> usize {
        self.number
    }

    /// A data message with this payload.
    pub fn delivery(&mut self, payload: &[u8]) {
        self.tally.messages += 1;
        self.record.counters.messages += 1;
        if self.record.latency.is_some()
            && let Ok(text) = std::str::from_utf8(payload)
        {
            self.record.latency(text, self.arrival);
        }
    }

    /// The server has taken a subscription.
    pub fn acknowledgement(&mut self) {
        self.tally.acks += 1;
        self.record.counters.acks += 1;
    }

    /// The server complains.
    pub fn error(&mut self) {
        self.tally.errors += 1;
        self.record.counters.errors += 1;
    }

    /// Anything else.
    pub fn other(&mut self) {
        self.record.counters.other += 1;
    }

    /// Says something back.
    pub fn answer(&mut self, text: &str) {
        if self.record.out.len() < MAX_OUTBOX {
            frame::write_masked(&mut self.record.out, Opcode::Text, text.as_bytes(), mask_key());
        }
    }
}

/// Numbers of epochs (see [`Epochs`](super::record::Epochs)) that a connection must know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Of the stream that this connection's greeting named.
    pub(super) greeted: Option<NonZeroU16>,
    /// Of the stream that the ledger's last offset belongs to.
    pub(super) cursor: Option<NonZeroU16>,
}

/// A connection's own part in hearing.
pub(super) struct Ear<'a> {
    pub(super) number: usize,
    pub(super) place: &'a mut Place,
    pub(super) arrival: u64,
    pub(super) tally: &'a mut Tally,
    pub(super) ledger: &'a mut Ledger,
    /// What the dialect wants to hear again.
    pub(super) rest: &'a mut Vec<u8>,
}

impl Ear<'_> {
    /// A text message.
    pub(super) fn text(&mut self, text: &str, record: &mut Record) {
        if record.dialect.is_some() {
            self.dialect(text.as_bytes(), record);
        } else if text.as_bytes().starts_with(v1::BATCH_HEAD) {
            self.batch(text, record);
        } else {
            self.push(text, record);
        }
    }

    /// A binary message.
    pub(super) fn binary(&mut self, bytes: &[u8], record: &mut Record) {
        match record.dialect.is_some() {
            true => self.dialect(bytes, record),
            false => record.counters.other += 1,
        }
    }

    fn dialect(&mut self, bytes: &[u8], record: &mut Record) {
        let Some(dialect) = record.dialect.take() else { return };
        let (number, arrival, tally) = (self.number, self.arrival, &mut *self.tally);
        let mut heard = Heard { number, arrival, tally, record };
        if self.rest.is_empty() {
            let done = dialect.hear(bytes, &mut heard);
            self.rest.extend_from_slice(bytes.get(done..).unwrap_or_default());
        } else {
            self.rest.extend_from_slice(bytes);
            let done = dialect.hear(self.rest, &mut heard);
            self.rest.drain(..done.min(self.rest.len()));
        }
        if self.rest.is_empty() {
            *self.rest = Vec::new();
        }
        record.dialect = Some(dialect);
    }

    /// Several data messages in one frame.
    fn batch(&mut self, text: &str, record: &mut Record) {
        #[derive(Deserialize)]
        struct Batch<'a> {
            #[serde(borrow)]
            messages: Vec<&'a RawValue>,
        }
        match serde_json::from_str::<Batch<'_>>(text) {
            Ok(batch) => {
                record.counters.batches += 1;
                batch.messages.iter().for_each(|message| self.push(message.get(), record));
            }
            Err(_) => record.counters.malformed += 1,
        }
    }

    /// One push of `wsgateway.v1`.
    fn push(&mut self, text: &str, record: &mut Record) {
        let Some(envelope) = envelope::scan(text) else {
            match envelope::is_message(text) {
                true => record.counters.malformed += 1,
                false => pushes::count(text, self, record),
            }
            return;
        };
        self.tally.messages += 1;
        record.counters.messages += 1;
        record.latency(envelope.rest, self.arrival);
        if let Some(observer) = &mut record.observer {
            observer.message(self.number, &envelope);
        }
        let verdict = self.ledger.message(&envelope);
        let counters = &mut record.counters;
        match verdict {
            Verdict::InOrder => {}
            Verdict::AfterGap => counters.gaps += 1,
            Verdict::Duplicate => counters.duplicates += 1,
            Verdict::OutOfOrder => counters.out_of_order += 1,
            Verdict::Inconsistent => counters.inconsistent += 1,
        }
        if let Some(field) = &record.number_field
            && matches!(verdict, Verdict::InOrder | Verdict::AfterGap)
        {
            let number = envelope::number_after(envelope.rest, field);
            if !number.is_some_and(|number| self.ledger.number(envelope.channel, number)) {
                counters.number_gaps += 1;
            }
        }
    }
}
