//! Channel rules: how messages of a channel are treated on their way to clients.
//!
//! Looked up once per message, not per delivery: a walk over at most 64 short patterns is cheaper than a cache that
//! publishers could fill.

use std::sync::Arc;
use std::time::Duration;

use wsgateway_config::{Delivery as Policy, Rule};
use wsgateway_proto::channel;

use crate::swap::Swap;

/// What a rule asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Treatment {
    /// For a slow client the newest message of the channel replaces those before it.
    pub latest: bool,
    /// Time (µs) that a message may wait for others to leave with; 0: leaves at once.
    pub window_us: u32,
    /// Most messages of a channel that a client gets in a second; 0: any number.
    pub max_rate: u16,
}

/// What a rule says of the messages of its channels.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruling {
    pub treatment: Treatment,
    /// What odin.v1 clients are told of messages that say nothing themselves.
    pub message_type: Option<Arc<str>>,
    /// Whether odin.v1 clients get the payload's fields beside `seq`.
    pub flat: bool,
    /// Time (ms) in which a nonce marks a repetition; 0: never.
    pub dedupe_ms: i64,
}

/// The rules of a gateway, in order. Clones are the same rules, also after they were replaced.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    table: Arc<Swap<Table>>,
}

#[derive(Debug)]
struct Table {
    rules: Box<[(Box<str>, Ruling)]>,
    /// For channels without a rule.
    none: Ruling,
    /// Whether some rule asks for repetitions to be dropped.
    dedupes: bool,
}

impl Rules {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        Self { table: Arc::new(Swap::new(Table::new(rules))) }
    }

    /// Other rules, for the messages that follow.
    pub(crate) fn replace(&self, rules: &[Rule]) {
        self.table.set(Table::new(rules));
    }

    /// What the first rule that matches says, or: every message at once.
    pub(super) fn of(&self, channel: &str) -> Ruling {
        self.table.with(|table| table.of(channel).clone())
    }

    /// Time (ms) in which a nonce marks a repetition on a channel; `None` when no rule asks for that on any channel.
    pub(super) fn dedupe_ms(&self, channel: &str) -> Option<i64> {
        self.table.with(|table| table.dedupes.then(|| table.of(channel).dedupe_ms))
    }
}

impl Table {
    fn new(rules: &[Rule]) -> Self {
        let ruling = |rule: &Rule| Ruling {
            treatment: Treatment {
                latest: rule.delivery == Policy::Latest,
                window_us: u32::try_from(Duration::from(rule.batch_window).as_micros())
                    .unwrap_or(u32::MAX),
                max_rate: rule.max_rate.unwrap_or_default(),
            },
            message_type: rule.message_type.as_deref().map(Arc::from),
            flat: rule.flat,
            dedupe_ms: i64::try_from(rule.dedupe_window.0).unwrap_or(i64::MAX),
        };
        let rules = rules.iter().map(|rule| (rule.r#match.as_str().into(), ruling(rule)));
        let rules: Box<[(Box<str>, Ruling)]> = rules.collect();
        let dedupes = rules.iter().any(|(_, ruling)| ruling.dedupe_ms > 0);
        Self { rules, none: Ruling::default(), dedupes }
    }

    fn of(&self, channel: &str) -> &Ruling {
        let found = self.rules.iter().find(|(pattern, _)| channel::matches(pattern, channel));
        found.map_or(&self.none, |(_, ruling)| ruling)
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
            let treatment = Treatment { latest, window_us, max_rate: 0 };
            assert_eq!(rules.of(channel).treatment, treatment, "{channel}");
        }
    }

    #[test]
    fn rules_that_are_replaced_hold_for_every_clone_from_the_next_message_on() {
        let rule = Rule { r#match: ">".to_owned(), dedupe_window: Millis(7), ..Rule::default() };
        let rules = Rules::new(&[]);
        let clone = rules.clone();
        assert_eq!(clone.dedupe_ms("a"), None);
        rules.replace(&[rule]);
        assert_eq!(clone.dedupe_ms("a"), Some(7));
        rules.replace(&[]);
        assert_eq!(clone.dedupe_ms("a"), None);
    }
}
