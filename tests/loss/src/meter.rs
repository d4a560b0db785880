//! The one place where publishers, clients and the schedule meet.
//!
//! In: acknowledgements of publishers, everything that clients hear, and the time of it. Out: the settled counts of a
//! fault with how long each client was away. Owns the [`Ledger`]; shared behind one lock, held for microseconds.

mod away;
mod cuts;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wsgateway_client::envelope::{self, Envelope};
use wsgateway_client::{Acknowledgement, Gap, Observer};

use crate::ledger::{Counts, Ledger};
use away::Away;
use cuts::Ends;

pub use away::Spans;
pub use cuts::Cuts;

/// The payload field with the publisher's number.
const NUMBER: &str = "\"n\":";

/// What the schedule wants to know about one fault.
#[derive(Debug)]
pub struct Settled {
    /// What came and what did not.
    pub counts: Counts,
    /// What went wrong, in words; not all of it.
    pub examples: Vec<String>,
    /// From the end of a connection until its client was up to date again.
    pub spans: Spans,
    /// How connections ended, by close code; 1006: without a word.
    pub closes: BTreeMap<u16, u64>,
    /// Connections that ended under clients that were served.
    pub cuts: Cuts,
}

/// Everything that is known about a run.
#[derive(Debug)]
pub struct Meter {
    ledger: Ledger,
    away: Away,
    ends: Ends,
    closes: BTreeMap<u16, u64>,
    /// Clients that have been acknowledged once.
    greeted: Vec<bool>,
    refused_channels: u64,
}

/// The shared meter.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Meter>>);

impl Shared {
    /// A meter for clients with these patterns.
    pub fn new(channels: Vec<String>, patterns: &[Vec<String>]) -> Self {
        Self(Arc::new(Mutex::new(Meter {
            ledger: Ledger::new(channels, patterns),
            away: Away::new(patterns.len()),
            ends: Ends::new(patterns.len()),
            closes: BTreeMap::new(),
            greeted: vec![false; patterns.len()],
            refused_channels: 0,
        })))
    }

    /// The meter itself. Whoever panicked with it in hand has failed the run already.
    pub fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    /// JetStream has acknowledged the next message of a channel.
    pub fn published(&mut self, channel: u16, offset: u64) {
        self.ledger.book.publish(channel, offset);
    }

    /// Messages published so far.
    pub fn published_in_all(&self) -> u64 {
        self.ledger.book.published()
    }

    /// The stream is about to be replaced.
    pub fn next_stream(&mut self) {
        self.ledger.book.next_stream();
    }

    /// The stream has discarded what lies before an offset.
    pub fn discarded(&mut self, first: u64) {
        self.ledger.book.discarded(first);
    }

    /// Connections that ended under clients that were served, since the last settlement.
    pub fn cuts(&self) -> u64 {
        self.ends.count()
    }

    /// How far every channel is.
    pub fn mark(&self) -> Vec<u32> {
        self.ledger.book.mark()
    }

    /// Clients that have not got everything up to the mark, or are not connected.
    pub fn behind(&self, mark: &[u32]) -> usize {
        self.ledger.behind(mark).max(self.away.absent())
    }

    /// Clients that have never been acknowledged, of those who are there.
    pub fn ungreeted(&self) -> usize {
        let is_waited_for = |client: &usize| {
            !self.ledger.is_gone(*client) && self.greeted.get(*client) == Some(&false)
        };
        (0..self.greeted.len()).filter(is_waited_for).count()
    }

    /// Clients have ended their connections for good: they are owed nothing from now on.
    pub fn left(&mut self, clients: Range<usize>) {
        for client in clients {
            self.ledger.left(client);
            self.away.left(client);
            self.ends.left(client);
            if let Some(greeted) = self.greeted.get_mut(client) {
                *greeted = false;
            }
        }
    }

    /// Clients are about to come, with no cursor, while nothing is published or under way: they are owed what follows.
    pub fn join(&mut self, clients: Range<usize>) {
        clients.for_each(|client| self.ledger.join(client));
    }

    /// Clients that were not told that the stream is another one.
    pub fn unaware(&self) -> usize {
        (0..self.greeted.len()).filter(|client| !self.ledger.knows_epoch(*client)).count()
    }

    /// Channels that a gateway refused, which makes every count meaningless.
    pub fn refused_channels(&self) -> u64 {
        self.refused_channels
    }

    /// A data message of a client: its channel, the text from `ts` on, its offset.
    pub fn message(&mut self, client: usize, channel: &str, rest: &str, offset: u64, at: Instant) {
        let number = envelope::number_after(rest, NUMBER).and_then(|n| u32::try_from(n).ok());
        match number {
            Some(number) => self.numbered(client, channel, number, offset, at),
            None => self.ledger.garbled(client, rest),
        }
    }

    /// The same, when the number has been read already.
    pub fn numbered(
        &mut self,
        client: usize,
        channel: &str,
        number: u32,
        offset: u64,
        at: Instant,
    ) {
        self.ledger.message(client, channel, number, offset);
        self.away.reached(client, offset, at);
    }

    /// Channels were refused.
    pub fn refused(&mut self, channels: u64) {
        self.refused_channels += channels;
    }

    /// A client may expect everything after `offset`; it is back when it has all that is published by now.
    pub fn acknowledged(&mut self, client: usize, offset: u64, rejected: u64, at: Instant) {
        self.refused(rejected);
        if let Some(greeted) = self.greeted.get_mut(client) {
            *greeted = true;
        }
        self.ledger.acknowledged(client, offset);
        self.ends.acknowledged(client);
        self.away.acknowledged(client, self.ledger.aim(client));
        self.away.reached(client, offset, at);
    }

    /// A client was told that offsets are gone.
    pub fn told(&mut self, client: usize, channel: &str, range: (u64, u64), reason: &str) {
        self.ledger.told(client, channel, range, reason);
    }

    /// A connection, or an attempt, is over.
    pub fn ended(&mut self, client: usize, close_code: Option<u16>, at: Instant) {
        if let Some(code) = close_code {
            *self.closes.entry(code).or_default() += 1;
        }
        self.ends.ended(client, close_code, at);
        // Before the first acknowledgement nothing is interrupted.
        if self.greeted.get(client).copied().unwrap_or(false) {
            self.away.ended(client, at);
        }
    }

    /// Strikes the balance, while nothing is published or under way.
    pub fn settle(&mut self) -> Settled {
        let (counts, examples) = self.ledger.settle();
        let closes = std::mem::take(&mut self.closes);
        let (spans, cuts) = (self.away.settle(), self.ends.settle());
        Settled { counts, examples, spans, closes, cuts }
    }
}

/// The swarm's clients write into the meter as it is.
impl Observer for Shared {
    fn message(&mut self, client: usize, envelope: &Envelope<'_>) {
        let Envelope { channel, offset, rest, .. } = *envelope;
        self.lock().message(client, channel, rest, offset, Instant::now());
    }

    fn acknowledged(&mut self, client: usize, ack: &Acknowledgement) {
        let offset = ack.offset.unwrap_or_default();
        self.lock().acknowledged(client, offset, ack.rejected, Instant::now());
    }

    fn gap(&mut self, client: usize, gap: &Gap<'_>) {
        self.lock().told(client, gap.channel, (gap.from, gap.to), gap.reason);
    }

    fn ended(&mut self, client: usize, close_code: Option<u16>) {
        self.lock().ended(client, close_code, Instant::now());
    }
}
