//! Stage: status. What was found becomes conditions and numbers (pure); written only when it differs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use wsgateway_crds::{GROUP, StreamStatus, VERSION, WsGateway, WsGatewayStatus};

use crate::FIELD_MANAGER;
use crate::error::{Error, Stage};

/// Longest message of a condition, far below what the API server takes.
const LONGEST_MESSAGE: usize = 2_000;

pub(crate) const READY: &str = "Ready";
pub(crate) const STREAM_READY: &str = "StreamReady";
pub(crate) const GATEWAY_READY: &str = "GatewayReady";

/// Whether something holds, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Verdict {
    pub(crate) fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: true, reason, message: message.into() }
    }

    pub(crate) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: false, reason, message: message.into() }
    }
}

/// Pods and what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fleet {
    pub(crate) replicas: i32,
    pub(crate) ready: i32,
    /// Connections and the capacity behind them, of the pods that answered.
    pub(crate) load: Option<(i64, i64)>,
}

/// What one reconciliation found. A verdict that is `None` keeps its condition as it was.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) generation: i64,
    pub(crate) selector: String,
    pub(crate) stream: Option<Verdict>,
    pub(crate) gateway: Option<Verdict>,
    /// Overrides the verdict made of the others.
    pub(crate) ready: Option<Verdict>,
    /// `None`: NATS could not be asked; what was known stays.
    pub(crate) stream_status: Option<StreamStatus>,
    /// `None`: not looked at; what was known stays.
    pub(crate) fleet: Option<Fleet>,
}

/// The status that follows.
pub(crate) fn compute(
    findings: Findings,
    previous: Option<&WsGatewayStatus>,
    now: Timestamp,
) -> WsGatewayStatus {
    let mut status = previous.cloned().unwrap_or_default();
    status.observed_generation = Some(findings.generation);
    status.selector = Some(findings.selector);
    if findings.stream_status.is_some() {
        status.stream = findings.stream_status;
    }
    if let Some(fleet) = findings.fleet {
        status.replicas = fleet.replicas;
        status.ready_replicas = fleet.ready;
        status.connections = fleet.load.map(|(connections, _)| connections);
        status.capacity_percent =
            fleet.load.and_then(|(connections, capacity)| percent(connections, capacity));
    }
    let ready =
        findings.ready.or_else(|| overall(findings.stream.as_ref(), findings.gateway.as_ref()));
    let verdicts =
        [(READY, ready), (STREAM_READY, findings.stream), (GATEWAY_READY, findings.gateway)];
    for (kind, verdict) in verdicts {
        if let Some(verdict) = verdict {
            set(&mut status.conditions, kind, verdict, findings.generation, now);
        }
    }
    status
}

fn percent(connections: i64, capacity: i64) -> Option<i32> {
    (capacity > 0)
        .then(|| i32::try_from(connections.saturating_mul(100) / capacity).unwrap_or(i32::MAX))
}

/// Ready is the first of the others that does not hold.
fn overall(stream: Option<&Verdict>, gateway: Option<&Verdict>) -> Option<Verdict> {
    let (stream, gateway) = (stream?, gateway?);
    let broken = [stream, gateway].into_iter().find(|verdict| !verdict.holds);
    Some(
        broken
            .cloned()
            .unwrap_or_else(|| Verdict::yes("AsSpecified", "stream and gateways are as specified")),
    )
}

fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    verdict: Verdict,
    generation: i64,
    now: Timestamp,
) {
    let state = if verdict.holds { "True" } else { "False" };
    let existing = conditions.iter().position(|condition| condition.type_ == kind);
    let since = existing
        .map(|at| &conditions[at])
        .filter(|condition| condition.status == state)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    let mut message = verdict.message;
    let mut end = message.len().min(LONGEST_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    let condition = Condition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: verdict.reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: since,
    };
    match existing {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// Conditions that are new, or whose status or reason changed: each is worth an event.
pub(crate) fn transitions<'a>(
    previous: Option<&WsGatewayStatus>,
    status: &'a WsGatewayStatus,
) -> Vec<&'a Condition> {
    let before = previous.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let unchanged = |condition: &&Condition| {
        !before.iter().any(|old| {
            old.type_ == condition.type_
                && old.status == condition.status
                && old.reason == condition.reason
        })
    };
    status.conditions.iter().filter(unchanged).collect()
}

