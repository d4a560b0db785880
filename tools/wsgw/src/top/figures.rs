//! What is known of pods, in the fields of `wsgw top -o json` (pure).

use std::cmp::Reverse;
use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::Serialize;
use wsgateway_crds::{GATEWAY_CONTAINER, PodState, PodStatus, WsGateway};

use super::gateway_of;
use crate::cli::{From, Sort};

/// Begins notes about sources that did not answer.
pub(super) const PASSED: &str = "rates, CPU and memory are not known: ";

/// A pod. Absent figures are not known.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) namespace: String,
    pub(crate) gateway: String,
    pub(crate) pod: String,
    pub(crate) node: Option<String>,
    /// As the status has it, Terminating for one that has been deleted, or the phase of one that the status does not name.
    pub(crate) state: String,
    pub(crate) connections: Option<u64>,
    pub(crate) capacity: Option<u64>,
    pub(crate) capacity_percent: Option<u64>,
    /// Messages of the stream that it takes.
    pub(crate) messages_per_second: Option<u64>,
    /// Messages that it sends, one for each receiver.
    pub(crate) deliveries_per_second: Option<u64>,
    pub(crate) lag_messages: Option<u64>,
    /// Clients that bytes wait for.
    pub(crate) slow_clients: Option<u64>,
    pub(crate) cpu_percent: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) restarts: Option<i32>,
    /// Since the start of its process; only from the pods themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) totals: Option<Totals>,
}

/// What a pod counted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Totals {
    pub(crate) subscriptions: Option<u64>,
    /// Connections accepted.
    pub(crate) accepted: Option<u64>,
    /// Clients that were asked to reconnect.
    pub(crate) sent_away: Option<u64>,
    /// Clients turned away, because it was full or not ready.
    pub(crate) refused: Option<u64>,
    /// Clients closed because they read too slowly.
    pub(crate) slow_closed: Option<u64>,
}

/// All pods at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) lines: Vec<Line>,
    /// Where the figures are from.
    pub(super) source: From,
    pub(super) notes: Vec<String>,
}

impl Snapshot {
    /// What the status of WsGateways says, and their pods if those may be read.
    pub(super) fn new(gateways: &[WsGateway], pods: Option<&[Pod]>) -> Self {
        let mut lines = Vec::new();
        for gateway in gateways {
            let status = gateway.status.as_ref();
            let listed = status.map(|status| status.pods.as_slice()).unwrap_or_default();
            let known: HashMap<&str, &PodStatus> =
                listed.iter().map(|pod| (pod.name.as_str(), pod)).collect();
            let Some(pods) = pods else {
                lines.extend(listed.iter().map(|pod| of_status(gateway, pod)));
                continue;
            };
            let (name, namespace) = (gateway.name_any(), gateway.namespace());
            let is_ours =
                |pod: &&Pod| pod.namespace() == namespace && gateway_of(pod) == Some(name.as_str());
            for pod in pods.iter().filter(is_ours) {
                lines.push(of_pod(gateway, pod, known.get(pod.name_any().as_str()).copied()));
            }
        }
        Self { lines, source: From::Status, notes: Vec::new() }
    }

    /// Fills in what follows from other figures.
    pub(super) fn finish(&mut self) {
        for line in &mut self.lines {
            if let (Some(connections), Some(capacity @ 1..)) = (line.connections, line.capacity) {
                line.capacity_percent = Some(connections.saturating_mul(100) / capacity);
            }
        }
    }

    pub(super) fn sort(&mut self, by: Sort) {
        self.lines.sort_by(|one, other| {
            let name =
                |line: &Line| (line.namespace.clone(), line.gateway.clone(), line.pod.clone());
            let by_figure = figure(one, by).cmp(&figure(other, by));
            by_figure.then_with(|| name(one).cmp(&name(other)))
        });
    }

    /// All pods together: sums, and of what cannot be summed the worst.
    pub(super) fn sum(&self) -> Line {
        let total = |of: fn(&Line) -> Option<u64>| {
            let known = self.lines.iter().filter_map(of);
            known.reduce(u64::saturating_add)
        };
        let worst = |of: fn(&Line) -> Option<u64>| self.lines.iter().filter_map(of).max();
        let (connections, capacity) = (total(|line| line.connections), total(|line| line.capacity));
        Line {
            pod: format!("{} pods", self.lines.len()),
            connections,
            capacity,
            capacity_percent: connections.zip(capacity).and_then(|(connections, capacity)| {
                connections.saturating_mul(100).checked_div(capacity)
            }),
            messages_per_second: worst(|line| line.messages_per_second),
            deliveries_per_second: total(|line| line.deliveries_per_second),
            lag_messages: worst(|line| line.lag_messages),
            slow_clients: total(|line| line.slow_clients),
            cpu_percent: worst(|line| line.cpu_percent),
            memory_bytes: total(|line| line.memory_bytes),
            restarts: self
                .lines
                .iter()
                .filter_map(|line| line.restarts)
                .reduce(i32::saturating_add),
            ..Line::default()
        }
    }
}

/// The largest first; what is not known last.
fn figure(line: &Line, by: Sort) -> Reverse<Option<u64>> {
    Reverse(match by {
        Sort::Name => None,
        Sort::Connections => line.connections,
        Sort::Lag => line.lag_messages,
        Sort::Slow => line.slow_clients,
        Sort::Cpu => line.cpu_percent,
        Sort::Memory => line.memory_bytes,
    })
}

fn of_status(gateway: &WsGateway, pod: &PodStatus) -> Line {
    let positive = |number: i64| u64::try_from(number).ok();
    Line {
        namespace: gateway.namespace().unwrap_or_default(),
        gateway: gateway.name_any(),
        pod: pod.name.clone(),
        node: pod.node.clone(),
        state: state(pod.state).to_owned(),
        connections: pod.connections.and_then(positive),
        capacity: positive(gateway.spec.capacity.connections_per_pod.into()),
        lag_messages: pod.connections.and(pod.lag_messages.or(Some(0))).and_then(positive),
        ..Line::default()
    }
}

fn of_pod(gateway: &WsGateway, pod: &Pod, known: Option<&PodStatus>) -> Line {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let container = containers.unwrap_or_default().iter().find(|one| one.name == GATEWAY_CONTAINER);
    let phase = status.and_then(|status| status.phase.clone()).unwrap_or_default();
    let line = known.map(|known| of_status(gateway, known)).unwrap_or_default();
    Line {
        namespace: gateway.namespace().unwrap_or_default(),
        gateway: gateway.name_any(),
        pod: pod.name_any(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        state: match (&pod.metadata.deletion_timestamp, known) {
            (Some(_), _) => "Terminating".to_owned(),
            (None, Some(known)) => state(known.state).to_owned(),
            (None, None) => phase,
        },
        capacity: u64::try_from(gateway.spec.capacity.connections_per_pod).ok(),
        restarts: container.map(|container| container.restart_count),
        ..line
    }
}

fn state(state: PodState) -> &'static str {
    match state {
        PodState::Starting => "Starting",
        PodState::Serving => "Serving",
        PodState::Full => "Full",
        PodState::Draining => "Draining",
        PodState::Rebalancing => "Rebalancing",
    }
}
