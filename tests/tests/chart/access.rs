//! What the chart's roles allow, asked of the API server as those whom they are bound to.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use futures_util::{StreamExt as _, stream};
use harness::{ControlPlane, wait_until};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::json;

use super::{
    cluster::{apply, plane},
    helm::{NAMESPACE, rendered},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the operator does: verbs, then group/resource or group/resource/subresource.
const NEEDED: &[(&str, &str)] = &[
    ("get list watch patch", "wsgateway.dev/wsgateways"),
    ("patch", "wsgateway.dev/wsgateways/status"),
    ("update", "wsgateway.dev/wsgateways/finalizers"),
    ("get list watch create patch delete", "/configmaps"),
    ("get list watch create patch delete", "/services"),
    ("get list watch create patch", "/serviceaccounts"),
    ("get list watch create patch", "apps/deployments"),
    ("get list watch create patch", "policy/poddisruptionbudgets"),
    ("get list watch create patch delete", "autoscaling/horizontalpodautoscalers"),
    ("get list watch create patch delete", "networking.k8s.io/networkpolicies"),
    ("get list watch create patch delete", "networking.k8s.io/ingresses"),
    ("get list watch create patch delete", "gateway.networking.k8s.io/httproutes"),
    ("get list watch create patch delete", "monitoring.coreos.com/servicemonitors"),
    ("get list watch create patch delete", "keda.sh/scaledobjects"),
    ("list watch patch", "/pods"),
    ("list patch delete", "apps/replicasets"),
    ("get", "/secrets"),
    ("create patch", "events.k8s.io/events"),
];

/// The same for metrics of autoscalers, in the whole cluster.
const METRICS: &[(&str, &str)] = &[
    ("create", "authorization.k8s.io/subjectaccessreviews"),
    ("create", "apiregistration.k8s.io/apiservices"),
];
/// The same where it keeps the whole cluster.
const CLUSTER: &[(&str, &str)] = &[("list watch", "/nodes")];
/// In its own namespace, for the certificate.
const CERTIFICATE: &[(&str, &str)] = &[("create", "/secrets")];

/// What somebody who took over the operator would like to do.
const DENIED: &[(&str, &str)] = &[
    ("list watch create patch update delete", "/secrets"),
    ("get list create delete patch", "/namespaces"),
    ("create delete update", "/pods"),
    ("create update deletecollection", "apps/replicasets"),
    ("create get", "/pods/exec"),
    ("get", "/pods/log"),
    ("create", "/serviceaccounts/token"),
    ("get create patch update delete", "/nodes"),
    ("create delete", "wsgateway.dev/wsgateways"),
    ("create patch delete escalate bind", "rbac.authorization.k8s.io/clusterroles"),
    ("create patch delete", "rbac.authorization.k8s.io/rolebindings"),
    ("create patch delete", "apps/daemonsets"),
    ("create patch delete", "batch/jobs"),
    ("get create patch delete", "apiextensions.k8s.io/customresourcedefinitions"),
    ("create patch", "admissionregistration.k8s.io/validatingwebhookconfigurations"),
    ("impersonate", "/users"),
    ("deletecollection update", "/configmaps"),
    ("delete deletecollection", "apps/deployments"),
    ("create patch delete", "gateway.networking.k8s.io/gateways"),
    ("create patch delete", "networking.k8s.io/ingressclasses"),
];

async fn may(client: &Client, verb: &str, what: &str, namespace: &str) -> Result<bool> {
    let mut parts = what.split('/').map(str::to_owned);
    let attributes = ResourceAttributes {
        group: parts.next(),
        resource: parts.next(),
        subresource: parts.next(),
        verb: Some(verb.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("a review without an answer")?.allowed)
}

/// Verbs and resources of a table whose answer is not the expected one.
async fn wrong(
    client: &Client,
    table: &[(&str, &str)],
    allowed: bool,
    namespace: &str,
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (verbs, what) in table {
        for verb in verbs.split(' ') {
            if may(client, verb, what, namespace).await? != allowed {
                wrong.push(format!("{verb} {what}"));
            }
        }
    }
    Ok(wrong)
}

/// Applies the chart's roles and accounts, with the release's namespace and names of this test.
async fn grant(plane: &ControlPlane, values: &[&str]) -> Result<()> {
    let client = plane.client().await?;
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let parameters = PatchParams::apply("chart-tests").force();
    apply(&client, &namespace, "", &parameters).await?;
    for object in rendered(values)? {
        let kind = object["kind"].as_str().unwrap_or_default();
        if kind.contains("Role") || kind == "ServiceAccount" {
            apply(&client, &object, NAMESPACE, &parameters).await?;
        }
    }
    Ok(())
}

/// The client of the operator's account, once its rights hold in `namespace`.
async fn client_of(plane: &ControlPlane, account: &str, namespace: &str) -> Result<Client> {
    client_that_may(plane, account, ("list", "/configmaps"), namespace).await
}

/// The client of one of the chart's accounts, once it has this right in `namespace`.
async fn client_that_may(
    plane: &ControlPlane,
    account: &str,
    (verb, what): (&str, &str),
    namespace: &str,
) -> Result<Client> {
    let groups = format!("system:serviceaccounts:{NAMESPACE}");
    let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
    let client = plane.client_as(&user, &["system:serviceaccounts", &groups]).await?;
    // The authorizer learns of new bindings through a watch.
    wait_until(PATIENCE, "the rights of an account", async || {
        may(&client, verb, what, namespace).await.unwrap_or(false)
    })
    .await?;
    Ok(client)
}

#[tokio::test]
async fn the_operator_may_do_its_work_and_nothing_else() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.namespace("access").await?;
    grant(plane, &["fullnameOverride=wide"]).await?;
    let client = client_of(plane, "wide-operator", &namespace).await?;
    let nothing = Vec::<String>::new();
    assert_eq!(wrong(&client, NEEDED, true, &namespace).await?, nothing, "needed, but denied");
    assert_eq!(wrong(&client, METRICS, true, &namespace).await?, nothing, "needed, but denied");
    assert_eq!(wrong(&client, CLUSTER, true, &namespace).await?, nothing, "needed, but denied");
    assert_eq!(
        wrong(&client, DENIED, false, &namespace).await?,
        nothing,
        "not needed, but allowed"
    );
    Ok(())
}

#[tokio::test]
async fn with_watched_namespaces_the_operator_has_its_rights_in_each_and_none_elsewhere()
-> Result<()> {
    let plane = plane().await?;
    let (here, there) = (plane.namespace("here").await?, plane.namespace("there").await?);
    let elsewhere = plane.namespace("elsewhere").await?;
    let list = format!("watchNamespaces={{{here},{there}}}");
    grant(plane, &["fullnameOverride=narrow", &list]).await?;
    for namespace in [&here, &there] {
        let client = client_of(plane, "narrow-operator", namespace).await?;
        assert_eq!(wrong(&client, NEEDED, true, namespace).await?, Vec::<String>::new());
    }
    let client = client_of(plane, "narrow-operator", &here).await?;
    assert_eq!(wrong(&client, NEEDED, false, &elsewhere).await?, Vec::<String>::new());
    assert_eq!(wrong(&client, CLUSTER, false, &here).await?, Vec::<String>::new());
    Ok(())
}

/// The verbs that RBAC knows for objects.
const VERBS: [&str; 8] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Every resource and subresource that the API server has, as group/resource/subresource.
async fn resources(client: &Client) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for resource in client.list_core_api_resources("v1").await?.resources {
        found.insert(format!("/{}", resource.name));
    }
    for group in client.list_api_groups().await?.groups {
        for version in group.versions {
            for resource in client.list_api_group_resources(&version.group_version).await?.resources
            {
                found.insert(format!("{}/{}", group.name, resource.name));
            }
        }
    }
    Ok(found)
}

