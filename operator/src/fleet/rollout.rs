//! What a Deployment says about the pods wanted (pure).

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};

use crate::status::Verdict;

/// Whether `wanted` pods of the newest template take clients.
pub(crate) fn verdict(deployment: &Deployment, wanted: i32) -> Verdict {
    let status = deployment.status.clone().unwrap_or_default();
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let find = |kind: &str, state: &str| -> Option<&DeploymentCondition> {
        conditions.iter().find(|condition| condition.type_ == kind && condition.status == state)
    };
    let ready = status.ready_replicas.unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    let words = |condition: &DeploymentCondition| condition.message.clone().unwrap_or_default();
    if let Some(failure) = find("ReplicaFailure", "True") {
        return Verdict::no(
            "PodsRefused",
            format!("Kubernetes refuses the pods: {}", words(failure)),
        );
    }
    if status.observed_generation < deployment.metadata.generation {
        return Verdict::no(
            "RollingOut",
            "the Deployment controller has not seen the newest pod template yet",
        );
    }
    if let Some(stuck) = find("Progressing", "False") {
        let hint = "look at the events and logs of the pods";
        return Verdict::no(
            "RolloutStuck",
            format!("{ready} of {wanted} pods are ready ({}): {hint}", words(stuck)),
        );
    }
    if wanted == 0 {
        return Verdict::no("ScaledToZero", "spec.replicas is 0: scale up to serve clients");
    }
    if updated < wanted {
        return Verdict::no(
            "RollingOut",
            format!("{updated} of {wanted} pods have the newest configuration"),
        );
    }
    if ready < wanted {
        return Verdict::no("PodsNotReady", format!("{ready} of {wanted} pods are ready"));
    }
    if status.replicas.unwrap_or_default() > wanted {
        return Verdict::no("RollingOut", "pods of an older configuration are still draining");
    }
    Verdict::yes("PodsReady", format!("{ready} of {wanted} pods are ready"))
}

/// What is on its way, if anything is: for the condition Progressing.
pub(crate) fn progress(deployment: &Deployment, wanted: i32, draining: usize) -> Verdict {
    let verdict = verdict(deployment, wanted);
    let status = deployment.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    match verdict.reason {
        "PodsRefused" | "RolloutStuck" => Verdict::no(verdict.reason, verdict.message),
        "RollingOut" => Verdict::yes(
            "RollingOut",
            format!("{updated} of {wanted} pods have the newest configuration, {ready} are ready"),
        ),
        "PodsNotReady" => Verdict::yes("PodsStarting", verdict.message),
        _ if draining > 0 => {
            Verdict::yes("Draining", format!("{draining} pods hand over their clients and stop"))
        }
        _ => Verdict::no("Settled", "no pod is being started, replaced or drained"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DeploymentStatus;
    use kube::api::ObjectMeta;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fine(3, 3, 3, 2, "PodsReady")]
    #[case::starting(3, 3, 1, 2, "PodsNotReady")]
    #[case::new_template(4, 1, 3, 2, "RollingOut")]
    #[case::old_pods_left(4, 3, 3, 2, "RollingOut")]
    #[case::not_seen_yet(3, 3, 3, 1, "RollingOut")]
    fn the_verdict_follows_the_deployment(
        #[case] replicas: i32,
        #[case] updated: i32,
        #[case] ready: i32,
        #[case] observed: i64,
        #[case] reason: &str,
    ) {
        let deployment = Deployment {
            metadata: ObjectMeta { generation: Some(2), ..ObjectMeta::default() },
            status: Some(DeploymentStatus {
                replicas: Some(replicas),
                updated_replicas: Some(updated),
                ready_replicas: Some(ready),
                observed_generation: Some(observed),
                ..DeploymentStatus::default()
            }),
            ..Deployment::default()
        };
        let verdict = verdict(&deployment, 3);
        assert_eq!(verdict.reason, reason);
        assert_eq!(verdict.holds, reason == "PodsReady");
    }

    #[test]
    fn progress_follows_the_deployment_and_the_pods_that_drain() {
        let deployment = |ready| Deployment {
            status: Some(DeploymentStatus {
                replicas: Some(3),
                updated_replicas: Some(3),
                ready_replicas: Some(ready),
                ..DeploymentStatus::default()
            }),
            ..Deployment::default()
        };
        for (ready, draining, holds, reason) in
            [(3, 0, false, "Settled"), (3, 1, true, "Draining"), (2, 0, true, "PodsStarting")]
        {
            let progress = progress(&deployment(ready), 3, draining);
            assert_eq!((progress.holds, progress.reason), (holds, reason));
        }
    }

    #[test]
    fn a_deployment_without_a_status_is_not_ready() {
        assert!(!verdict(&Deployment::default(), 1).holds);
        assert_eq!(verdict(&Deployment::default(), 0).reason, "ScaledToZero");
    }
}
