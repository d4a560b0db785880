//! The market: tokens, a schedule, and the messages that follow from both.
//!
//! A seeded generator and the time in, messages out. Prices walk geometrically and are pulled gently towards where they
//! began, so that a demo left running for a week still shows believable ones. Trades move the price; every message carries
//! a nonce of its own. Message types and subjects are those of the earlier systems (seeds S0 to S4). The market owns its
//! tokens and its schedule; who publishes, and where, is not its business.

mod message;
mod token;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use fastrand::Rng;

use crate::settings::{Settings, Shape};
use message::{
    BatchUpdate, Listed, MarketStats, PriceUpdate, Quote, Top, TradeExecuted, TradePrint,
    TrendingUpdate, VolumeUpdate,
};
use token::{Subjects, Token};

/// What the demo of each shape trades, by [`Shape`].
pub(crate) const TOKENS: [[&str; 5]; 2] =
    [["BTC", "ETH", "ODIN", "SOL", "DOGE"], ["AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"]];

/// After a pause of the process (a laptop that slept) the market goes on from now, rather than publish the past.
const CATCH_UP_US: u64 = 1_000_000;
/// Most messages of one [`Market::advance`], so that a high rate cannot hold up the publisher for long.
const BATCH: usize = 4_096;
/// Most tokens of one batch or list: S3 has a top 100, and a message stays far below what servers take.
const LONGEST_LIST: usize = 100;

const BATCH_SUBJECT: &str = "odin.token.batch.update";
const STATISTICS_SUBJECT: &str = "odin.market.statistics";
const TRENDING_SUBJECT: &str = "odin.global.trending";
/// Payloads are cut off buffers of this size (bytes), which live until the last of their messages does: about 300 prices.
const BUFFER: usize = 64 << 10;

/// Messages a second at pace 1. A token has a price every 600 ms, a trade every 2 s that brings a price with it, and a volume
/// every 2 s; there are statistics and a batch every 2 s, and the trending list every 5 s.
pub(crate) const fn natural_rate(shape: Shape, tokens: usize) -> f64 {
    let tokens = tokens as f64;
    match shape {
        Shape::Odin => tokens * (1.0 / 0.6 + 2.0 * 0.5 + 0.5) + 0.5 + 0.5 + 0.2,
        Shape::Trades => tokens * 0.5,
    }
}

/// One message, ready to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// NATS subject, such as `odin.token.BTC.price`, or Redis channel, such as `channel:trade:AAPL`.
    pub subject: Arc<str>,
    /// JSON.
    pub payload: Bytes,
    /// The payload's nonce, which is also the `Nats-Msg-Id`.
    pub nonce: String,
    /// Counted from 1 over everything that this market publishes.
    pub number: u64,
}

/// The market and its clock.
#[derive(Debug)]
pub struct Market {
    settings: Settings,
    rng: Rng,
    tokens: Vec<Token>,
    /// Distinguishes the nonces of two runs on one stream.
    run: u32,
    published: u64,
    trades: u64,
    /// Intervals are divided by this.
    pace: f64,
    /// The latest time seen.
    now_us: u64,
    /// What happens next, and when (Unix time, µs).
    schedule: BinaryHeap<Reverse<(u64, What)>>,
    /// The subjects that are no token's.
    batch_subject: Arc<str>,
    statistics_subject: Arc<str>,
    trending_subject: Arc<str>,
    /// Where the next payload is written.
    buffer: BytesMut,
}

/// Something that happens again and again; the number is that of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Price(usize),
    Trade(usize),
    Volume(usize),
    Statistics,
    Batch,
    Trending,
    Print(usize),
}

impl What {
    /// Shortest and longest time until it happens again (µs).
    fn interval_us(self) -> (f64, f64) {
        match self {
            Self::Price(_) => (200e3, 1_000e3),
            Self::Trade(_) => (500e3, 3_500e3),
            Self::Volume(_) | Self::Statistics | Self::Batch => (2_000e3, 2_000e3),
            Self::Trending => (5_000e3, 5_000e3),
            Self::Print(_) => (1_000e3, 3_000e3),
        }
    }
}

