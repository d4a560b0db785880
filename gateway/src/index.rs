//! Subject index of one shard: who is subscribed to what, and who receives a channel.
//!
//! A pattern holds its subscribers as a dense list; a subscription knows its place there, so leaving is O(1)
//! (swap-remove, then the moved subscriber's back-index is set right). The patterns of a channel are looked up once
//! and remembered until a pattern that could match it comes or goes.
//!
//! Clients choose the names, so names have a budget in bytes: beyond it a pattern that nobody holds yet is refused,
//! one that somebody holds is not.

mod trie;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hashbrown::HashTable;
use slab::Slab;

use trie::Trie;

/// Bytes of channels whose patterns are remembered; beyond it everything is looked up anew. About fifty thousand
/// channels of usual length. Publishers choose these names: one may be as long as a NATS subject.
const CACHE_BYTES: usize = 8 << 20;

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

/// A pattern's share of the arena and of the table, both of which may be half empty, and the blocks of its text and of
/// its first subscribers. Further subscribers are counted with their connections.
const PATTERN_BYTES: usize = 2 * size_of::<Pattern>() + 3 * size_of::<u32>() + 16 + 48;

/// A remembered channel's share of the table, and the blocks of its name and its patterns.
const CACHED_BYTES: usize = 2 * size_of::<(Box<str>, Vec<u32>)>() + 32;

#[derive(Debug)]
pub(crate) struct Index {
    patterns: Slab<Pattern>,
    by_text: HashTable<u32>,
    /// Seeded per index: clients choose the texts.
    hasher: RandomState,
    wildcards: Trie,
    cache: HashMap<Box<str>, Vec<u32>>,
    /// Bytes of the cache.
    cached: usize,
    /// Bytes of the patterns, without the trie's.
    named: usize,
    /// Bytes that patterns on their way here may come to cost.
    reserved: Arc<AtomicUsize>,
    budget: usize,
}

/// Room in the index for patterns that somebody waits to subscribe to. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Reservation {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
    }
}

impl Index {
    /// An empty index whose patterns may cost so many bytes.
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            patterns: Slab::new(),
            by_text: HashTable::new(),
            hasher: RandomState::new(),
            wildcards: Trie::default(),
            cache: HashMap::new(),
            cached: 0,
            named: 0,
            reserved: Arc::default(),
            budget,
        }
    }

    /// Lets patterns cost so many bytes from now on. Those that are held stay.
    pub(crate) fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// Bytes that the patterns cost, those on their way included.
    pub(crate) fn bytes(&self) -> usize {
        self.named + self.wildcards.bytes() + self.reserved.load(Relaxed)
    }

    /// Whether a pattern may be subscribed to: somebody holds it already, or there is room for `ahead` bytes of others
    /// and for it.
    pub(crate) fn has_room(&self, text: &str, ahead: usize) -> bool {
        self.fits(ahead + Self::most_bytes(text)) || self.find(text).is_some()
    }

    /// Whether there is room for names of so many bytes.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.bytes() + bytes <= self.budget
    }

    /// Most bytes that a pattern can cost.
    pub(crate) fn most_bytes(text: &str) -> usize {
        PATTERN_BYTES + text.len() + Trie::most_bytes(text)
    }

    /// Keeps room for patterns that are subscribed to later.
    pub(crate) fn reserve(&self, bytes: usize) -> Reservation {
        self.reserved.fetch_add(bytes, Relaxed);
        Reservation { bytes, all: Arc::clone(&self.reserved) }
    }

    /// The number of a pattern that somebody is subscribed to.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let is_it = |number: &u32| self.text(*number) == Some(text);
        self.by_text.find(self.hasher.hash_one(text), is_it).copied()
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
        let mut found = Vec::new();
        found.extend(self.find(channel));
        self.wildcards.matches(channel, &mut found);
        let bytes = cached_bytes(channel, &found);
        if self.cached + bytes > CACHE_BYTES {
            self.forget_all();
        }
        self.cached += bytes;
        self.cache.insert(channel.into(), found);
    }

    /// Subscriber lists of every pattern that matches a resolved channel.
    pub(crate) fn receivers(&self, channel: &str) -> impl Iterator<Item = &[Subscriber]> {
        self.receivers_by_pattern(channel).map(|(_, subscribers)| subscribers)
    }

    /// The same with the number of each pattern.
    pub(crate) fn receivers_by_pattern(
        &self,
        channel: &str,
    ) -> impl Iterator<Item = (u32, &[Subscriber])> {
        let patterns = self.cache.get(channel).map_or(&[][..], Vec::as_slice);
        patterns.iter().filter_map(|number| {
            let pattern = self.patterns.get(*number as usize)?;
            Some((*number, pattern.subscribers.as_slice()))
        })
    }

    fn create(&mut self, text: &str, wildcard: bool) -> u32 {
        let pattern = Pattern { text: text.into(), wildcard, subscribers: Vec::new() };
        let number = self.patterns.insert(pattern) as u32;
        let Self { patterns, by_text, hasher, .. } = self;
        by_text.insert_unique(hasher.hash_one(text), number, |number| {
            patterns.get(*number as usize).map_or(0, |pattern| hasher.hash_one(&*pattern.text))
        });
        self.named += PATTERN_BYTES + text.len();
        if wildcard {
            self.wildcards.insert(text, number);
        }
        self.forget(text, wildcard);
        number
    }

    fn destroy(&mut self, number: u32) {
        let pattern = self.patterns.remove(number as usize);
        let hash = self.hasher.hash_one(&*pattern.text);
        if let Ok(entry) = self.by_text.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        self.named -= PATTERN_BYTES + pattern.text.len();
        if pattern.wildcard {
            self.wildcards.remove(&pattern.text);
        }
        self.forget(&pattern.text, pattern.wildcard);
    }

    /// Forgets what was remembered of the channels that a pattern could match: for an exact one that is itself.
    fn forget(&mut self, text: &str, wildcard: bool) {
        if wildcard {
            self.forget_all();
        } else if let Some(found) = self.cache.remove(text) {
            self.cached -= cached_bytes(text, &found);
        }
    }

    fn forget_all(&mut self) {
        self.cache.clear();
        self.cached = 0;
    }
}

