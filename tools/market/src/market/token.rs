//! One token: its price process and its trades.

use std::f64::consts::TAU;
use std::sync::Arc;

use fastrand::Rng;

/// What a token is like on an ordinary day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    price: f64,
    /// Standard deviation of the logarithm of the price over one second. Far above a real market's, so that the
    /// prices on a screen move.
    volatility: f64,
    /// Smallest step of the price, as decimals.
    decimals: i32,
    supply: f64,
    /// Value traded in a day.
    volume: f64,
}

impl Profile {
    /// The known one of a name, or one that follows from the name, the same in every run.
    pub(super) fn of(name: &str) -> Self {
        let known = PROFILES.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| Self::invented(name), |(_, profile)| *profile)
    }

    fn invented(name: &str) -> Self {
        let seed = name
            .bytes()
            .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        let mut rng = Rng::with_seed(seed);
        // Between 0.01 and 1,000, each power of ten as likely as the others.
        let exponent = 5.0 * rng.f64() - 2.0;
        let capital = 10f64.powf(6.0 + 4.0 * rng.f64());
        let decimals = (3.0 - exponent.floor()).clamp(2.0, 6.0) as i32;
        let price = significant(10f64.powf(exponent));
        let volatility = 5e-4 + 1e-3 * rng.f64();
        Self { price, volatility, decimals, supply: capital / price, volume: capital * 0.05 }
    }
}

/// FNV-1a, whose results stay the same over releases of Rust.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// What is known by name: the coins of the Odin systems and the stocks of the Redis gateway.
const PROFILES: [(&str, Profile); 10] = [
    (
        "BTC",
        Profile { price: 67_250.0, volatility: 4e-4, decimals: 2, supply: 19.9e6, volume: 31.4e9 },
    ),
    (
        "ETH",
        Profile { price: 3_480.0, volatility: 5e-4, decimals: 2, supply: 120.4e6, volume: 15.2e9 },
    ),
    (
        "ODIN",
        Profile { price: 0.042_1, volatility: 1.2e-3, decimals: 5, supply: 21e9, volume: 4.6e6 },
    ),
    ("SOL", Profile { price: 171.0, volatility: 7e-4, decimals: 3, supply: 468e6, volume: 3.1e9 }),
    (
        "DOGE",
        Profile { price: 0.163_2, volatility: 9e-4, decimals: 5, supply: 145e9, volume: 1.2e9 },
    ),
    (
        "AAPL",
        Profile { price: 150.25, volatility: 2e-4, decimals: 2, supply: 15.3e9, volume: 8.6e9 },
    ),
    (
        "GOOGL",
        Profile { price: 2_801.5, volatility: 2e-4, decimals: 2, supply: 0.66e9, volume: 3.9e9 },
    ),
    ("MSFT", Profile { price: 378.9, volatility: 2e-4, decimals: 2, supply: 7.4e9, volume: 8.2e9 }),
    (
        "TSLA",
        Profile { price: 248.4, volatility: 5e-4, decimals: 2, supply: 3.2e9, volume: 24.1e9 },
    ),
    (
        "AMZN",
        Profile { price: 153.4, volatility: 3e-4, decimals: 2, supply: 10.3e9, volume: 7.3e9 },
    ),
];

/// Share of the distance to the opening price (in logarithms) that is walked back in a second: with it, the deviation
/// stays within a few percent, for ever.
const PULL: f64 = 1e-3;
/// Share of a day's volume in one trade, on average.
const TRADE_SHARE: f64 = 2e-6;
/// Longest step of the walk (s): over longer pauses the pull would overshoot.
const LONGEST_STEP: f64 = 60.0;
const DAY: f64 = 86_400.0;

/// Where the messages of a token go; made once, and shared by all of them.
#[derive(Debug)]
pub(super) struct Subjects {
    pub(super) price: Arc<str>,
    pub(super) trade: Arc<str>,
    pub(super) volume: Arc<str>,
    /// The Redis channel of its trades.
    pub(super) print: Arc<str>,
}

