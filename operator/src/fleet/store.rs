//! All gateway pods by WsGateway: what Kubernetes reports of them, and what they answered. The watch and the poller write,
//! reconciliations read copies.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::crowd::Crowd;
use super::report::{Report, Tally};
use super::view::{PodView, gateway_of};
use super::{Digest, PodFacts, Seen};
use crate::build::INSTANCE;
use crate::wake::Name;

/// A pod that answered keeps its report through one failure.
const SILENT_AFTER: u32 = 2;
/// Between two attempts at a pod that does not answer, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often pods are asked, and WsGateways are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two questions to one pod.
    pub(crate) poll: Duration,
    /// Between two wakes for numbers that changed a little.
    pub(crate) numbers: Duration,
}

/// The pods of all WsGateways.
#[derive(Debug)]
pub(crate) struct Pods {
    pace: Pace,
    fleets: Mutex<HashMap<Name, Fleet>>,
    /// Nodes that are out of service.
    cordoned: Mutex<BTreeSet<String>>,
    /// True from the end of the first list.
    listed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Fleet {
    pods: BTreeMap<String, Tracked>,
    /// What its WsGateway was last woken with, and when.
    told: Option<(Instant, Digest)>,
    /// Whether an answer came since.
    fresh: bool,
    /// Clients of all its pods, at some moments of late.
    crowd: Crowd,
    /// What its pods, those of before included, have counted since this operator started.
    counted: Tally,
}

#[derive(Debug)]
struct Tracked {
    view: PodView,
    report: Option<Report>,
    full: bool,
    /// When it gave it.
    answered: Option<Instant>,
    asked: bool,
    failures: u32,
    /// When it is asked next; `None` while it is.
    due: Option<Instant>,
    /// Listed by the watch that runs anew.
    listed: bool,
    /// What it had counted when it last answered; `None`: it was there before this operator, and has not answered yet.
    tally: Option<Tally>,
}

/// A pod, and when it gave the answer that is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Aged {
    pub(crate) facts: PodFacts,
    pub(crate) answered: Option<Instant>,
}

/// A pod to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: Name,
    pub(crate) pod: String,
    uid: String,
    pub(crate) address: IpAddr,
}

impl Pods {
    pub(crate) fn new(pace: Pace) -> Self {
        let (fleets, cordoned) = (Mutex::default(), Mutex::default());
        Self { pace, fleets, cordoned, listed: watch::Sender::new(false) }
    }

