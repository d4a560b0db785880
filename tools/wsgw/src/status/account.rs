//! What is known of a WsGateway, in the fields of `wsgw status -o json` (pure).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use serde::Serialize;
use wsgateway_crds::{
    DisruptionKind, DisruptionStatus, HaltStatus, PodState, PodStatus, StreamStatus, WsGateway,
};

use crate::screen::Tone;

/// A WsGateway. Fields stay as they are; there may be more of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) created: Option<Timestamp>,
    /// Whether clients are served.
    pub(crate) ready: bool,
    /// Reason and message of the condition Ready; none before an operator has seen it.
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
    /// Whether the status is of the specification as it is now.
    pub(crate) is_current: bool,
    pub(crate) paused: bool,
    pub(crate) replicas: Replicas,
    pub(crate) connections: Option<i64>,
    /// Connections that the pods that take clients admit together.
    pub(crate) capacity: i64,
    pub(crate) capacity_percent: Option<i32>,
    pub(crate) numbers_time: Option<Timestamp>,
    pub(crate) endpoint: Option<String>,
    pub(crate) stream: Option<StreamStatus>,
    /// Reason and message of the condition Progressing, while it is true, or of what holds it up.
    pub(crate) under_way: Option<Note>,
    pub(crate) halt: Option<HaltStatus>,
    /// Conditions that are not as they should be.
    pub(crate) problems: Vec<Note>,
    pub(crate) pods: Vec<PodStatus>,
    pub(crate) more_pods: i32,
    pub(crate) disruptions: Vec<DisruptionStatus>,
}

/// Numbers of pods.
#[derive(Debug, Serialize)]
pub(crate) struct Replicas {
    pub(crate) wanted: i32,
    pub(crate) existing: i32,
    /// That take clients.
    pub(crate) serving: i32,
}

/// A condition in short.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    /// Type of the condition.
    pub(crate) condition: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Account {
    pub(crate) fn of(gateway: &WsGateway) -> Self {
        let status = gateway.status.clone().unwrap_or_default();
        let find = |kind: &str| status.conditions.iter().find(|one| one.type_ == kind);
        let ready = find("Ready");
        let per_pod = i64::from(gateway.spec.capacity.connections_per_pod);
        let problems = status.conditions.iter().filter(|one| is_wrong(one)).map(note).collect();
        Self {
            namespace: gateway.namespace().unwrap_or_default(),
            name: gateway.name_any(),
            created: gateway.metadata.creation_timestamp.as_ref().map(|time| time.0),
            ready: ready.is_some_and(|one| one.status == "True"),
            reason: ready.map(|one| one.reason.clone()),
            message: ready.map(|one| one.message.clone()),
            is_current: status.observed_generation.is_some()
                && status.observed_generation >= gateway.metadata.generation,
            paused: gateway.spec.paused,
            replicas: Replicas {
                wanted: gateway.spec.replicas,
                existing: status.replicas,
                serving: status.ready_replicas,
            },
            connections: status.connections,
            capacity: per_pod * i64::from(status.ready_replicas),
            capacity_percent: status.capacity_percent,
            numbers_time: status.numbers_time.as_ref().map(|time| time.0),
            endpoint: status.endpoints.as_ref().map(|endpoints| endpoints.internal.clone()),
            under_way: find("Progressing").filter(|one| is_moving(one)).map(note),
            problems,
            stream: status.stream,
            halt: status.halt,
            pods: status.pods,
            more_pods: status.more_pods.unwrap_or_default(),
            disruptions: status.disruptions,
        }
    }

    /// What stands in the column STATUS.
    pub(crate) fn state(&self) -> (String, Tone) {
        let Some(reason) = &self.reason else {
            return ("NotSeen".to_owned(), Tone::Bad);
        };
        let tone = match (self.ready, self.problems.is_empty() && self.halt.is_none()) {
            (true, true) => Tone::Good,
            (true, false) => Tone::Warn,
            (false, _) => Tone::Bad,
        };
        (reason.clone(), tone)
    }

    /// Share of the places that are taken, in its tone.
    pub(crate) fn load(&self) -> (String, Tone) {
        let tone = match self.capacity_percent {
            Some(90..) => Tone::Bad,
            Some(80..) => Tone::Warn,
            _ => Tone::Plain,
        };
        (self.capacity_percent.map(|percent| format!("{percent} %")).unwrap_or_default(), tone)
    }
}

fn note(condition: &Condition) -> Note {
    Note {
        condition: condition.type_.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    }
}

/// True is bad of Degraded and Paused, false of the others; of Progressing neither is.
fn is_wrong(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        "Progressing" => false,
        "Degraded" | "Paused" => condition.status != "False",
        // Unknown while pods start.
        "KeysReady" => condition.status == "False",
        _ => condition.status != "True",
    }
}

/// Something moves, or should and does not.
fn is_moving(condition: &Condition) -> bool {
    condition.status != "False" || condition.reason != "Settled"
}

/// The tone of a pod's state.
pub(crate) fn pod_tone(pod: &PodStatus) -> Tone {
    match (pod.state, &pod.problem) {
        (_, Some(_)) => Tone::Bad,
        (PodState::Serving, None) => Tone::Good,
        (_, None) => Tone::Warn,
    }
}

/// For people.
pub(super) fn kind(kind: DisruptionKind) -> &'static str {
    match kind {
        DisruptionKind::Rollout => "Rollout",
        DisruptionKind::ScaleDown => "ScaleDown",
        DisruptionKind::Rebalance => "Rebalance",
        DisruptionKind::PodStopped => "PodStopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            last_transition_time: time,
            observed_generation: None,
        }
    }

    #[test]
    fn only_what_is_not_as_it_should_be_is_a_problem() {
        assert!(is_wrong(&condition("Degraded", "True", "LagHigh")));
        assert!(is_wrong(&condition("Autoscaling", "Unknown", "Starting")));
        assert!(!is_wrong(&condition("Paused", "False", "NotPaused")));
        assert!(!is_wrong(&condition("Progressing", "True", "RollingOut")));
        assert!(is_moving(&condition("Progressing", "False", "RolloutHalted")));
        assert!(!is_moving(&condition("Progressing", "False", "Settled")));
    }
}
