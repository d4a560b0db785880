//! Seed: the last values from before what a pod reads back at its start, found by subject.
//!
//! In: an [`Asked`] from the reader of the stream, for each life of it. Out: a [`Seed`], or nothing when the stream has
//! too many subjects, or is another one by now. What must hold: no more is kept than the history would keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};

use super::Lookup;
use super::stream::failed;
use super::values::Named;
use crate::encode::Delivery;
use crate::history::archive::LookupError;
use crate::history::{MAX_QUIET, cost};

/// Requests for single subjects under way at once: enough to hide the way to NATS and back.
const AT_ONCE: usize = 32;

/// Channels whose last values are from before what is read back.
#[derive(Debug, Default)]
pub(crate) struct Seed {
    /// The newest message of each.
    pub deliveries: Vec<Arc<Delivery>>,
    /// Every channel whose newest message is after this offset is among them, or will be read.
    pub after: u64,
}

/// Asks for the last values of a stream.
#[derive(Debug)]
pub(crate) struct Asked {
    pub what: Wanted,
    pub answer: oneshot::Sender<Seed>,
}

/// Which last values.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The stream as the server names it.
    pub server: String,
    /// First sequence that is read.
    pub start: u64,
    /// Bytes of them that the history keeps.
    pub bytes: usize,
}

/// Answers as long as somebody may ask, one after the other; `first` is there already.
pub(super) async fn serve(
    lookup: Lookup,
    mut first: Option<Asked>,
    mut others: mpsc::Receiver<Asked>,
) {
    loop {
        let asked = match first.take() {
            Some(first) => Some(first),
            None => others.recv().await,
        };
        let Some(mut asked) = asked else { return };
        let seed = tokio::select! {
            seed = lookup.seed(&asked.what) => seed,
            () = asked.answer.closed() => continue,
        };
        match seed {
            // Whoever asked may have gone on without.
            Ok(seed) => drop(asked.answer.send(seed)),
            Err(error) => {
                tracing::info!(%error, "last values from before the history are looked up when they are asked for");
            }
        }
    }
}

impl Lookup {
    async fn seed(&self, wanted: &Wanted) -> Result<Seed, LookupError> {
        let info = self.stream.info().await?;
        if info.epoch != wanted.server {
            return Err(failed("the stream is another one now"));
        }
        if info.subjects > MAX_QUIET as u64 {
            return Err(failed(format!("the stream has {} subjects", info.subjects)));
        }
        let named = self.all_named().await?;
        let mut kept = Kept { bytes: wanted.bytes, ..Kept::default() };
        let mut newest = stream::iter(named.into_values().map(|s| self.newest(&info, s)))
            .buffer_unordered(AT_ONCE);
        while let Some(message) = newest.next().await {
            if let Some(message) = message?.filter(|message| message.sequence < wanted.start) {
                kept.add(self.envelope.encode(&message, 0));
            }
        }
        let deliveries = kept.deliveries.into_values().collect();
        Ok(Seed { deliveries, after: kept.forgotten })
    }

    /// Every subject of the stream.
    async fn all_named(&self) -> Result<Named, LookupError> {
        let (mut named, mut seen) = (Named::new(), 0);
        loop {
            let subjects = self.stream.subjects(">", seen).await?;
            let count = subjects.names.len();
            seen += count;
            self.name(subjects.names, &mut named);
            if count == 0 || seen >= subjects.total || seen > MAX_QUIET {
                return Ok(named);
            }
        }
    }
}

/// The newest of some messages, as many as fit.
#[derive(Default)]
struct Kept {
    deliveries: BTreeMap<u64, Arc<Delivery>>,
    bytes: usize,
    used: usize,
    /// The newest that did not fit.
    forgotten: u64,
}

impl Kept {
    fn add(&mut self, delivery: Arc<Delivery>) {
        if delivery.offset <= self.forgotten {
            return;
        }
        self.used += cost(&delivery);
        self.deliveries.insert(delivery.offset, delivery);
        while self.used > self.bytes
            && let Some((offset, oldest)) = self.deliveries.pop_first()
        {
            self.used -= cost(&oldest);
            self.forgotten = offset;
        }
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_config::Channels;

    use super::*;
    use crate::encode::{Encoder, Message};

    #[test]
    fn of_too_many_the_newest_are_kept_whatever_order_they_come_in() {
        let mut encoder =
            Encoder::new(&Channels { strip_prefix: String::new(), rules: Vec::new() });
        let mut delivery = |sequence| {
            let (subject, payload) = (format!("c{sequence}").into(), "1".into());
            encoder.encode(&Message {
                subject,
                sequence,
                timestamp: 0,
                payload,
                deleted: None,
                trace: None,
            })
        };
        let bytes = 3 * cost(&delivery(9));
        for order in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4]] {
            let mut kept = Kept { bytes, ..Kept::default() };
            order.into_iter().for_each(|sequence| kept.add(delivery(sequence)));
            let offsets: Vec<_> = kept.deliveries.keys().copied().collect();
            assert_eq!((offsets, kept.forgotten), (vec![3, 4, 5], 2), "{order:?}");
        }
    }
}