/// Verbs that an account has and a table does not name.
async fn beyond(
    client: &Client,
    all: &BTreeSet<String>,
    tables: &[&[(&str, &str)]],
    namespace: &str,
) -> Result<Vec<String>> {
    let named = |verb: &str, what: &str| {
        let rows = tables.iter().flat_map(|table| table.iter());
        rows.into_iter().any(|(verbs, row)| *row == what && verbs.split(' ').any(|one| one == verb))
    };
    let asked = all.iter().flat_map(|what| VERBS.map(|verb| (verb, what.as_str())));
    let answers: Vec<Result<Option<String>>> = stream::iter(asked)
        .filter(|(verb, what)| std::future::ready(!named(verb, what)))
        .map(|(verb, what)| async move {
            Ok(may(client, verb, what, namespace).await?.then(|| format!("{verb} {what}")))
        })
        .buffer_unordered(16)
        .collect()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

/// In its own namespace, for the election.
const LEASE: &[(&str, &str)] = &[("create", "coordination.k8s.io/leases")];

/// What everybody who is logged in may do, by the cluster's own roles.
const EVERYBODY: &[(&str, &str)] = &[
    ("create", "authorization.k8s.io/selfsubjectaccessreviews"),
    ("create", "authorization.k8s.io/selfsubjectrulesreviews"),
    ("create", "authentication.k8s.io/selfsubjectreviews"),
];

#[tokio::test]
async fn every_other_verb_on_every_resource_of_the_api_server_is_denied() -> Result<()> {
    let plane = plane().await?;
    let (here, elsewhere) = (plane.namespace("every").await?, plane.namespace("other").await?);
    let all = resources(&plane.client().await?).await?;
    assert!(all.len() > 80 && all.contains("/secrets") && all.contains("apps/deployments/scale"));
    grant(plane, &["fullnameOverride=every"]).await?;
    let wide = client_of(plane, "every-operator", &here).await?;
    let nothing = Vec::<String>::new();
    assert_eq!(beyond(&wide, &all, &[NEEDED, METRICS, CLUSTER, EVERYBODY], &here).await?, nothing);
    let home = [NEEDED, METRICS, CLUSTER, CERTIFICATE, EVERYBODY, LEASE];
    assert_eq!(beyond(&wide, &all, &home, NAMESPACE).await?, nothing);

    grant(plane, &["fullnameOverride=few", &format!("watchNamespaces={{{here}}}")]).await?;
    let narrow = client_of(plane, "few-operator", &here).await?;
    assert_eq!(beyond(&narrow, &all, &[NEEDED, EVERYBODY], &here).await?, nothing);
    assert_eq!(beyond(&narrow, &all, &[EVERYBODY], &elsewhere).await?, nothing);
    assert_eq!(beyond(&narrow, &all, &[EVERYBODY, LEASE], NAMESPACE).await?, nothing);
    Ok(())
}

/// What runs before an uninstall.
const UNINSTALL: &[(&str, &str)] = &[("list patch", "wsgateway.dev/wsgateways")];
/// In its own namespace: the operators, by name, and their pods.
const OPERATORS: &[(&str, &str)] = &[("list", "/pods")];

#[tokio::test]
async fn what_runs_before_an_uninstall_may_do_its_work_and_nothing_else() -> Result<()> {
    let plane = plane().await?;
    let here = plane.namespace("leaving").await?;
    let all = resources(&plane.client().await?).await?;
    grant(plane, &["fullnameOverride=leaving"]).await?;
    let first = ("patch", "wsgateway.dev/wsgateways");
    let client = client_that_may(plane, "leaving-uninstall", first, &here).await?;
    let nothing = Vec::<String>::new();
    assert_eq!(wrong(&client, UNINSTALL, true, &here).await?, nothing);
    assert_eq!(beyond(&client, &all, &[UNINSTALL, EVERYBODY], &here).await?, nothing);
    let home = beyond(&client, &all, &[UNINSTALL, EVERYBODY, OPERATORS], NAMESPACE).await?;
    assert_eq!(home, nothing);
    let deployments = Api::<Deployment>::namespaced(client, NAMESPACE);
    assert!(deployments.get_opt("leaving-operator").await?.is_none());
    forbidden(deployments.get("another").await.err())
}

#[tokio::test]
async fn the_pod_of_helm_test_may_read_the_lease_and_nothing_else() -> Result<()> {
    let plane = plane().await?;
    let here = plane.namespace("tested").await?;
    let all = resources(&plane.client().await?).await?;
    grant(plane, &["fullnameOverride=tested"]).await?;
    let user = format!("system:serviceaccount:{NAMESPACE}:tested-test");
    let groups = format!("system:serviceaccounts:{NAMESPACE}");
    let client = plane.client_as(&user, &["system:serviceaccounts", &groups]).await?;
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    wait_until(PATIENCE, "the right to read the Lease", async || {
        leases.get_opt("tested-operator").await.is_ok()
    })
    .await?;
    forbidden(leases.get("kube-scheduler").await.err())?;
    for namespace in [NAMESPACE, here.as_str()] {
        assert_eq!(beyond(&client, &all, &[EVERYBODY], namespace).await?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn of_the_leases_an_operator_may_read_and_update_its_own_alone() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.namespace("leases").await?;
    grant(plane, &["fullnameOverride=elected"]).await?;
    let client = client_of(plane, "elected-operator", &namespace).await?;
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let lease = |name: &str| Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Lease::default()
    };
    let own = leases.create(&PostParams::default(), &lease("elected-operator")).await?;
    leases.get("elected-operator").await?;
    leases.replace("elected-operator", &PostParams::default(), &own).await?;
    forbidden(leases.delete("elected-operator", &DeleteParams::default()).await.err())?;
    forbidden(leases.list(&ListParams::default()).await.err())?;
    forbidden(leases.get("kube-scheduler").await.err())?;
    let others = lease("kube-scheduler");
    forbidden(leases.replace("kube-scheduler", &PostParams::default(), &others).await.err())?;
    let elsewhere = Api::<Lease>::namespaced(client, &namespace);
    forbidden(elsewhere.create(&PostParams::default(), &lease("elected-operator")).await.err())
}

#[tokio::test]
async fn of_the_registrations_and_secrets_an_operator_may_change_its_own_alone() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.namespace("registered").await?;
    grant(plane, &["fullnameOverride=registered"]).await?;
    let client = client_of(plane, "registered-operator", &namespace).await?;
    let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    let services: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    assert!(services.get_opt("v1beta2.custom.metrics.k8s.io").await?.is_none());
    assert!(services.get_opt("v1beta1.custom.metrics.k8s.io").await?.is_none());
    let patch = Patch::Merge(json!({ "spec": { "versionPriority": 1 } }));
    for others in ["v1.apps", "v1beta1.metrics.k8s.io", "v1beta1.custom.metrics.k8s.io"] {
        forbidden(services.patch(others, &PatchParams::default(), &patch).await.err())?;
    }
    forbidden(services.delete("v1.apps", &DeleteParams::default()).await.err())?;
    let secrets = Api::<Secret>::namespaced(client, NAMESPACE);
    let secret = |name: &str| Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Secret::default()
    };
    let own = "registered-operator-metrics-api";
    let made = secrets.create(&PostParams::default(), &secret(own)).await?;
    secrets.replace(own, &PostParams::default(), &made).await?;
    let others = secrets.create(&PostParams::default(), &secret("others")).await?;
    forbidden(secrets.replace("others", &PostParams::default(), &others).await.err())?;
    forbidden(secrets.delete(own, &DeleteParams::default()).await.err())
}

