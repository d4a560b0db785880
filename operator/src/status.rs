//! Stage: status. What was found becomes conditions and numbers (pure); written only when it differs.

pub(crate) mod conclude;
pub(crate) mod judge;
mod keys;
pub(crate) mod numbers;
mod pods;
pub(crate) mod scaling;
mod steps;

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use wsgateway_crds::{
    DisruptionStatus, Endpoints, GROUP, StreamStatus, VERSION, WsGateway, WsGatewayStatus,
};

use crate::FIELD_MANAGER;
use crate::build::selector_text;
use crate::error::{Error, Stage};
use crate::fleet::PodFacts;
use crate::halt::Contract;
use crate::text::cut;

/// Longest message of a condition, far below what the API server takes.
const LONGEST_MESSAGE: usize = 2_000;

pub(crate) const READY: &str = "Ready";
pub(crate) const STREAM_READY: &str = "StreamReady";
pub(crate) const GATEWAY_READY: &str = "GatewayReady";
pub(crate) const PROGRESSING: &str = "Progressing";
/// The one condition that is bad when it holds.
pub(crate) const DEGRADED: &str = "Degraded";
pub(crate) const AUTOSCALING: &str = "Autoscaling";
pub(crate) const MONITORING_READY: &str = "MonitoringReady";
/// Only where something is to lead clients to the gateways from outside.
pub(crate) const EXPOSE_READY: &str = "ExposeReady";
/// Only where clients show tokens.
pub(crate) const KEYS_READY: &str = "KeysReady";
pub(crate) const PAUSED: &str = "Paused";

/// Whether something holds, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// It is as somebody wanted it: no reason to warn.
    pub(crate) is_planned: bool,
    /// Nobody knows whether it holds.
    pub(crate) is_unknown: bool,
}

impl Verdict {
    pub(crate) fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { holds: true, reason, message, is_planned: false, is_unknown: false }
    }

    pub(crate) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: false, ..Self::yes(reason, message) }
    }

    /// It may hold or not: no reason to warn.
    pub(crate) fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_unknown: true, is_planned: true, ..Self::no(reason, message) }
    }

    /// The same as something that somebody wanted.
    pub(crate) fn planned(self) -> Self {
        Self { is_planned: true, ..self }
    }
}

/// The pods that one reconciliation found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet<'a> {
    pub(crate) deployment: Option<&'a Deployment>,
    /// Pods wanted.
    pub(crate) wanted: i32,
    pub(crate) pods: &'a [PodFacts],
}

/// What one reconciliation found. What is left out stays as it was.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) generation: i64,
    pub(crate) selector: String,
    /// `None`: the condition says nothing any more and is removed.
    pub(crate) conditions: Vec<(&'static str, Option<Verdict>)>,
    /// The stream, if NATS could be asked.
    pub(crate) stream_status: Option<StreamStatus>,
    /// The pods, if they were looked at.
    pub(crate) fleet: Option<Fleet<'a>>,
    /// Where clients connect inside the cluster.
    pub(crate) internal: Option<String>,
    /// What clients were put to.
    pub(crate) disruptions: Option<Vec<DisruptionStatus>>,
    /// What clients have been put to, and whether that is halted.
    pub(crate) contract: Option<Contract>,
    /// Which wish for a rebalance was acted on.
    pub(crate) rebalance_asked: Option<String>,
}

impl Findings<'_> {
    /// Nothing but which specification was looked at.
    pub(crate) fn of(gateway: &WsGateway) -> Self {
        Self {
            generation: gateway.metadata.generation.unwrap_or_default(),
            selector: selector_text(&gateway.name_any()),
            conditions: Vec::new(),
            stream_status: None,
            fleet: None,
            internal: None,
            disruptions: None,
            contract: None,
            rebalance_asked: None,
        }
    }

    /// With a condition.
    pub(crate) fn with(self, kind: &'static str, verdict: Verdict) -> Self {
        self.set(kind, Some(verdict))
    }

    /// With a condition, or without that of before.
    pub(crate) fn set(mut self, kind: &'static str, verdict: Option<Verdict>) -> Self {
        self.conditions.push((kind, verdict));
        self
    }

    /// Whether a condition is as it should be: no reason to warn.
    fn is_good(&self, kind: &str) -> bool {
        let verdict = self.conditions.iter().rev().find(|(found, _)| *found == kind);
        let verdict = verdict.and_then(|(_, verdict)| verdict.as_ref());
        verdict.is_none_or(|verdict| verdict.is_planned || verdict.holds != (kind == DEGRADED))
    }
}

