//! Where the pods may run, and as whom.

use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, SeccompProfile,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use wsgateway_crds::ValidGateway;

use super::meta::{TEMPLATE_LABEL, label_selector};

/// Label of a ReplicaSet's pods: with it a rollout's old pods do not count, and do not skew where the new ones go.
const TEMPLATE_HASH: &str = "pod-template-hash";
const NODE: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
/// As much as there is: zones before nodes.
const HEAVIEST: i32 = 100;

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
        affinity: if pod.spread.is_some() { pod.affinity.clone() } else { apart(gateway) },
        topology_spread_constraints: (!spread.is_empty()).then_some(spread),
        priority_class_name: pod.priority_class.clone(),
        ..PodSpec::default()
    }
}

/// Soft: a small cluster must still run all pods. Zones are no constraint: the scheduler leaves nodes that lack the label of one
/// constraint out of all of them, and so would spread nothing in a cluster without zones.
fn usual_spread() -> Vec<TopologySpreadConstraint> {
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: NODE.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }]
}

/// Other zones than those of the gateway's other pods, if there are zones; unless it was said which pods to keep away from.
fn apart(gateway: &ValidGateway) -> Option<Affinity> {
    let given = gateway.pod.affinity.clone();
    if given.as_ref().is_some_and(|affinity| affinity.pod_anti_affinity.is_some()) {
        return given;
    }
    let term = PodAffinityTerm {
        topology_key: ZONE.to_owned(),
        label_selector: Some(label_selector(&gateway.name)),
        ..PodAffinityTerm::default()
    };
    let preferred = vec![WeightedPodAffinityTerm { weight: HEAVIEST, pod_affinity_term: term }];
    let anti = PodAntiAffinity {
        preferred_during_scheduling_ignored_during_execution: Some(preferred),
        ..PodAntiAffinity::default()
    };
    Some(Affinity { pod_anti_affinity: Some(anti), ..given.unwrap_or_default() })
}

/// Pods of other templates do not count for the zones of a new one: `matchLabelKeys` for pods there is only from Kubernetes 1.31 on.
pub(super) fn count_only(template: &str, gateway: &ValidGateway, pod: &mut PodSpec) {
    let anti = pod.affinity.as_mut().and_then(|affinity| affinity.pod_anti_affinity.as_mut());
    let terms = anti
        .and_then(|anti| anti.preferred_during_scheduling_ignored_during_execution.as_deref_mut());
    let ours = label_selector(&gateway.name);
    for term in terms.unwrap_or_default() {
        let selector = &mut term.pod_affinity_term.label_selector;
        if let Some(selector) = selector.as_mut().filter(|selector| **selector == ours) {
            let labels = selector.match_labels.get_or_insert_default();
            labels.insert(TEMPLATE_LABEL.to_owned(), template.to_owned());
        }
    }
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
