//! The pods against the rules of OpenShift's restricted-v2, which a namespace's pods get unless somebody grants more.

use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext, Volume};

use super::*;

/// User and group IDs of a namespace: `openshift.io/sa.scc.uid-range`.
const RANGE: std::ops::Range<i64> = 1_000_680_000..1_000_690_000;

/// Why restricted-v2 refuses a pod.
fn violations(pod: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut ensure = |holds: bool, what: &str| {
        if !holds {
            found.push(what.to_owned());
        }
    };
    let flag = |flag: Option<bool>| flag == Some(true);
    ensure(
        !flag(pod.host_network) && !flag(pod.host_pid) && !flag(pod.host_ipc),
        "hostNetwork, hostPID, hostIPC",
    );
    let context = pod.security_context.clone().unwrap_or_default();
    let PodSecurityContext { run_as_user, fs_group, seccomp_profile, sysctls, .. } = context;
    ensure(run_as_user.is_none_or(|user| RANGE.contains(&user)), "runAsUser outside of the range");
    ensure(fs_group.is_none_or(|group| RANGE.contains(&group)), "fsGroup outside of the range");
    ensure(
        seccomp_profile.is_none_or(|profile| profile.type_ == "RuntimeDefault"),
        "seccompProfile",
    );
    ensure(sysctls.is_none_or(|sysctls| sysctls.is_empty()), "sysctls");
    ensure(pod.volumes.iter().flatten().all(is_allowed), "volumes");
    for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
        let context = container.security_context.clone().unwrap_or_default();
        let SecurityContext { capabilities, run_as_user, seccomp_profile, .. } = context;
        let capabilities = capabilities.unwrap_or_default();
        ensure(!flag(context.privileged), "privileged");
        ensure(context.allow_privilege_escalation == Some(false), "allowPrivilegeEscalation");
        ensure(
            capabilities.drop.is_some_and(|drop| drop == ["ALL"]),
            "capabilities are not dropped",
        );
        let added = capabilities.add.unwrap_or_default();
        ensure(added.iter().all(|name| name == "NET_BIND_SERVICE"), "capabilities are added");
        ensure(
            run_as_user.is_none_or(|user| RANGE.contains(&user)),
            "runAsUser outside of the range",
        );
        ensure(
            seccomp_profile.is_none_or(|profile| profile.type_ == "RuntimeDefault"),
            "seccompProfile",
        );
        let mut ports = container.ports.iter().flatten();
        ensure(ports.all(|port| port.host_port.is_none()), "hostPort");
    }
    found
}

/// configMap, csi, downwardAPI, emptyDir, ephemeral, persistentVolumeClaim, projected, secret.
fn is_allowed(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

#[test]
fn the_pods_of_every_source_are_admitted_by_restricted_v2() {
    for manifest in [SAMPLE, REDIS, include_str!("../../../../manifests/samples/managed-nats.yaml")]
    {
        assert_eq!(violations(&pod(&built(manifest, false))), [""; 0]);
    }
}

#[test]
fn a_user_or_more_rights_by_hand_are_not() {
    let mine = with("\n  pod: { securityContext: { runAsUser: 65532 } }\n");
    assert_eq!(violations(&pod(&mine)), ["runAsUser outside of the range"]);
    let theirs = with("\n  pod: { securityContext: { runAsUser: 1000680000 } }\n");
    assert_eq!(violations(&pod(&theirs)), [""; 0]);
    let more = with("\n  pod: { overrides: { spec: { hostNetwork: true } } }\n");
    assert_eq!(violations(&pod(&more)), ["hostNetwork, hostPID, hostIPC"]);
}

#[test]
fn nobody_is_root_whatever_the_image_says() {
    let context = pod(&built(SAMPLE, false)).security_context.unwrap();
    assert_eq!((context.run_as_non_root, context.run_as_user), (Some(true), None));
}