impl Market {
    /// A market that opens at `now_us` (Unix time, µs).
    pub fn open(seed: u64, settings: Settings, now_us: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let tokens = settings.tokens().iter();
        let tokens = tokens.map(|id| Token::open(id, &mut rng, now_us)).collect();
        let mut market = Self {
            run: rng.u32(..),
            rng,
            tokens,
            published: 0,
            trades: 0,
            pace: settings.pace(),
            settings,
            now_us,
            schedule: BinaryHeap::new(),
            batch_subject: BATCH_SUBJECT.into(),
            statistics_subject: STATISTICS_SUBJECT.into(),
            trending_subject: TRENDING_SUBJECT.into(),
            buffer: BytesMut::with_capacity(BUFFER),
        };
        market.plan();
        market
    }

    /// Goes on with other settings. Tokens that stay keep their prices, and nonces go on.
    pub fn configure(&mut self, settings: Settings, now_us: u64) {
        let mut before = std::mem::take(&mut self.tokens);
        for id in settings.tokens() {
            let kept = before.iter().position(|token| token.id() == id);
            self.tokens.push(match kept {
                Some(at) => before.swap_remove(at),
                None => Token::open(id, &mut self.rng, now_us),
            });
        }
        self.pace = settings.pace();
        self.settings = settings;
        self.now_us = now_us;
        self.plan();
    }

    /// Passes over what fell due while nobody published.
    pub fn resume(&mut self, now_us: u64) {
        self.now_us = now_us;
        self.plan();
    }

    /// Every price at once, so that nobody waits for a first one; the rest spread over its interval.
    fn plan(&mut self) {
        self.schedule.clear();
        let now_us = self.now_us;
        for i in 0..self.tokens.len() {
            let (first, later): (What, &[What]) = match self.settings.shape() {
                Shape::Odin => (What::Price(i), &[What::Trade(i), What::Volume(i)]),
                Shape::Trades => (What::Print(i), &[]),
            };
            self.schedule.push(Reverse((now_us, first)));
            for what in later {
                let at_us = now_us + self.pause_us(*what);
                self.schedule.push(Reverse((at_us, *what)));
            }
        }
        if self.settings.shape() == Shape::Odin {
            for what in [What::Statistics, What::Batch, What::Trending] {
                self.schedule.push(Reverse((now_us, what)));
            }
        }
    }

    /// Every subject that a market with these settings publishes to.
    pub fn subjects(settings: &Settings) -> impl Iterator<Item = Arc<str>> {
        let shape = settings.shape();
        let of_token = move |token: &String| match shape {
            Shape::Odin => {
                let Subjects { price, trade, volume, .. } = Subjects::of(token);
                vec![price, trade, volume]
            }
            Shape::Trades => vec![Subjects::of(token).print],
        };
        let of_all = [BATCH_SUBJECT, STATISTICS_SUBJECT, TRENDING_SUBJECT].map(Arc::from);
        let of_all = of_all.into_iter().filter(move |_| shape == Shape::Odin);
        settings.tokens().iter().flat_map(of_token).chain(of_all)
    }

    /// When the next message is due (Unix time, µs).
    pub fn next_due_us(&self) -> u64 {
        self.schedule.peek().map_or(u64::MAX, |Reverse((at_us, _))| *at_us)
    }

    /// Messages so far.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Everything that is due by `now_us`, oldest first; what does not fit into one batch stays due.
    pub fn advance(&mut self, now_us: u64) -> Vec<Message> {
        self.follow_clock(now_us);
        let oldest = now_us.saturating_sub(CATCH_UP_US);
        let mut messages = Vec::new();
        while messages.len() < BATCH {
            let Some(Reverse((at_us, what))) = self.schedule.peek().copied() else { break };
            if at_us > now_us {
                break;
            }
            self.schedule.pop();
            let at_us = at_us.max(oldest);
            self.happen(what, at_us, &mut messages);
            let again = at_us + self.pause_us(what);
            self.schedule.push(Reverse((again, what)));
        }
        messages
    }

