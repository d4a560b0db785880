//! The conditions (pure): what a person on call reads first. Each says whether something holds, why in one word, and what
//! to do.

use std::fmt::Write as _;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;

use super::Verdict;
use crate::fleet::{self, PodFacts, Problem, Seen};
use crate::metrics_api::Registered;

/// Pods named in one message; the others are counted.
const NAMED: usize = 3;

/// What is known of the pods.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) deployment: Option<&'a Deployment>,
    /// Pods wanted.
    pub(crate) wanted: i32,
    pub(crate) pods: &'a [PodFacts],
    /// What too many clients have missed messages by, if that is halted.
    pub(crate) halted: Option<Verdict>,
    /// What is to be said of the replacement of pods, if there is one.
    pub(crate) rollout: Option<Verdict>,
    /// How far clients are moved while no pod is.
    pub(crate) moves: Option<Verdict>,
    /// Who serves the metric of autoscalers.
    pub(crate) metric: Registered,
    pub(crate) now: Timestamp,
}

impl Facts<'_> {
    /// What is to be said of the replacement of pods; of one that is halted, why.
    fn rollout(&self) -> Option<&Verdict> {
        let rollout = self.rollout.as_ref()?;
        self.halted.as_ref().filter(|halted| halted.reason == rollout.reason).or(Some(rollout))
    }

    /// Whether all pods that take clients have been asked since.
    pub(super) fn all_asked(&self) -> bool {
        self.pods.iter().all(|pod| !pod.takes_clients() || pod.seen != Seen::NotAsked)
    }
}

/// A verdict on the pods of a Deployment that exists: GatewayReady.
pub(crate) fn gateway(facts: &Facts<'_>, deployment: &Deployment) -> Verdict {
    let verdict = fleet::verdict(deployment, facts.wanted);
    let verdict = match facts.rollout() {
        // Whether its own pods are ready or start, the rollout says better what is on its way.
        Some(rollout)
            if rollout.reason != "WaitingForTurn"
                && (verdict.holds || matches!(verdict.reason, "RollingOut" | "PodsNotReady")) =>
        {
            Verdict::no(rollout.reason, rollout.message.clone())
        }
        _ => verdict,
    };
    if verdict.holds {
        return verdict;
    }
    match problems(facts) {
        Some((problem, words)) => match verdict.reason {
            // The pods say better why.
            "PodsNotReady" | "RollingOut" | "RolloutStuck" | "NoRoom" => {
                Verdict::no(problem, format!("{}; {words}", verdict.message))
            }
            _ => verdict,
        },
        // On their way, as planned.
        None if matches!(verdict.reason, "PodsNotReady" | "RollingOut" | "ScaledToZero") => {
            verdict.planned()
        }
        None => verdict,
    }
}

/// Whether clients are served; `None` when that is not known yet.
fn served(facts: &Facts<'_>) -> Option<bool> {
    let pods = || facts.pods.iter().filter(|pod| pod.takes_clients());
    if pods().any(|pod| pod.report().is_some_and(fleet::Report::is_live)) {
        Some(true)
    } else if pods().any(|pod| pod.seen == Seen::NotAsked) {
        None
    } else if pods().next().is_none() {
        // The watch of pods may be late, or forbidden.
        let status = facts.deployment.and_then(|deployment| deployment.status.as_ref());
        Some(status.and_then(|status| status.ready_replicas).is_some_and(|ready| ready > 0))
    } else {
        // Where the operator cannot ask, Kubernetes' own probe stands: it found the source live once.
        Some(pods().any(|pod| pod.seen == Seen::Silent))
    }
}

/// Ready. `broken` is the first of the other verdicts that does not hold, `known` whether Ready has been told before.
pub(crate) fn ready(facts: &Facts<'_>, broken: Option<&Verdict>, known: bool) -> Option<Verdict> {
    let source = sources(facts);
    let verdict = match (served(facts), broken) {
        (None, _) if known => return None,
        (None, _) => Verdict::no("PodsNotAsked", "the pods are about to be asked").planned(),
        (Some(true), None) => Verdict::yes("AsSpecified", "clients are served as specified"),
        (Some(true), Some(broken)) => {
            Verdict::yes(broken.reason, format!("clients are served, but: {}", broken.message))
        }
        (Some(false), Some(broken)) => Verdict::no(broken.reason, broken.message.clone()),
        (Some(false), None) => source.unwrap_or_else(|| {
            Verdict::no("PodsDraining", "all pods hand over their clients and stop")
        }),
    };
    Some(verdict)
}

