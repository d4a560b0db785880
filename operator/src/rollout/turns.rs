//! Whose turn it is: a new version of the operator changes the pods of all WsGateways, and only a few of them are replaced
//! at a time. A WsGateway whose specification changed waits for nobody.
//!
//! Which rollouts are under way is read from the cluster: each is marked on its Deployment with the time until which it
//! holds its place. What is remembered here only keeps two that ask at the same moment from one place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use crate::wake::Name;

/// On a Deployment: until when the rollout that an operator's new version began holds its place.
pub(crate) const TURN: &str = "wsgateway.dev/turn-until";

/// Who has not asked for so long waits no more: it is paused, or cannot be deployed.
const FORGOTTEN: Duration = Duration::from_secs(180);
/// A write is seen by then.
const SEEN: Duration = Duration::from_secs(30);
/// WsGateways remembered.
const MOST: usize = 20_000;

/// Why pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody changed the WsGateway.
    Spec,
    /// This operator makes other pods of it than the one before.
    Operator,
}

/// The WsGateways that wait, and those that were just let through.
#[derive(Debug)]
pub(crate) struct Turns {
    most: usize,
    /// From the first question on nobody is let through for so long, so that the order does not depend on who asks first.
    settle: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    judged: HashMap<Name, (String, Cause)>,
    waiting: BTreeMap<Name, Instant>,
    let_through: BTreeMap<Name, (Instant, Timestamp)>,
    first: Option<Instant>,
}

impl Turns {
    pub(crate) fn new(most: usize, settle: Duration) -> Self {
        Self { most, settle, state: Mutex::default() }
    }

    /// Why the pods of a WsGateway are to have another template. `is_new`: its specification is one that no operator has
    /// put into practice yet.
    pub(crate) fn cause(&self, key: &Name, template: &str, is_new: bool) -> Cause {
        let mut state = self.lock();
        let cause = match state.judged.get(key) {
            Some((before, cause)) if before == template => *cause,
            // This process does not change, so somebody has changed the WsGateway.
            Some(_) => Cause::Spec,
            None if is_new => Cause::Spec,
            None => Cause::Operator,
        };
        if state.judged.len() >= MOST {
            state.judged.clear();
        }
        state.judged.insert(key.clone(), (template.to_owned(), cause));
        cause
    }

    /// Until when a WsGateway may hold a place, if it may have one now. `running`: who holds one. `until`: what it would
    /// be told now.
    pub(crate) fn ask(
        &self,
        key: &Name,
        running: &BTreeSet<Name>,
        until: Timestamp,
        now: Instant,
    ) -> Option<Timestamp> {
        let mut state = self.lock();
        let first = *state.first.get_or_insert(now);
        state.let_through.retain(|_, (at, _)| now.saturating_duration_since(*at) < SEEN);
        if let Some((_, until)) = state.let_through.get(key) {
            return Some(*until);
        }
        state.waiting.insert(key.clone(), now);
        state.waiting.retain(|_, at| now.saturating_duration_since(*at) < FORGOTTEN);
        if now < first + self.settle {
            return None;
        }
        let unseen = state.let_through.keys().filter(|key| !running.contains(*key)).count();
        let free = self.most.saturating_sub(running.len() + unseen);
        if !state.waiting.keys().take(free).any(|first| first == key) {
            return None;
        }
        state.waiting.remove(key);
        state.let_through.insert(key.clone(), (now, until));
        Some(until)
    }

    /// A WsGateway waits no more.
    pub(crate) fn forget_waiting(&self, key: &Name) {
        self.lock().waiting.remove(key);
    }

    /// Forgets a WsGateway that is gone.
    pub(crate) fn forget(&self, key: &Name) {
        let mut state = self.lock();
        state.waiting.remove(key);
        state.judged.remove(key);
    }

    /// How many may be replaced at a time.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Valid after any panic: at worst one more is let through.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a mark still holds a place.
pub(crate) fn holds(mark: &str, now: Timestamp) -> bool {
    mark.parse::<Timestamp>().is_ok_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);

    fn name(name: &str) -> Name {
        Name::new("ns", name)
    }

    fn running(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|found| name(found)).collect()
    }

    #[test]
    fn at_most_so_many_are_let_through_in_the_order_of_their_names() {
        let (turns, start) = (Turns::new(2, SETTLE), Instant::now());
        let until = Timestamp::from_second(1).unwrap();
        let ask = |who: &str, there: &[&str], seconds| {
            let at = start + Duration::from_secs(seconds);
            turns.ask(&name(who), &running(there), until, at).is_some()
        };
        for who in ["d", "c", "b", "a"] {
            assert!(!ask(who, &[], 0), "others may ask yet");
        }
        assert!(!ask("d", &[], 11) && !ask("c", &[], 11));
        assert!(ask("a", &[], 11) && ask("b", &[], 11));
        assert!(!ask("c", &[], 12), "their writes are not seen yet, and count");
        assert!(ask("a", &[], 12), "it may ask again");
        assert!(!ask("c", &["a", "b"], 20) && !ask("d", &["a", "b"], 20));
        assert!(ask("c", &["b"], 45) && !ask("d", &["b"], 45));
        assert!(ask("d", &[], 80), "the others are done");
    }

    #[test]
    fn one_that_waits_and_never_asks_again_holds_nobody_up() {
        let (turns, start) = (Turns::new(1, SETTLE), Instant::now());
        let ask = |who: &str, seconds| {
            let at = start + Duration::from_secs(seconds);
            turns.ask(&name(who), &running(&[]), Timestamp::MIN, at).is_some()
        };
        assert!(!ask("a", 0) && !ask("b", 0) && !ask("b", 100));
        assert!(ask("b", 200));
        turns.forget(&name("c"));
        assert!(!ask("c", 201) && ask("c", 240));
    }

    #[test]
    fn pods_change_with_the_specification_or_with_the_operator() {
        let turns = Turns::new(1, SETTLE);
        let cause = |who: &str, template, is_new| turns.cause(&name(who), template, is_new);
        assert_eq!(cause("a", "1", false), Cause::Operator);
        assert_eq!(cause("a", "1", true), Cause::Operator, "a change that the pods do not see");
        assert_eq!(cause("a", "2", true), Cause::Spec);
        assert_eq!(cause("a", "2", false), Cause::Spec, "the first attempt failed");
        assert_eq!(cause("b", "1", true), Cause::Spec, "changed while no operator ran");
        turns.forget(&name("a"));
        assert_eq!(cause("a", "1", false), Cause::Operator);
    }

    #[test]
    fn a_place_is_held_until_its_time_is_over() {
        let now = Timestamp::from_second(1_000).unwrap();
        let mark = |second| Timestamp::from_second(second).unwrap().to_string();
        assert!(holds(&mark(1_001), now));
        assert!(!holds(&mark(1_000), now) && !holds("for ever", now) && !holds("", now));
    }
}
