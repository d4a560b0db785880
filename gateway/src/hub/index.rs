//! Subject index of one shard: who is subscribed to what, and who receives a channel.
//!
//! A pattern holds its subscribers as a dense list; a subscription knows its place there, so leaving is O(1)
//! (swap-remove, then the moved subscriber's back-index is set right). The patterns of a channel are looked up once
//! and remembered until a pattern that could match it comes or goes.

use std::collections::HashMap;

use slab::Slab;

use super::trie::Trie;

/// Channels whose patterns are remembered; beyond it everything is looked up anew.
const CACHED_CHANNELS: usize = 65_536;

/// A subscription as its connection knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The pattern.
    pub pattern: u32,
    /// This connection's place among the pattern's subscribers.
    pub place: u32,
}

/// A subscription as its pattern knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscriber {
    /// The connection's slot in the shard.
    pub conn: u32,
    /// This pattern's place among the connection's subscriptions.
    pub place: u32,
}

/// A subscriber that was moved within its pattern's list: its connection's back-index must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The subscriber.
    pub who: Subscriber,
    /// Its new place in the pattern's list.
    pub to: u32,
}

#[derive(Debug)]
struct Pattern {
    text: Box<str>,
    wildcard: bool,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    patterns: Slab<Pattern>,
    by_text: HashMap<Box<str>, u32>,
    wildcards: Trie,
    cache: HashMap<Box<str>, Vec<u32>>,
}

impl Index {
    /// The number of a pattern that somebody is subscribed to.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// The text of a pattern that somebody is subscribed to.
    pub(crate) fn text(&self, number: u32) -> Option<&str> {
        self.patterns.get(number as usize).map(|pattern| &*pattern.text)
    }

    /// Subscribes a connection, whose back-index will be at `place`. It must not be subscribed already.
    pub(crate) fn subscribe(
        &mut self,
        text: &str,
        wildcard: bool,
        conn: u32,
        place: u32,
    ) -> Subscription {
        let number = match self.find(text) {
            Some(number) => number,
            None => self.create(text, wildcard),
        };
        let Some(pattern) = self.patterns.get_mut(number as usize) else {
            return Subscription { pattern: number, place: 0 }; // `find` and `create` give existing numbers only
        };
        pattern.subscribers.push(Subscriber { conn, place });
        Subscription { pattern: number, place: (pattern.subscribers.len() - 1) as u32 }
    }

    /// Ends a subscription. The answer names the subscriber that took its place, if any.
    pub(crate) fn unsubscribe(&mut self, subscription: Subscription) -> Option<Moved> {
        let pattern = self.patterns.get_mut(subscription.pattern as usize)?;
        pattern.subscribers.swap_remove(subscription.place as usize);
        let moved = pattern
            .subscribers
            .get(subscription.place as usize)
            .map(|who| Moved { who: *who, to: subscription.place });
        if pattern.subscribers.is_empty() {
            self.destroy(subscription.pattern);
        }
        moved
    }

    /// The connection's back-index for this subscription is at another place now.
    pub(crate) fn renumber(&mut self, subscription: Subscription, place: u32) {
        let pattern = self.patterns.get_mut(subscription.pattern as usize);
        if let Some(who) =
            pattern.and_then(|pattern| pattern.subscribers.get_mut(subscription.place as usize))
        {
            who.place = place;
        }
    }

    /// Makes sure that [`Index::receivers`] can answer for the channel.
    pub(crate) fn resolve(&mut self, channel: &str) {
        if self.cache.contains_key(channel) {
            return;
        }
        if self.cache.len() >= CACHED_CHANNELS {
            self.cache.clear();
        }
        let mut found = Vec::new();
        found.extend(self.find(channel));
        self.wildcards.matches(channel, &mut found);
        self.cache.insert(channel.into(), found);
    }

    /// Subscriber lists of every pattern that matches a resolved channel.
    pub(crate) fn receivers(&self, channel: &str) -> impl Iterator<Item = &[Subscriber]> {
        let patterns = self.cache.get(channel).map_or(&[][..], Vec::as_slice);
        patterns
            .iter()
            .filter_map(|number| self.patterns.get(*number as usize))
            .map(|pattern| pattern.subscribers.as_slice())
    }

    fn create(&mut self, text: &str, wildcard: bool) -> u32 {
        let number =
            self.patterns.insert(Pattern { text: text.into(), wildcard, subscribers: Vec::new() })
                as u32;
        self.by_text.insert(text.into(), number);
        if wildcard {
            self.wildcards.insert(text, number);
        }
        self.forget(text, wildcard);
        number
    }

    fn destroy(&mut self, number: u32) {
        let pattern = self.patterns.remove(number as usize);
        self.by_text.remove(&pattern.text);
        if pattern.wildcard {
            self.wildcards.remove(&pattern.text);
        }
        self.forget(&pattern.text, pattern.wildcard);
    }

    /// Forgets what was remembered of the channels that a pattern could match: for an exact one that is itself.
    fn forget(&mut self, text: &str, wildcard: bool) {
        if wildcard {
            self.cache.clear();
        } else {
            self.cache.remove(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(index: &mut Index, channel: &str) -> Vec<u32> {
        index.resolve(channel);
        let mut conns: Vec<u32> = index.receivers(channel).flatten().map(|who| who.conn).collect();
        conns.sort_unstable();
        conns
    }

    #[test]
    fn exact_and_wildcard_subscribers_both_receive() {
        let mut index = Index::default();
        index.subscribe("BTC.trade", false, 1, 0);
        index.subscribe("*.trade", true, 2, 0);
        index.subscribe(">", true, 3, 0);
        index.subscribe("ETH.*", true, 4, 0);
        assert_eq!(receivers(&mut index, "BTC.trade"), [1, 2, 3]);
    }

    #[test]
    fn a_new_subscription_is_seen_on_a_channel_that_was_resolved_before() {
        let mut index = Index::default();
        assert!(receivers(&mut index, "BTC.trade").is_empty());
        index.subscribe("BTC.trade", false, 1, 0);
        assert_eq!(receivers(&mut index, "BTC.trade"), [1]);
        index.subscribe("BTC.>", true, 2, 0);
        assert_eq!(receivers(&mut index, "BTC.trade"), [1, 2]);
    }

    #[test]
    fn leaving_moves_the_last_subscriber_into_the_gap_and_says_so() {
        let mut index = Index::default();
        let first = index.subscribe("a", false, 1, 0);
        index.subscribe("a", false, 2, 5);
        let moved = index.unsubscribe(first).unwrap();
        assert_eq!(moved, Moved { who: Subscriber { conn: 2, place: 5 }, to: 0 });
        assert_eq!(receivers(&mut index, "a"), [2]);
    }

    #[test]
    fn a_pattern_ends_with_its_last_subscriber_and_its_number_may_be_used_again() {
        let mut index = Index::default();
        let wild = index.subscribe("a.*", true, 1, 0);
        assert_eq!(receivers(&mut index, "a.b"), [1]);
        assert_eq!(index.unsubscribe(wild), None);
        assert_eq!(index.find("a.*"), None);
        let other = index.subscribe("z", false, 9, 0);
        assert_eq!(other.pattern, wild.pattern);
        assert!(receivers(&mut index, "a.b").is_empty());
    }
}
