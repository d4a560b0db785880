//! A simulated token market: what `wsgw dev` publishes.
//!
//! Pure: a seeded generator and the time in, messages out. Prices walk geometrically and are pulled gently towards
//! where they began, so that a demo left running for a week still shows believable ones. Trades move the price; every
//! message carries a nonce of its own. Message types and subjects are those of the Odin systems (seeds S0 and S1).
//! The market owns its tokens and its schedule; who publishes, and where, is not its business.

mod message;
mod token;

use fastrand::Rng;
use message::{MarketStats, PriceUpdate, TradeExecuted, VolumeUpdate};
use token::{PROFILES, Token};

/// Messages a second at pace 1: five tokens, each with a price every 600 ms, a trade every 2 s that brings a price
/// with it, and a volume every 2 s; statistics every 2 s.
pub(crate) const NATURAL_RATE: f64 = 5.0 * (1.0 / 0.6 + 2.0 * 0.5 + 0.5) + 0.5;

/// After a pause of the process (a laptop that slept) the market goes on from now, rather than publish the past.
const CATCH_UP_US: u64 = 1_000_000;
/// Most messages of one [`Market::advance`], so that a high rate cannot hold up the publisher for long.
const BATCH: usize = 4_096;

/// One message, ready to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// NATS subject, such as `odin.token.BTC.price`.
    pub(crate) subject: String,
    /// JSON.
    pub(crate) payload: Vec<u8>,
    /// The payload's nonce, which is also the `Nats-Msg-Id`.
    pub(crate) nonce: String,
}

/// The market and its clock.
#[derive(Debug)]
pub(crate) struct Market {
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
    schedule: Vec<Due>,
}

/// Something that happens again and again.
#[derive(Clone, Copy, Debug)]
struct Due {
    at_us: u64,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Price(usize),
    Trade(usize),
    Volume(usize),
    Statistics,
}

impl What {
    /// Shortest and longest time until it happens again (µs).
    fn interval_us(self) -> (f64, f64) {
        match self {
            Self::Price(_) => (200e3, 1_000e3),
            Self::Trade(_) => (500e3, 3_500e3),
            Self::Volume(_) | Self::Statistics => (2_000e3, 2_000e3),
        }
    }
}

impl Market {
    /// A market that opens at `now_us` (Unix time, µs) and publishes about `rate` messages a second.
    pub(crate) fn new(seed: u64, rate: f64, now_us: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let tokens: Vec<_> =
            PROFILES.iter().map(|profile| Token::open(profile, &mut rng, now_us)).collect();
        let mut market = Self {
            run: rng.u32(..),
            rng,
            tokens,
            published: 0,
            trades: 0,
            pace: rate / NATURAL_RATE,
            now_us,
            schedule: Vec::new(),
        };
        // Every price at once, so that nobody waits for a first one; the rest spread over its interval.
        for i in 0..market.tokens.len() {
            market.schedule.push(Due { at_us: now_us, what: What::Price(i) });
            for what in [What::Trade(i), What::Volume(i)] {
                let at_us = now_us + market.pause_us(what);
                market.schedule.push(Due { at_us, what });
            }
        }
        market.schedule.push(Due { at_us: now_us, what: What::Statistics });
        market
    }

    /// Every subject that a market publishes to.
    pub(crate) fn subjects() -> impl Iterator<Item = String> {
        let of_token = |token: &str| {
            ["price", "trade", "volume"].map(|kind| format!("odin.token.{token}.{kind}"))
        };
        PROFILES
            .iter()
            .flat_map(move |profile| of_token(profile.id()))
            .chain(["odin.market.statistics".to_owned()])
    }

    /// When the next message is due (Unix time, µs).
    pub(crate) fn next_due_us(&self) -> u64 {
        self.schedule.iter().map(|due| due.at_us).min().unwrap_or(u64::MAX)
    }

    /// Everything that is due by `now_us`, oldest first; what does not fit into one batch stays due.
    pub(crate) fn advance(&mut self, now_us: u64) -> Vec<Message> {
        // A clock that was set back would silence the market until it is where it was.
        let back = self.now_us.saturating_sub(now_us);
        self.schedule.iter_mut().for_each(|due| due.at_us = due.at_us.saturating_sub(back));
        self.now_us = now_us;
        let oldest = now_us.saturating_sub(CATCH_UP_US);
        let mut messages = Vec::new();
        while messages.len() < BATCH {
            let Some(next) = (0..self.schedule.len()).min_by_key(|i| self.schedule[*i].at_us)
            else {
                break;
            };
            let Due { at_us, what } = self.schedule[next];
            if at_us > now_us {
                break;
            }
            self.happen(what, at_us.max(oldest), &mut messages);
            self.schedule[next].at_us = at_us.max(oldest) + self.pause_us(what);
        }
        messages
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
        message::pack(format!("odin.token.{}.price", token.id()), &update, &nonce)
    }

    fn trade(&mut self, i: usize, at_us: u64) -> Message {
        let nonce = self.nonce();
        self.trades += 1;
        let token = &mut self.tokens[i];
        let trade = token.trade(&mut self.rng, at_us);
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
        message::pack(format!("odin.token.{}.trade", token.id()), &executed, &nonce)
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
        message::pack(format!("odin.token.{}.volume", token.id()), &update, &nonce)
    }

    fn statistics(&mut self, at_us: u64) -> Message {
        let nonce = self.nonce();
        let by_change = |a: &&Token, b: &&Token| a.change_percent().total_cmp(&b.change_percent());
        let id = |token: Option<&Token>| token.map_or("", Token::id);
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
        message::pack("odin.market.statistics".to_owned(), &stats, &nonce)
    }

    fn nonce(&mut self) -> String {
        self.published += 1;
        format!("{:08x}-{}", self.run, self.published)
    }
}

#[cfg(test)]
mod tests;
