//! What a market trades, how fast, and in which shape it is published.

use crate::market::{TOKENS, natural_rate};

/// Lowest and highest rate (messages a second).
pub const MOST_RATE: f64 = 100_000.0;
const LEAST_RATE: f64 = 0.1;
/// Most tokens: each has its own price process and schedule.
pub const MOST_TOKENS: usize = 1_000;
/// Longest token (bytes), as long as a symbol of `symbols.v1` may be.
const LONGEST_TOKEN: usize = 64;

/// Messages a second of the five tokens of the demo at pace 1.
pub const NATURAL_RATE: f64 = natural_rate(Shape::Odin, 5);

/// The systems whose messages a market publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// NATS subjects and messages of the Odin systems (seeds S1 to S3).
    Odin,
    /// Redis channels `channel:trade:SYMBOL` with trades (seed S4).
    Trades,
}

/// A valid set of settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    shape: Shape,
    tokens: Vec<String>,
    rate: f64,
}

/// Why settings are refused. Each text begins with the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Too slow, too fast, or no number.
    #[error("rate: must be a number from {LEAST_RATE} to {MOST_RATE}")]
    Rate,
    /// None, or too many.
    #[error("tokens: must be 1 to {MOST_TOKENS} names; got {0}")]
    Count(usize),
    /// Not a token of a subject.
    #[error("tokens[{0}]: must be 1 to {LONGEST_TOKEN} letters, digits, - and _, such as BTC")]
    Name(usize),
    /// Named twice.
    #[error("tokens[{0}]: is named before")]
    Twice(usize),
}

impl Settings {
    /// The demo of a shape at its natural rate.
    pub fn demo(shape: Shape) -> Self {
        let tokens: Vec<String> = TOKENS[shape as usize].map(str::to_owned).to_vec();
        let rate = natural_rate(shape, tokens.len());
        Self { shape, tokens, rate }
    }

    /// With other tokens, at the rate that is natural for as many.
    ///
    /// # Errors
    /// When one cannot be a part of a subject, or the list is too long.
    pub fn with_tokens(self, tokens: Vec<String>) -> Result<Self, SettingsError> {
        let rate = natural_rate(self.shape, tokens.len());
        Ok(Self { rate, ..self.changed(None, Some(tokens))? })
    }

    /// With other values for those that are given.
    ///
    /// # Errors
    /// When one is out of bounds; nothing is changed then.
    pub fn changed(
        &self,
        rate: Option<f64>,
        tokens: Option<Vec<String>>,
    ) -> Result<Self, SettingsError> {
        let rate = rate.unwrap_or(self.rate);
        // What is no number is in no range either.
        if !(LEAST_RATE..=MOST_RATE).contains(&rate) {
            return Err(SettingsError::Rate);
        }
        if let Some(tokens) = &tokens {
            check_tokens(tokens)?;
        }
        let tokens = tokens.unwrap_or_else(|| self.tokens.clone());
        Ok(Self { shape: self.shape, tokens, rate })
    }

    /// The shape of messages.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Names of what is traded.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Messages a second, on average.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// How much faster than the natural rate.
    pub(crate) fn pace(&self) -> f64 {
        self.rate / natural_rate(self.shape, self.tokens.len())
    }
}

fn check_tokens(tokens: &[String]) -> Result<(), SettingsError> {
    if tokens.is_empty() || tokens.len() > MOST_TOKENS {
        return Err(SettingsError::Count(tokens.len()));
    }
    let mut seen = std::collections::HashSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(plain) {
            return Err(SettingsError::Name(at));
        }
        if !seen.insert(token) {
            return Err(SettingsError::Twice(at));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn rates_and_tokens_out_of_bounds_are_refused_with_their_place() {
        let demo = Settings::demo(Shape::Odin);
        for rate in [0.0, -1.0, 100_001.0, f64::NAN, f64::INFINITY] {
            assert_eq!(demo.changed(Some(rate), None), Err(SettingsError::Rate), "{rate}");
        }
        let many = (0..=MOST_TOKENS).map(|n| format!("T{n}")).collect::<Vec<_>>();
        for (names, expected) in [
            (tokens(&[]), SettingsError::Count(0)),
            (many, SettingsError::Count(MOST_TOKENS + 1)),
            (tokens(&["BTC", ""]), SettingsError::Name(1)),
            (tokens(&["BTC", "a.b"]), SettingsError::Name(1)),
            (tokens(&[">"]), SettingsError::Name(0)),
            (tokens(&["channel:trade"]), SettingsError::Name(0)),
            (tokens(&[&"x".repeat(65)]), SettingsError::Name(0)),
            (tokens(&["BTC", "ETH", "BTC"]), SettingsError::Twice(2)),
        ] {
            assert_eq!(demo.changed(None, Some(names)), Err(expected));
        }
    }

    #[test]
    fn what_is_not_given_stays() {
        let demo = Settings::demo(Shape::Odin);
        let faster = demo.changed(Some(20.0), None).unwrap();
        assert_eq!((faster.rate(), faster.tokens()), (20.0, demo.tokens()));
        let other = faster.changed(None, Some(tokens(&["X"]))).unwrap();
        assert_eq!((other.rate(), other.tokens()), (20.0, &tokens(&["X"])[..]));
    }
}
