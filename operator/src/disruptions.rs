//! What clients were put to: one entry of the status for each time that pods handed clients over, with what it cost them.
//!
//! The gateways count who was sent away, who came back with or without a gap, and how long they had been away; the poller adds
//! up what each answer has more than the one before. An entry is open as long as clients move, and a moment longer, in which
//! the last of them come back. It is in the status from its beginning on, so that another operator goes on with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use wsgateway_crds::{DisruptionKind, DisruptionStatus};

use crate::fleet::{PodFacts, Tally};
use crate::metrics::Meters;
use crate::rollout::about;
use crate::wake::Name;
use crate::{moves, rollout};

/// Entries of a status.
pub(crate) const MOST: usize = 10;
/// After the last client was sent away, so long: it comes back, and its pod is asked for it.
const SETTLE: Duration = Duration::from_secs(15);
/// WsGateways remembered; what is forgotten is counted from then on.
const REMEMBERED: usize = 20_000;

/// The open entries of all WsGateways.
#[derive(Debug)]
pub(crate) struct Ledger {
    open: Mutex<HashMap<Name, Open>>,
    meters: Meters,
}

#[derive(Clone, Debug)]
struct Open {
    /// What had been counted when it began.
    before: Tally,
    /// What the status had of it when this operator first saw it.
    carried: Tally,
    /// When clients were last seen to move.
    last: (Instant, Timestamp),
    /// When one more was last seen to have been sent away, and how many there were then.
    sent: (Instant, u64),
    /// Those who went first have come back, and others may go.
    is_passed: bool,
    /// What of it has been metered: whether it is more than an intention, and who resumed.
    metered: (bool, [u64; 2]),
}

/// The entry that is open, with all that was counted until now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Current {
    pub(crate) entry: DisruptionStatus,
    /// Nobody was sent away for so long that whoever comes back has.
    pub(crate) is_quiet: bool,
    /// As noted by [`Ledger::pass`].
    pub(crate) is_passed: bool,
}

/// What moves clients now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause<'a> {
    pub(crate) kind: Option<DisruptionKind>,
    /// The template of the Deployment: what is done under another one is an entry of its own.
    pub(crate) template: &'a str,
}

/// Why clients move at this moment, if they do.
pub(crate) fn kind(
    rollout: &rollout::Stage,
    moves: &moves::Stage,
    pods: &[PodFacts],
    now: Timestamp,
) -> Option<DisruptionKind> {
    let is_ending = |pod: &PodFacts| pod.is_ending(now.as_second());
    match (rollout, moves) {
        (rollout, _) if rollout.is_moving() => Some(DisruptionKind::Rollout),
        // The pod that went last still hands over its clients.
        (rollout::Stage::Halted(_), _) if pods.iter().any(is_ending) => {
            Some(DisruptionKind::Rollout)
        }
        (_, moves::Stage::Shrinking(moves)) if moves.pods > 0 => Some(DisruptionKind::ScaleDown),
        (_, moves::Stage::Rebalancing(_)) => Some(DisruptionKind::Rebalance),
        // Somebody else ends a pod: a node is emptied, say.
        _ if pods.iter().any(is_ending) => Some(DisruptionKind::PodStopped),
        _ => None,
    }
}

impl Ledger {
    pub(crate) fn new(meters: Meters) -> Self {
        Self { open: Mutex::default(), meters }
    }

    /// The entries that follow from those of before, what moves clients now, and what was counted in all.
    pub(crate) fn enter(
        &self,
        key: &Name,
        mut entries: Vec<DisruptionStatus>,
        Cause { kind, template }: Cause<'_>,
        counted: &Tally,
        (now, time): (Instant, Timestamp),
    ) -> Vec<DisruptionStatus> {
        let mut all = self.lock();
        let is_open = |entry: &&mut DisruptionStatus| entry.ended.is_none();
        if let Some(entry) = entries.last_mut().filter(is_open) {
            let open = all
                .entry(key.clone())
                .or_insert_with(|| Open::new(counted, carried(entry), (now, time)));
            open.note(counted, now);
            open.meter(key, entry.kind, counted, &self.meters);
            // A status is not written for each client.
            open.fill(entry, counted, about);
            let is_same = entry.template.as_deref().is_none_or(|of| of == template);
            if kind == Some(entry.kind) && is_same {
                open.last = (now, time);
            } else if kind.is_some() || now.saturating_duration_since(open.last.0) >= SETTLE {
                open.fill(entry, counted, |count| count);
                entry.ended = Some(Time(open.last.1));
                if let (true, Some(p99)) = (entry.clients > 0, entry.away_p99_ms) {
                    self.meters.away(key, entry.kind, p99);
                }
                all.remove(key);
            }
        } else {
            all.remove(key);
        }
        // Nobody was moved: nobody was put to anything.
        entries.retain(|entry| entry.ended.is_none() || entry.clients > 0);
        if let (Some(kind), true) = (kind, entries.last().is_none_or(|entry| entry.ended.is_some()))
        {
            if all.len() >= REMEMBERED {
                all.clear();
            }
            all.insert(key.clone(), Open::new(counted, Tally::default(), (now, time)));
            entries.push(DisruptionStatus {
                kind,
                template: Some(template.to_owned()).filter(|template| !template.is_empty()),
                began: Time(time),
                ended: None,
                clients: 0,
                recovered: 0,
                lost: 0,
                refused: 0,
                away_p99_ms: None,
            });
        }
        let surplus = entries.len().saturating_sub(MOST);
        entries.drain(..surplus);
        entries
    }

