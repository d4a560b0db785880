//! The bookkeeping that all connections of a swarm share.

use std::num::NonZeroU16;
use std::time::SystemTime;

use hdrhistogram::Histogram;
use wsgateway_proto::decoder::Limits;
use wsgateway_proto::deflate::Inflater;

use super::{Dialect, Observer, SwarmOptions};
use crate::counters::Counters;
use crate::envelope;

/// The longest latency that is told apart: one minute. Longer ones count as that.
const LONGEST_NS: u64 = 60_000_000_000;

/// Epochs that are told apart. More than this many streams in one run are beyond any test; a
/// connection that meets one more resumes without a cursor.
const MAX_EPOCHS: usize = 1_024;

/// The names of the streams that greetings told, so that a connection holds a number.
#[derive(Debug, Default)]
pub(super) struct Epochs(Vec<Box<str>>);

impl Epochs {
    /// The number of a name.
    pub(super) fn number(&mut self, name: &str) -> Option<NonZeroU16> {
        let known = self.0.iter().rposition(|known| **known == *name);
        let index = match known {
            Some(index) => index,
            None if self.0.len() < MAX_EPOCHS => {
                self.0.push(name.into());
                self.0.len() - 1
            }
            None => return None,
        };
        NonZeroU16::new(u16::try_from(index).ok()?.checked_add(1)?)
    }

    /// The name of a number.
    pub(super) fn name(&self, number: NonZeroU16) -> Option<&str> {
        self.0.get(usize::from(number.get()) - 1).map(AsRef::as_ref)
    }
}

/// Sums, settings and scratch space.
pub(super) struct Record {
    pub(super) counters: Counters,
    pub(super) latency: Option<LatencyRecord>,
    pub(super) limits: Limits,
    pub(super) answer_pings: bool,
    /// The field's name in quotes with its colon, ready to search for.
    pub(super) number_field: Option<String>,
    pub(super) last_error: Option<String>,
    /// Made when the first compressed message comes.
    pub(super) inflater: Option<Inflater>,
    pub(super) dialect: Option<Box<dyn Dialect>>,
    pub(super) observer: Option<Box<dyn Observer>>,
    pub(super) epochs: Epochs,
    /// What a connection is about to send.
    pub(super) out: Vec<u8>,
}

pub(super) struct LatencyRecord {
    field: String,
    unit_ns: u64,
    pub(super) histogram: Histogram<u64>,
}

impl Record {
    pub(super) fn new(options: &mut SwarmOptions) -> Self {
        let latency = options.latency.as_ref().and_then(|latency| {
            Some(LatencyRecord {
                field: quoted(&latency.field),
                unit_ns: latency.unit.nanoseconds(),
                // From a microsecond on, three digits exact: the arguments are constants in range.
                histogram: Histogram::new_with_bounds(1_000, LONGEST_NS, 3).ok()?,
            })
        });
        Self {
            counters: Counters::default(),
            latency,
            limits: Limits {
                message_bytes: options.message_bytes,
                fragments: u32::MAX,
                deflate: false,
            },
            answer_pings: options.answer_pings,
            number_field: options.number_field.as_deref().map(quoted),
            last_error: None,
            inflater: None,
            dialect: options.dialect.take(),
            observer: options.observer.take(),
            epochs: Epochs::default(),
            out: Vec::new(),
        }
    }

    /// When what was just read arrived, if anyone wants to know: Unix ns.
    pub(super) fn arrival(&self) -> u64 {
        if self.latency.is_none() {
            return 0;
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Enters how old the payload in `text` is, if it says when it was published.
    pub(super) fn latency(&mut self, text: &str, arrival: u64) {
        if let Some(latency) = &mut self.latency
            && let Some(sent) = envelope::number_after(text, &latency.field)
        {
            let span = arrival.saturating_sub(sent.saturating_mul(latency.unit_ns));
            latency.histogram.saturating_record(span);
        }
    }
}

fn quoted(field: &str) -> String {
    format!("\"{field}\":")
}
