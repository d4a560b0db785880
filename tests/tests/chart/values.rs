//! Helm alone: what the values render, and which values are refused.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use harness::repository;
use serde_json::{Value, json};

use super::helm::{NAMESPACE, chart, helm, of_kind, rendered, run};

/// Value settings that a user would make, each valid.
pub(super) const SETTINGS: &[&[&str]] = &[
    &[],
    &["watchNamespace=default"],
    &["watchNamespaces={default,kube-system}", "operator.class=internal"],
    &["operator.replicas=3", "operator.leaderElection.leaseSeconds=30"],
    &["operator.replicas=1", "operator.leaderElection.enabled=false"],
    &["networkPolicies.enabled=true"],
    &[
        "operator.tracing.endpoint=https://collector.monitoring:4318",
        "operator.tracing.ratio=0.1",
        "operator.tracing.headersSecret.name=collector",
        "operator.tracing.resourceAttributes.team=a",
    ],
    &["metricsApi.enabled=true", "watchNamespace=default", "metricsApi.certificateSecret=mine"],
    &["metricsApi.enabled=false", "uninstall.releaseFinalizers=false"],
    &["networkPolicies.enabled=true", "networkPolicies.monitoringNamespaces=null"],
    &[
        "crds.install=false",
        "rbac.create=false",
        "rbac.aggregate=false",
        "metrics.service.enabled=false",
    ],
    &[
        "crds.keep=false",
        "fullnameOverride=gw",
        "serviceAccount.create=false",
        "serviceAccount.name=default",
    ],
    &["metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.release=prometheus"],
    &[
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.scrapeTimeout=10s",
        "metrics.serviceMonitor.honorLabels=true",
        "metrics.serviceMonitor.relabelings[0].action=labeldrop",
        "metrics.serviceMonitor.relabelings[0].regex=pod",
    ],
    &[
        "global.imageRegistry=registry.example.com",
        "commonLabels.team=a",
        "commonAnnotations.note=b",
        "operator.podDisruptionBudget.maxUnavailable=",
        "operator.podDisruptionBudget.minAvailable=50%",
        "operator.topologySpreadConstraints[0].topologyKey=rack",
        "operator.topologySpreadConstraints[0].maxSkew=1",
        "operator.topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
        "operator.extraArgs={--poll-seconds=5}",
        "operator.extraEnv[0].name=A",
        "operator.extraVolumes[0].name=tmp",
        "operator.extraVolumes[0].emptyDir.medium=Memory",
        "operator.extraVolumeMounts[0].name=tmp",
        "operator.extraVolumeMounts[0].mountPath=/tmp",
        "defaults.pod.nodeSelector.pool=edge",
    ],
    &[
        "operator.image.repository=localhost:5000/a/b",
        "operator.image.tag=v1",
        "operator.image.pullPolicy=Never",
    ],
    &[
        "operator.nodeSelector.disk=ssd",
        "operator.priorityClassName=high",
        "operator.imagePullSecrets={one,two}",
    ],
    &[
        "operator.tolerations[0].key=a",
        "operator.tolerations[0].operator=Exists",
        "operator.podLabels.team=a",
        "operator.podAnnotations.note=b",
        "serviceAccount.annotations.role=c",
        "operator.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution=null",
    ],
];

#[test]
fn helm_lint_finds_nothing() -> Result<()> {
    helm(&["lint", "--strict", &chart().to_string_lossy()], &[])?;
    Ok(())
}