    /// A clock that was set back would silence the market until it is where it was.
    fn follow_clock(&mut self, now_us: u64) {
        let back = self.now_us.saturating_sub(now_us);
        self.now_us = now_us;
        if back > 0 {
            let schedule = std::mem::take(&mut self.schedule).into_iter();
            self.schedule = schedule
                .map(|Reverse((at_us, what))| Reverse((at_us.saturating_sub(back), what)))
                .collect();
        }
    }

    fn pause_us(&mut self, what: What) -> u64 {
        let (shortest, longest) = what.interval_us();
        let pause = (shortest + (longest - shortest) * self.rng.f64()) / self.pace;
        // At least 1 µs: time must go on at any rate.
        (pause as u64).max(1)
    }

    fn happen(&mut self, what: What, at_us: u64, messages: &mut Vec<Message>) {
        match what {
            What::Price(i) => {
                self.tokens[i].walk(&mut self.rng, at_us);
                messages.push(self.price(i, at_us, "scheduler"));
            }
            What::Trade(i) => {
                messages.push(self.trade(i, at_us));
                messages.push(self.price(i, at_us, "trade"));
            }
            What::Volume(i) => messages.push(self.volume(i, at_us)),
            What::Statistics => messages.push(self.statistics(at_us)),
            What::Batch => messages.push(self.batch(at_us)),
            What::Trending => messages.push(self.trending(at_us)),
            What::Print(i) => messages.push(self.print(i, at_us)),
        }
    }

    fn price(&mut self, i: usize, at_us: u64, source: &'static str) -> Message {
        let nonce = self.nonce();
        let token = &self.tokens[i];
        let update = PriceUpdate {
            r#type: "price:update",
            token_id: token.id(),
            price: token.price(),
            volume24h: token.volume(),
            price_change24h: token.change_percent(),
            timestamp: at_us / 1_000,
            source,
            nonce: &nonce,
        };
        let payload = encode(&mut self.buffer, &update);
        let subject = Arc::clone(&token.subjects().price);
        Message { subject, payload, nonce, number: self.published }
    }

    fn trade(&mut self, i: usize, at_us: u64) -> Message {
        let nonce = self.nonce();
        self.trades += 1;
        let token = &mut self.tokens[i];
        let trade = token.trade(&mut self.rng, at_us, self.pace);
        let executed = TradeExecuted {
            r#type: "trade:executed",
            token_id: token.id(),
            trade_id: self.trades,
            side: if trade.buy { "buy" } else { "sell" },
            price: token.price(),
            amount: trade.amount,
            value: trade.value,
            timestamp: at_us / 1_000,
            source: "trade",
            nonce: &nonce,
        };
        let payload = encode(&mut self.buffer, &executed);
        let subject = Arc::clone(&token.subjects().trade);
        Message { subject, payload, nonce, number: self.published }
    }

    fn volume(&mut self, i: usize, at_us: u64) -> Message {
        let nonce = self.nonce();
        let token = &self.tokens[i];
        let update = VolumeUpdate {
            r#type: "volume:update",
            token_id: token.id(),
            volume24h: token.volume(),
            trades24h: token.trades(),
            timestamp: at_us / 1_000,
            source: "scheduler",
            nonce: &nonce,
        };
        let payload = encode(&mut self.buffer, &update);
        let subject = Arc::clone(&token.subjects().volume);
        Message { subject, payload, nonce, number: self.published }
    }

