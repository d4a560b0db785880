//! Connections that come back: when, and with which cursor.
//!
//! In: the state of a connection after each event, and the time. Out: a new attempt when it is due,
//! or the end of one that gets no answer. Owns one small record a connection; the cursor itself is
//! the connection's ledger, which lives on.
//!
//! What must hold: advice (`reconnect` with `afterMs`) is followed to the millisecond; without it
//! the wait is drawn from a range that doubles with each failure and is not reset before an
//! acknowledgement; a server that answers nothing is left after the patience has run out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use mio::Registry;
use serde_json::json;

use super::SwarmError;
use super::connection::{Connection, State};
use super::dial::Dialer;
use super::record::Record;

/// What each connection is subscribed to, by its number.
pub type Channels = Box<dyn Fn(usize) -> Vec<String> + Send>;

/// How connections come back. They say one subscribe each, instead of the swarm's commands.
pub struct Reconnect {
    /// The channels of each connection.
    pub channels: Channels,
    /// Continue from the cursor. Without, a connection begins anew, as a client does that forgot
    /// where it was.
    pub resume: bool,
    /// Longest wait before the first attempt; it doubles with each failure.
    pub first: Duration,
    /// Longest wait before any attempt.
    pub longest: Duration,
    /// How long an attempt may take until its acknowledgement, and a close until its end.
    pub patience: Duration,
    /// Failures in a row after which a connection stays away; `Some(0)`: nobody comes back.
    pub most_failures: Option<u32>,
}

impl Reconnect {
    /// Resumes, with waits for tests on one machine.
    pub fn resuming(channels: Channels) -> Self {
        Self {
            channels,
            resume: true,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(5),
            patience: Duration::from_secs(15),
            most_failures: None,
        }
    }

    /// What connection `number` says when it is open.
    pub(super) fn command(&self, number: usize, cursor: Option<(&str, u64)>) -> String {
        let channels = (self.channels)(number);
        match cursor.filter(|_| self.resume) {
            None => json!({ "type": "subscribe", "id": 1, "channels": channels }),
            Some((epoch, offset)) => json!({
                "type": "subscribe", "id": 1, "channels": channels,
                "resume": { "epoch": epoch, "offset": offset },
            }),
        }
        .to_string()
    }
}

/// Where a connection stands on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Dialled, upgraded or subscribed, without an acknowledgement.
    Trying,
    /// Acknowledged.
    Live,
    /// A close frame was seen; the socket is not at its end.
    Leaving,
    /// Over, and due to be dialled again.
    Waiting,
}

#[derive(Debug)]
struct Life {
    stage: Stage,
    failures: u32,
    /// When an attempt is begun (waiting) or given up (trying, leaving).
    due: Option<Instant>,
    /// It comes when it is called, and not by itself.
    stays_away: bool,
}

/// The way back of all connections.
pub(super) struct Again {
    first: Duration,
    longest: Duration,
    patience: Duration,
    resume: bool,
    most_failures: Option<u32>,
    /// Whether the server acknowledges what it is asked for; without, open is live.
    acknowledges: bool,
    lives: Vec<Life>,
    /// Entries that are not the `due` of their life any more are passed over.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Again {
    /// The first `away` connections come when they are called.
    pub(super) fn new(options: &Reconnect, acknowledges: bool, away: usize) -> Self {
        let Reconnect { first, longest, patience, resume, most_failures, .. } = *options;
        let life = |_| Life { stage: Stage::Waiting, failures: 0, due: None, stays_away: true };
        let (lives, due) = ((0..away).map(life).collect(), BinaryHeap::new());
        Self { first, longest, patience, resume, most_failures, acknowledges, lives, due }
    }

    /// Takes in connections that were dialled for the first time.
    pub(super) fn admit(&mut self, connections: &[Connection], record: &mut Record, now: Instant) {
        for (index, connection) in connections.iter().enumerate().skip(self.lives.len()) {
            let (stage, failures) = (Stage::Trying, 0);
            self.lives.push(Life { stage, failures, due: None, stays_away: false });
            self.set_due(index, now + self.patience);
            self.look(index, connection, record, now);
        }
    }

