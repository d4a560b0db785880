//! Channel rules: how messages of a channel are treated on their way to clients.
//!
//! Looked up once per message, not per delivery: a walk over at most 64 short patterns is cheaper than a cache that
//! publishers could fill.

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

/// The rules of a gateway, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<(String, Treatment)>);

impl Rules {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let treatment = |rule: &Rule| Treatment {
            latest: rule.delivery == Policy::Latest,
            window_us: u32::try_from(Duration::from(rule.batch_window).as_micros())
                .unwrap_or(u32::MAX),
        };
        Self(rules.iter().map(|rule| (rule.r#match.clone(), treatment(rule))).collect())
    }

    /// The first rule that matches, or delivery of every message at once.
    pub(super) fn treatment(&self, channel: &str) -> Treatment {
        let found = self.0.iter().find(|(pattern, _)| channel::matches(pattern, channel));
        found.map_or_else(Treatment::default, |(_, treatment)| *treatment)
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
            assert_eq!(rules.treatment(channel), Treatment { latest, window_us }, "{channel}");
        }
    }
}
