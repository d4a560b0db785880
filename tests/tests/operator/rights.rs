//! The rights that the chart gives are enough, and all that the operator needs.

use anyhow::{Context as _, Result};
use harness::{Identity, Nats, tool};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::json;
use wsgateway_config::yaml;
use wsgateway_crds::WsGateway;

use crate::secrets::put;
use crate::world::{ODIN, World};

/// Gives what the chart's template for the operator's rights renders to, and returns a client of the account it names.
pub(crate) async fn granted(world: &World, values: &[&str]) -> Result<Client> {
    granted_but(world, values, "").await
}

/// The same without the rights on one resource.
pub(crate) async fn granted_but(world: &World, values: &[&str], without: &str) -> Result<Client> {
    granted_by("templates/rbac.yaml", world, values, without).await
}

/// The same of another template.
pub(crate) async fn granted_by(
    template: &str,
    world: &World,
    values: &[&str],
    without: &str,
) -> Result<Client> {
    let account = created_by(template, world, values, without).await?;
    let account = account.context("the chart binds nobody")?;
    world.client_as(&Identity::service_account(&world.namespace, &account)).await
}

/// Creates the roles and bindings of a template, and returns the account that it binds them to.
pub(crate) async fn created_by(
    template: &str,
    world: &World,
    values: &[&str],
    without: &str,
) -> Result<Option<String>> {
    let namespace = world.namespace.as_str();
    let output = std::process::Command::new(tool("helm")?)
        .args(["template", &format!("rights-{namespace}"), "charts/wsgateway"])
        .args(["--namespace", namespace, "--show-only", template])
        .args(values.iter().flat_map(|value| ["--set", value]))
        .current_dir(harness::repository())
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut account = None;
    for document in String::from_utf8(output.stdout)?.split("\n---") {
        let mut object: DynamicObject = serde_json::from_value(yaml::from_str(document)?)?;
        if let Some(rules) = object.data.get_mut("rules").and_then(|rules| rules.as_array_mut()) {
            rules.retain(|rule| rule["resources"] != json!([without]));
        }
        let kind = object.types.as_ref().context("no kind")?.kind.clone();
        if !kind.contains("Role") {
            continue;
        }
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", &kind));
        let client = world.client.clone();
        let api: Api<DynamicObject> = match object.metadata.namespace.as_deref() {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        api.create(&PostParams::default(), &object).await?;
        // Bindings all name the same account.
        if let Some(name) = object.data["subjects"][0]["name"].as_str() {
            account = Some(name.to_owned());
        }
    }
    Ok(account)
}

#[tokio::test]
async fn the_chart_gives_the_operator_enough_rights_from_creation_to_deletion() -> Result<()> {
    let mut world = World::without_operator("rights").await?;
    let client = granted(&world, &[]).await?;
    let mut options = crate::world::options(&world.namespace);
    options.election.leader_elect = true;
    options.election.own_namespace = Some(world.namespace.clone());
    options.election.lease_name = format!("rights-{}-wsgateway-operator", world.namespace);
    let lease = options.election.lease_name.clone();
    world.start_operator_with(options, client).await?;

    let autoscaled = json!({ "spec": { "autoscaling": { "minReplicas": 1, "maxReplicas": 2 } } });
    world.create(&autoscaled).await?;
    world.stream_ready().await?;
    world.object::<HorizontalPodAutoscaler>("odin-gateway", |_| true).await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "NoMetric").await?;
    world.edit(&json!({ "spec": { "autoscaling": null } })).await?;
    world.gone::<HorizontalPodAutoscaler>("odin-gateway").await?;
    let events =
        world.api::<k8s_openapi::api::events::v1::Event>().list(&Default::default()).await?;
    let told =
        |reason: &str| events.items.iter().any(|event| event.reason.as_deref() == Some(reason));
    assert!(
        told("StreamAsSpecified") && told("PodsReady"),
        "{:?}",
        events.items.iter().map(|event| &event.reason)
    );
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    world.stop_operator().await?;
    let lease = world.api::<Lease>().get(&lease).await?;
    assert_eq!(
        lease.spec.and_then(|spec| spec.holder_identity).as_deref(),
        Some(""),
        "not released"
    );
    Ok(())
}

#[tokio::test]
async fn rights_in_one_namespace_are_enough_for_an_operator_that_watches_only_that() -> Result<()> {
    let mut world = World::without_operator("narrow").await?;
    let here = format!("watchNamespace={}", world.namespace);
    let client = granted(&world, &[&here]).await?;
    world.nats =
        Nats::start_with("authorization { users = [{ user: me, password: pass }] }").await?;
    let mut options = crate::world::options(&world.namespace);
    options.cluster = Some("here".to_owned());
    world.start_operator_with(options, client).await?;

    put(&world, "odin-nats", &[("username", "me"), ("password", "pass")]).await?;
    let credentials = json!({ "userPassword": { "name": "odin-nats" } });
    world.create(&json!({ "spec": { "nats": { "credentials": credentials } } })).await?;

    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    world.stop_operator().await
}

#[tokio::test]
async fn an_operator_that_may_not_read_which_cluster_it_is_in_says_what_to_give_it() -> Result<()> {
    let mut world = World::without_operator("nameless").await?;
    let client = granted(&world, &[&format!("watchNamespace={}", world.namespace)]).await?;
    world.start_operator_with(crate::world::options(&world.namespace), client.clone()).await?;
    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "ClusterUnknown").await?;
    assert!(message.contains("start it with --cluster NAME"), "{message}");
    assert!(world.stream().await.is_err(), "nothing is claimed without an identity");

    world.stop_operator().await?;
    let mut options = crate::world::options(&world.namespace);
    options.cluster = Some("here".to_owned());
    world.start_operator_with(options, client).await?;
    world.stream_ready().await?;
    let mark = &world.stream().await?.config.metadata["wsgateway.dev/owner"];
    assert!(mark.starts_with(&format!("here/{}/odin/", world.namespace)), "{mark}");
    world.stop_operator().await
}
