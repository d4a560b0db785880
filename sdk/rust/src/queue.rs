//! What subscriptions have not taken yet: a bounded queue for each, and which event goes to which.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::task::Waker;

use crate::channels::matches;
use crate::event::{Cursor, Event, Gap, Message, Subscribed};
use crate::ledger::{MAX_CHANNELS, Recent};

/// What happens when a subscription's queue is full.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Overflow {
    /// The connection waits for it, and with it every subscription of the client. A gateway that ends the connection for
    /// that is resumed from: nothing is lost.
    #[default]
    Wait,
    /// Messages are dropped and reported as a [`Gap`] with the reason `overflow`. The others go on.
    Report,
}

/// Bounds a queue besides its count: messages may be as large as NATS lets them.
const MAX_BYTES: usize = 16 << 20;
/// Events that are no messages may exceed a full queue by so many before they are dropped.
const CONTROL_ROOM: usize = 256;

/// Bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub count: usize,
    pub overflow: Overflow,
}

/// An event, its place among all events, and the cursor before it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub event: Event,
    pub before: Option<Cursor>,
    pub turn: u64,
}

pub(crate) struct Queue {
    pub patterns: Vec<String>,
    pub waker: Option<Waker>,
    /// It gets every event, whatever its channel.
    everything: bool,
    snapshot: bool,
    bounds: Bounds,
    items: VecDeque<Item>,
    bytes: usize,
    /// The greatest offset of a channel that it was given: last values may be asked for again by others.
    seen: Recent<i64>,
    since: Option<i64>,
    epoch: String,
    /// The first and last offsets that were dropped, by channel.
    lost: Recent<(i64, i64)>,
    /// Where dropping began: turn and cursor.
    lost_at: Option<(u64, Option<Cursor>)>,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.items.len() >= self.bounds.count || self.bytes >= MAX_BYTES
    }

    fn matches(&self, channel: &str) -> bool {
        self.everything || self.patterns.iter().any(|pattern| matches(pattern, channel))
    }

    /// The event as this queue gets it.
    fn share(&self, event: &Event) -> Option<Event> {
        let wanted = match event {
            _ if self.everything => true,
            Event::Message(message) => {
                self.matches(&message.channel) && !(message.snapshot && self.knows(message))
            }
            Event::Gap(gap) => self.matches(&gap.channel),
            Event::Rejected(rejected) => self.patterns.contains(&rejected.channel),
            Event::Subscribed(all) => {
                let mine = |channel: &&String| self.patterns.contains(channel);
                let channels: Vec<_> = all.channels.iter().filter(mine).cloned().collect();
                let some = !channels.is_empty();
                return some.then(|| Event::Subscribed(Subscribed { channels, ..all.clone() }));
            }
            _ => true,
        };
        wanted.then(|| event.clone())
    }

    /// A last value that somebody else has asked for, or that came before.
    fn knows(&self, message: &Message) -> bool {
        let since = if self.snapshot { None } else { self.since };
        let seen = self.seen.get(&message.channel).copied();
        seen.max(since).is_some_and(|known| message.offset <= known)
    }

    fn push(&mut self, item: Item) {
        self.note(&item.event);
        if self.bounds.overflow == Overflow::Report {
            let roomy = self.items.len() <= self.bounds.count / 2 && !self.is_full();
            match &item.event {
                Event::Message(m) if self.is_full() || (self.lost_at.is_some() && !roomy) => {
                    let (channel, offset) = (m.channel.clone(), m.offset);
                    return self.lose(&channel, offset, offset, &item);
                }
                Event::Gap(gap) if self.items.len() >= self.bounds.count + CONTROL_ROOM => {
                    let (channel, first, last) = (gap.channel.clone(), gap.first, gap.last);
                    return self.lose(&channel, first, last, &item);
                }
                Event::Message(_) => self.report(),
                _ if self.items.len() >= self.bounds.count + CONTROL_ROOM => return,
                _ => {}
            }
        }
        self.bytes += size(&item.event);
        self.items.push_back(item);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Message(message) => {
                let seen = self.seen.get(&message.channel).copied().unwrap_or(0);
                self.seen.set(&message.channel, seen.max(message.offset));
            }
            Event::Subscribed(subscribed) => {
                self.since.get_or_insert(subscribed.offset);
            }
            Event::Opened(opened) if opened.epoch != self.epoch => {
                self.epoch.clone_from(&opened.epoch);
                self.seen.clear();
                self.since = None;
            }
            _ => {}
        }
    }

    fn lose(&mut self, channel: &str, first: i64, last: i64, item: &Item) {
        self.lost_at.get_or_insert_with(|| (item.turn, item.before.clone()));
        let union = |known: Option<&(i64, i64)>, (first, last): (i64, i64)| {
            known.map_or((first, last), |(a, b)| (first.min(*a), last.max(*b)))
        };
        let range = union(self.lost.get(channel), (first, last));
        let mut evicted = self.lost.set(channel, range);
        while let Some(oldest) = evicted {
            // Too many channels for one gap each: the oldest ones share one.
            let rest = union(self.lost.get(">"), oldest);
            evicted = self.lost.set(">", rest);
        }
    }

    /// Queues gaps for what was dropped.
    fn report(&mut self) {
        let Some((turn, before)) = self.lost_at.take() else { return };
        for (channel, (first, last)) in self.lost.drain() {
            let event = Event::Gap(Gap { channel, first, last, reason: "overflow".to_owned() });
            self.items.push_back(Item { event, before: before.clone(), turn });
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.items.is_empty() {
            self.report();
        }
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(size(&item.event));
        Some(item.event)
    }

    /// The place of the first event that was not taken, and the cursor before it.
    fn front(&self) -> Option<(u64, &Option<Cursor>)> {
        let item = self.items.front().map(|item| (item.turn, &item.before));
        let lost = self.lost_at.as_ref().map(|(turn, before)| (*turn, before));
        item.into_iter().chain(lost).min_by_key(|(turn, _)| *turn)
    }
}

