//! Peers: what this pod knows of the other pods of its WsGateway, and what it owes them.
//!
//! In: reports of others, the time, what changes here. Out: reports to send, and the users of whom something has changed.
//! Pure: [`super::exchange`] has the socket and the clock.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::roster::{Entry, PodId, Roster, UserKey};
use super::wire::{MOST_ENTRIES, News, Report};

/// Time between two signs of life.
pub(super) const BEAT: Duration = Duration::from_millis(500);

/// Silence after which a pod is taken for dead, and its connections are not counted any more: clients of a pod that was
/// killed are back within a second or two, and are not to be refused for places that nobody has.
const SILENCE: Duration = Duration::from_millis(2_000);

/// Least time between two snapshots of this pod, and between two requests for one of another: what a snapshot costs is
/// paid once for all who ask.
const BETWEEN_SNAPSHOTS: Duration = Duration::from_secs(1);

/// Most other pods. Reports of more are not read.
pub(super) const MOST_PEERS: usize = 512;

/// Changes that wait for the next report. With more, a snapshot is sent instead.
const MOST_WAITING: usize = 1 << 16;

/// Time since the start of this process.
pub(super) type Now = Duration;

/// Another pod.
#[derive(Debug)]
struct Peer {
    heard: Now,
    /// Number of the last changes that were taken up.
    sequence: u64,
    state: State,
    asked: Option<Now>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Something was lost, or nothing has come yet.
    Unknown,
    /// A snapshot is coming; the part that is due.
    Receiving(u16),
    /// All that it has reported is known.
    Known,
}

/// The other pods, and what this one has not reported yet.
#[derive(Debug)]
pub(super) struct Peers {
    own: PodId,
    peers: HashMap<PodId, Peer>,
    /// Number of the last changes of this pod.
    sequence: u64,
    opened: BTreeSet<Entry>,
    closed: BTreeSet<Entry>,
    /// Whether others are to get all of this pod's connections.
    owes_snapshot: bool,
    last_snapshot: Option<Now>,
    last_beat: Option<Now>,
}

impl Peers {
    pub(super) fn new(own: PodId) -> Self {
        Self {
            own,
            peers: HashMap::new(),
            sequence: 0,
            opened: BTreeSet::new(),
            closed: BTreeSet::new(),
            owes_snapshot: false,
            last_snapshot: None,
            last_beat: None,
        }
    }