#[test]
fn the_defaults_render_these_objects_and_no_others() -> Result<()> {
    let documents = rendered(&[])?;
    let is_hook = |object: &&Value| object["metadata"]["annotations"]["helm.sh/hook"].is_string();
    let (hooks, objects): (Vec<&Value>, Vec<&Value>) = documents.iter().partition(is_hook);
    let is_test = |object: &&Value| object["metadata"]["annotations"]["helm.sh/hook"] == "test";
    let (tests, hooks): (Vec<&Value>, Vec<&Value>) = hooks.into_iter().partition(is_test);
    let names = |objects: Vec<&Value>| {
        let mut names: Vec<String> = objects.into_iter().map(name).collect();
        names.sort();
        names
    };
    let expected = [
        "ClusterRole wsgateway-admin",
        "ClusterRole wsgateway-edit",
        "ClusterRole wsgateway-operator",
        "ClusterRole wsgateway-operator-metrics-api",
        "ClusterRole wsgateway-view",
        "ClusterRoleBinding wsgateway-operator",
        "ClusterRoleBinding wsgateway-operator-metrics-api",
        "CustomResourceDefinition wsgateways.wsgateway.dev",
        "Deployment wsgateway-operator",
        "PodDisruptionBudget wsgateway-operator",
        "Role wsgateway-operator-lease",
        "Role wsgateway-operator-metrics-api",
        "RoleBinding wsgateway-operator-lease",
        // In its own namespace and in kube-system.
        "RoleBinding wsgateway-operator-metrics-api",
        "RoleBinding wsgateway-operator-metrics-api",
        "Service wsgateway-operator-metrics",
        "Service wsgateway-operator-metrics-api",
        "ServiceAccount wsgateway-operator",
    ];
    assert_eq!(names(objects), expected);
    // They exist while a release is uninstalled, and no longer.
    let before_an_uninstall = [
        "ClusterRole wsgateway-uninstall",
        "ClusterRoleBinding wsgateway-uninstall",
        "Job wsgateway-uninstall",
        "Role wsgateway-uninstall-operators",
        "RoleBinding wsgateway-uninstall-operators",
        "ServiceAccount wsgateway-uninstall",
    ];
    assert!(
        hooks.iter().all(|hook| hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete")
    );
    assert_eq!(names(hooks), before_an_uninstall);
    // They exist during `helm test`.
    let test = ["Pod", "Role", "RoleBinding", "ServiceAccount"]
        .map(|kind| format!("{kind} wsgateway-test"));
    assert_eq!(names(tests), test);
    let without = rendered(&["uninstall.releaseFinalizers=false", "helmTest.enabled=false"])?;
    assert!(!without.iter().any(|object| is_hook(&object)));
    Ok(())
}

fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Namespaces of the objects of a kind and name.
fn namespaces(documents: &[Value], kind: &str, name: &str) -> Vec<String> {
    let named = documents
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    named
        .map(|object| object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Variables of the operator's container.
fn environment(documents: &[Value]) -> Result<BTreeMap<String, Value>> {
    let container = &of_kind(documents, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    let variables = container["env"].as_array().cloned().unwrap_or_default();
    let pair = |variable: Value| {
        let value = variable.get("value").or(variable.get("valueFrom")).cloned();
        (variable["name"].as_str().unwrap_or_default().to_owned(), value.unwrap_or_default())
    };
    Ok(variables.into_iter().map(pair).collect())
}

#[test]
fn each_watched_namespace_has_a_role_and_the_operator_no_right_beyond_them() -> Result<()> {
    for (values, expected) in [
        (&["watchNamespaces={trading,chat}", "rbac.aggregate=false"], &["trading", "chat"][..]),
        // What the list was called when it was one name.
        (&["watchNamespace=trading", "rbac.aggregate=false"], &["trading"]),
    ] {
        let documents = rendered(values)?;
        for kind in ["Role", "RoleBinding"] {
            assert_eq!(namespaces(&documents, kind, "wsgateway-operator"), expected);
            assert_eq!(namespaces(&documents, kind, "wsgateway-operator-lease"), [NAMESPACE]);
        }
        assert!(of_kind(&documents, "ClusterRole").is_err());
        assert!(of_kind(&documents, "ClusterRoleBinding").is_err());
        let list = &environment(&documents)?["WSGATEWAY_WATCH_NAMESPACES"];
        assert_eq!(list, &json!(expected.join(",")));
    }
    assert!(!environment(&rendered(&[])?)?.contains_key("WSGATEWAY_WATCH_NAMESPACES"));
    Ok(())
}

#[test]
fn two_operators_elect_a_leader_and_are_never_drained_at_once() -> Result<()> {
    let documents = rendered(&["fullnameOverride=gw"])?;
    let deployment = &of_kind(&documents, "Deployment")?["spec"];
    assert_eq!(
        (&deployment["replicas"], &deployment["strategy"]["type"]),
        (&json!(2), &json!("RollingUpdate"))
    );
    let environment_of = environment(&documents)?;
    // With the version that the API server would fill in.
    let field = |path| json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": path } });
    for (name, value) in [
        ("WSGATEWAY_LEADER_ELECT", json!("true")),
        ("WSGATEWAY_LEASE_NAME", json!("gw-operator")),
        ("WSGATEWAY_NAMESPACE", field("metadata.namespace")),
        ("WSGATEWAY_POD", field("metadata.name")),
    ] {
        assert_eq!(environment_of[name], value, "{name}");
    }
    let selector = &deployment["selector"];
    let budget = &of_kind(&documents, "PodDisruptionBudget")?["spec"];
    assert_eq!((&budget["maxUnavailable"], &budget["selector"]), (&json!(1), selector));
    let spread = &deployment["template"]["spec"]["topologySpreadConstraints"];
    assert_eq!(spread[0]["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(&spread[0]["labelSelector"], selector);
    let leases = documents.iter().find(|object| {
        object["metadata"]["name"] == "gw-operator-lease" && object["kind"] == "Role"
    });
    assert_eq!(
        leases.map(|role| &role["rules"][1]["resourceNames"]),
        Some(&json!(["gw-operator"]))
    );

    // A budget for a single one would block every drain.
    let alone = rendered(&["operator.replicas=1"])?;
    assert!(of_kind(&alone, "PodDisruptionBudget").is_err());
    let without = rendered(&["operator.replicas=1", "operator.leaderElection.enabled=false"])?;
    assert_eq!(of_kind(&without, "Deployment")?["spec"]["strategy"]["type"], "Recreate");
    assert!(!without.iter().any(|object| name(object).ends_with("-lease")));
    Ok(())
}

#[test]
fn an_operator_without_rights_in_the_cluster_serves_metrics_only_if_it_is_told_to() -> Result<()> {
    let served = |values: &[&str]| -> Result<bool> {
        Ok(environment(&rendered(values)?)?.contains_key("WSGATEWAY_METRICS_API"))
    };
    assert!(served(&[])? && served(&["metricsApi.enabled=true", "watchNamespace=a"])?);
    assert!(!served(&["watchNamespace=a"])? && !served(&["metricsApi.enabled=false"])?);
    let given = environment(&rendered(&["metricsApi.certificateSecret=mine"])?)?;
    assert_eq!(given["WSGATEWAY_METRICS_API_SECRET"], "mine");
    assert_eq!(given["WSGATEWAY_METRICS_API_OWN_CERTIFICATE"], "false");
    Ok(())
}

#[test]
fn with_network_policies_the_operator_makes_those_of_gateways_and_its_own_port_is_for_monitoring()
-> Result<()> {
    let on = "networkPolicies.enabled=true";
    let team = "networkPolicies.monitoringNamespaces.team=watchers";
    let documents = rendered(&[on, team])?;
    let environment_of = environment(&documents)?;
    assert_eq!(environment_of["WSGATEWAY_NETWORK_POLICIES"], "true");
    let labels = "kubernetes.io/metadata.name=monitoring,team=watchers";
    assert_eq!(environment_of["WSGATEWAY_MONITORING_NAMESPACES"], labels);
    let policy = &of_kind(&documents, "NetworkPolicy")?["spec"];
    let deployment = &of_kind(&documents, "Deployment")?["spec"];
    assert_eq!(policy["podSelector"], deployment["selector"]);
    let selector = &policy["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(
        selector,
        &json!({ "kubernetes.io/metadata.name": "monitoring", "team": "watchers" })
    );

    // The API server asks for metrics, and is no pod that a policy could name.
    let api = json!([{ "ports": [{ "port": "metrics-api", "protocol": "TCP" }] }]);
    assert_eq!(policy["ingress"][1], api[0]);
    let unwatched = "networkPolicies.monitoringNamespaces=null";
    let untested = "helmTest.enabled=false";
    let nobody = rendered(&[on, unwatched, untested])?;
    assert_eq!(of_kind(&nobody, "NetworkPolicy")?["spec"]["ingress"], api);
    let closed = rendered(&[on, unwatched, untested, "metricsApi.enabled=false"])?;
    assert_eq!(of_kind(&closed, "NetworkPolicy")?["spec"]["ingress"], json!(null));
    assert!(!environment(&nobody)?.contains_key("WSGATEWAY_MONITORING_NAMESPACES"));
    let off = rendered(&[])?;
    assert!(of_kind(&off, "NetworkPolicy").is_err());
    assert!(!environment(&off)?.contains_key("WSGATEWAY_NETWORK_POLICIES"));
    Ok(())
}

#[test]
fn the_notes_say_what_the_operator_keeps_and_explain_old_values() -> Result<()> {
    let notes = |values: &[&str]| {
        let chart = chart();
        let mut arguments = vec!["install", "wsgateway", "--dry-run=client"];
        let path = chart.to_string_lossy().into_owned();
        arguments.extend([path.as_str(), "--namespace", NAMESPACE]);
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        let all = helm(&arguments, &[])?;
        let (_, notes) = all.split_once("\nNOTES:\n").context("no notes")?;
        Ok::<_, anyhow::Error>(notes.to_owned())
    };
    let old = notes(&["watchNamespace=trading"])?;
    assert!(old.contains("write watchNamespaces: [trading] instead"), "{old}");
    let new = notes(&["watchNamespaces={trading,chat}", "operator.class=internal"])?;
    assert!(new.contains("trading, chat") && new.contains("spec.class: internal"), "{new}");
    assert!(new.contains("  class: internal\n  nats:"), "{new}");
    assert!(!new.contains("instead"), "{new}");
    Ok(())
}

#[test]
fn images_are_named_by_digest_then_tag_then_version() -> Result<()> {
    let digest = "a".repeat(64);
    let setting = format!("operator.image.digest=sha256:{digest}");
    let documents =
        rendered(&[&setting, "operator.image.tag=unused", "gateway.image.tag=nightly"])?;
    let container =
        &of_kind(&documents, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("ghcr.io/wsgateway/operator@sha256:{digest}"));
    let gateway =
        json!({ "name": "WSGATEWAY_GATEWAY_IMAGE", "value": "ghcr.io/wsgateway/gateway:nightly" });
    assert_eq!(container["env"][0], gateway);
    let documents = rendered(&[])?;
    let container =
        &of_kind(&documents, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["image"],
        format!("ghcr.io/wsgateway/operator:{}", env!("CARGO_PKG_VERSION"))
    );
    Ok(())
}

#[test]
fn the_default_images_are_those_that_hack_images_makes() -> Result<()> {
    let made =
        run(&repository().join("hack/images"), &["--print-names", "operator", "gateway"], &[])?;
    let documents = rendered(&[])?;
    let container =
        &of_kind(&documents, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    let gateway = environment(&documents)?.remove("WSGATEWAY_GATEWAY_IMAGE");
    let named = [Some(&container["image"]), gateway.as_ref()].map(|it| it.and_then(Value::as_str));
    assert_eq!(named.into_iter().flatten().collect::<Vec<_>>(), made.lines().collect::<Vec<_>>());
    Ok(())
}

#[test]
fn bad_values_are_refused_by_name() {
    let refused: &[(&[&str], &str)] = &[
        (&["replicas=3"], "'replicas' not allowed"),
        (&["crds.instal=true"], "'instal' not allowed"),
        (&["operator.replicas=0"], "/operator/replicas"),
        (&["operator.class=Internal"], "/operator/class"),
        (&["operator.leaderElection.leaseSeconds=1"], "/operator/leaderElection/leaseSeconds"),
        (&["operator.leaderElection.enabled=false"], "needs operator.leaderElection.enabled"),
        (&["watchNamespaces={a,B}"], "/watchNamespaces/1"),
        (&["watchNamespaces={a,a}"], "/watchNamespaces"),
        (&["watchNamespace=a", "watchNamespaces={b}"], "is the old name of watchNamespaces"),
        (&["operator.image.pullPolicy=Sometimes"], "/operator/image/pullPolicy"),
        (&["operator.image.repository=operator:v1"], "/operator/image/repository"),
        (&["operator.image.digest=abc"], "/operator/image/digest"),
        (&["gateway.image.tag=a b"], "/gateway/image/tag"),
        (&["gateway.image.pullPolicy=Always"], "'pullPolicy' not allowed"),
        (&["operator.resources.limits.memory=lots"], "/operator/resources/limits/memory"),
        (&["operator.log.format=xml"], "/operator/log/format"),
        (&["operator.clusterName=a/b"], "/operator/clusterName"),
        (&["metrics.service.port=0"], "/metrics/service/port"),
        (&["metrics.serviceMonitor.interval=often"], "/metrics/serviceMonitor/interval"),
        (
            &["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"],
            "/metrics/service/enabled",
        ),
        (&["serviceAccount.create=false"], "/serviceAccount/name"),
        (&["watchNamespace=Not_A_Name"], "/watchNamespace"),
        (&["crds.install=maybe"], "/crds/install"),
        (&["global.imageRegistry=https://a"], "/global/imageRegistry"),
        (&["commonLabels.a=b c"], "/commonLabels/a"),
        (&["operator.reconcile.resyncSecond=1"], "'resyncSecond' not allowed"),
        (&["operator.reconcile.concurrency=0"], "/operator/reconcile/concurrency"),
        (&["operator.topologySpreadConstraints=none"], "/operator/topologySpreadConstraints"),
        (&["operator.extraVolumes[0].emptyDir.medium=Memory"], "/operator/extraVolumes/0"),
        (&["defaults.pod.nodeSelectors.a=b"], "'nodeSelectors' not allowed"),
        (&["defaults.pod.image=a"], "'image' not allowed"),
        (&["defaults.monitoring.interval=1m"], "'interval' not allowed"),
        (&["metricsApi.certManager.issuerRef.kind=Issuer"], "/metricsApi/certManager/issuerRef"),
        (
            &["metricsApi.certManager.enabled=true", "metricsApi.certificateSecret=a"],
            "exclude each other",
        ),
    ];
    for (values, named) in refused {
        let error = rendered(values).err().map(|error| error.to_string());
        assert!(
            error.as_ref().is_some_and(|error| error.contains(named)),
            "{values:?} should be refused with {named}: {error:?}"
        );
    }
}

#[test]
fn generated_files_are_up_to_date() -> Result<()> {
    run(&repository().join("hack/generate-manifests"), &["--check"], &[])?;
    Ok(())
}
