//! What matters of a Pod, as Kubernetes reports it (pure). A Pod comes from outside: texts are cut, addresses parsed.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;
use wsgateway_config::Shed;
use wsgateway_crds::GATEWAY_CONTAINER;

use crate::build::{ACCEPTS, INSTANCE, TEMPLATE_LABEL};
use crate::live::LIVE_HASH;
use crate::moves::SHED;
use crate::text::cut;
use crate::wake::Name;

/// Longest text kept of what Kubernetes says of a pod.
const LONGEST_TEXT: usize = 300;

/// A pod, as Kubernetes reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodView {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) node: Option<String>,
    /// Where its admin port is, once its network is set up.
    pub(crate) address: Option<IpAddr>,
    /// Kubernetes sends clients to it.
    pub(crate) ready: bool,
    /// It has been deleted and hands its clients over.
    pub(crate) terminating: bool,
    /// When its grace period ends.
    pub(crate) ends: Option<Timestamp>,
    /// It has ended and will not run again.
    pub(crate) ended: Option<Ended>,
    /// Which live part it was made to look for last.
    pub(crate) live_asked: Option<String>,
    /// Hash of the template that it was made from; those of earlier operators have none.
    pub(crate) template: Option<String>,
    /// It has the label by which the Service finds pods that take clients.
    pub(crate) accepts: bool,
    /// What it was told to do with its clients.
    pub(crate) shed: Option<Shed>,
    pub(crate) created: Option<Timestamp>,
    /// Since when it is ready or not.
    pub(crate) since: Option<Timestamp>,
    /// Why no node takes it.
    pub(crate) unschedulable: Option<String>,
    /// The kubelet finds its container ready; if the pod is not, its node has fallen silent.
    pub(crate) container_ready: bool,
    pub(crate) image: String,
    /// Why its container does not run: reason and message.
    pub(crate) waiting: Option<(String, String)>,
    /// How its container ended the last time.
    pub(crate) last_end: Option<Ended>,
}

/// An end of a pod or of its container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Such as OOMKilled, Error or Evicted.
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) exit_code: i32,
    pub(crate) at: Option<Timestamp>,
}

/// The WsGateway that a pod or another object belongs to, by its labels.
pub(crate) fn gateway_of(metadata: &kube::api::ObjectMeta) -> Option<Name> {
    let name = metadata.labels.as_ref()?.get(INSTANCE)?;
    Some(Name::new(metadata.namespace.as_deref()?, name))
}

impl PodView {
    pub(crate) fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let find = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
        let ready = find("Ready");
        // Others may have been added by overrides.
        let containers = status.container_statuses.as_deref().unwrap_or_default();
        let container = containers.iter().find(|container| container.name == GATEWAY_CONTAINER);
        let spec = pod.spec.as_ref();
        let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let image = containers.iter().find(|container| container.name == GATEWAY_CONTAINER);
        let image = image.and_then(|container| container.image.clone());
        let annotations = pod.metadata.annotations.as_ref();
        let label = |key: &str| pod.metadata.labels.as_ref()?.get(key);
        Self {
            name: cut(&pod.metadata.name.clone().unwrap_or_default(), 253),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.as_deref()).map(|node| cut(node, 253)),
            address: status.pod_ip.as_deref().and_then(|address| address.parse().ok()),
            ready: ready.is_some_and(|condition| condition.status == "True"),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            ends: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            ended: matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")).then(|| Ended {
                reason: cut(status.reason.as_deref().unwrap_or("Failed"), 63),
                message: cut(status.message.as_deref().unwrap_or_default(), LONGEST_TEXT),
                exit_code: 0,
                at: time(ready),
            }),
            live_asked: annotations
                .and_then(|annotations| annotations.get(LIVE_HASH))
                .map(|hash| cut(hash, LONGEST_TEXT)),
            template: label(TEMPLATE_LABEL).cloned(),
            accepts: label(ACCEPTS.0).is_some_and(|value| value == ACCEPTS.1),
            // What nobody can read nobody follows either.
            shed: annotations
                .and_then(|annotations| annotations.get(SHED))
                .and_then(|text| Shed::parse(text).ok())
                .flatten(),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            since: time(ready),
            unschedulable: find("PodScheduled")
                .filter(|condition| condition.status == "False")
                .map(|condition| {
                    cut(condition.message.as_deref().unwrap_or_default(), LONGEST_TEXT)
                }),
            container_ready: container.is_some_and(|container| container.ready),
            image: cut(&image.unwrap_or_default(), LONGEST_TEXT),
            waiting: container.and_then(|container| {
                let waiting = container.state.as_ref()?.waiting.as_ref()?;
                let text =
                    |text: &Option<String>| cut(text.as_deref().unwrap_or_default(), LONGEST_TEXT);
                Some((text(&waiting.reason), text(&waiting.message)))
            }),
            last_end: container.and_then(last_end),
        }
    }
}

fn time(condition: Option<&PodCondition>) -> Option<Timestamp> {
    condition?.last_transition_time.as_ref().map(|time| time.0)
}

/// The end that the container is in, or else the one before.
fn last_end(container: &ContainerStatus) -> Option<Ended> {
    let end = |state: &Option<ContainerState>| state.as_ref()?.terminated.clone();
    let end = end(&container.state).or_else(|| end(&container.last_state))?;
    Some(Ended {
        reason: cut(end.reason.as_deref().unwrap_or("Error"), 63),
        // What the container wrote itself stays in its log.
        message: String::new(),
        exit_code: end.exit_code,
        at: end.finished_at.map(|time| time.0),
    })
}
