//! How subjects become channels, and how messages of a channel reach a client that reads slowly.

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Millis, covers, is_pattern};

/// Most rules: they are walked once per message.
pub const MAX_RULES: usize = 64;
/// Longest `batchWindow`: beyond a second it is no longer live.
pub const MAX_BATCH_WINDOW: Millis = Millis(1_000);
/// Longest `dedupeWindow`: a publisher that repeats itself does so within seconds, and every nonce is remembered as
/// long.
pub const MAX_DEDUPE_WINDOW: Millis = Millis::from_secs(600);
/// Largest `maxRate`: intervals end on a grid of a few milliseconds, and nobody sees more.
pub const MAX_CHANNEL_RATE: u16 = 100;
/// Longest `type` (bytes).
pub const MAX_TYPE_BYTES: usize = 64;

/// How subjects become channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channels {
    /// Prefix removed from a subject to name its channel: `odin.token.` makes `odin.token.BTC.trade` into
    /// `BTC.trade`. Subjects without it keep their full name.
    #[serde(default)]
    pub strip_prefix: String,
    /// How messages are treated on their way, by channel; the first rule that matches decides (at most 64). Without
    /// one every message is delivered, at once.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// How messages of some channels are treated on their way to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Channels, with wildcards as in a subscription: `*.price`, `log.>`.
    pub r#match: String,
    /// What a client gets that reads slowly.
    #[serde(default)]
    pub delivery: Delivery,
    /// Time that a message may wait for others of the same client, to leave with them in one write (ms; 0 = none).
    #[serde(default)]
    pub batch_window: Millis,
    /// `type` that odin.v1 clients see on messages whose payload names none of that protocol's; absent: price:update.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
    /// Time in which a payload's `nonce` that was there before on the same channel marks a repetition, which is dropped
    /// (ms; 0 = never).
    #[serde(default)]
    pub dedupe_window: Millis,
    /// Most messages of each channel that one client gets in a second, 1 to 100; with delivery `Latest` alone, since the
    /// newest message stands for those before it. Absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<u16>,
    /// Whether odin.v1 clients get the fields of a payload in the message itself, beside `seq`, instead of under `data`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flat: bool,
}

/// Whether clients may be told this message type: 1 to 64 letters, digits and `. : _ -`.
pub fn is_message_type(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:_-".contains(c);
    (1..=MAX_TYPE_BYTES).contains(&text.len()) && text.chars().all(plain)
}

/// What a client gets that reads slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// Every message, or close 4008.
    #[default]
    Every,
    /// The newest message of each channel, and a `gap` that tells what was skipped.
    Latest,
}

impl Channels {
    /// Refuses rules that match nothing, never get their turn or wait too long.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.rules.len() > MAX_RULES {
            return Err(ConfigError::value(
                "channels.rules",
                format!("must hold at most {MAX_RULES} rules; got {}", self.rules.len()),
            ));
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let pattern = &rule.r#match;
            if !is_pattern(pattern) {
                return Err(ConfigError::value(
                    format!("channels.rules[{at}].match"),
                    format!(
                        "must be a channel such as BTC.price, with * for one token and > only as the last one, such \
                         as *.price or log.>; got {pattern:?}"
                    ),
                ));
            }
            let earlier =
                self.rules.iter().take(at).position(|rule| covers(&rule.r#match, pattern));
            if let Some(earlier) = earlier {
                return Err(ConfigError::value(
                    format!("channels.rules[{at}].match"),
                    format!(
                        "{pattern} never gets its turn, since rules[{earlier}] ({}) matches all of it and the first \
                         match wins: move it before that rule, or drop it",
                        self.rules[earlier].r#match
                    ),
                ));
            }
            rule.check(at)?;
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self, at: usize) -> Result<(), ConfigError> {
        let windows = [
            ("batchWindow", self.batch_window, MAX_BATCH_WINDOW),
            ("dedupeWindow", self.dedupe_window, MAX_DEDUPE_WINDOW),
        ];
        for (field, window, most) in windows {
            if window > most {
                return Err(ConfigError::value(
                    format!("channels.rules[{at}].{field}"),
                    format!("must be at most {} ms; got {}", most.0, window.0),
                ));
            }
        }
        if let Some(rate) = self.max_rate {
            self.check_max_rate(at, rate)?;
        }
        match &self.message_type {
            Some(name) if !is_message_type(name) => Err(ConfigError::value(
                format!("channels.rules[{at}].type"),
                format!(
                    "must be 1 to {MAX_TYPE_BYTES} letters, digits and . : _ - only, such as trade:executed; got \
                     {name:?}"
                ),
            )),
            _ => Ok(()),
        }
    }

    fn check_max_rate(&self, at: usize, rate: u16) -> Result<(), ConfigError> {
        let problem = match self.delivery {
            Delivery::Every => {
                "needs delivery: Latest, since what comes faster is left out: set it, or leave maxRate out".to_owned()
            }
            Delivery::Latest if (1..=MAX_CHANNEL_RATE).contains(&rate) => return Ok(()),
            Delivery::Latest => {
                format!("must be 1 to {MAX_CHANNEL_RATE} messages a second; got {rate}")
            }
        };
        Err(ConfigError::value(format!("channels.rules[{at}].maxRate"), problem))
    }
}
