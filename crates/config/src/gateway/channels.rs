//! How subjects become channels, and how messages of a channel reach a client that reads slowly.

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Millis, covers, is_pattern};

/// Most rules: they are walked once per message.
pub const MAX_RULES: usize = 64;
/// Longest `batchWindow`: beyond a second it is no longer live.
pub const MAX_BATCH_WINDOW: Millis = Millis(1_000);

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
            if rule.batch_window > MAX_BATCH_WINDOW {
                return Err(ConfigError::value(
                    format!("channels.rules[{at}].batchWindow"),
                    format!(
                        "must be at most {} ms; got {}",
                        MAX_BATCH_WINDOW.0, rule.batch_window.0
                    ),
                ));
            }
        }
        Ok(())
    }
}
