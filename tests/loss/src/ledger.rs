//! What every client was owed and what it got.
//!
//! In: what was published (the [`Book`]), and for each client the messages, acknowledgements and told gaps in the
//! order of their arrival. Out: [`Counts`] since the last settlement, and examples of what went wrong. Four bytes a
//! client and channel, nothing per message: a hole is remembered as a range until the settlement, when the publishers
//! rest and it is known what should have come. Pure.
//!
//! The judge is the publisher's own number in the payload, which rises by one on each channel, over all reconnects,
//! pods and streams. A message that a client is owed is **lost** when it has not come at the settlement, unless a gap
//! with reason `retention` or `epoch` covers its place: then it is **told**. A gap with reason `retention` excuses only
//! what the stream has discarded indeed. It came **twice** when it was no hole, and
//! **out of order** when it fills one, or when its offset is below one that came before.

mod counts;

use std::collections::HashMap;

use crate::book::{Book, Place};
use crate::interest::{covered, covers};
use crate::poison;

pub use counts::{Counts, Excuse};

/// Holes that one client may have at once; what is missing beyond them is lost without further question.
const MAX_HOLES: usize = 4_096;

/// Gaps that one client may be told between two settlements.
const MAX_TOLD: usize = 1_024;

/// Examples that are kept for the report.
const MAX_EXAMPLES: usize = 12;

/// What is thought of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next one of its channel.
    Next,
    /// Others of its channel before it have not come.
    AfterHole,
    /// Came before.
    Twice,
    /// Should have come earlier.
    OutOfOrder,
    /// The stream holds it twice: the publisher's doing, or the stream's.
    StoredTwice,
    /// Of a channel that the client has not asked for.
    Stray,
}

/// Messages of a channel that have not come, both ends included.
#[derive(Clone, Copy, Debug)]
struct Hole {
    channel: u16,
    from: u32,
    to: u32,
}

/// A gap that a client was told.
#[derive(Debug)]
struct Told {
    pattern: Box<str>,
    from: u64,
    to: u64,
    /// The stream of the time.
    stream: u16,
    /// Everything in earlier streams is gone as well.
    epoch: bool,
}

impl Told {
    fn covers(&self, channel: &str, place: Place) -> bool {
        let inside = place.stream == self.stream && (self.from..=self.to).contains(&place.offset);
        (inside || self.epoch && place.stream < self.stream) && covers(&self.pattern, channel)
    }
}

#[derive(Debug)]
struct Account {
    /// Numbers of the channels that it listens to, rising.
    channels: Box<[u16]>,
    /// The last number that came on each of them.
    last: Box<[u32]>,
    holes: Vec<Hole>,
    told: Vec<Told>,
    /// The highest offset that came or was acknowledged, of the stream that it reads.
    offset: u64,
    /// It has left, and is owed nothing.
    gone: bool,
}

/// The accounts of all clients.
#[derive(Debug)]
pub struct Ledger {
    /// What was published.
    pub book: Book,
    names: Vec<String>,
    numbers: HashMap<String, u16>,
    accounts: Vec<Account>,
    counts: Counts,
    examples: Vec<String>,
}

impl Ledger {
    /// Accounts for clients with these patterns.
    pub fn new(channels: Vec<String>, patterns: &[Vec<String>]) -> Self {
        let account = |patterns: &Vec<String>| {
            let channels = covered(patterns, &channels);
            let last = vec![0; channels.len()].into();
            let (holes, told) = (Vec::new(), Vec::new());
            Account { channels: channels.into(), last, holes, told, offset: 0, gone: false }
        };
        Self {
            book: Book::new(channels.len()),
            accounts: patterns.iter().map(account).collect(),
            numbers: (0..).zip(&channels).map(|(number, name)| (name.clone(), number)).collect(),
            names: channels,
            counts: Counts::default(),
            examples: Vec::new(),
        }
    }

    /// The client may now expect everything after `offset`, of the stream that it has been greeted with.
    pub fn acknowledged(&mut self, client: usize, offset: u64) {
        if let Some(account) = self.accounts.get_mut(client) {
            account.offset = offset;
        }
    }

