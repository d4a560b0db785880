//! Channel rules: how messages of a channel are treated on their way to clients.
//!
//! Looked up once per message, not per delivery: a walk over at most 64 short patterns is cheaper than a cache that
//! publishers could fill.

use std::sync::Arc;
use std::time::Duration;

use wsgateway_config::{Delivery as Policy, Rule};
use wsgateway_proto::channel;

/// What a rule asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Treatment {
    /// For a slow client the newest message of the channel replaces those before it.
    pub latest: bool,
    /// Time (µs) that a message may wait for others to leave with; 0: leaves at once.
    pub window_us: u32,
}

/// What a rule says of the messages of its channels.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruling {
    pub treatment: Treatment,
    /// What odin.v1 clients are told of messages that say nothing themselves.
    pub message_type: Option<Arc<str>>,
    /// Time (ms) in which a nonce marks a repetition; 0: never.
    pub dedupe_ms: i64,
}

/// The rules of a gateway, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    rules: Arc<[(Box<str>, Ruling)]>,
    /// For channels without a rule.
    none: Ruling,
}

impl Rules {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let ruling = |rule: &Rule| Ruling {
            treatment: Treatment {
                latest: rule.delivery == Policy::Latest,
                window_us: u32::try_from(Duration::from(rule.batch_window).as_micros())
                    .unwrap_or(u32::MAX),
            },
            message_type: rule.message_type.as_deref().map(Arc::from),
            dedupe_ms: i64::try_from(rule.dedupe_window.0).unwrap_or(i64::MAX),
        };
        let rules = rules.iter().map(|rule| (rule.r#match.as_str().into(), ruling(rule)));
        Self { rules: rules.collect(), none: Ruling::default() }
    }

    /// What the first rule that matches says, or: every message at once.
    pub(super) fn of(&self, channel: &str) -> &Ruling {
        let found = self.rules.iter().find(|(pattern, _)| channel::matches(pattern, channel));
        found.map_or(&self.none, |(_, ruling)| ruling)
    }

    /// Whether some rule asks for repetitions to be dropped.
    pub(super) fn dedupes(&self) -> bool {
        self.rules.iter().any(|(_, ruling)| ruling.dedupe_ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_config::Millis;

    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides_and_without_one_every_message_leaves_at_once() {
        let rule = |pattern: &str, delivery, window| Rule {
            r#match: pattern.to_owned(),
            delivery,
            batch_window: Millis(window),
            ..Rule::default()
        };
        let rules = Rules::new(&[
            rule("BTC.price", Policy::Every, 0),
            rule("*.price", Policy::Latest, 100),
            rule("log.>", Policy::Every, 1_000),
        ]);
        for (channel, latest, window_us) in [
            ("BTC.price", false, 0),
            ("ETH.price", true, 100_000),
            ("log.a.b", false, 1_000_000),
            ("ETH.trade", false, 0),
        ] {
            assert_eq!(rules.of(channel).treatment, Treatment { latest, window_us }, "{channel}");
        }
    }
}
