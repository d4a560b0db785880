//! What is seen, in the light of the template that is wanted.

use super::{Action, Moves, Observed, Owner, Plan, Set, Stage, Template, Wanted};
use crate::fleet::{PodFacts, Seen};
use crate::halt::{LEAST, Trial};

/// Pods whose clients are moved in this part of a minute may go at the same time.
const BATCHES_PER_MINUTE: u64 = 6;
/// Where the cluster has no place for more, a quarter of the new pods is enough to begin with.
const LEAST_SHARE: usize = 4;

/// What is seen, in the light of a template.
pub(super) struct World<'a> {
    observed: &'a Observed<'a>,
    wanted: Wanted<'a>,
    /// Pods of the template, and the others, as long as they run.
    new: Vec<&'a PodFacts>,
    old: Vec<&'a PodFacts>,
}

impl<'a> World<'a> {
    pub(super) fn of(observed: &'a Observed<'a>, wanted: Wanted<'a>) -> Self {
        let pods = observed.pods.unwrap_or_default().iter();
        let (new, old) = pods
            .filter(|pod| pod.view.ended.is_none())
            .partition(|pod| pod.view.template.as_deref() == Some(wanted.template));
        Self { observed, wanted, new, old }
    }

    /// What changes hands before the Deployment starts pods of its new template.
    pub(super) fn handed_over(&self) -> Vec<(Set, Action)> {
        let is_wanted = |set: &&Set| set.template.as_deref() == Some(self.wanted.template);
        let sets = self.observed.sets.iter();
        let (same, others): (Vec<&Set>, Vec<&Set>) = sets.partition(is_wanted);
        let back = same.into_iter().filter(|set| set.owner == Owner::Gateway);
        let back = back.max_by_key(|set| set.replicas).map(|set| (set.clone(), Action::Attach));
        let away = others
            .into_iter()
            .filter(|set| set.owner == Owner::Deployment && set.replicas > 0)
            .map(|set| (set.clone(), Action::Detach));
        back.into_iter().chain(away).collect()
    }

    /// What follows once the Deployment does its part.
    pub(super) fn moving(&self) -> Plan {
        let template = Template::Apply { paused: false };
        let pin = self.pin();
        let detached: Vec<&Set> = self.detached().collect();
        if self.observed.pods.is_none() {
            let pin = self.observed.pinned.clone();
            return Plan { template, pin, sets: Vec::new(), stage: Stage::Settled };
        }
        if detached.is_empty() {
            let moves = self.moves();
            let stage = if self.old.is_empty() { Stage::Settled } else { Stage::Moving(moves) };
            return Plan { template, pin, sets: Vec::new(), stage };
        }
        let mut sets = self.useless(&detached);
        let is_switched =
            pin.as_deref() == Some(self.wanted.template) && pin == self.observed.pinned;
        let mut stage =
            if is_switched { Stage::Moving(self.moves()) } else { Stage::Starting(self.moves()) };
        let may_go = match self.wanted.trial {
            Trial::Failed if self.old.iter().any(|pod| pod.is_current()) => {
                stage = Stage::Halted(self.moves());
                false
            }
            Trial::Failed | Trial::Measuring => false,
            Trial::Untested | Trial::Passed => is_switched && sets.is_empty(),
        };
        if may_go && !self.is_going(&detached) && self.is_enough() {
            match self.batch() {
                Ok(count) => sets.extend(shrink(&detached, count)),
                Err((room, needed)) => stage = Stage::NoRoom { moves: self.moves(), room, needed },
            }
        }
        Plan { template, pin, sets, stage }
    }