/// Writes a status.
pub(crate) async fn write(
    client: &Client,
    gateway: &WsGateway,
    status: &WsGatewayStatus,
) -> Result<(), Error> {
    let api: Api<WsGateway> =
        Api::namespaced(client.clone(), &gateway.namespace().unwrap_or_default());
    let name = gateway.name_any();
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "WsGateway",
        "metadata": { "name": name },
        "status": status,
    });
    match api
        .patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch))
        .await
    {
        Ok(_) => Ok(()),
        // Gone meanwhile: nobody is left to read it.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(()),
        Err(error) => {
            Err(Error::kube(Stage::Status, &format!("status of WsGateway {name}"), &error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn findings(stream: Verdict, gateway: Verdict) -> Findings {
        Findings {
            generation: 3,
            selector: "a=b".into(),
            stream: Some(stream),
            gateway: Some(gateway),
            ready: None,
            stream_status: None,
            fleet: Some(Fleet { replicas: 3, ready: 2, load: Some((150, 200)) }),
        }
    }

    fn yes() -> Verdict {
        Verdict::yes("Fine", "fine")
    }

    fn condition<'a>(status: &'a WsGatewayStatus, kind: &str) -> &'a Condition {
        status.conditions.iter().find(|condition| condition.type_ == kind).unwrap()
    }

    #[test]
    fn ready_takes_the_reason_of_what_is_not() {
        let status = compute(findings(yes(), Verdict::no("PodsNotReady", "1 of 3")), None, at(1));
        let ready = condition(&status, READY);
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "PodsNotReady"));
        assert_eq!(condition(&status, STREAM_READY).status, "True");
        assert_eq!((status.connections, status.capacity_percent), (Some(150), Some(75)));
    }

    #[test]
    fn a_condition_remembers_since_when_until_it_turns() {
        let first = compute(findings(yes(), yes()), None, at(1));
        let same = compute(findings(yes(), Verdict::yes("Other", "words")), Some(&first), at(2));
        assert_eq!(condition(&same, GATEWAY_READY).last_transition_time, Time(at(1)));
        let turned = compute(findings(yes(), Verdict::no("Bad", "")), Some(&same), at(3));
        assert_eq!(condition(&turned, GATEWAY_READY).last_transition_time, Time(at(3)));
        assert_eq!(condition(&turned, STREAM_READY).last_transition_time, Time(at(1)));
    }

    #[test]
    fn the_same_findings_make_the_same_status_and_no_transition() {
        let first = compute(findings(yes(), yes()), None, at(1));
        let second = compute(findings(yes(), yes()), Some(&first), at(9));
        assert_eq!(first, second);
        assert!(transitions(Some(&first), &second).is_empty());
        assert_eq!(transitions(None, &first).len(), 3);
    }

    #[test]
    fn an_invalid_spec_leaves_the_other_conditions_as_they_were() {
        let first = compute(findings(yes(), yes()), None, at(1));
        let invalid = Findings {
            stream: None,
            gateway: None,
            fleet: None,
            ready: Some(Verdict::no("SpecInvalid", "spec.x: no")),
            ..findings(yes(), yes())
        };
        let status = compute(invalid, Some(&first), at(2));
        assert_eq!(condition(&status, READY).reason, "SpecInvalid");
        assert_eq!(condition(&status, STREAM_READY), condition(&first, STREAM_READY));
        assert_eq!(status.ready_replicas, 2);
    }
}
