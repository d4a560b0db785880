//! The protocol above any socket: frames and the time come in, events and commands go out.
//!
//! One command at a time catches up. Until it is live the cursor is not ahead of what it has brought, so that a connection
//! that ends anywhere is resumed without a loss. Pushes are handled one by one, as events are taken: the cursor is never
//! ahead of the event that was taken last.

use std::collections::VecDeque;
use std::time::Duration;

use crate::backoff::MAX_ADVICE;
use crate::channels::{is_pattern, matches};
use crate::commands::Commander;
use crate::event::{Cursor, Error, Event, Gap, Message, Opened, Reconnect, TokenExpiring};
use crate::ledger::{Ledger, MAX_CHANNELS};
use crate::subscriptions::{EntryId, Group, State, Subscriptions};
use crate::wire::{Push, parse, unix_ms};

pub(crate) struct Session {
    pub greeted: bool,
    /// Counts messages that came again and were dropped.
    pub duplicates: u64,
    pub subscriptions: Subscriptions,
    pub commander: Commander,
    pub epoch: String,
    /// Where to resume, while not everything has been resumed.
    pub frozen: Option<Cursor>,
    /// The cursor came from outside, and the first channels resume from it, too.
    pub given: bool,
    /// The highest offset of an acknowledgement or a message on this epoch.
    pub high: Option<i64>,
    pub group: Option<Group>,
    ledger: Ledger,
    inbox: VecDeque<Push>,
    events: VecDeque<Event>,
}

impl Session {
    pub(crate) fn new(cursor: Option<Cursor>) -> Self {
        Self {
            greeted: false,
            duplicates: 0,
            subscriptions: Subscriptions::new(),
            commander: Commander::new(),
            epoch: String::new(),
            given: cursor.is_some(),
            frozen: cursor,
            high: None,
            group: None,
            ledger: Ledger::new(MAX_CHANNELS),
            inbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Where to resume; none before anything is known.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        let (None, Some(high)) = (&self.frozen, self.high) else {
            return self.frozen.clone();
        };
        let offset = self.group.as_ref().map_or(high, |group| high.min(group.high));
        Some(Cursor { epoch: self.epoch.clone(), offset })
    }

    /// Everything wanted is acknowledged and live.
    pub(crate) fn settled(&self) -> bool {
        self.greeted
            && self.commander.flight.is_none()
            && self.group.is_none()
            && !self.subscriptions.any(|e| matches!(e.state, State::New | State::Asked))
    }

    pub(crate) fn subscribe(&mut self, pattern: &str, snapshot: bool) {
        let (id, entry, _) = self.subscriptions.add(pattern);
        entry.preset = false;
        if entry.state == State::Rejected {
            entry.state = State::New;
        }
        if snapshot {
            (entry.snapshot, entry.owed) = (true, true);
            entry.had.clear();
            if let Some(group) = &mut self.group {
                group.serving.retain(|one| *one != id);
            }
        }
    }

    /// None of the channel's messages is an event from here on.
    pub(crate) fn unsubscribe(&mut self, pattern: &str) {
        let removed = self.subscriptions.remove(pattern);
        if !removed.is_some_and(|e| matches!(e.state, State::Held | State::Asked)) {
            return;
        }
        self.commander.leaving.push(pattern.to_owned());
        if let Some(group) = &mut self.group {
            group.blind = true; // messages under way look like those of the command that is catching up
        }
    }

    /// Takes a frame in. Its events come out of `poll`.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        let (pushes, broken) = parse(frame);
        self.inbox.extend(pushes);
        if let Some(broken) = broken {
            self.error("bad_frame", broken);
        }
    }

    /// The next event, or none when a frame is needed.
    pub(crate) fn poll(&mut self) -> Option<Event> {
        while self.events.is_empty() {
            let push = self.inbox.pop_front()?;
            self.take(push);
        }
        self.events.pop_front()
    }

