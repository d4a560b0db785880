//! NetworkPolicies of the gateways: made when the operator is told to, removed when it is not any more.

use anyhow::Result;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::rights::granted;
use crate::world::{World, options};

const NAME: &str = "odin-gateway";

fn ports(policy: &NetworkPolicy) -> Vec<Value> {
    let policy = serde_json::to_value(policy).unwrap_or_default();
    let rules = policy["spec"]["ingress"].as_array().cloned().unwrap_or_default();
    rules.iter().map(|rule| rule["ports"][0]["port"].clone()).collect()
}

#[tokio::test]
async fn the_policy_is_made_repaired_and_removed() -> Result<()> {
    let mut world = World::without_operator("network").await?;
    let client = granted(&world, &[]).await?;
    let mut on = options(&world.namespace);
    on.network.network_policies = true;
    on.network.monitoring_namespaces = vec![("team".to_owned(), "watchers".to_owned())];
    world.start_operator_with(on, client.clone()).await?;
    world.create(&json!({ "spec": { "listener": { "port": 8443 } } })).await?;

    let wanted = [json!(8443), json!(9090)];
    world.object::<NetworkPolicy>(NAME, |policy| ports(policy) == wanted).await?;
    let open = json!({ "spec": { "ingress": [{}] } });
    let policies = world.api::<NetworkPolicy>();
    policies.patch(NAME, &PatchParams::default(), &Patch::Merge(&open)).await?;
    world.object::<NetworkPolicy>(NAME, |policy| ports(policy) == wanted).await?;

    world.stop_operator().await?;
    world.start_operator_with(options(&world.namespace), client).await?;
    world.gone::<NetworkPolicy>(NAME).await?;
    world.stop_operator().await
}