#[tokio::test]
async fn the_operator_makes_a_config_map_but_deletes_no_deployment_lists_no_secrets_and_deletes_no_namespace()
-> Result<()> {
    let plane = plane().await?;
    let namespace = plane.namespace("calls").await?;
    grant(plane, &["fullnameOverride=calls"]).await?;
    let client = client_of(plane, "calls-operator", &namespace).await?;

    let metadata = ObjectMeta { name: Some("made".to_owned()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, ..ConfigMap::default() };
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    maps.create(&PostParams::default(), &map).await?;
    maps.delete("made", &DeleteParams::default()).await?;
    let deployments = Api::<Deployment>::namespaced(client.clone(), &namespace);
    forbidden(deployments.delete("any", &DeleteParams::default()).await.err())?;

    let secrets = Api::<Secret>::namespaced(client.clone(), &namespace);
    forbidden(secrets.list(&ListParams::default()).await.err())?;
    let namespaces = Api::<Namespace>::all(client);
    forbidden(namespaces.delete(&namespace, &DeleteParams::default()).await.err())
}

fn forbidden(error: Option<kube::Error>) -> Result<()> {
    match error.context("the API server allowed it")? {
        kube::Error::Api(status) if status.code == 403 => Ok(()),
        other => Err(other.into()),
    }
}

#[tokio::test]
async fn who_may_view_or_edit_a_namespace_may_do_so_with_its_gateways() -> Result<()> {
    let plane = plane().await?;
    let namespace = plane.namespace("aggregate").await?;
    grant(plane, &["fullnameOverride=aggregate"]).await?;
    let all = "wsgateway.dev/wsgateways";
    for (role, allowed, denied) in [
        ("view", "get list watch", "create patch delete"),
        ("edit", "get list watch create patch update delete", ""),
        ("admin", "get list watch create patch update delete", ""),
    ] {
        bind(plane, role, &namespace).await?;
        let client = plane.client_as(&format!("{role}-user"), &[]).await?;
        wait_until(PATIENCE, &format!("{role} to include WsGateways"), async || {
            wrong(&client, &[(allowed, all)], true, &namespace)
                .await
                .is_ok_and(|wrong| wrong.is_empty())
        })
        .await?;
        assert!(
            denied.is_empty()
                || wrong(&client, &[(denied, all)], false, &namespace).await?.is_empty()
        );
        assert!(
            !may(&client, "patch", "wsgateway.dev/wsgateways/status", &namespace).await?,
            "{role}"
        );
    }
    Ok(())
}

/// Gives the user `ROLE-user` one of the cluster's own roles in one namespace.
async fn bind(plane: &ControlPlane, role: &str, namespace: &str) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": { "name": role, "namespace": namespace },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
        "subjects": [{ "apiGroup": group, "kind": "User", "name": format!("{role}-user") }],
    });
    let parameters = PatchParams::apply("chart-tests").force();
    apply(&plane.client().await?, &binding, namespace, &parameters).await?;
    Ok(())
}