    /// The client has left: nothing is owed to it from now on, and what is missing will not be missed.
    pub fn left(&mut self, client: usize) {
        if let Some(account) = self.accounts.get_mut(client) {
            account.gone = true;
            account.holes.clear();
            account.told.clear();
        }
    }

    /// The client is about to come: it is owed what is published from now on.
    pub fn join(&mut self, client: usize) {
        if let Some(account) = self.accounts.get_mut(client) {
            account.gone = false;
            for (channel, last) in account.channels.iter().zip(&mut account.last) {
                *last = self.book.last(*channel);
            }
        }
    }

    /// Whether the client has left.
    pub fn is_gone(&self, client: usize) -> bool {
        self.accounts.get(client).is_some_and(|account| account.gone)
    }

    /// The highest offset that the client knows.
    pub fn offset(&self, client: usize) -> u64 {
        self.accounts.get(client).map_or(0, |account| account.offset)
    }

    /// A message: its channel, the publisher's number in it, its offset.
    pub fn message(&mut self, client: usize, channel: &str, number: u32, offset: u64) -> Verdict {
        let verdict = self.judge(client, channel, number, offset);
        let text = match verdict {
            Verdict::Next | Verdict::AfterHole => None,
            Verdict::Twice => Some("came twice"),
            Verdict::OutOfOrder => Some("came late"),
            Verdict::StoredTwice => Some("is in the stream twice"),
            Verdict::Stray => Some("was not asked for"),
        };
        if let Some(text) = text {
            self.example(format!("client {client}: {channel} #{number} at {offset} {text}"));
        }
        self.counts.enter(verdict);
        verdict
    }

    fn judge(&mut self, client: usize, channel: &str, number: u32, offset: u64) -> Verdict {
        let Some(channel) = self.number(channel) else { return Verdict::Stray };
        let Some(account) = self.accounts.get_mut(client) else { return Verdict::Stray };
        let Ok(at) = account.channels.binary_search(&channel) else { return Verdict::Stray };
        let Some(last) = account.last.get_mut(at) else { return Verdict::Stray };
        let late = offset < account.offset;
        account.offset = account.offset.max(offset);
        if number <= *last {
            if fill(&mut account.holes, channel, number) {
                return Verdict::OutOfOrder;
            }
            let stored = self.book.place(channel, number);
            return match stored.is_some_and(|place| place.offset != offset) {
                true => Verdict::StoredTwice,
                false => Verdict::Twice,
            };
        }
        let before = std::mem::replace(last, number);
        if number > before + 1 {
            match account.holes.len() < MAX_HOLES {
                true => account.holes.push(Hole { channel, from: before + 1, to: number - 1 }),
                false => self.counts.lost += u64::from(number - 1 - before),
            }
            return Verdict::AfterHole;
        }
        if late { Verdict::OutOfOrder } else { Verdict::Next }
    }

    /// The number of a channel, whose name may be written in several ways.
    fn number(&self, channel: &str) -> Option<u16> {
        let known = self.numbers.get(channel);
        known.or_else(|| self.numbers.get(&poison::canonical(channel))).copied()
    }

    /// A data message that carries no number.
    pub fn garbled(&mut self, client: usize, what: &str) {
        self.counts.garbled += 1;
        self.example(format!("client {client}: not to be read: {what}"));
    }

    /// The server tells a client that offsets `from..=to` are gone.
    pub fn told(&mut self, client: usize, pattern: &str, (from, to): (u64, u64), reason: &str) {
        let epoch = match reason {
            "epoch" => true,
            "retention" => false,
            _ => {
                self.counts.told_otherwise += 1;
                self.example(format!("client {client}: gap {pattern} {from}-{to} {reason}"));
                return;
            }
        };
        match epoch {
            true => self.counts.told_epoch += 1,
            false => {
                self.counts.told_retention += 1;
                self.example(format!("client {client}: gap {pattern} {from}-{to} retention"));
            }
        }
        let stream = self.book.stream();
        if let Some(account) = self.accounts.get_mut(client)
            && account.told.len() < MAX_TOLD
        {
            account.told.push(Told { pattern: pattern.into(), from, to, stream, epoch });
        }
    }

