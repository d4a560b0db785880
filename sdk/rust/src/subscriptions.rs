//! The channels and patterns that are wanted, and what the gateway knows of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::channels::matches;
use crate::event::Message;
use crate::ledger::{Ledger, MAX_CHANNELS, Recent};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    New,
    Asked,
    Held,
    Rejected,
}

/// Names an entry for as long as it is there; later ones are greater.
pub(crate) type EntryId = u64;

/// A channel or pattern.
#[derive(Debug)]
pub(crate) struct Entry {
    pub pattern: String,
    pub snapshot: bool,
    /// The token alone sets it; the user has not asked for it.
    pub preset: bool,
    pub state: State,
    /// It takes part in the cursor, so that after a reconnect it is resumed, not begun anew.
    pub joined: bool,
    /// Everything after this offset was promised by an acknowledgement.
    pub promised: Option<i64>,
    /// Last values are still to come.
    pub owed: bool,
    /// Offsets that came since last values were asked for: a last value may come twice.
    pub had: Recent<i64>,
}

/// The channels of a command that is catching up: all of theirs up to `high` has come.
#[derive(Debug)]
pub(crate) struct Group {
    pub id: i64,
    pub high: i64,
    pub entries: BTreeSet<EntryId>,
    /// Those for which last values are under way.
    pub serving: Vec<EntryId>,
    /// Messages may have come some other way, so they prove nothing.
    pub blind: bool,
}

/// All entries, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    pub entries: BTreeMap<EntryId, Entry>,
    by_name: HashMap<String, EntryId>,
    routes: Recent<Vec<EntryId>>,
    next: EntryId,
}

impl Subscriptions {
    pub(crate) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            by_name: HashMap::new(),
            routes: Recent::new(MAX_CHANNELS),
            next: 0,
        }
    }

    /// The entry of a pattern, and whether it is a new one.
    pub(crate) fn add(&mut self, pattern: &str) -> (EntryId, &mut Entry, bool) {
        let known = self.by_name.get(pattern).copied();
        let id = known.unwrap_or(self.next);
        if known.is_none() {
            self.next += 1;
            self.by_name.insert(pattern.to_owned(), id);
            self.routes.clear();
        }
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            pattern: pattern.to_owned(),
            snapshot: false,
            preset: false,
            state: State::New,
            joined: false,
            promised: None,
            owed: false,
            had: Recent::new(MAX_CHANNELS),
        });
        (id, entry, known.is_none())
    }

    pub(crate) fn by_name(&mut self, pattern: &str) -> Option<&mut Entry> {
        self.by_name.get(pattern).and_then(|id| self.entries.get_mut(id))
    }

    pub(crate) fn remove(&mut self, pattern: &str) -> Option<Entry> {
        let id = self.by_name.remove(pattern)?;
        self.routes.clear();
        self.entries.remove(&id)
    }

    /// The entries of which something is true.
    pub(crate) fn pick(&self, test: impl Fn(&Entry) -> bool) -> Vec<EntryId> {
        self.entries.iter().filter(|(_, entry)| test(entry)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn any(&self, test: impl Fn(&Entry) -> bool) -> bool {
        self.entries.values().any(test)
    }

    /// The acknowledged entries that a channel belongs to.
    pub(crate) fn held(&mut self, channel: &str) -> Vec<EntryId> {
        if self.routes.get(channel).is_none() {
            let route = self.pick(|entry| matches(&entry.pattern, channel));
            self.routes.set(channel, route);
        }
        let is_held = |id: &&EntryId| self.entries.get(id).is_some_and(|e| e.state == State::Held);
        let route = self.routes.get(channel).map_or(&[][..], Vec::as_slice);
        route.iter().filter(is_held).copied().collect()
    }

    pub(crate) fn of<'a>(&'a self, ids: &'a [EntryId]) -> impl Iterator<Item = &'a Entry> {
        ids.iter().filter_map(|id| self.entries.get(id))
    }

    /// Whether a last value is new to one of those who want it.
    pub(crate) fn is_fresh_value(&self, m: &Message, held: &[EntryId], known: &Ledger) -> bool {
        let mut wanting = self.of(held).filter(|entry| entry.snapshot).peekable();
        if wanting.peek().is_some() {
            return wanting.any(|e| m.offset > e.had.get(&m.channel).copied().unwrap_or(0));
        }
        // Unasked, a gateway repeats the values of channels with a maxRate when a cursor cannot tell whether they came.
        !held.is_empty() && m.offset > known.last(&m.channel)
    }

    /// Remembers what those who wanted last values have got.
    pub(crate) fn delivered(&mut self, m: &Message, held: &[EntryId]) {
        for id in held {
            if let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.snapshot) {
                let had = entry.had.get(&m.channel).copied().unwrap_or(0);
                entry.had.set(&m.channel, had.max(m.offset));
            }
        }
    }
}