    /// Pods that are heard of.
    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }

    /// A connection of this pod opens.
    pub(super) fn opens(&mut self, entry: Entry) {
        if !self.closed.remove(&entry) && self.is_waiting_for_few() {
            self.opened.insert(entry);
        }
    }

    /// A connection of this pod closes, or does not count any more.
    pub(super) fn closes(&mut self, entry: Entry) {
        if !self.opened.remove(&entry) && self.is_waiting_for_few() {
            self.closed.insert(entry);
        }
    }

    fn is_waiting_for_few(&mut self) -> bool {
        let few = self.opened.len() + self.closed.len() < MOST_WAITING;
        if !few {
            self.drop_changes();
        }
        few
    }

    /// What waits is not reported one by one: everything is.
    fn drop_changes(&mut self) {
        (self.opened, self.closed) = (BTreeSet::new(), BTreeSet::new());
        self.owes_snapshot = true;
    }

    /// A connection to NATS begins: what this pod says first.
    pub(super) fn begin(&mut self) -> Report {
        self.drop_changes();
        (self.last_snapshot, self.last_beat) = (None, None);
        self.report(News::Hello)
    }

    /// The last thing that it says.
    pub(super) fn end(&self) -> Report {
        self.report(News::Bye)
    }

    /// The connection to NATS is lost: what others report is not heard any more. They are forgotten by their silence.
    pub(super) fn lose(&mut self) {
        for peer in self.peers.values_mut() {
            peer.state = State::Unknown;
        }
    }

    /// Takes a report up; returns the users whose connections have become more.
    pub(super) fn take(&mut self, report: Report, now: Now, roster: &mut Roster) -> Vec<UserKey> {
        let Report { pod, news } = report;
        if pod == self.own {
            return Vec::new();
        }
        if !self.peers.contains_key(&pod) && self.peers.len() >= MOST_PEERS {
            return Vec::new();
        }
        let peer = self.peers.entry(pod).or_insert(Peer {
            heard: now,
            sequence: 0,
            state: State::Unknown,
            asked: None,
        });
        peer.heard = now;
        match news {
            News::Hello => {
                // It begins anew; what it has comes as a snapshot.
                peer.state = State::Unknown;
                self.owes_snapshot = true;
                Vec::new()
            }
            News::Ask { of } => {
                self.owes_snapshot |= of == self.own;
                Vec::new()
            }
            News::Beat { sequence } => {
                // Parts of a snapshot come before the next beat, or were lost.
                if peer.sequence != sequence || matches!(peer.state, State::Receiving(_)) {
                    peer.state = State::Unknown;
                }
                Vec::new()
            }
            News::Changes { sequence, opened, closed } => {
                peer.take_changes(sequence, (opened, closed), roster)
            }
            News::Snapshot { sequence, part, is_last, entries } => {
                let place = (sequence, part, is_last);
                peer.take_snapshot(pod, place, entries, roster)
            }
            News::Bye => {
                self.peers.remove(&pod);
                roster.forget(pod);
                Vec::new()
            }
        }
    }

    /// What is to be sent now. `roster` is that of this pod.
    pub(super) fn tick(&mut self, now: Now, roster: &mut Roster) -> Vec<Report> {
        self.forget_silent(now, roster);
        let mut reports = self.changes();
        let may = |last: Option<Now>, pause| last.is_none_or(|last| now >= last + pause);
        if self.owes_snapshot && may(self.last_snapshot, BETWEEN_SNAPSHOTS) {
            (self.owes_snapshot, self.last_snapshot) = (false, Some(now));
            reports.extend(self.snapshot(roster));
        }
        if may(self.last_beat, BEAT) {
            self.last_beat = Some(now);
            reports.push(self.report(News::Beat { sequence: self.sequence }));
        }
        for (pod, peer) in &mut self.peers {
            if peer.state == State::Unknown && may(peer.asked, BETWEEN_SNAPSHOTS) {
                peer.asked = Some(now);
                reports.push(Report { pod: self.own, news: News::Ask { of: *pod } });
            }
        }
        reports
    }

    /// Forgets pods that are silent: also while there is no connection to NATS.
    pub(super) fn forget_silent(&mut self, now: Now, roster: &mut Roster) {
        self.peers.retain(|pod, peer| {
            let lives = now < peer.heard + SILENCE;
            if !lives {
                roster.forget(*pod);
            }
            lives
        });
    }

    fn changes(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while !self.opened.is_empty() || !self.closed.is_empty() {
            let opened = pop(&mut self.opened, MOST_ENTRIES);
            let closed = pop(&mut self.closed, MOST_ENTRIES - opened.len());
            self.sequence += 1;
            // Nobody is there to hear it: whoever comes asks for everything.
            if !self.peers.is_empty() {
                let sequence = self.sequence;
                reports.push(self.report(News::Changes { sequence, opened, closed }));
            }
        }
        reports
    }

    fn snapshot(&self, roster: &Roster) -> Vec<Report> {
        let all: Vec<Entry> = roster.own_entries().collect();
        let parts = all.len().div_ceil(MOST_ENTRIES).max(1);
        let part = |part: usize| {
            let entries =
                all.iter().skip(part * MOST_ENTRIES).take(MOST_ENTRIES).copied().collect();
            let is_last = part + 1 == parts;
            let part = u16::try_from(part).unwrap_or(u16::MAX);
            self.report(News::Snapshot { sequence: self.sequence, part, is_last, entries })
        };
        (0..parts).map(part).collect()
    }

    fn report(&self, news: News) -> Report {
        Report { pod: self.own, news }
    }
}

impl Peer {
    fn take_changes(
        &mut self,
        sequence: u64,
        (opened, closed): (Vec<Entry>, Vec<Entry>),
        roster: &mut Roster,
    ) -> Vec<UserKey> {
        if self.state != State::Known || sequence != self.sequence.wrapping_add(1) {
            // Of before the snapshot, or after something that was lost.
            if sequence > self.sequence {
                self.state = State::Unknown;
            }
            return Vec::new();
        }
        self.sequence = sequence;
        for entry in closed {
            roster.withdraw(entry);
        }
        reported(opened, roster)
    }

    fn take_snapshot(
        &mut self,
        pod: PodId,
        (sequence, part, is_last): (u64, u16, bool),
        entries: Vec<Entry>,
        roster: &mut Roster,
    ) -> Vec<UserKey> {
        match self.state {
            // Somebody else has asked for it.
            State::Known if sequence == self.sequence => return Vec::new(),
            _ if part == 0 => roster.forget(pod),
            State::Receiving(due) if due == part && sequence == self.sequence => {}
            _ => {
                self.state = State::Unknown;
                return Vec::new();
            }
        }
        self.sequence = sequence;
        self.state = if is_last { State::Known } else { State::Receiving(part.saturating_add(1)) };
        reported(entries, roster)
    }
}

/// Takes connections up; returns their users.
fn reported(entries: Vec<Entry>, roster: &mut Roster) -> Vec<UserKey> {
    let fresh = entries.into_iter().filter(|entry| roster.report(*entry));
    fresh.map(|entry| entry.user).collect()
}

fn pop(entries: &mut BTreeSet<Entry>, most: usize) -> Vec<Entry> {
    std::iter::from_fn(|| entries.pop_first()).take(most).collect()
}

#[cfg(test)]
mod tests;