    /// Whether the client has been told of an epoch since the last settlement.
    pub fn knows_epoch(&self, client: usize) -> bool {
        let told = |account: &Account| account.told.iter().any(|told| told.epoch);
        self.accounts.get(client).is_some_and(told)
    }

    /// The last offset, in the stream of now, of all channels of a client: it is up to date when it has got there.
    pub fn aim(&self, client: usize) -> u64 {
        let Some(account) = self.accounts.get(client) else { return 0 };
        let last = |channel: &u16| self.book.place(*channel, self.book.last(*channel));
        let current = |place: &Place| place.stream == self.book.stream();
        let places = account.channels.iter().filter_map(last).filter(current);
        places.map(|place| place.offset).max().unwrap_or(0)
    }

    /// Clients to whom something up to `mark` has not come and was not told to be gone.
    pub fn behind(&self, mark: &[u32]) -> usize {
        self.accounts.iter().filter(|account| self.is_behind(account, mark)).count()
    }

    fn is_behind(&self, account: &Account, mark: &[u32]) -> bool {
        !account.gone
            && account.channels.iter().zip(&account.last).any(|(channel, last)| {
                let want = mark.get(usize::from(*channel)).copied().unwrap_or(0);
                *last < want && !self.is_told(account, *channel, want)
            })
    }

    fn is_told(&self, account: &Account, channel: u16, number: u32) -> bool {
        let place = self.book.place(channel, number);
        let name = self.names.get(usize::from(channel));
        place.zip(name).is_some_and(|(place, name)| {
            let gone = self.book.is_gone(place);
            account.told.iter().any(|told| (told.epoch || gone) && told.covers(name, place))
        })
    }

    /// Strikes the balance while nothing is published or under way: what has not come is lost, or was told. Then all
    /// begins anew with the next message.
    pub fn settle(&mut self) -> (Counts, Vec<String>) {
        let mut accounts = std::mem::take(&mut self.accounts);
        for (client, account) in
            accounts.iter_mut().enumerate().filter(|(_, account)| !account.gone)
        {
            self.close(client, account);
        }
        self.accounts = accounts;
        (std::mem::take(&mut self.counts), std::mem::take(&mut self.examples))
    }

    fn close(&mut self, client: usize, account: &mut Account) {
        let mut open = std::mem::take(&mut account.holes);
        for (channel, last) in account.channels.iter().zip(&mut account.last) {
            let want = self.book.last(*channel);
            if *last < want {
                open.push(Hole { channel: *channel, from: *last + 1, to: want });
                *last = want;
            }
        }
        for hole in open {
            for number in hole.from..=hole.to {
                self.missing(client, account, hole.channel, number);
            }
        }
        account.told.clear();
    }

    fn missing(&mut self, client: usize, account: &Account, channel: u16, number: u32) {
        if self.is_told(account, channel, number) {
            self.counts.told_missing += 1;
            return;
        }
        self.counts.lost += 1;
        let name = self.names.get(usize::from(channel)).map_or("", String::as_str);
        let place = self.book.place(channel, number);
        let text = match place {
            Some(place) => format!("of stream {} at {}", place.stream, place.offset),
            None => "of no known place".to_owned(),
        };
        self.example(format!("client {client}: {name} #{number} {text} did not come"));
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(text);
        }
    }
}

/// Whether the number lies in a hole of the channel; takes it out.
fn fill(holes: &mut Vec<Hole>, channel: u16, number: u32) -> bool {
    let inside = |hole: &Hole| hole.channel == channel && (hole.from..=hole.to).contains(&number);
    let Some(at) = holes.iter().position(inside) else { return false };
    let Hole { from, to, .. } = holes.swap_remove(at);
    if from < number {
        holes.push(Hole { channel, from, to: number - 1 });
    }
    if number < to {
        holes.push(Hole { channel, from: number + 1, to });
    }
    true
}

#[cfg(test)]
mod tests;
