//! What the gateway answers to commands, and what it changes by itself.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::event::{Error, Event, Rejected, Subscribed};
use crate::session::Session;
use crate::subscriptions::{EntryId, Group, State};
use crate::wire::{Command, Push};

impl Session {
    /// The token subscribes to channels. While there is something to resume they are resumed like all others.
    pub(crate) fn preset(&mut self, push: Push) {
        let Some(offset) = push.offset().filter(|_| !push.subscribed.is_empty()) else { return };
        for pattern in &push.subscribed {
            let (_, entry, is_new) = self.subscriptions.add(pattern);
            entry.preset |= is_new;
            if self.frozen.is_none() && entry.preset && !entry.joined {
                (entry.state, entry.joined) = (State::Held, true);
                entry.promised = Some(offset);
            }
        }
        if self.frozen.is_none() {
            self.raise(offset);
            self.emit(subscribed(push.subscribed, offset, None));
        }
    }

    pub(crate) fn acknowledge(&mut self, push: Push) {
        let answers = |flight: &mut crate::commands::Flight| flight.command.id == push.id;
        let Some(flight) = self.commander.flight.take_if(answers) else { return };
        let lost = push.recovered == Some(false);
        let offset = push.offset().unwrap_or(0);
        let ahead = |cursor: crate::Cursor| cursor.epoch == self.epoch && offset < cursor.offset;
        if lost && self.cursor().is_some_and(ahead) {
            self.forget(); // a cursor from a future that never was
        }
        let accepted: HashSet<&str> = push.subscribed.iter().map(String::as_str).collect();
        let codes: HashMap<&str, &str> =
            push.rejected.iter().map(|r| (r.channel.as_str(), r.code.as_str())).collect();
        let (mut mine, mut channels) = (Vec::new(), Vec::new());
        // An entry may be unsubscribed meanwhile: it still counts as catching up.
        for (id, channel) in flight.entries.into_iter().zip(&flight.command.channels) {
            if accepted.contains(channel.as_str()) {
                mine.push(id);
                channels.push(channel.clone());
                continue;
            }
            let Some(entry) = self.subscriptions.entries.get_mut(&id) else { continue };
            entry.owed = false;
            if entry.state != State::Held {
                entry.state = State::Rejected;
            }
            // The list of rejections is bounded, so not every channel has its code.
            let code = codes.get(channel.as_str()).copied().unwrap_or("rejected").to_owned();
            self.emit(Event::Rejected(Rejected { channel: channel.clone(), code }));
        }
        if !mine.is_empty() {
            self.hold(mine, &flight.command, offset, lost);
        }
        self.thaw();
        if !channels.is_empty() {
            self.emit(subscribed(channels, offset, push.recovered));
        }
    }

    /// These entries are delivered from a position on.
    fn hold(&mut self, mine: Vec<EntryId>, command: &Command, offset: i64, lost: bool) {
        let mut high = offset;
        // To those who resume last values come only when something is missing.
        let values = command.snapshot && (lost || command.resume.is_none());
        let mut serving = Vec::new();
        for id in &mine {
            let Some(entry) = self.subscriptions.entries.get_mut(id) else { continue };
            if entry.state == State::Held {
                high = i64::MAX; // only last values are under way
            }
            if lost {
                (entry.promised, entry.owed) = (None, entry.snapshot);
            }
            entry.promised.get_or_insert(offset);
            (entry.state, entry.joined) = (State::Held, true);
            if values && entry.owed {
                serving.push(*id);
            }
        }
        if command.resume.is_some() || command.snapshot {
            let entries = BTreeSet::from_iter(mine);
            self.group = Some(Group { id: command.id, high, entries, serving, blind: false });
        }
        self.raise(offset);
    }

    /// Lets the cursor move again once nothing is left to be resumed.
    pub(crate) fn thaw(&mut self) {
        let waits = |e: &crate::subscriptions::Entry| {
            e.joined && matches!(e.state, State::New | State::Asked)
        };
        if !self.given && !self.subscriptions.any(waits) {
            self.frozen = None;
        }
    }

    pub(crate) fn unsubscribed(&mut self, push: Push) {
        for channel in push.channels {
            match self.subscriptions.by_name(&channel) {
                Some(entry) if entry.preset => drop(self.subscriptions.remove(&channel)),
                Some(entry) => entry.state = State::Rejected,
                None => {}
            }
            self.emit(Event::Rejected(Rejected { channel, code: push.reason.clone() }));
        }
    }

    pub(crate) fn live(&mut self, push: &Push) {
        let Some(offset) = push.offset() else { return };
        let Some(group) = self.group.take_if(|group| group.id == push.id) else { return };
        for id in group.serving {
            if let Some(entry) = self.subscriptions.entries.get_mut(&id) {
                entry.owed = false;
            }
        }
        self.raise(offset);
    }

    pub(crate) fn refuse(&mut self, push: Push) {
        self.emit(Event::Error(Error { code: push.code.clone(), message: push.message }));
        let Some(flight) = &self.commander.flight else { return };
        let names = self.subscriptions.of(&flight.entries).map(|entry| entry.pattern.clone());
        let rejected = names.map(|channel| Rejected { channel, code: push.code.clone() }).collect();
        self.acknowledge(Push { id: push.id, rejected, ..Push::default() });
    }
}

fn subscribed(channels: Vec<String>, offset: i64, recovered: Option<bool>) -> Event {
    Event::Subscribed(Subscribed {
        channels,
        offset,
        resumed: recovered.is_some(),
        recovered: recovered == Some(true),
    })
}
