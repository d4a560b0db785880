//! The gateway's pods: what Kubernetes reports of them, what each answers on its admin port, and what follows (pure).

mod activity;
mod crowd;
mod nodes;
mod poller;
mod problem;
mod report;
mod rollout;
mod store;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use wsgateway_config::ShedReason;
use wsgateway_crds::PodState;

pub(crate) use activity::Activity;
pub(crate) use nodes::watch_nodes;
pub(crate) use poller::run as poll;
pub(crate) use problem::{Problem, problem};
pub(crate) use report::{Keys, Report, Source, Tally};
pub(crate) use rollout::{progress, verdict};
pub(crate) use store::{Aged, Pace, Pods};
pub(crate) use view::{PodView, gateway_of};
pub(crate) use watch::watch;

use crate::status::numbers::{Drift, drift, round};

/// After the grace period of a pod, so long: clocks differ, and a kubelet needs a moment to end it.
const OVERDUE_SECONDS: i64 = 30;

/// What a pod answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every pod answers: a box would be an allocation more for each"
)]
pub(crate) enum Seen {
    /// It has not been asked yet, or not since it is ready.
    NotAsked,
    /// It does not answer.
    Silent,
    /// Its last answer.
    Answered(Report),
}

/// A pod at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) view: PodView,
    pub(crate) seen: Seen,
    /// It turns clients away, or did a moment ago and has hardly any room.
    pub(crate) full: bool,
    /// Its node is out of service: it is about to be evicted.
    pub(crate) leaving: bool,
}

impl PodFacts {
    pub(crate) fn report(&self) -> Option<&Report> {
        match &self.seen {
            Seen::Answered(report) => Some(report),
            Seen::NotAsked | Seen::Silent => None,
        }
    }

    /// Whether Kubernetes sends clients to it.
    pub(crate) fn takes_clients(&self) -> bool {
        self.view.ready && !self.view.terminating && self.view.ended.is_none()
    }

    /// Whether it is one of the pods wanted: it has neither ended nor been deleted.
    pub(crate) fn is_current(&self) -> bool {
        !self.view.terminating && self.view.ended.is_none()
    }

    /// Whether it certainly has no clients and gets none: it has not started, or does not answer anybody.
    pub(crate) fn is_idle(&self) -> bool {
        let is_empty = match &self.seen {
            Seen::Answered(report) => report.connections == 0,
            Seen::Silent => true,
            Seen::NotAsked => self.view.address.is_none(),
        };
        !self.view.ready && is_empty
    }

    /// Whether it has been deleted and hands its clients over at this moment (Unix time, s). One that is still there long
    /// after its grace period, held by a finalizer or a node that is down, does not.
    pub(crate) fn is_ending(&self, now: i64) -> bool {
        let view = &self.view;
        let is_overdue = |ends: Timestamp| now > ends.as_second().saturating_add(OVERDUE_SECONDS);
        view.terminating
            && view.ended.is_none()
            && !self.is_idle()
            && !view.ends.is_some_and(is_overdue)
    }

    /// What it does for clients.
    pub(crate) fn state(&self) -> PodState {
        if self.view.terminating || self.report().is_some_and(|report| report.draining) {
            PodState::Draining
        } else if !self.view.ready {
            PodState::Starting
        } else if self.view.shed.as_ref().is_some_and(|shed| shed.reason == ShedReason::Rebalance) {
            PodState::Rebalancing
        } else if self.full {
            PodState::Full
        } else {
            PodState::Serving
        }
    }
}

/// Connections of all pods that answered, and the places of those that take clients; `None` when none answered.
pub(crate) fn load(pods: &[PodFacts]) -> Option<(i64, i64)> {
    pods.iter().fold(None, |sum, pod| {
        let Some(report) = pod.report() else { return sum };
        let (connections, capacity) = sum.unwrap_or((0, 0));
        let places = if pod.takes_clients() { i64::from(report.capacity) } else { 0 };
        Some((connections + i64::from(report.connections), capacity + places))
    })
}

/// What is worth a write at once, of one pod.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    state: PodState,
    source: Option<Source>,
    config_hash: Option<String>,
    live_hash: Option<String>,
    config_problem: Option<String>,
    keys: Option<Keys>,
    is_silent: bool,
}

impl Told {
    fn of(pod: &PodFacts) -> Self {
        let report = pod.report();
        Self {
            state: pod.state(),
            source: report.map(|report| report.source),
            config_hash: report.and_then(|report| report.config_hash.clone()),
            live_hash: report.and_then(|report| report.live_hash.clone()),
            config_problem: report.and_then(|report| report.config_problem.clone()),
            keys: report.and_then(|report| report.keys.clone()),
            is_silent: pod.seen == Seen::Silent,
        }
    }
}

/// What a status says of the pods' answers, to compare with what it said before.
#[derive(Clone, Debug, PartialEq)]
struct Digest {
    states: BTreeMap<String, Told>,
    /// Of each pod that answered.
    connections: BTreeMap<String, i64>,
    total: i64,
}

impl Digest {
    fn of(pods: &[PodFacts]) -> Self {
        let name = |pod: &PodFacts| pod.view.name.clone();
        let connections = |pod: &PodFacts| Some((name(pod), i64::from(pod.report()?.connections)));
        Self {
            states: pods.iter().map(|pod| (name(pod), Told::of(pod))).collect(),
            connections: pods.iter().filter_map(connections).collect(),
            total: load(pods).map_or(0, |(connections, _)| connections),
        }
    }

    /// Whether a WsGateway that was told `before`, so long ago, is to be told this.
    fn is_worth_telling(&self, before: &Self, elapsed: Duration, pace: Duration) -> bool {
        if self.states != before.states {
            return true;
        }
        match drift(round(before.total), self.total) {
            Drift::Large => true,
            Drift::Small => elapsed >= pace,
            Drift::None => {
                elapsed >= pace
                    && self.connections.iter().any(|(pod, now)| {
                        let before = before.connections.get(pod).copied().unwrap_or_default();
                        drift(round(before), *now) != Drift::None
                    })
            }
        }
    }
}
