//! What the operator reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
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
    /// Client connections on all ready pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub connections: Option<i64>,
    /// Connections in percent of what the ready pods admit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub capacity_percent: Option<i32>,
    /// The stream as NATS reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamStatus>,
    /// Ready: everything is as specified. StreamReady: the stream is. GatewayReady: the pods are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// The stream as NATS reports it.
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
    /// Oldest sequence kept.
    #[schemars(range(min = 0))]
    pub first_sequence: i64,
    /// Newest sequence.
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