    /// The connection has ended: what it held has to be asked for again.
    pub(crate) fn ended(&mut self) {
        self.frozen = self.cursor();
        let same = self.frozen.as_ref().filter(|cursor| cursor.epoch == self.epoch);
        self.high = same.map(|cursor| cursor.offset);
        (self.greeted, self.group) = (false, None);
        self.inbox.clear();
        self.commander.reset();
        for entry in self.subscriptions.entries.values_mut() {
            entry.state = State::New;
        }
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn error(&mut self, code: &str, message: &str) {
        self.emit(Event::Error(Error { code: code.to_owned(), message: message.to_owned() }));
    }

    /// Everything up to here has come.
    pub(crate) fn raise(&mut self, offset: i64) {
        self.high = Some(self.high.map_or(offset, |high| high.max(offset)));
    }

    fn take(&mut self, push: Push) {
        match push.kind.as_str() {
            "message" => self.message(push),
            "connection:established" => self.greet(push),
            "subscription_ack" => self.acknowledge(push),
            "live" => self.live(&push),
            "gap" => self.gap(push),
            "unsubscribed" => self.unsubscribed(push),
            "auth_ack" => self.preset(push),
            "pong" => self.pong(&push),
            "error" => self.refuse(push),
            "reconnect" => {
                let after = milliseconds(push.after_ms);
                self.emit(Event::Reconnect(Reconnect { after, reason: push.reason }));
            }
            "token_expiring" => {
                let expires_at = unix_ms(push.expires_at);
                self.emit(Event::TokenExpiring(TokenExpiring { expires_at }));
            }
            _ => {}
        }
    }

    fn greet(&mut self, push: Push) {
        self.commander.limit(push.limits.command_bytes, push.limits.commands_per_second);
        if !push.epoch.is_empty() && push.epoch != self.epoch {
            self.forget();
            self.epoch.clone_from(&push.epoch);
        }
        self.greeted = true;
        self.emit(Event::Opened(Opened {
            epoch: push.epoch.clone(),
            connection_id: push.connection_id.clone(),
            pod: push.pod.clone(),
        }));
        self.preset(push);
    }

    /// Offsets from before mean nothing any more.
    pub(crate) fn forget(&mut self) {
        (self.group, self.high) = (None, None);
        self.ledger.clear();
        for entry in self.subscriptions.entries.values_mut() {
            entry.promised = None;
            entry.had.clear();
        }
    }

    /// Everything up to the offset of a pong has been sent.
    fn pong(&mut self, push: &Push) {
        let (Some(offset), None, Some(_)) = (push.offset(), &self.frozen, self.high) else {
            return;
        };
        if let Some(group) = &mut self.group {
            group.high = group.high.max(offset);
        }
        self.raise(offset);
    }

    fn gap(&mut self, push: Push) {
        let (Some(first @ 0..), Some(last @ 0..)) = (push.from, push.to) else { return };
        if push.channel.is_empty() {
            return;
        }
        if is_pattern(&push.channel) {
            for entry in self.subscriptions.entries.values_mut() {
                if let Some(promised) = &mut entry.promised
                    && matches(&entry.pattern, &push.channel)
                {
                    *promised = last.max(*promised);
                }
            }
        } else {
            self.ledger.record(&push.channel, 0, last);
        }
        self.emit(Event::Gap(Gap { channel: push.channel, first, last, reason: push.reason }));
    }

    fn message(&mut self, push: Push) {
        let message = match push.decoded() {
            Ok(message) => message,
            Err(broken) => return self.error("bad_message", broken),
        };
        let held = self.subscriptions.held(&message.channel);
        if message.snapshot {
            return self.last_value(message, &held);
        }
        if held.is_empty() {
            return; // unsubscribed meanwhile, or to be resumed first
        }
        let (offset, prev) = (message.offset, message.prev);
        if offset <= self.ledger.last(&message.channel) {
            self.duplicates += 1;
            return;
        }
        if let Some(first) = self.ledger.hole(&message.channel, prev, self.promised(&held)) {
            // The message itself comes with the next event, and so does the cursor after it.
            self.ledger.record(&message.channel, 0, prev);
            self.inbox.push_front(push);
            let (channel, reason) = (message.channel, "missed".to_owned());
            self.emit(Event::Gap(Gap { channel, first, last: prev, reason }));
            return;
        }
        self.ledger.record(&message.channel, offset, 0);
        if let Some(group) = &mut self.group
            && !group.blind
            && held.iter().all(|id| group.entries.contains(id))
        {
            group.high = group.high.max(offset); // nothing else can have brought it
        }
        self.raise(offset);
        self.deliver(message, &held);
    }

    fn last_value(&mut self, message: Message, held: &[EntryId]) {
        if !self.subscriptions.is_fresh_value(&message, held, &self.ledger) {
            return;
        }
        if !self.subscriptions.of(held).any(|entry| entry.snapshot) {
            // It may come again after the next reconnect.
            self.ledger.record(&message.channel, message.offset, 0);
        }
        self.deliver(message, held);
    }

    /// The least offset after which everything was to be delivered; 0 when nothing was promised.
    fn promised(&self, held: &[EntryId]) -> i64 {
        self.subscriptions.of(held).filter_map(|entry| entry.promised).min().unwrap_or(0)
    }

    fn deliver(&mut self, message: Message, held: &[EntryId]) {
        self.subscriptions.delivered(&message, held);
        self.emit(Event::Message(message));
    }
}

/// A duration that no server can make long.
pub(crate) fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(MAX_ADVICE)
}
