//! The WsGateway that follows from a load (pure).

use super::SizeError;
use super::estimate::{Pods, Traffic, USED_PERCENT};
use super::load::Load;
use crate::manifest::Manifest;

/// Defaults of the CRD, which are left alone as long as they are enough.
const SUBSCRIPTIONS: u32 = 128;
const MESSAGE_KIB: u64 = 64;
const OUTBOX_KIB: u64 = 256;
/// Least limits of the stream: those of the samples.
const MESSAGES: f64 = 100_000.0;
const STREAM_MIB: f64 = 50.0;
/// A stream has room for twice what is expected, or a busy minute would shorten its time.
const ROOM: f64 = 2.0;
/// At night so many pods are enough.
const LEAST_SHARE: u32 = 4;
/// More than planned may be needed: a quarter.
const MOST_SHARE: u32 = 4;
const MOST_PODS: u32 = 1_000;

/// The manifest's text, without resources of memory: those the operator derives from the capacity.
pub(crate) fn text(load: &Load, pods: &Pods, traffic: &Traffic) -> String {
    let message_kib =
        (u64::from(load.payload_bytes) * 2).next_power_of_two().div_ceil(1 << 10).max(MESSAGE_KIB);
    let outbox_kib = (4 * message_kib).max(OUTBOX_KIB);
    let mib = (traffic.stream_bytes * ROOM / f64::from(1 << 20)).ceil().max(STREAM_MIB);
    let mib = mib.max((message_kib as f64 / 1_024.0).ceil());
    let messages = (traffic.stream_messages * ROOM).ceil().max(MESSAGES);
    let rules = rules(load);
    let most = (pods.count + pods.count.div_ceil(MOST_SHARE)).min(MOST_PODS);
    let least = pods.count.div_ceil(LEAST_SHARE).max(2).min(most);
    format!(
        "\
# For {connections} clients at the peak, calculated by wsgw size. Write your servers, subjects and hours.
apiVersion: wsgateway.dev/v1alpha1
kind: WsGateway
metadata:
  name: prices
spec:
  nats:
    servers: [\"nats://nats.messaging:4222\"]
  stream:
    name: PRICES
    subjects: [\"prices.>\"]
    maxAge: {age}s
    maxMessages: {messages}
    maxBytes: {mib}Mi
    maxMessageSize: {message_kib}Ki
    replicas: 3
  channels:
    stripPrefix: \"prices.\"{rules}
  listener:
    compression: {compression}
  capacity:
    connectionsPerPod: {capacity}
    subscriptionsPerConnection: {subscriptions}
    outboxPerConnection: {outbox_kib}Ki
  autoscaling:
    minReplicas: {least}
    maxReplicas: {most}
    targetConnectionsPerPod: {target}
    targetCpuPercent: {USED_PERCENT}
  pod:
    resources:
      requests: {{ cpu: {millicores}m }}
      limits: {{ cpu: \"{limit}\" }}
",
        connections = load.connections,
        age = load.max_age(),
        compression = load.compression,
        capacity = load.connections_per_pod,
        subscriptions = load.channels_per_client.max(SUBSCRIPTIONS),
        target = pods.target(load),
        millicores = pods.millicores_each,
        limit = pods.millicores_each.div_ceil(1_000),
    )
}

fn rules(load: &Load) -> String {
    match load.batch_window_ms {
        0 => String::new(),
        window => format!(
            "\n    rules:\n      - {{ match: \">\", delivery: Every, batchWindow: {window}ms }}"
        ),
    }
}

/// The same, as the operator understands it.
///
/// # Errors
/// When it is not valid, which no load within the bounds of the flags brings about.
pub(crate) fn checked(text: &str) -> Result<wsgateway_crds::ValidGateway, SizeError> {
    let manifest = Manifest::written("the WsGateway of this load", text.to_owned());
    manifest.gateway().map_err(|error| SizeError::Manifest(Box::new(error)))
}