    /// The open entry of a WsGateway whose status has these, as it is now.
    pub(crate) fn current(
        &self,
        key: &Name,
        entries: &[DisruptionStatus],
        counted: &Tally,
        now: Instant,
    ) -> Option<Current> {
        let mut entry = entries.last().filter(|entry| entry.ended.is_none())?.clone();
        let mut all = self.lock();
        // After a restart the last client may have gone a moment ago.
        let Some(open) = all.get_mut(key) else {
            return Some(Current { entry, is_quiet: false, is_passed: false });
        };
        open.note(counted, now);
        open.fill(&mut entry, counted, |count| count);
        let is_quiet = now.saturating_duration_since(open.sent.0) >= SETTLE;
        Some(Current { entry, is_quiet, is_passed: open.is_passed })
    }

    /// Notes that others may follow those who were moved first.
    pub(crate) fn pass(&self, key: &Name) {
        if let Some(open) = self.lock().get_mut(key) {
            open.is_passed = true;
        }
    }

    /// Gives a WsGateway its series before anything happens to its clients: of a counter that begins with its first event,
    /// that event is no increase.
    pub(crate) fn known(&self, key: &Name) {
        self.meters.enter(key);
    }

    /// Notes whether clients stay where they are since some missed messages.
    pub(crate) fn halted(&self, key: &Name, is_halted: bool) {
        self.meters.halted(key, is_halted);
    }

    /// Forgets a WsGateway that is gone.
    pub(crate) fn forget(&self, key: &Name) {
        self.lock().remove(key);
        self.meters.forget(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Open>> {
        // Valid after any panic: at worst something is not counted.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn new(counted: &Tally, carried: Tally, (now, time): (Instant, Timestamp)) -> Self {
        let sent = (now, counted.sent_away);
        let (before, metered) = (counted.clone(), (carried.sent_away > 0, [0, 0]));
        Self { before, carried, last: (now, time), sent, is_passed: false, metered }
    }

    /// Meters what was counted since it was the last time.
    fn meter(&mut self, key: &Name, kind: DisruptionKind, counted: &Tally, meters: &Meters) {
        let sum = counted.since(&self.before);
        let (has_begun, [recovered, gap]) = self.metered;
        if sum.sent_away > 0 && !has_begun {
            meters.begun(key, kind);
        }
        let new = [sum.recovered.saturating_sub(recovered), sum.with_gap.saturating_sub(gap)];
        meters.resumed(key, kind, new);
        self.metered = (has_begun || sum.sent_away > 0, [sum.recovered, sum.with_gap]);
    }

    /// Notes whether somebody has been sent away.
    fn note(&mut self, counted: &Tally, now: Instant) {
        if counted.sent_away != self.sent.1 {
            self.sent = (now, counted.sent_away);
        }
    }

    fn fill(&self, entry: &mut DisruptionStatus, counted: &Tally, round: fn(u64) -> u64) {
        let mut sum = counted.since(&self.before);
        sum.add(&self.carried);
        let number = |count: u64| i64::try_from(round(count)).unwrap_or(i64::MAX);
        entry.clients = number(sum.sent_away);
        entry.recovered = number(sum.recovered);
        entry.lost = number(sum.with_gap);
        entry.refused = number(sum.refused);
        entry.away_p99_ms = sum.away_p99_ms().or(entry.away_p99_ms);
    }
}

fn carried(entry: &DisruptionStatus) -> Tally {
    let number = |count: i64| u64::try_from(count).unwrap_or_default();
    Tally {
        sent_away: number(entry.clients),
        recovered: number(entry.recovered),
        with_gap: number(entry.lost),
        refused: number(entry.refused),
        // Of those only the longest is known.
        ..Tally::default()
    }
}

#[cfg(test)]
mod tests;