/// That no pod has a live source, though some are ready for Kubernetes.
fn sources(facts: &Facts<'_>) -> Option<Verdict> {
    let dark: Vec<&PodFacts> = facts.pods.iter().filter(|pod| is_dark(pod)).collect();
    let serving = facts.pods.iter().filter(|pod| pod.takes_clients()).count();
    (!dark.is_empty()).then(|| {
        Verdict::no(
            "SourceNotLive",
            format!(
                "{} of {serving} pods get no messages, so that their clients get none: {}",
                dark.len(),
                named(&dark, |pod| {
                    let report = pod.report();
                    let state = report.map_or("", |report| report.source.as_str());
                    let error = report.and_then(|report| report.error.as_deref());
                    format!(
                        "source {state}{}",
                        error.map_or(String::new(), |error| format!(", {error}"))
                    )
                })
            ),
        )
    })
}

/// Takes clients and gets no messages.
fn is_dark(pod: &PodFacts) -> bool {
    pod.takes_clients() && pod.report().is_some_and(|report| !report.is_live() && !report.draining)
}

/// What is on its way: Progressing.
pub(crate) fn progressing(facts: &Facts<'_>) -> Verdict {
    let Some(deployment) = facts.deployment else {
        return Verdict::no("NotStarted", "there is no Deployment yet").planned();
    };
    let draining = facts.pods.iter().filter(|pod| pod.view.terminating).count();
    let verdict = fleet::progress(deployment, facts.wanted, draining);
    let under_way = facts.halted.as_ref().or(facts.rollout.as_ref()).or(facts.moves.as_ref());
    let verdict = match under_way {
        Some(rollout) if !matches!(verdict.reason, "PodsRefused" | "RolloutStuck") => {
            rollout.clone()
        }
        _ => verdict,
    };
    match problems(facts) {
        Some((reason, words)) if verdict.reason == "PodsStarting" => Verdict::no(reason, words),
        _ if matches!(verdict.reason, "PodsRefused" | "RolloutStuck" | "NoRoom") => verdict,
        _ if facts.halted.is_some() => verdict,
        _ => verdict.planned(),
    }
}

/// Whether clients are served less well than specified: Degraded.
pub(crate) fn degraded(facts: &Facts<'_>) -> Verdict {
    if let Some(halted) = &facts.halted {
        // What is wrong with pods may be why.
        let why = problems(facts).map_or(String::new(), |(_, words)| format!("; {words}"));
        return Verdict::yes(halted.reason, format!("{}{why}", halted.message));
    }
    if let Some((reason, words)) = problems(facts) {
        return Verdict::yes(reason, words);
    }
    if let Some(sources) = sources(facts) {
        return Verdict { holds: true, ..sources };
    }
    let taking: Vec<&PodFacts> = facts.pods.iter().filter(|pod| pod.takes_clients()).collect();
    let silent: Vec<&PodFacts> =
        taking.iter().copied().filter(|pod| pod.seen == Seen::Silent).collect();
    if !silent.is_empty() {
        return Verdict::yes(
            "PodsSilent",
            format!(
                "{} of {} ready pods do not answer the operator: allow it port 9090 of the gateways' pods in your \
                 NetworkPolicies; {}",
                silent.len(),
                taking.len(),
                named(&silent, |_| "no answer".to_owned())
            ),
        );
    }
    if !taking.is_empty() && taking.iter().all(|pod| pod.full) {
        return Verdict::yes(
            "Full",
            "all pods are full and turn clients away: raise spec.replicas or autoscaling.maxReplicas, or \
             capacity.connectionsPerPod",
        );
    }
    Verdict::no("NoProblem", "no pod has a problem")
}

/// The pods' problems as one: the most frequent reason first named, and which pods.
fn problems(facts: &Facts<'_>) -> Option<(&'static str, String)> {
    let found: Vec<(&PodFacts, Problem)> = facts
        .pods
        .iter()
        .filter_map(|pod| Some((pod, fleet::problem(&pod.view, facts.now)?)))
        .collect();
    let count = |reason| found.iter().filter(|(_, problem)| problem.reason == reason).count();
    // The first of the most frequent ones: pods are in the order of their names.
    let mut worst: Option<(&'static str, usize)> = None;
    for (_, problem) in &found {
        let times = count(problem.reason);
        if worst.is_none_or(|(_, most)| times > most) {
            worst = Some((problem.reason, times));
        }
    }
    let (reason, _) = worst?;
    let pods: Vec<&PodFacts> =
        found.iter().filter(|(_, problem)| problem.reason == reason).map(|(pod, _)| *pod).collect();
    let words = named(&pods, |pod| {
        fleet::problem(&pod.view, facts.now)
            .map_or(String::new(), |problem| format!("{}: {}", problem.reason, problem.message))
    });
    Some((reason, words))
}

/// `pod A: why; pod B: why; and 3 more`.
pub(super) fn named(pods: &[&PodFacts], why: impl Fn(&PodFacts) -> String) -> String {
    let first: Vec<String> =
        pods.iter().take(NAMED).map(|pod| format!("pod {}: {}", pod.view.name, why(pod))).collect();
    let mut words = first.join("; ");
    if pods.len() > NAMED {
        // Writing to a String does not fail.
        let _infallible = write!(words, "; and {} more", pods.len() - NAMED);
    }
    words
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
