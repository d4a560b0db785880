//! What the operator reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw. Absent fields are not known yet.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WsGatewayStatus {
    /// Generation of the specification that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Gateway pods that exist.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Gateway pods that take clients.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ready_replicas: i32,
    /// Label selector of the gateway's pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// Ready pods of the pods wanted, such as 2/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub pods_ready: Option<String>,
    /// Client connections on all pods that answered. From 1,000 on three digits count, the rest is zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub connections: Option<i64>,
    /// Connections in percent of what the ready pods admit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub capacity_percent: Option<i32>,
    /// When the numbers of this status were taken: connections, capacity, the pods' and the stream's. A number is
    /// written when it is off by 5 %, at most once a minute; at once when 10 or more connections are missing from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers_time: Option<Time>,
    /// The pods by name, at most 50; those with a problem first to be listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub pods: Vec<PodStatus>,
    /// Pods beyond those listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub more_pods: Option<i32>,
    /// Where clients connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// The stream as NATS reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamStatus>,
    /// The last ten times that pods handed clients over, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub disruptions: Vec<DisruptionStatus>,
    /// The value of the annotation wsgateway.dev/rebalance-at that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub rebalance_asked: Option<String>,
    /// That no more clients are moved, since too many of those who were missed messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<HaltStatus>,
    /// The value of the annotation wsgateway.dev/continue that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub continue_asked: Option<String>,
    /// Ready: clients are served, by at least one pod whose source is live. StreamReady: the stream is as specified.
    /// GatewayReady: all pods wanted are ready, of the newest template. Progressing: pods are being started, replaced or
    /// drained. Degraded: clients are served less well than specified. Autoscaling: the autoscaler works; only with
    /// spec.autoscaling. ExposeReady: Ingress and HTTPRoute exist as specified; only if one is asked for.
    /// MonitoringReady: the objects for monitoring exist as specified. KeysReady: the pods verify tokens with the keys of
    /// now; only with spec.auth. Paused: spec.paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// One gateway pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Name of the pod.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Node that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,
    /// What it does for clients.
    pub state: PodState,
    /// Client connections, rounded as the sum is. Absent: the pod has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub connections: Option<i64>,
    /// State of its source: connecting, unauthorized, waiting_for_stream, warming, live or error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub source: Option<String>,
    /// Messages of the stream that it has not delivered yet, from 1,000 on, to one digit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub lag_messages: Option<i64>,
    /// Hash of the configuration that it runs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub config_hash: Option<String>,
    /// Hash of the part of it that a running gateway takes up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub live_hash: Option<String>,
    /// What is wrong with it, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub problem: Option<String>,
}

/// What a pod does for clients.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It does not take clients yet.
    Starting,
    /// It takes clients.
    Serving,
    /// It serves as many clients as it admits.
    Full,
    /// It hands its clients over and stops.
    Draining,
    /// It hands some of its clients over, to pods that have fewer, and takes none meanwhile.
    Rebalancing,
}

/// A time at which pods handed clients over.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionStatus {
    /// Why.
    pub kind: DisruptionKind,
    /// Hash of the pod template of the Deployment meanwhile: for a rollout, that of the new pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub template: Option<String>,
    /// When the first client was to go.
    pub began: Time,
    /// When the last one was. Absent: it goes on, and its numbers have two digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Clients that were asked to reconnect.
    #[schemars(range(min = 0))]
    pub clients: i64,
    /// Clients that resumed meanwhile and missed nothing, these and others.
    #[schemars(range(min = 0))]
    pub recovered: i64,
    /// Clients that resumed meanwhile and were told of messages that are not to be had any more.
    #[schemars(range(min = 0))]
    pub lost: i64,
    /// Clients that were turned away meanwhile, because there was no room or a pod had not read its stream yet.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub refused: i64,
    /// How long 99 of 100 who resumed had been without messages at most (ms): an upper bound, of 100, 250, 500, 1000, 2000,
    /// 5000, 10000, 30000 and 120000. Absent: nobody resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub away_p99_ms: Option<i64>,
}

/// That clients are not moved any more until somebody says so.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HaltStatus {
    /// What is halted.
    pub kind: DisruptionKind,
    /// Hash of the pod template of the Deployment: another one ends the halt.
    #[schemars(length(max = 64))]
    pub template: String,
    /// Since when.
    pub since: Time,
    /// Clients that were asked to reconnect.
    #[schemars(range(min = 0))]
    pub clients: i64,
    /// Clients that resumed and missed nothing.
    #[schemars(range(min = 0))]
    pub recovered: i64,
    /// Clients that resumed and were told of messages that are not to be had any more.
    #[schemars(range(min = 0))]
    pub lost: i64,
    /// Clients that were turned away.
    #[schemars(range(min = 0))]
    pub refused: i64,
    /// The annotation wsgateway.dev/continue has got another value since: it goes on to its end.
    #[serde(default)]
    pub continued: bool,
}

/// Why pods hand clients over.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisruptionKind {
    /// Pods are replaced.
    Rollout,
    /// Pods are not needed any more.
    ScaleDown,
    /// Pods have too many clients.
    Rebalance,
    /// Somebody else ended a pod, such as for an upgrade of its node.
    PodStopped,
}

/// Where clients connect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Inside the cluster, as SERVICE.NAMESPACE.svc:PORT.
    #[schemars(length(max = 253))]
    pub internal: String,
}

/// The stream as NATS reports it. Its numbers are as of `numbersTime`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Name of the stream.
    #[schemars(length(max = 255))]
    pub name: String,
    /// Life of the stream that cursors belong to: it changes when the stream is made anew.
    #[schemars(length(max = 32))]
    pub epoch: String,
    /// Messages kept now.
    #[schemars(range(min = 0))]
    pub messages: i64,
    /// Bytes kept now.
    #[schemars(range(min = 0))]
    pub bytes: i64,
    /// Oldest sequence kept, when the status was last written: it alone causes no write.
    #[schemars(range(min = 0))]
    pub first_sequence: i64,
    /// Newest sequence, when the status was last written: it alone causes no write.
    #[schemars(range(min = 0))]
    pub last_sequence: i64,
    /// Consumers: one per gateway pod, and those of others.
    #[schemars(range(min = 0))]
    pub consumers: i32,
    /// Owned: this WsGateway keeps the stream as specified. Foreign: somebody else does.
    pub ownership: Ownership,
}

/// Whose stream it is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This WsGateway keeps it as specified.
    Owned,
    /// Somebody else does.
    Foreign,
}
