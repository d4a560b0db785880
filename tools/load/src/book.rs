//! What a worker's clients receive (pure): latency, accounts, and the server's clock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::account::{Account, Sums};
use crate::bounds::Bounds;
use crate::latency::{LONGEST_NS, Latencies};
use crate::payload::Stamp;
use crate::plan::{Publishing, Wire, WorkerPlan};
use crate::snapshot::Skew;

/// Messages of a client are in the order of their times, but for those of publishers whose clocks differ a little.
const SET_BACK_NS: u64 = 1_000_000_000;

/// Instead of a time: not subscribed since it came.
const AWAY: u64 = u64::MAX;

/// The book of one worker.
#[derive(Debug)]
pub struct Book {
    publishing: Option<Publishing>,
    accounts: Vec<Account>,
    acknowledged: Vec<bool>,
    /// Since the last snapshot.
    pub latency: Latencies,
    /// Since the start.
    pub sums: Sums,
    /// Messages of the own publisher.
    pub ours: u64,
    /// Messages that arrived before the time that they carry: two clocks that differ.
    pub early: u64,
    /// Messages whose time is further from ours than any latency that is told apart: they have none.
    pub misdated: u64,
    /// Messages whose time lies well before that of an earlier one of the same client: a clock was set back.
    pub set_back: u64,
    /// The time of the latest message of a client (ns).
    latest: Vec<u64>,
    /// Messages that clients missed while they were away by themselves, and received when they came back: their age is
    /// not the server's doing.
    pub caught_up: u64,
    /// What was due by then is old for a client (ns); `AWAY` until it is subscribed.
    back_since: Vec<u64>,
    /// Subscriptions of clients that had one before.
    pub reconnects: u64,
    /// The server's clock against ours, as exactly as was seen.
    pub skew: Option<Skew>,
    pinged_ns: Option<u64>,
    /// The stream's clock, where the server does not tell its own and messages carry the stream's time.
    stream_clock: Option<Bounds>,
    /// First and last numbers of messages of the run that the stream has not confirmed.
    unstored: Vec<(u64, u64)>,
}

/// A message of a server, as far as it says something about itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// The whole text, in which a stamp of ours may be.
    pub text: &'a str,
    /// Its time: Unix ns.
    pub time_ns: Option<u64>,
    /// Its number on its channel.
    pub sequence: Option<(u32, u64)>,
}

impl Book {
    /// An empty one.
    #[must_use]
    pub fn new(plan: &WorkerPlan) -> Self {
        let clients = plan.clients as usize;
        Self {
            publishing: plan.publishing,
            accounts: vec![Account::default(); clients],
            acknowledged: vec![false; clients],
            latency: Latencies::default(),
            sums: Sums::default(),
            ours: 0,
            early: 0,
            misdated: 0,
            set_back: 0,
            latest: vec![0; clients],
            caught_up: 0,
            back_since: vec![0; clients],
            reconnects: 0,
            skew: None,
            pinged_ns: None,
            stream_clock: (plan.wire.is_http() || plan.wire == Wire::Symbols).then(Bounds::default),
            unstored: Vec::new(),
        }
    }

    /// The stream has not confirmed the messages of the run with these numbers, both included: that they do not come is no loss.
    pub fn unstored(&mut self, from: u64, to: u64) {
        self.unstored.push((from, to));
    }

    /// A subscription was acknowledged: what is due from now on must come.
    pub fn acknowledged(&mut self, index: usize, channels: &[u32], now_ns: u64) {
        let (Some(account), Some(acknowledged)) =
            (self.accounts.get_mut(index), self.acknowledged.get_mut(index))
        else {
            return;
        };
        if std::mem::replace(acknowledged, true) {
            self.reconnects += 1;
        }
        if let Some(since) = self.back_since.get_mut(index).filter(|since| **since == AWAY) {
            *since = now_ns;
        }
        if let Some(publishing) = &self.publishing {
            let due = publishing.due_by(now_ns);
            channels.iter().for_each(|c| account.expect(*c, publishing.on(*c, due)));
        }
    }

    /// A data message.
    pub fn message(&mut self, index: usize, told: &Told<'_>, now_ns: u64) {
        let account = self.accounts.get_mut(index);
        if let Some(publishing) = &self.publishing {
            // What others publish meanwhile is neither late nor lost.
            let stamp = Stamp::find(told.text)
                .filter(|stamp| stamp.run == publishing.run && stamp.channel < publishing.channels);
            if let (Some(stamp), Some(account)) = (stamp, account) {
                self.ours += 1;
                account.message(stamp.channel, stamp.number, &mut self.sums);
                self.age(index, stamp.due_ns, now_ns);
                if let (Some(clock), Some(time_ns)) = (&mut self.stream_clock, told.time_ns) {
                    clock.enter(time_ns, (stamp.due_ns, now_ns));
                }
            }
            return;
        }
        if let (Some((channel, number)), Some(account)) = (told.sequence, account) {
            account.message(channel, number, &mut self.sums);
        }
        if let Some(time_ns) = told.time_ns {
            self.dated(index, time_ns, now_ns);
        }
    }