/// The status that follows. `pace` is the time between two writes for numbers that are a little off.
pub(crate) fn compute(
    findings: &Findings<'_>,
    previous: Option<&WsGatewayStatus>,
    now: Timestamp,
    pace: Duration,
) -> WsGatewayStatus {
    let mut status = previous.cloned().unwrap_or_default();
    status.observed_generation = Some(findings.generation);
    status.selector = Some(findings.selector.clone());
    if let Some(stream) = &findings.stream_status {
        status.stream = Some(stream.clone());
    }
    if let Some(internal) = &findings.internal {
        status.endpoints = Some(Endpoints { internal: internal.clone() });
    }
    if let Some(disruptions) = &findings.disruptions {
        status.disruptions.clone_from(disruptions);
    }
    if let Some(contract) = &findings.contract {
        status.halt.clone_from(&contract.halt);
        status.continue_asked.clone_from(&contract.asked);
    }
    if findings.rebalance_asked.is_some() {
        status.rebalance_asked.clone_from(&findings.rebalance_asked);
    }
    if let Some(fleet) = &findings.fleet {
        let counted = fleet.deployment.and_then(|deployment| deployment.status.as_ref());
        status.replicas = counted.and_then(|status| status.replicas).unwrap_or_default();
        let ready = counted.and_then(|status| status.ready_replicas).unwrap_or_default();
        // While pods are replaced, those of before serve as well.
        let serving = fleet.pods.iter().filter(|pod| pod.takes_clients()).count();
        let serving = i32::try_from(serving).unwrap_or(i32::MAX);
        status.ready_replicas = ready.max(serving.min(fleet.wanted));
        status.pods_ready = Some(format!("{}/{}", status.ready_replicas, fleet.wanted));
        pods::enter(&mut status, fleet.pods, previous, now);
    }
    for (kind, verdict) in &findings.conditions {
        match verdict {
            Some(verdict) => {
                set(&mut status.conditions, kind, verdict, findings.generation, now);
            }
            None => status.conditions.retain(|condition| condition.type_ != *kind),
        }
    }
    let counted = findings.fleet.is_some() || findings.stream_status.is_some();
    if counted { numbers::settle(previous, status, now, pace) } else { status }
}

fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    verdict: &Verdict,
    generation: i64,
    now: Timestamp,
) {
    let state = match verdict.holds {
        _ if verdict.is_unknown => "Unknown",
        true => "True",
        false => "False",
    };
    let existing = conditions.iter().position(|condition| condition.type_ == kind);
    let since = existing
        .map(|at| &conditions[at])
        .filter(|condition| condition.status == state)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: verdict.reason.to_owned(),
        message: cut(&verdict.message, LONGEST_MESSAGE),
        observed_generation: Some(generation),
        last_transition_time: since,
    };
    match existing {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// A condition that is worth an event or a line in the log.
#[derive(Debug, PartialEq)]
pub(crate) struct Transition<'a> {
    pub(crate) condition: &'a Condition,
    /// As it should be, or as somebody wanted it.
    pub(crate) is_good: bool,
    /// Whether it is worth an event: Ready and Progressing repeat what the others say, and that something new is well is
    /// no news.
    pub(crate) is_news: bool,
}

/// Conditions that are new, or whose status or reason changed.
pub(crate) fn transitions<'a>(
    previous: Option<&WsGatewayStatus>,
    status: &'a WsGatewayStatus,
    findings: &Findings<'_>,
) -> Vec<Transition<'a>> {
    let before = previous.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut told: Vec<&str> = Vec::new();
    let mut transitions = Vec::new();
    for condition in &status.conditions {
        let old = before.iter().find(|old| old.type_ == condition.type_);
        if old.is_some_and(|old| old.status == condition.status && old.reason == condition.reason) {
            continue;
        }
        let is_good = findings.is_good(&condition.type_);
        let is_news = match condition.type_.as_str() {
            READY | PROGRESSING => condition.reason == "SpecInvalid",
            STREAM_READY | GATEWAY_READY => true,
            _ => old.is_some() || !is_good,
        };
        // GatewayReady and Degraded may have one reason.
        let is_news = is_news && !told.contains(&condition.reason.as_str());
        if is_news {
            told.push(&condition.reason);
        }
        transitions.push(Transition { condition, is_good, is_news });
    }
    transitions
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
#[path = "status/tests.rs"]
mod tests;
