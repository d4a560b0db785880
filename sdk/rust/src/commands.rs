//! What to send, and when.

use std::time::{Duration, Instant};

use crate::channels::first;
use crate::event::Cursor;
use crate::session::Session;
use crate::subscriptions::{EntryId, State};
use crate::wire::Command;

/// Bytes of a command besides its channels.
const ENVELOPE: usize = 512;
/// What every gateway accepts, until the greeting says more.
const DEFAULT_COMMAND_BYTES: usize = 4096;
/// Commands that a gateway accepts in a second, until the greeting says more.
const DEFAULT_COMMAND_RATE: f64 = 10.0;
/// How much of the command rate may be used at once.
const AHEAD: Duration = Duration::from_secs(1);
/// For the answer to a subscribe: a gateway may look messages up for 15 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Leaves a fifth of the gateway's command rate to pings.
fn cost_of(rate: f64) -> Duration {
    Duration::from_secs_f64(1.25 / rate)
}

/// A subscribe that waits for its answer.
pub(crate) struct Flight {
    pub command: Command,
    pub entries: Vec<EntryId>,
    at: Instant,
}

/// The part of a session that decides what to send, and when.
pub(crate) struct Commander {
    pub flight: Option<Flight>,
    pub leaving: Vec<String>,
    /// When commands that wait for the command rate may be sent.
    pub wake_at: Option<Instant>,
    id: i64,
    bytes: usize,
    cost: Duration,
    paid_at: Option<Instant>,
}

impl Commander {
    pub(crate) fn new() -> Self {
        Self {
            flight: None,
            leaving: Vec::new(),
            wake_at: None,
            id: 0,
            bytes: DEFAULT_COMMAND_BYTES,
            cost: cost_of(DEFAULT_COMMAND_RATE),
            paid_at: None,
        }
    }

    pub(crate) fn reset(&mut self) {
        (self.flight, self.wake_at, self.paid_at) = (None, None, None);
        self.leaving.clear();
    }

    pub(crate) fn limit(&mut self, bytes: usize, rate: f64) {
        if bytes > 2 * ENVELOPE {
            self.bytes = bytes;
        }
        if rate > 0.01 && rate < 1e6 {
            self.cost = cost_of(rate);
        }
    }

    /// The answer to a subscribe does not come.
    pub(crate) fn overdue(&self, now: Instant) -> bool {
        let late = |flight: &Flight| now.saturating_duration_since(flight.at) > ANSWER_TIMEOUT;
        self.flight.as_ref().is_some_and(late)
    }

    fn room(&self) -> usize {
        self.bytes - ENVELOPE
    }

    /// Takes what a command costs; false when it has to wait.
    fn pays(&mut self, now: Instant) -> bool {
        let paid = self.paid_at.unwrap_or(now);
        let ready = paid.checked_sub(AHEAD.saturating_sub(self.cost)).unwrap_or(now);
        if now < ready {
            self.wake_at = Some(ready);
            return false;
        }
        self.paid_at = Some(paid.max(now) + self.cost);
        true
    }
}

impl Session {
    /// What to send now. Ask again after every event, and at `wake_at`.
    pub(crate) fn commands(&mut self, now: Instant) -> Vec<Command> {
        let mut out = Vec::new();
        self.commander.wake_at = None;
        if !self.greeted || self.commander.flight.is_some() || self.group.is_some() {
            return out;
        }
        while !self.commander.leaving.is_empty() {
            if !self.commander.pays(now) {
                return out;
            }
            let count = first(&self.commander.leaving, self.commander.room());
            let channels = self.commander.leaving.drain(..count).collect();
            out.push(Command { kind: "unsubscribe", channels, ..Command::default() });
        }
        let (resume, entries) = self.next();
        if !entries.is_empty() && self.commander.pays(now) {
            out.push(self.ask(entries, resume, now));
        }
        out
    }

    /// The entries of the next subscribe: first all that is to be resumed, then what is new, then last values.
    fn next(&mut self) -> (Option<Cursor>, Vec<EntryId>) {
        let fresh = self.subscriptions.pick(|e| e.state == State::New);
        for id in &fresh {
            if let Some(entry) = self.subscriptions.entries.get_mut(id) {
                entry.joined |= self.given;
            }
        }
        self.given &= fresh.is_empty();
        let resuming = self.subscriptions.pick(|e| e.state == State::New && e.joined);
        if !resuming.is_empty() && self.frozen.is_some() {
            return (self.frozen.clone(), resuming);
        }
        self.thaw();
        let Some(owed) = self.subscriptions.of(&fresh).next().map(|entry| entry.owed) else {
            return (None, self.subscriptions.pick(|e| e.state == State::Held && e.owed));
        };
        (None, self.subscriptions.pick(|e| e.state == State::New && e.owed == owed))
    }

    fn ask(&mut self, mut entries: Vec<EntryId>, resume: Option<Cursor>, now: Instant) -> Command {
        let names = self.subscriptions.of(&entries).map(|entry| &entry.pattern);
        entries.truncate(first(names, self.commander.room()));
        self.commander.id += 1;
        let mut command = Command {
            kind: "subscribe",
            id: self.commander.id,
            batch: true,
            resume,
            ..Command::default()
        };
        for id in &entries {
            let Some(entry) = self.subscriptions.entries.get_mut(id) else { continue };
            command.channels.push(entry.pattern.clone());
            if entry.state == State::New {
                entry.state = State::Asked;
            }
            command.snapshot |= entry.owed || (command.resume.is_some() && entry.snapshot);
        }
        self.commander.flight = Some(Flight { command: command.clone(), entries, at: now });
        command
    }
}
