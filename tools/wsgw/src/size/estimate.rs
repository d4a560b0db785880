//! What a load takes (pure).

use serde::Serialize;
use wsgateway_crds::Derived;

use super::SizeError;
use super::bench::Bench;
use super::load::Load;

/// Headers of TCP and IP, and of the link.
const PACKET_BYTES: f64 = 66.0;
/// What a stream stores of a message besides.
const STORED_BYTES: f64 = 30.0;
/// CPU that is used at the peak: the rest is for bursts, and for what a benchmark does not have.
pub(crate) const USED_PERCENT: u32 = 60;
/// Cores of one pod: where a load needs more there are more pods, since a large pod is a large event when it goes.
const MOST_CORES_PER_POD: f64 = 4.0;
/// As spec.autoscaling.maxReplicas has it.
const MOST_PODS: f64 = 1_000.0;
/// Smallest request of CPU.
const LEAST_MILLICORES: f64 = 100.0;

/// Pods and their CPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pods {
    /// At the peak; one of them may be lost.
    pub(crate) count: u32,
    /// As many of them as connections need.
    pub(crate) for_connections: u32,
    /// As many of them as CPU needs.
    pub(crate) for_cpu: u32,
    /// On an average pod while one is lost.
    pub(crate) connections_each: u32,
    pub(crate) millicores_each: u32,
    /// Of all pods, used at the peak.
    pub(crate) cores: f64,
    pub(crate) cores_for_deliveries: f64,
    /// For heartbeats and new connections.
    pub(crate) cores_for_connections: f64,
    /// One delivery.
    pub(crate) delivery_us: f64,
}

impl Pods {
    /// # Errors
    /// When there would be too many.
    pub(crate) fn new(load: &Load, bench: &Bench) -> Result<Self, SizeError> {
        let in_batch = if load.compression { bench.deflate_cpu } else { bench.batch_cpu };
        let delivery_us = bench.delivery_us * blend(in_batch, load.batch_share());
        let cores_for_deliveries = load.deliveries() * delivery_us / 1e6;
        let cores_for_connections =
            (load.clients() * bench.heartbeat_us + load.surge() * bench.handshake_us) / 1e6;
        let cores = cores_for_deliveries + cores_for_connections;
        let planned = cores * 100.0 / f64::from(USED_PERCENT);
        let for_connections = (load.clients() / f64::from(target_by_default(load))).ceil();
        let for_cpu = (planned / MOST_CORES_PER_POD).ceil().max(1.0);
        let needed = for_connections.max(for_cpu);
        if needed + 1.0 > MOST_PODS {
            return Err(SizeError::TooManyPods {
                pods: needed + 1.0,
                reason: if for_cpu > for_connections {
                    "CPU: give --batch-window, or share the channels between several WsGateways"
                } else {
                    "connections: raise --connections-per-pod, or use several WsGateways"
                },
            });
        }
        let millicores = (planned * 10.0 / needed).ceil() * 100.0;
        Ok(Self {
            count: needed as u32 + 1,
            for_connections: for_connections as u32,
            for_cpu: for_cpu as u32,
            connections_each: (load.clients() / needed).ceil() as u32,
            millicores_each: millicores.max(LEAST_MILLICORES) as u32,
            cores: rounded(cores),
            cores_for_deliveries: rounded(cores_for_deliveries),
            cores_for_connections: rounded(cores_for_connections),
            delivery_us: rounded(delivery_us),
        })
    }

    /// What the autoscaler aims at: 80 % of the capacity, or as many as one pod has CPU for.
    pub(crate) fn target(&self, load: &Load) -> u32 {
        if self.for_cpu > self.for_connections {
            self.connections_each.clamp(1, load.connections_per_pod)
        } else {
            target_by_default(load)
        }
    }
}

/// Memory and descriptors, as the operator and the gateway calculate them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    pub(crate) request_bytes_each: u64,
    pub(crate) limit_bytes_each: u64,
    /// Of all pods.
    pub(crate) request_bytes: u64,
    /// On the nodes, outside of the request: sockets.
    pub(crate) kernel_bytes: u64,
    /// Limit of open files of a pod.
    pub(crate) descriptors_each: u64,
}

impl Memory {
    pub(crate) fn new(load: &Load, bench: &Bench, pods: &Pods, derived: &Derived) -> Self {
        Self {
            request_bytes_each: derived.memory_request,
            limit_bytes_each: derived.memory_limit,
            request_bytes: derived.memory_request.saturating_mul(pods.count.into()),
            kernel_bytes: (load.clients() * bench.kernel_kb * 1e3) as u64,
            descriptors_each: gateway::descriptors(load.connections_per_pod),
        }
    }
}

/// What goes to clients, and what goes through NATS.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traffic {
    pub(crate) deliveries_per_second: f64,
    /// One message with its share of headers.
    pub(crate) bytes_per_delivery: f64,
    pub(crate) egress_bytes_per_second: f64,
    pub(crate) new_connections_per_second: f64,
    pub(crate) new_connections_in_the_worst_second: f64,
    pub(crate) nats_bytes_per_second: f64,
    pub(crate) nats_messages_per_second: f64,
    pub(crate) nats_connections: u32,
    pub(crate) nats_consumers: u32,
    /// On each replica.
    pub(crate) stream_bytes: f64,
    pub(crate) stream_messages: f64,
}

impl Traffic {
    pub(crate) fn new(load: &Load, bench: &Bench, pods: &Pods) -> Self {
        let (payload, count) = (f64::from(load.payload_bytes), f64::from(pods.count));
        let compressed =
            if load.compression { blend(bench.deflate_bytes, load.batch_share()) } else { 1.0 };
        let each = (payload + bench.envelope_bytes) * compressed + PACKET_BYTES / load.batch();
        let messages = load.published * load.max_age() as f64;
        Self {
            deliveries_per_second: rounded(load.deliveries()),
            bytes_per_delivery: rounded(each),
            egress_bytes_per_second: rounded(load.deliveries() * each),
            new_connections_per_second: rounded(load.arrivals()),
            new_connections_in_the_worst_second: rounded(load.surge()),
            nats_bytes_per_second: rounded(
                load.published * (payload + bench.envelope_bytes) * count,
            ),
            nats_messages_per_second: rounded(load.published * count),
            nats_connections: 2 * pods.count + 1,
            nats_consumers: pods.count,
            stream_bytes: rounded(messages * (payload + STORED_BYTES)),
            stream_messages: rounded(messages),
        }
    }
}

/// As the operator has it unless specified: 80 % of the capacity.
fn target_by_default(load: &Load) -> u32 {
    (load.connections_per_pod * 4).div_ceil(5)
}

/// From 1 towards what a whole batch takes.
fn blend(whole: f64, share: f64) -> f64 {
    1.0 - (1.0 - whole) * share
}

/// Three digits after the point, as documents show.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
