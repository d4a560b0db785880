//! How each WsGateway fares, put together when a scrape asks: from what its last reconciliation found, and from what its
//! pods answered last. A WsGateway that is deleted has no series any more; of more than [`MOST`] the others have none.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use wsgateway_crds::{PodState, StreamStatus, WsGateway, WsGatewayStatus};
use wsgateway_runtime::families::{Family, Shape};

use super::{MOST, Queue};
use crate::fleet::{PodFacts, Pods, load};
use crate::wake::{Name, reference};
use crate::{moves, rollout, status};

const CONDITIONS: [&str; 10] = [
    status::READY,
    status::STREAM_READY,
    status::GATEWAY_READY,
    status::PROGRESSING,
    status::DEGRADED,
    status::AUTOSCALING,
    status::EXPOSE_READY,
    status::MONITORING_READY,
    status::KEYS_READY,
    status::PAUSED,
];
const STATES: [(PodState, &str); 5] = [
    (PodState::Starting, "starting"),
    (PodState::Serving, "serving"),
    (PodState::Full, "full"),
    (PodState::Rebalancing, "rebalancing"),
    (PodState::Draining, "draining"),
];
const KEY: &[&str] = &["namespace", "gateway"];

macro_rules! shapes {
    ($($id:ident: $name:literal, $labels:expr, $help:literal;)*) => {
        $(const $id: Shape =
            Shape::gauge(concat!("wsgateway_operator_", $name), $help, $labels);)*
        const SHAPES: &[Shape] = &[$($id),*];
    };
}

shapes! {
    COUNT: "gateways", &[], "WsGateways that this operator reconciles.";
    DEPTH: "queue_depth", &[],
        "WsGateways that something has woken and whose reconciliation has not begun.";
    CONDITION: "gateway_condition", &["namespace", "gateway", "condition"],
        "1 while a condition of the WsGateway is True, 0 while it is False.";
    WANTED: "gateway_replicas_wanted", KEY, "Pods that the WsGateway is to have now.";
    LEAST: "gateway_replicas_min", KEY,
        "Fewest pods that the autoscaler may choose at this time; only with autoscaling.";
    LARGEST: "gateway_replicas_max", KEY,
        "Most pods that the autoscaler may choose; only with autoscaling.";
    SERVING: "gateway_replicas_serving", KEY, "Pods that take clients.";
    PODS: "gateway_pods", &["namespace", "gateway", "state"], "Pods by what they do for clients.";
    CONNECTIONS: "gateway_connections", KEY, "Connections of all pods that answered.";
    CAPACITY: "gateway_capacity", KEY, "Connections that the pods admit which take clients.";
    LAG: "gateway_source_lag_messages", KEY, "Largest source lag of the pods that answered.";
    MESSAGES: "gateway_stream_messages", KEY, "Messages that the stream keeps.";
    BYTES: "gateway_stream_bytes", KEY, "Bytes that the stream keeps.";
    SEQUENCE: "gateway_stream_last_sequence", KEY, "Newest sequence of the stream.";
    CONSUMERS: "gateway_stream_consumers", KEY, "Consumers of the stream.";
    PLAN: "gateway_plan", &["namespace", "gateway", "plan", "result"],
        "1 for what planning resulted in last, 0 for the rest.";
    LEFT: "gateway_plan_clients_left", &["namespace", "gateway", "plan"],
        "Clients that are still to be moved.";
}

/// What a reconciliation found of a WsGateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Pods wanted.
    pub(crate) wanted: i32,
    /// The fewest and the most pods that the autoscaler may choose, if there is one.
    pub(crate) bounds: Option<(i32, i32)>,
    pub(crate) rollout: rollout::Stage,
    pub(crate) moves: moves::Stage,
}

#[derive(Clone, Debug)]
struct Entry {
    found: Found,
    conditions: [Option<bool>; CONDITIONS.len()],
    /// Messages, bytes, last sequence and consumers of the stream.
    stream: Option<[i64; 4]>,
}

/// What is known of all WsGateways.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<Name, Entry>,
    /// Those that are too many.
    others: HashSet<Name>,
}

impl Gateways {
    /// Notes what a reconciliation found: its status, and the stream if NATS was asked.
    pub(crate) fn enter(
        &self,
        key: &Name,
        found: Found,
        status: &WsGatewayStatus,
        stream: Option<&StreamStatus>,
    ) {
        let mut known = self.lock();
        let before = known.entries.get(key).map(|entry| entry.stream);
        if before.is_none() && known.entries.len() >= MOST {
            known.others.insert(key.clone());
            return;
        }
        let numbers = |stream: &StreamStatus| {
            let StreamStatus { messages, bytes, last_sequence, consumers, .. } = stream;
            [*messages, *bytes, *last_sequence, i64::from(*consumers)]
        };
        let holds = |kind: &str| {
            let mut known =
                status.conditions.iter().filter(|condition| condition.status != "Unknown");
            known.find(|found| found.type_ == kind).map(|found| found.status == "True")
        };
        let stream = stream.map(numbers).or(before.flatten());
        known.others.remove(key);
        known
            .entries
            .insert(key.clone(), Entry { found, conditions: CONDITIONS.map(holds), stream });
    }