/// What it costs to remember the patterns of a channel.
fn cached_bytes(channel: &str, found: &[u32]) -> usize {
    // A list may have grown to twice its length.
    CACHED_BYTES + channel.len() + 2 * size_of_val(found)
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
        let mut index = Index::new(1 << 20);
        index.subscribe("BTC.trade", false, 1, 0);
        index.subscribe("*.trade", true, 2, 0);
        index.subscribe(">", true, 3, 0);
        index.subscribe("ETH.*", true, 4, 0);
        assert_eq!(receivers(&mut index, "BTC.trade"), [1, 2, 3]);
    }

    #[test]
    fn a_new_subscription_is_seen_on_a_channel_that_was_resolved_before() {
        let mut index = Index::new(1 << 20);
        assert!(receivers(&mut index, "BTC.trade").is_empty());
        index.subscribe("BTC.trade", false, 1, 0);
        assert_eq!(receivers(&mut index, "BTC.trade"), [1]);
        index.subscribe("BTC.>", true, 2, 0);
        assert_eq!(receivers(&mut index, "BTC.trade"), [1, 2]);
    }

    #[test]
    fn leaving_moves_the_last_subscriber_into_the_gap_and_says_so() {
        let mut index = Index::new(1 << 20);
        let first = index.subscribe("a", false, 1, 0);
        index.subscribe("a", false, 2, 5);
        let moved = index.unsubscribe(first).unwrap();
        assert_eq!(moved, Moved { who: Subscriber { conn: 2, place: 5 }, to: 0 });
        assert_eq!(receivers(&mut index, "a"), [2]);
    }

    #[test]
    fn a_pattern_ends_with_its_last_subscriber_and_its_number_may_be_used_again() {
        let mut index = Index::new(1 << 20);
        let wild = index.subscribe("a.*", true, 1, 0);
        assert_eq!(receivers(&mut index, "a.b"), [1]);
        assert_eq!(index.unsubscribe(wild), None);
        assert_eq!(index.find("a.*"), None);
        let other = index.subscribe("z", false, 9, 0);
        assert_eq!(other.pattern, wild.pattern);
        assert!(receivers(&mut index, "a.b").is_empty());
    }

    #[test]
    fn names_beyond_the_budget_are_refused_but_for_those_that_are_held_and_room_comes_back() {
        let mut index = Index::new(64 << 10);
        let mut held = Vec::new();
        let name = |n: usize| format!("{n}.a.b.c.d.e.f.g.h.i.j.k.l.m.>");
        while index.has_room(&name(held.len()), 0) {
            held.push(index.subscribe(&name(held.len()), true, 1, 0));
        }
        assert!((10..100).contains(&held.len()), "{} patterns", held.len());
        assert!(index.bytes() <= 64 << 10);
        assert!(index.has_room(&name(0), 0), "it is there already");
        for held in held {
            index.unsubscribe(held);
        }
        assert_eq!(index.bytes(), 0);
        let reservation = index.reserve(64 << 10);
        assert!(!index.has_room("a", 0), "all of it is promised");
        drop(reservation);
        assert!(index.has_room("a", 0));
    }

    #[test]
    fn what_is_remembered_of_channels_is_bounded_in_bytes_however_long_their_names_are() {
        let mut index = Index::new(1 << 20);
        index.subscribe("x.>", true, 1, 0);
        let mut most = 0;
        for n in 0..400 {
            let channel = format!("x.{n}.{}", "y".repeat(64 << 10));
            assert_eq!(receivers(&mut index, &channel), [1]);
            most = most.max(index.cache.keys().map(|channel| channel.len()).sum());
        }
        assert!((1 << 20..=CACHE_BYTES).contains(&most), "{most} bytes");
        let held = index.cache.iter().map(|(channel, found)| cached_bytes(channel, found));
        assert_eq!(index.cached, held.sum::<usize>());
    }
}