impl Subjects {
    pub(super) fn of(id: &str) -> Self {
        let subject = |kind| format!("odin.token.{id}.{kind}").into();
        Self {
            price: subject("price"),
            trade: subject("trade"),
            volume: subject("volume"),
            print: format!("channel:trade:{id}").into(),
        }
    }
}

/// A token and where its price is now.
#[derive(Debug)]
pub(super) struct Token {
    id: String,
    subjects: Subjects,
    profile: Profile,
    /// Logarithm of the price relative to the profile's.
    deviation: f64,
    walked_us: u64,
    /// The price of 24 hours ago.
    reference: f64,
    volume: f64,
    trades: u64,
}

/// What was traded.
pub(super) struct Trade {
    pub(super) buy: bool,
    pub(super) amount: f64,
    pub(super) value: f64,
}

impl Token {
    pub(super) fn open(id: &str, rng: &mut Rng, now_us: u64) -> Self {
        let profile = Profile::of(id);
        Self {
            id: id.to_owned(),
            subjects: Subjects::of(id),
            profile,
            deviation: 0.0,
            walked_us: now_us,
            // Somewhere between -3 % and +5 % since yesterday.
            reference: profile.price / (0.97 + 0.08 * rng.f64()),
            volume: profile.volume * (0.9 + 0.2 * rng.f64()),
            trades: rng.u64(20_000..200_000),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    pub(super) fn price(&self) -> f64 {
        round(self.profile.price * self.deviation.exp(), self.profile.decimals)
    }

    pub(super) fn change_percent(&self) -> f64 {
        round((self.price() / self.reference - 1.0) * 100.0, 2)
    }

    /// Value traded in the last 24 hours.
    pub(super) fn volume(&self) -> f64 {
        self.volume.round()
    }

    pub(super) fn trades(&self) -> u64 {
        self.trades
    }

    pub(super) fn market_cap(&self) -> f64 {
        self.price() * self.profile.supply
    }

    /// One step of the walk, up to `now_us`.
    pub(super) fn walk(&mut self, rng: &mut Rng, now_us: u64) {
        let seconds = (now_us.saturating_sub(self.walked_us) as f64 / 1e6).min(LONGEST_STEP);
        self.walked_us = now_us;
        self.deviation += self.profile.volatility * seconds.sqrt() * normal(rng)
            - PULL * seconds * self.deviation;
        // What was traded a day ago leaves the window as fast as it came.
        self.volume -= (self.volume - self.profile.volume) * seconds / DAY;
    }

    /// A trade of a random size. A buy lifts the price by what the walk does in about a fifth of a second. In a market that
    /// is faster than nature, trades are as much smaller, so that prices and volumes stay believable.
    pub(super) fn trade(&mut self, rng: &mut Rng, now_us: u64, pace: f64) -> Trade {
        let crowd = pace.max(1.0);
        self.walk(rng, now_us);
        let buy = rng.bool();
        let push = self.profile.volatility * 0.5 * rng.f64() / crowd.sqrt();
        self.deviation += if buy { push } else { -push };
        // Many small trades and few large ones.
        let value = self.profile.volume * TRADE_SHARE / crowd * -(1.0 - rng.f64()).ln();
        let amount = significant(value / self.price());
        let value = round(amount * self.price(), 2);
        self.volume += value;
        self.trades += 1;
        Trade { buy, amount, value }
    }
}

/// Standard normal (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    // 1 - u lies in (0, 1], where the logarithm is finite.
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos()
}

fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

/// Rounded to four significant digits, as people trade.
fn significant(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let decimals = 3 - value.log10().floor() as i32;
    if decimals >= 0 {
        round(value, decimals)
    } else {
        (value / 10f64.powi(-decimals)).round() * 10f64.powi(-decimals)
    }
}