fn size(event: &Event) -> usize {
    if let Event::Message(message) = event { message.data.len() } else { 0 }
}

/// All queues of a client.
#[derive(Default)]
pub(crate) struct Queues {
    pub queues: BTreeMap<u64, Queue>,
    /// How many queues want a pattern.
    wanted: HashMap<String, usize>,
    next: u64,
    turn: u64,
}

impl Queues {
    /// Adds a queue; without patterns it gets everything.
    pub(crate) fn add(&mut self, patterns: Vec<String>, snapshot: bool, bounds: Bounds) -> u64 {
        for pattern in &patterns {
            *self.wanted.entry(pattern.clone()).or_default() += 1;
        }
        self.next += 1;
        let queue = Queue {
            everything: patterns.is_empty(),
            patterns,
            waker: None,
            snapshot,
            bounds,
            items: VecDeque::new(),
            bytes: 0,
            seen: Recent::new(MAX_CHANNELS),
            since: None,
            epoch: String::new(),
            lost: Recent::new(MAX_CHANNELS),
            lost_at: None,
        };
        self.queues.insert(self.next, queue);
        self.next
    }

    /// Removes a queue; returns the patterns that nobody wants any more.
    pub(crate) fn remove(&mut self, id: u64) -> Vec<String> {
        let Some(queue) = self.queues.remove(&id) else { return Vec::new() };
        let mut patterns = queue.patterns;
        patterns.retain(|pattern| {
            let Some(count) = self.wanted.get_mut(pattern) else { return false };
            *count -= 1;
            let last = *count == 0;
            if last {
                self.wanted.remove(pattern);
            }
            last
        });
        patterns
    }

    /// Whether a queue that this event is for is full, and waited for.
    pub(crate) fn is_blocked(&self, event: &Event) -> bool {
        self.queues.values().any(|queue| {
            queue.bounds.overflow == Overflow::Wait
                && queue.is_full()
                && queue.share(event).is_some()
        })
    }

    pub(crate) fn push(&mut self, event: &Event, before: &Option<Cursor>) {
        self.turn += 1;
        for queue in self.queues.values_mut() {
            if let Some(event) = queue.share(event) {
                queue.push(Item { event, before: before.clone(), turn: self.turn });
            }
        }
    }

    /// Puts an event into one queue.
    pub(crate) fn push_to(&mut self, id: u64, event: Event, before: Option<Cursor>) {
        self.turn += 1;
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.push(Item { event, before, turn: self.turn });
        }
    }

    /// The cursor before the first event that was not taken; none when all were.
    pub(crate) fn behind(&self) -> Option<&Option<Cursor>> {
        let fronts = self.queues.values().filter_map(Queue::front);
        fronts.min_by_key(|(turn, _)| *turn).map(|(_, before)| before)
    }

    pub(crate) fn wake_all(&mut self) {
        self.queues.values_mut().for_each(Queue::wake);
    }
}