    /// Takes in an event of the watch, and returns the WsGateways of which a pod came, went or changed.
    pub(crate) fn apply(&self, event: &Event<Pod>, now: Instant) -> Vec<Name> {
        let mut fleets = self.lock();
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let is_new = *self.listed.borrow();
                put(&mut fleets, pod, is_new, now).into_iter().collect()
            }
            Event::Delete(pod) => {
                let Some(key) = gateway_of(&pod.metadata) else { return Vec::new() };
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                let removed = fleets.get_mut(&key).is_some_and(|fleet| fleet.remove(name));
                fleets.retain(|_, fleet| !fleet.pods.is_empty());
                removed.then_some(key).into_iter().collect()
            }
            Event::Init => {
                let pods = fleets.values_mut().flat_map(|fleet| fleet.pods.values_mut());
                pods.for_each(|pod| pod.listed = false);
                Vec::new()
            }
            Event::InitDone => {
                self.listed.send_replace(true);
                let mut gone = Vec::new();
                fleets.retain(|key, fleet| {
                    let unlisted = fleet.pods.iter().filter(|(_, pod)| !pod.listed);
                    let unlisted: Vec<String> = unlisted.map(|(name, _)| name.clone()).collect();
                    if !unlisted.is_empty() {
                        gone.push(key.clone());
                    }
                    for name in &unlisted {
                        fleet.remove(name);
                    }
                    !fleet.pods.is_empty()
                });
                gone
            }
        }
    }

    /// The pods of a namespace, by what is needed to take in that they are gone.
    pub(crate) fn known(&self, namespace: &str) -> Vec<Pod> {
        let fleets = self.lock();
        let fleets = fleets.iter().filter(|(key, _)| key.namespace == namespace);
        let pods = fleets.flat_map(|(key, fleet)| fleet.pods.keys().map(move |pod| (key, pod)));
        let known = |(key, pod): (&Name, &String)| Pod {
            metadata: ObjectMeta {
                namespace: Some(key.namespace.clone()),
                name: Some(pod.clone()),
                labels: Some([(INSTANCE.to_owned(), key.name.clone())].into()),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        };
        pods.map(known).collect()
    }

    /// Asks the pods of a WsGateway then, unless it is their turn before.
    pub(crate) fn ask_at(&self, key: &Name, at: Instant) {
        if let Some(fleet) = self.lock().get_mut(key) {
            fleet.pods.values_mut().for_each(|pod| pod.due = pod.due.map(|due| due.min(at)));
        }
    }

    /// True once all pods have been listed.
    pub(crate) fn listed(&self) -> watch::Receiver<bool> {
        self.listed.subscribe()
    }

    /// The pods of a WsGateway, by name.
    pub(crate) fn of(&self, key: &Name) -> Vec<PodFacts> {
        let cordoned = self.cordoned();
        let fleets = self.lock();
        let pods = fleets.get(key).into_iter().flat_map(|fleet| fleet.pods.values());
        let facts = |pod: &Tracked| PodFacts { leaving: pod.is_on(&cordoned), ..pod.facts() };
        pods.map(facts).collect()
    }

    /// Notes which nodes are out of service. Returns the WsGateways with pods on those of which that is new.
    pub(super) fn cordon(&self, nodes: BTreeSet<String>) -> Vec<Name> {
        let before = std::mem::replace(&mut *self.cordoned(), nodes.clone());
        let changed: BTreeSet<String> = before.symmetric_difference(&nodes).cloned().collect();
        let fleets = self.lock();
        let touched = |fleet: &Fleet| fleet.pods.values().any(|pod| pod.is_on(&changed));
        fleets.iter().filter(|(_, fleet)| touched(fleet)).map(|(key, _)| key.clone()).collect()
    }

    fn cordoned(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Valid after any panic: it is replaced as a whole.
        self.cordoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the pod of a WsGateway answered whose answer is the oldest; `None` if none has.
    pub(crate) fn oldest_answer(&self, key: &Name, now: Instant) -> Option<Duration> {
        let fleets = self.lock();
        let pods = fleets.get(key).into_iter().flat_map(|fleet| fleet.pods.values());
        let answering = pods.filter(|pod| pod.report.is_some() && pod.view.ended.is_none());
        let oldest = answering.filter_map(|pod| pod.answered).min()?;
        Some(now.saturating_duration_since(oldest))
    }

    /// Whether about as many clients are there as a few seconds ago.
    pub(crate) fn is_steady(&self, key: &Name, now: Instant) -> bool {
        self.lock().get(key).is_some_and(|fleet| fleet.crowd.is_steady(now))
    }

    /// What the pods of a WsGateway have counted since this operator started.
    pub(crate) fn counted(&self, key: &Name) -> Tally {
        self.lock().get(key).map(|fleet| fleet.counted.clone()).unwrap_or_default()
    }

    /// The pods of those WsGateways of a namespace that pass, by name.
    pub(crate) fn within(&self, namespace: &str, passes: impl Fn(&str) -> bool) -> Vec<Aged> {
        let fleets = self.lock();
        let fleets =
            fleets.iter().filter(|(key, _)| key.namespace == namespace && passes(&key.name));
        let mut pods: Vec<Aged> = fleets
            .flat_map(|(_, fleet)| fleet.pods.values())
            .map(|pod| Aged { facts: pod.facts(), answered: pod.answered })
            .collect();
        pods.sort_by(|one, other| one.facts.view.name.cmp(&other.facts.view.name));
        pods
    }

    /// The pods to ask now of the WsGateways that are kept; each is given out until it is [answered](Self::answered).
    pub(super) fn due(&self, now: Instant, is_kept: impl Fn(&Name) -> bool) -> Vec<Target> {
        let mut targets = Vec::new();
        for (key, fleet) in self.lock().iter_mut().filter(|(key, _)| is_kept(key)) {
            for (name, pod) in &mut fleet.pods {
                let due = pod.due.is_some_and(|due| due <= now) && pod.view.ended.is_none();
                if let (true, Some(address)) = (due, pod.view.address) {
                    pod.due = None;
                    let (pod_name, uid) = (name.clone(), pod.view.uid.clone());
                    targets.push(Target { key: key.clone(), pod: pod_name, uid, address });
                }
            }
        }
        targets
    }

    /// Notes an answer, or that there was none; `jitter` is 0 to 1.
    pub(super) fn answered(
        &self,
        target: &Target,
        report: Option<Report>,
        now: Instant,
        jitter: f64,
    ) {
        let mut fleets = self.lock();
        let Some(fleet) = fleets.get_mut(&target.key) else { return };
        // Another pod may have taken the name meanwhile.
        let Some(pod) = fleet.pods.get_mut(&target.pod).filter(|pod| pod.view.uid == target.uid)
        else {
            return;
        };
        fleet.fresh = true;
        let was_asked = std::mem::replace(&mut pod.asked, true);
        match report {
            Some(mut report) => {
                if let Some((before, at)) = pod.report.as_ref().zip(pod.answered) {
                    let elapsed = now.saturating_duration_since(at);
                    report.activity.follow(&before.activity, elapsed);
                }
                if let Some(before) = pod.tally.replace((*report.tally).clone()) {
                    fleet.counted.add(&report.tally.since(&before));
                }
                pod.full = report.is_full(pod.full);
                pod.report = Some(report);
                pod.answered = Some(now);
                pod.failures = 0;
            }
            None => {
                pod.failures = pod.failures.saturating_add(1);
                if pod.failures >= SILENT_AFTER || !was_asked {
                    pod.report = None;
                    pod.full = false;
                }
            }
        }
        let due = now + self.pause(pod.failures, jitter);
        pod.due = Some(due);
        fleet.crowd.note(fleet.total(), now);
    }

    /// Until a pod is asked again.
    fn pause(&self, failures: u32, jitter: f64) -> Duration {
        let pause = self.pace.poll.saturating_mul(1 << failures.saturating_sub(2).min(8));
        let pause = pause.min(LONGEST_PAUSE.max(self.pace.poll));
        // Spread, so that pods that started together are not asked together for ever.
        pause.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
    }

    /// WsGateways to wake: something about their pods changed that is worth writing.
    pub(super) fn worth_telling(&self, now: Instant) -> Vec<Name> {
        let mut worth = Vec::new();
        for (key, fleet) in self.lock().iter_mut().filter(|(_, fleet)| fleet.fresh) {
            let facts: Vec<PodFacts> = fleet.pods.values().map(Tracked::facts).collect();
            let digest = Digest::of(&facts);
            let due = match &fleet.told {
                None => true,
                Some((at, told)) => {
                    let elapsed = now.saturating_duration_since(*at);
                    digest.is_worth_telling(told, elapsed, self.pace.numbers)
                }
            };
            if due {
                fleet.told = Some((now, digest));
                worth.push(key.clone());
            }
            // Without a wake the small difference stays: it is looked at again at the next answer.
            fleet.fresh = false;
        }
        worth
    }

    #[cfg(test)]
    fn due_peek(&self, now: Instant) -> Vec<String> {
        let fleets = self.lock();
        let pods = fleets.values().flat_map(|fleet| &fleet.pods);
        pods.filter(|(_, pod)| pod.due.is_some_and(|due| due <= now))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Fleet>> {
        // Valid after any panic: pods are independent of each other.
        self.fleets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enters a pod; returns its WsGateway if anything about it changed.
fn put(fleets: &mut HashMap<Name, Fleet>, pod: &Pod, is_new: bool, now: Instant) -> Option<Name> {
    let key = gateway_of(&pod.metadata)?;
    let view = PodView::of(pod);
    let fleet = fleets.entry(key.clone()).or_default();
    let known = fleet.pods.get_mut(&view.name).filter(|known| known.view.uid == view.uid);
    let Some(known) = known else {
        let tracked = Tracked {
            report: None,
            full: false,
            answered: None,
            asked: false,
            failures: 0,
            due: Some(now),
            listed: true,
            tally: is_new.then(Tally::default),
            view,
        };
        fleet.remove(&tracked.view.name);
        fleet.pods.insert(tracked.view.name.clone(), tracked);
        return Some(key);
    };
    known.listed = true;
    if known.view == view {
        return None;
    }
    let moved = known.view.address != view.address;
    if (view.ready && !known.view.ready) || moved || view.terminating != known.view.terminating {
        // What it answered before says little about now; one that is being asked answers soon.
        known.failures = 0;
        known.due = known.due.map(|_| now);
    }
    if moved {
        known.report = None;
    }
    // While it started, silence meant nothing.
    known.asked &= known.report.is_some() || known.view.ready || !view.ready;
    known.view = view;
    Some(key)
}

impl Fleet {
    /// Clients of all pods, as they last said.
    fn total(&self) -> u64 {
        let reports = self.pods.values().filter_map(|pod| pod.report.as_ref());
        reports.map(|report| u64::from(report.connections)).sum()
    }

    /// Takes a pod out. Clients that it had when it last answered have been sent away since, or cut off.
    fn remove(&mut self, name: &str) -> bool {
        let Some(pod) = self.pods.remove(name) else { return false };
        let left = pod.report.map_or(0, |report| u64::from(report.connections));
        self.counted.add(&Tally { sent_away: left, ..Tally::default() });
        true
    }
}

impl Tracked {
    fn is_on(&self, nodes: &BTreeSet<String>) -> bool {
        self.view.node.as_ref().is_some_and(|node| nodes.contains(node))
    }

    fn facts(&self) -> PodFacts {
        let seen = match &self.report {
            Some(report) => Seen::Answered(report.clone()),
            None if self.asked => Seen::Silent,
            None => Seen::NotAsked,
        };
        PodFacts { view: self.view.clone(), seen, full: self.full, leaving: false }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