    fn statistics(&mut self, at_us: u64) -> Message {
        let nonce = self.nonce();
        let by_change = |a: &&Token, b: &&Token| a.change_percent().total_cmp(&b.change_percent());
        fn id(token: Option<&Token>) -> &str {
            token.map_or("", Token::id)
        }
        let stats = MarketStats {
            r#type: "market:stats",
            total_market_cap: self.tokens.iter().map(Token::market_cap).sum::<f64>().round(),
            total_volume24h: self.tokens.iter().map(Token::volume).sum::<f64>().round(),
            trades24h: self.tokens.iter().map(Token::trades).sum(),
            active_tokens: self.tokens.len(),
            gainers: self.tokens.iter().filter(|token| token.change_percent() > 0.0).count(),
            losers: self.tokens.iter().filter(|token| token.change_percent() < 0.0).count(),
            top_gainer: id(self.tokens.iter().max_by(by_change)),
            top_loser: id(self.tokens.iter().min_by(by_change)),
            timestamp: at_us / 1_000,
            source: "scheduler",
            nonce: &nonce,
        };
        let payload = encode(&mut self.buffer, &stats);
        let subject = Arc::clone(&self.statistics_subject);
        Message { subject, payload, nonce, number: self.published }
    }

    /// Prices of many tokens in one message.
    fn batch(&mut self, at_us: u64) -> Message {
        let nonce = self.nonce();
        let quotes = self.tokens.iter().take(LONGEST_LIST).map(|token| Quote {
            token_id: token.id(),
            price: token.price(),
            volume24h: token.volume(),
            price_change24h: token.change_percent(),
        });
        let update = BatchUpdate {
            r#type: "batch:update",
            updates: quotes.collect(),
            timestamp: at_us / 1_000,
            source: "scheduler",
            nonce: &nonce,
        };
        let payload = encode(&mut self.buffer, &update);
        let subject = Arc::clone(&self.batch_subject);
        Message { subject, payload, nonce, number: self.published }
    }

    /// The tokens that gain most.
    fn trending(&mut self, at_us: u64) -> Message {
        let nonce = self.nonce();
        let mut best: Vec<&Token> = self.tokens.iter().collect();
        best.sort_by(|a, b| b.change_percent().total_cmp(&a.change_percent()));
        let listed = best.into_iter().take(LONGEST_LIST).map(|token| Listed {
            id: token.id(),
            price: token.price(),
            volume: token.volume(),
            price_change24h: token.change_percent(),
        });
        let update = TrendingUpdate {
            r#type: "trending_update",
            data: Top { top_100: listed.collect() },
            timestamp: at_us / 1_000,
            source: "scheduler",
            nonce: &nonce,
        };
        let payload = encode(&mut self.buffer, &update);
        let subject = Arc::clone(&self.trending_subject);
        Message { subject, payload, nonce, number: self.published }
    }

    /// A trade as the Redis gateway's publisher writes it, which knows no nonce.
    fn print(&mut self, i: usize, at_us: u64) -> Message {
        let nonce = self.nonce();
        self.trades += 1;
        let token = &mut self.tokens[i];
        let trade = token.trade(&mut self.rng, at_us, self.pace);
        let print = TradePrint {
            symbol: token.id(),
            price: token.price(),
            // Whole shares, and at least one.
            volume: (trade.amount as u64).max(1),
            timestamp: at_us / 1_000,
            exchange: "NASDAQ",
        };
        let payload = encode(&mut self.buffer, &print);
        let subject = Arc::clone(&token.subjects().print);
        Message { subject, payload, nonce, number: self.published }
    }

    fn nonce(&mut self) -> String {
        self.published += 1;
        format!("{:08x}-{}", self.run, self.published)
    }
}

/// Writes a body. Bodies are plain structs of numbers and strings, which always have a JSON form.
fn encode(buffer: &mut BytesMut, body: &impl serde::Serialize) -> Bytes {
    // Writing to a buffer that grows cannot fail.
    let _written = serde_json::to_writer(buffer.writer(), body);
    buffer.split().freeze()
}

#[cfg(test)]
mod tests;