    /// A client comes, of its own will and not since it lost a connection: as another one, or to continue.
    pub fn comes(&mut self, index: usize, resume: bool) {
        if !resume {
            self.excuse(index);
        }
        if let Some(acknowledged) = self.acknowledged.get_mut(index) {
            *acknowledged = false;
        }
        if let Some(since) = self.back_since.get_mut(index) {
            *since = AWAY;
        }
    }

    /// How many clients it has.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.accounts.len()
    }

    /// Nothing more needs to reach a client.
    pub fn excuse(&mut self, index: usize) {
        if let Some(account) = self.accounts.get_mut(index) {
            account.restart();
        }
    }

    /// The connection of a client ended, and with it what its own numbers count.
    pub fn ended(&mut self, index: usize) {
        if let Some(latest) = self.latest.get_mut(index) {
            *latest = 0;
        }
        if self.publishing.is_none()
            && let Some(account) = self.accounts.get_mut(index)
        {
            account.restart();
        }
    }

    /// The clock of the server or of the stream against ours, if either is known.
    #[must_use]
    pub fn clock(&self) -> Option<Skew> {
        self.skew.or_else(|| self.stream_clock.and_then(|clock| clock.skew()))
    }

    /// The server's clock was asked for.
    pub fn pinged(&mut self, now_ns: u64) {
        self.pinged_ns = Some(now_ns);
    }

    /// It answered with its time, in whole ms.
    pub fn pong(&mut self, ts_ms: i64, now_ns: u64) {
        let Some(sent) = self.pinged_ns.take() else { return };
        let trip = now_ns.saturating_sub(sent);
        // The middle of the millisecond against the middle of the trip.
        let server = i128::from(ts_ms) * 1_000_000 + 500_000;
        let ours = i128::from(sent) + i128::from(trip / 2);
        let error_ms = (trip as f64 / 2.0 + 500_000.0) / 1e6;
        if self.skew.is_none_or(|skew| error_ms < skew.error_ms) {
            self.skew = Some(Skew { ahead_ms: (server - ours) as f64 / 1e6, error_ms });
        }
    }

    /// Messages that subscribed clients do not have, of so many published.
    #[must_use]
    pub fn missing(&self, published: u64) -> u64 {
        let Some(publishing) = &self.publishing else { return 0 };
        let on = |channel| publishing.on(channel, published);
        let unstored = self.unstored_of(publishing);
        let missing = |account: &Account| {
            account.missing(on).saturating_sub(account.missing_unstored(on, &unstored))
        };
        self.accounts.iter().map(missing).fold(0, u64::saturating_add)
    }

    /// The sums without what is about messages that the stream has not confirmed.
    #[must_use]
    pub fn settled_sums(&self) -> Sums {
        let mut sums = self.sums;
        let Some(publishing) = self.publishing.as_ref().filter(|_| !self.unstored.is_empty())
        else {
            return sums;
        };
        let unstored = self.unstored_of(publishing);
        for account in &self.accounts {
            let excused = account.excused(&unstored);
            sums.lost = sums.lost.saturating_sub(excused.lost);
            sums.late = sums.late.saturating_sub(excused.late);
        }
        sums
    }

    /// How many unconfirmed messages a channel has between two numbers, both included.
    fn unstored_of<'a>(&'a self, publishing: &'a Publishing) -> impl Fn(u32, u64, u64) -> u64 + 'a {
        move |channel, from, to| {
            let of = |range: &(u64, u64)| publishing.between(*range, channel, (from, to));
            self.unstored.iter().map(of).sum()
        }
    }

    /// A message has a time of another clock, which may be anything.
    fn dated(&mut self, index: usize, time_ns: u64, now_ns: u64) {
        if let Some(latest) = self.latest.get_mut(index) {
            self.set_back += u64::from(time_ns.saturating_add(SET_BACK_NS) < *latest);
            *latest = time_ns;
        }
        if time_ns.abs_diff(now_ns) > LONGEST_NS {
            self.misdated += 1;
        } else {
            self.age(index, time_ns, now_ns);
        }
    }

    fn age(&mut self, index: usize, time_ns: u64, now_ns: u64) {
        if self.back_since.get(index).is_some_and(|since| time_ns < *since) {
            self.caught_up += 1;
            return;
        }
        if time_ns > now_ns {
            self.early += 1;
        }
        self.latency.enter(now_ns.saturating_sub(time_ns));
    }
}

/// The number of a channel whose name a server chooses.
#[must_use]
pub fn channel_number(name: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests;
