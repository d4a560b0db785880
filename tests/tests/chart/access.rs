//! What the chart's roles allow, asked of the API server as those whom they are bound to.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::{ControlPlane, wait_until};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{ConfigMap, Namespace, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    cluster::{apply, plane},
    helm::{NAMESPACE, rendered},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the operator does: verbs, then group/resource or group/resource/subresource.
const NEEDED: &[(&str, &str)] = &[
    ("list watch patch", "wsgateway.dev/wsgateways"),
    ("patch", "wsgateway.dev/wsgateways/status"),
    ("update", "wsgateway.dev/wsgateways/finalizers"),
    ("get list watch create patch", "/configmaps"),
    ("get list watch create patch delete", "/services"),
    ("get list watch create patch", "/serviceaccounts"),
    ("get list watch create patch", "apps/deployments"),
    ("get list watch create patch", "policy/poddisruptionbudgets"),
    ("get list watch create patch delete", "autoscaling/horizontalpodautoscalers"),
    ("get list watch create patch delete", "monitoring.coreos.com/servicemonitors"),
    ("list watch", "/pods"),
    ("get", "/secrets"),
    ("create patch", "events.k8s.io/events"),
];

/// What somebody who took over the operator would like to do.
const DENIED: &[(&str, &str)] = &[
    ("list watch create patch update delete", "/secrets"),
    ("get list create delete patch", "/namespaces"),
    ("create delete patch update", "/pods"),
    ("create get", "/pods/exec"),
    ("get", "/pods/log"),
    ("create", "/serviceaccounts/token"),
    ("get list patch", "/nodes"),
    ("create delete", "wsgateway.dev/wsgateways"),
    ("create patch delete escalate bind", "rbac.authorization.k8s.io/clusterroles"),
    ("create patch delete", "rbac.authorization.k8s.io/rolebindings"),
    ("create patch delete", "apps/daemonsets"),
    ("create patch delete", "batch/jobs"),
    ("get create patch delete", "apiextensions.k8s.io/customresourcedefinitions"),
    ("create patch", "admissionregistration.k8s.io/validatingwebhookconfigurations"),
    ("impersonate", "/users"),
    ("delete deletecollection update", "/configmaps"),
    ("delete deletecollection", "apps/deployments"),
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

/// The client of the chart's account, once its rights hold in `namespace`.
async fn client_of(plane: &ControlPlane, account: &str, namespace: &str) -> Result<Client> {
    let groups = format!("system:serviceaccounts:{NAMESPACE}");
    let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
    let client = plane.client_as(&user, &["system:serviceaccounts", &groups]).await?;
    // The authorizer learns of new bindings through a watch.
    wait_until(PATIENCE, "the operator's rights", async || {
        may(&client, "list", "/configmaps", namespace).await.unwrap_or(false)
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
    assert_eq!(
        wrong(&client, DENIED, false, &namespace).await?,
        nothing,
        "not needed, but allowed"
    );
    Ok(())
}

#[tokio::test]
async fn with_a_watched_namespace_the_operator_has_no_rights_elsewhere() -> Result<()> {
    let plane = plane().await?;
    let (here, elsewhere) = (plane.namespace("here").await?, plane.namespace("elsewhere").await?);
    grant(plane, &["fullnameOverride=narrow", &format!("watchNamespace={here}")]).await?;
    let client = client_of(plane, "narrow-operator", &here).await?;
    assert_eq!(wrong(&client, NEEDED, true, &here).await?, Vec::<String>::new());
    assert_eq!(wrong(&client, NEEDED, false, &elsewhere).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn the_operator_makes_a_config_map_but_lists_no_secrets_and_deletes_no_namespace()
-> Result<()> {
    let plane = plane().await?;
    let namespace = plane.namespace("calls").await?;
    grant(plane, &["fullnameOverride=calls"]).await?;
    let client = client_of(plane, "calls-operator", &namespace).await?;

    let metadata = ObjectMeta { name: Some("made".to_owned()), ..ObjectMeta::default() };
    let map = ConfigMap { metadata, ..ConfigMap::default() };
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    maps.create(&PostParams::default(), &map).await?;
    forbidden(maps.delete("made", &DeleteParams::default()).await.err())?;

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