    /// Forgets a WsGateway that is deleted, or another operator's.
    pub(crate) fn forget(&self, key: &Name) {
        let mut known = self.lock();
        known.entries.remove(key);
        known.others.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Valid after any panic: at worst something is of before.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads all of it when a scrape asks.
pub(super) struct GatewayCollector {
    known: Arc<Gateways>,
    pods: Arc<Pods>,
    queue: Arc<Queue>,
    /// All WsGateways that exist.
    store: Store<DeserializeGuard<WsGateway>>,
    /// Whether this process reconciles.
    leads: Box<dyn Fn() -> bool + Send + Sync>,
    descs: Vec<Desc>,
}

impl GatewayCollector {
    pub(super) fn new(
        (known, queue): (Arc<Gateways>, Arc<Queue>),
        pods: Arc<Pods>,
        store: Store<DeserializeGuard<WsGateway>>,
        leads: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Result<Self, prometheus::Error> {
        let descs = SHAPES.iter().map(Shape::desc).collect::<Result<_, _>>()?;
        Ok(Self { known, pods, queue, store, leads, descs })
    }
}

impl Collector for GatewayCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A candidate's queue is all there is, and nothing is late.
        let depth = match (self.leads)() {
            true => self.queue.depth(|name| self.store.get(&reference(name)).is_some()),
            false => 0,
        };
        let (entries, count) = {
            let known = self.known.lock();
            (known.entries.clone(), known.entries.len() + known.others.len())
        };
        let mut page = Page(SHAPES.iter().map(|shape| shape.family()).collect());
        page.add(&COUNT, &[], count as f64);
        page.add(&DEPTH, &[], depth as f64);
        for (key, entry) in &entries {
            page.write(key, entry, &self.pods.of(key));
        }
        page.0.into_iter().map(MetricFamily::from).collect()
    }
}

/// The families, in the order of [`SHAPES`].
struct Page(Vec<Family>);

impl Page {
    fn add(&mut self, shape: &Shape, labels: &[&str], value: f64) {
        let place = SHAPES.iter().position(|known| known.name == shape.name);
        if let Some(family) = place.and_then(|place| self.0.get_mut(place)) {
            family.add(labels, value);
        }
    }

    fn write(&mut self, key: &Name, entry: &Entry, pods: &[PodFacts]) {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        let key = [namespace, name];
        for (kind, holds) in CONDITIONS.into_iter().zip(entry.conditions) {
            if let Some(holds) = holds {
                self.add(&CONDITION, &[namespace, name, kind], truth(holds));
            }
        }
        self.add(&WANTED, &key, entry.found.wanted.into());
        if let Some((least, most)) = entry.found.bounds {
            self.add(&LEAST, &key, least.into());
            self.add(&LARGEST, &key, most.into());
        }
        self.add(&SERVING, &key, pods.iter().filter(|pod| pod.takes_clients()).count() as f64);
        for (state, word) in STATES {
            let count = pods.iter().filter(|pod| pod.view.ended.is_none() && pod.state() == state);
            self.add(&PODS, &[namespace, name, word], count.count() as f64);
        }
        let (connections, capacity) = load(pods).unwrap_or_default();
        self.add(&CONNECTIONS, &key, connections as f64);
        self.add(&CAPACITY, &key, capacity as f64);
        let lags = pods.iter().filter_map(|pod| Some(pod.report()?.lag_messages));
        self.add(&LAG, &key, lags.max().unwrap_or(0) as f64);
        if let Some(numbers) = entry.stream {
            for (shape, number) in [MESSAGES, BYTES, SEQUENCE, CONSUMERS].iter().zip(numbers) {
                self.add(shape, &key, number as f64);
            }
        }
        self.plan(key, "rollout", entry.found.rollout.word(), &rollout::Stage::WORDS);
        self.plan(key, "moves", entry.found.moves.word(), &moves::Stage::WORDS);
        self.add(&LEFT, &[namespace, name, "rollout"], entry.found.rollout.left() as f64);
        self.add(&LEFT, &[namespace, name, "moves"], entry.found.moves.left() as f64);
    }

    fn plan(&mut self, [namespace, name]: [&str; 2], plan: &str, word: &str, words: &[&str]) {
        for result in words {
            self.add(&PLAN, &[namespace, name, plan, result], truth(*result == word));
        }
    }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[cfg(test)]
#[path = "gateways_tests.rs"]
mod tests;