    fn detached(&self) -> impl Iterator<Item = &'a Set> {
        self.observed.sets.iter().filter(|set| set.owner == Owner::Gateway)
    }

    /// The template that the Service is limited to.
    fn pin(&self) -> Option<String> {
        let is_detached = self.detached().next().is_some();
        if (self.old.is_empty() && !is_detached) || self.wanted.replicas == 0 {
            return None;
        }
        if self.is_enough() && is_detached {
            return Some(self.wanted.template.to_owned());
        }
        let pinned = self.observed.pinned.clone()?;
        let takes = |is_pinned: bool| {
            let mut pods = self.new.iter().chain(&self.old);
            pods.any(|pod| {
                pod.takes_clients() && (pod.view.template.as_deref() == Some(&*pinned)) == is_pinned
            })
        };
        // Better a pod that goes soon than none.
        (takes(true) || !takes(false)).then_some(pinned)
    }

    /// Sets that serve nobody: they are deleted, with what pods they have.
    fn useless(&self, detached: &[&Set]) -> Vec<(Set, Action)> {
        let pods = |set: &Set| {
            let template = set.template.clone();
            let all = self.old.iter().chain(&self.new);
            all.filter(move |pod| pod.view.template == template)
        };
        let is_useless = |set: &&&Set| {
            self.wanted.replicas == 0
                || if set.replicas == 0 {
                    // The last of its pods hand their clients over.
                    pods(set).next().is_none()
                } else {
                    !pods(set).any(|pod| pod.is_current() && !pod.is_idle())
                }
        };
        let useless = detached.iter().filter(is_useless);
        useless.map(|set| ((*set).clone(), Action::Delete)).collect()
    }

    /// Whether pods are on their way out, whoever ends them: the next ones wait for them.
    fn is_going(&self, detached: &[&Set]) -> bool {
        let wanted: i64 = detached.iter().map(|set| i64::from(set.replicas)).sum();
        let current = self.old.iter().filter(|pod| pod.is_current()).count();
        let is_unknown = |pod: &&PodFacts| pod.seen == Seen::NotAsked && pod.view.ready;
        self.new.iter().chain(&self.old).any(|pod| pod.is_ending(self.observed.now))
            || i64::try_from(current).unwrap_or(i64::MAX) > wanted
            || self.old.iter().any(is_unknown)
    }

    /// Whether there are new pods enough to take clients.
    fn is_enough(&self) -> bool {
        let wanted = usize::try_from(self.wanted.replicas).unwrap_or_default();
        let ready = self.ready();
        // Where there is no place for more, old pods make it.
        let waits = |pod: &&&PodFacts| pod.is_current() && !pod.view.ready;
        let mut waiting = self.new.iter().filter(waits).peekable();
        let is_refused = self.observed.deployment.as_ref().is_some_and(|found| found.is_refused);
        let is_crowded = (is_refused || waiting.peek().is_some())
            && waiting.all(|pod| pod.view.unschedulable.is_some());
        ready >= wanted || (is_crowded && ready > 0 && ready * LEAST_SHARE >= wanted)
    }

    fn ready(&self) -> usize {
        self.new.iter().filter(|pod| pod.takes_clients()).count()
    }

    /// How many pods may go now, or for how many clients there is room and for how many there should be. Which they are is
    /// the ReplicaSet's choice, so the largest ones count.
    fn batch(&self) -> Result<i32, (u64, u64)> {
        let mut clients: Vec<u64> =
            self.old.iter().filter(|pod| pod.is_current()).map(|pod| connections(pod)).collect();
        clients.sort_unstable_by(|one, other| other.cmp(one));
        let needed = clients.first().copied().unwrap_or_default();
        let room = self.room();
        if needed > room {
            return Err((room, needed));
        }
        // With fewer clients than can tell anything there is nothing to be learned from the first ones.
        let is_first = self.wanted.trial == Trial::Untested
            && clients.iter().sum::<u64>() >= LEAST.unsigned_abs();
        if is_first || self.old.iter().any(|pod| pod.report().is_none()) {
            return Ok(1);
        }
        let most = room.min(u64::from(self.wanted.per_minute) / BATCHES_PER_MINUTE);
        let mut sum = 0;
        let fit = clients.iter().take_while(|count| {
            sum += **count;
            sum <= most
        });
        Ok(i32::try_from(fit.count()).unwrap_or(i32::MAX).max(1))
    }

    /// Places of the new pods; what does not answer is trusted, as Kubernetes does.
    fn room(&self) -> u64 {
        let taking = || self.new.iter().filter(|pod| pod.takes_clients());
        if taking().any(|pod| pod.report().is_none()) {
            return u64::MAX;
        }
        let free = |pod: &&PodFacts| {
            let report = pod.report();
            report.map_or(0, |report| u64::from(report.capacity.saturating_sub(report.connections)))
        };
        taking().map(free).sum()
    }

    pub(super) fn moves(&self) -> Moves {
        let sum = |pods: &[&PodFacts]| pods.iter().map(|pod| connections(pod)).sum::<u64>();
        let left = sum(&self.old);
        Moves {
            ready: self.ready(),
            wanted: usize::try_from(self.wanted.replicas).unwrap_or_default(),
            old_pods: self.old.len(),
            left,
            moved: sum(&self.new),
            seconds_left: left.saturating_mul(60) / u64::from(self.wanted.per_minute.max(1)),
        }
    }
}

/// Takes so many pods away from the first sets that have any.
fn shrink(detached: &[&Set], count: i32) -> Vec<(Set, Action)> {
    let mut left = count;
    let step = |set: &&Set| {
        let taken = left.min(set.replicas);
        left -= taken;
        (taken > 0).then(|| ((*set).clone(), Action::Scale(set.replicas - taken)))
    };
    detached.iter().filter_map(step).collect()
}

fn connections(pod: &PodFacts) -> u64 {
    pod.report().map_or(0, |report| u64::from(report.connections))
}