    /// Follows a connection after something has happened to it.
    pub(super) fn look(
        &mut self,
        index: usize,
        connection: &Connection,
        record: &mut Record,
        now: Instant,
    ) {
        let tally = connection.tally();
        let stage = match tally.state {
            State::Open if tally.acks > 0 || !self.acknowledges => Stage::Live,
            State::Dialing | State::Upgrading | State::Open => Stage::Trying,
            State::Closing => Stage::Leaving,
            State::Ended => Stage::Waiting,
        };
        let Some(life) = self.lives.get_mut(index) else { return };
        let before = std::mem::replace(&mut life.stage, stage);
        if before == stage {
            return;
        }
        match stage {
            Stage::Trying => {}
            Stage::Live => (life.failures, life.due) = (0, None),
            Stage::Leaving => self.set_due(index, now + self.patience),
            Stage::Waiting => {
                let wait = match tally.reconnect_after_ms {
                    Some(advice) => Duration::from_millis(advice),
                    None => jitter(self.first, self.longest, life.failures),
                };
                let tired = self.most_failures.is_some_and(|most| life.failures >= most);
                let stays_away = tired || life.stays_away;
                life.failures = life.failures.saturating_add(1);
                match stays_away {
                    true => life.due = None,
                    false => self.set_due(index, now + wait),
                }
            }
        }
        let over = matches!(stage, Stage::Leaving | Stage::Waiting);
        if over
            && before != Stage::Leaving
            && let Some(observer) = &mut record.observer
        {
            observer.ended(index, tally.close_code);
        }
    }

    /// Does what is due. Returns how long the rest can wait.
    pub(super) fn turn(
        &mut self,
        connections: &mut [Connection],
        dialer: &Dialer,
        record: &mut Record,
        registry: &Registry,
    ) -> Result<Option<Duration>, SwarmError> {
        let now = Instant::now();
        self.admit(connections, record, now);
        while let Some(&Reverse((at, index))) = self.due.peek() {
            if at > now {
                return Ok(Some(at - now));
            }
            self.due.pop();
            let stage = self.lives.get(index).filter(|l| l.due == Some(at)).map(|l| l.stage);
            let (Some(stage), Some(connection)) = (stage, connections.get_mut(index)) else {
                continue;
            };
            if stage == Stage::Waiting {
                self.begin((index, now), connection, self.resume);
                dialer.dial_one(index, connection, record, registry)?;
            } else {
                let error = std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    format!("no answer within {:?}", self.patience),
                );
                connection.end(record, Some(&error));
            }
            self.look(index, connection, record, now);
        }
        Ok(None)
    }

    /// Prepares a connection for its next attempt.
    pub(super) fn begin(
        &mut self,
        (index, now): (usize, Instant),
        connection: &mut Connection,
        resume: bool,
    ) {
        if let Some(life) = self.lives.get_mut(index) {
            life.stage = Stage::Trying;
        }
        connection.again(resume);
        self.set_due(index, now + self.patience);
    }

    /// A connection comes by itself from now on. False while it is not away.
    pub(super) fn returns(&mut self, index: usize) -> bool {
        let Some(life) = self.lives.get_mut(index) else { return false };
        if life.stage != Stage::Waiting || !life.stays_away {
            return false;
        }
        (life.stays_away, life.failures) = (false, 0);
        true
    }

    /// A connection does not come back by itself any more.
    pub(super) fn stay_away(&mut self, index: usize) {
        if let Some(life) = self.lives.get_mut(index) {
            life.stays_away = true;
            if life.stage == Stage::Waiting {
                life.due = None;
            }
        }
    }

    fn set_due(&mut self, index: usize, at: Instant) {
        if let Some(life) = self.lives.get_mut(index) {
            life.due = Some(at);
            self.due.push(Reverse((at, index)));
        }
    }
}

/// Full jitter: anything from nothing to the first wait doubled with each failure.
fn jitter(first: Duration, longest: Duration, failures: u32) -> Duration {
    let limit = first.saturating_mul(1 << failures.min(16)).min(longest);
    limit.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread_over_the_whole_range() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(2));
        for (failures, limit) in [(0, 100), (1, 200), (4, 1_600), (5, 2_000), (u32::MAX, 2_000)] {
            let limit = Duration::from_millis(limit);
            let waits: Vec<_> = (0..1_000).map(|_| jitter(first, longest, failures)).collect();
            assert!(waits.iter().all(|wait| *wait <= limit), "{failures}");
            assert!(waits.iter().any(|wait| *wait < limit / 4), "{failures}");
            assert!(waits.iter().any(|wait| *wait > limit * 3 / 4), "{failures}");
        }
    }
}
