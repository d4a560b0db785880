//! Where the pods may run, and as whom.

use k8s_openapi::api::core::v1::{
    PodSecurityContext, PodSpec, SeccompProfile, TopologySpreadConstraint,
};
use wsgateway_crds::ValidGateway;

use super::meta::label_selector;

/// Label of a ReplicaSet's pods: with it a rollout's old pods do not count, and do not skew where the new ones go.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The part of a pod's spec that the scheduler reads.
pub(super) fn build(gateway: &ValidGateway) -> PodSpec {
    let pod = &gateway.pod;
    let spread = pod.spread.clone().unwrap_or_else(usual_spread);
    let spread: Vec<TopologySpreadConstraint> = spread
        .into_iter()
        .map(|constraint| TopologySpreadConstraint {
            label_selector: Some(label_selector(&gateway.name)),
            match_label_keys: Some(vec![TEMPLATE_HASH.to_owned()]),
            ..constraint
        })
        .collect();
    PodSpec {
        node_selector: (!pod.node_selector.is_empty()).then(|| pod.node_selector.clone()),
        tolerations: (!pod.tolerations.is_empty()).then(|| pod.tolerations.clone()),
        affinity: pod.affinity.clone(),
        topology_spread_constraints: (!spread.is_empty()).then_some(spread),
        priority_class_name: pod.priority_class.clone(),
        ..PodSpec::default()
    }
}

/// Soft: a small cluster must still run all pods.
fn usual_spread() -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    };
    vec![over("topology.kubernetes.io/zone"), over("kubernetes.io/hostname")]
}

/// Never root. Which user it is, the image says or the platform: OpenShift refuses one that is not of the namespace's
/// range. A group without a user is no choice: runtimes create no such pod.
pub(super) fn security(gateway: &ValidGateway) -> PodSecurityContext {
    let given = &gateway.pod.security;
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_group: given.run_as_group.or(given.run_as_user),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..given.clone()
    }
}
