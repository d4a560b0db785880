//! One token: its price process and its trades.

use std::f64::consts::TAU;

use fastrand::Rng;

/// What a token is like on an ordinary day.
#[derive(Debug)]
pub(super) struct Profile {
    id: &'static str,
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
    pub(super) fn id(&self) -> &'static str {
        self.id
    }
}

/// The tokens of the demo.
pub(super) const PROFILES: [Profile; 5] = [
    Profile {
        id: "BTC",
        price: 67_250.0,
        volatility: 4e-4,
        decimals: 2,
        supply: 19.9e6,
        volume: 31.4e9,
    },
    Profile {
        id: "ETH",
        price: 3_480.0,
        volatility: 5e-4,
        decimals: 2,
        supply: 120.4e6,
        volume: 15.2e9,
    },
    Profile {
        id: "ODIN",
        price: 0.042_1,
        volatility: 1.2e-3,
        decimals: 5,
        supply: 21e9,
        volume: 4.6e6,
    },
    Profile {
        id: "SOL",
        price: 171.0,
        volatility: 7e-4,
        decimals: 3,
        supply: 468e6,
        volume: 3.1e9,
    },
    Profile {
        id: "DOGE",
        price: 0.163_2,
        volatility: 9e-4,
        decimals: 5,
        supply: 145e9,
        volume: 1.2e9,
    },
];

/// Share of the distance to the opening price (in logarithms) that is walked back in a second: with it, the deviation
/// stays within a few percent, for ever.
const PULL: f64 = 1e-3;
/// Share of a day's volume in one trade, on average.
const TRADE_SHARE: f64 = 2e-6;
/// Longest step of the walk (s): over longer pauses the pull would overshoot.
const LONGEST_STEP: f64 = 60.0;
const DAY: f64 = 86_400.0;

/// A token and where its price is now.
#[derive(Debug)]
pub(super) struct Token {
    profile: &'static Profile,
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
    pub(super) fn open(profile: &'static Profile, rng: &mut Rng, now_us: u64) -> Self {
        Self {
            profile,
            deviation: 0.0,
            walked_us: now_us,
            // Somewhere between -3 % and +5 % since yesterday.
            reference: profile.price / (0.97 + 0.08 * rng.f64()),
            volume: profile.volume * (0.9 + 0.2 * rng.f64()),
            trades: rng.u64(20_000..200_000),
        }
    }

    pub(super) fn id(&self) -> &'static str {
        self.profile.id
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

    /// A trade of a random size. A buy lifts the price by what the walk does in about a fifth of a second.
    pub(super) fn trade(&mut self, rng: &mut Rng, now_us: u64) -> Trade {
        self.walk(rng, now_us);
        let buy = rng.bool();
        let push = self.profile.volatility * 0.5 * rng.f64();
        self.deviation += if buy { push } else { -push };
        // Many small trades and few large ones.
        let value = self.profile.volume * TRADE_SHARE * -(1.0 - rng.f64()).ln();
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
