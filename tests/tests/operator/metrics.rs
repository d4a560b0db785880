//! What an operator answers at /metrics: as documented, as Prometheus wants it, and gone with the WsGateway.

use anyhow::{Context as _, Result, ensure};
use harness::{Exposition, wait_until};
use serde_json::json;

use crate::world::{ODIN, SOON, World};

/// For these clients have to move, or the operator to trace or to serve autoscalers, which is tested where they do.
const ABSENT: [&str; 3] = [
    "wsgateway_operator_disruption_away_p99_seconds",
    "wsgateway_operator_trace_spans_total",
    "wsgateway_operator_certificate_expiry_timestamp_seconds",
];

async fn page(world: &World) -> Result<Exposition> {
    let answer = world.admin("/metrics").await?;
    Exposition::parse(answer.split_once("\r\n\r\n").context("an answer without a body")?.1)
}

fn of(page: &Exposition, name: &str) -> usize {
    page.series().iter().filter(|series| series.contains(&format!("gateway=\"{name}\""))).count()
}

#[tokio::test]
async fn every_metric_is_documented_and_those_of_a_wsgateway_end_with_it() -> Result<()> {
    let world = World::new("metrics").await?;
    world.create(&json!({})).await?;
    world.condition(ODIN, "StreamReady", "True", "StreamAsSpecified").await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let broken = json!({
        "metadata": { "name": "thor" },
        "spec": {
            "stream": { "name": "THOR", "subjects": ["thor.>"] },
            "nats": { "credentials": { "name": "none", "key": "a" } },
            "channels": { "stripPrefix": "", "rules": null },
            "autoscaling": { "minReplicas": 2, "maxReplicas": 5 },
        },
    });
    world.create(&broken).await?;
    let key = format!("gateway=\"{ODIN}\",namespace=\"{}\"", world.namespace);
    wait_until(SOON, "a problem and a WsGateway that is ready", async || {
        let Ok(page) = page(&world).await else { return false };
        page.series().iter().any(|series| series.starts_with("wsgateway_operator_errors_total"))
            && page.value("wsgateway_operator_gateways").is_ok_and(|count| count == 2.0)
    })
    .await?;
    let before = page(&world).await?;
    before.is_documented("operator", &ABSENT)?;
    before.lint()?;
    let value = |name: &str| before.value(&format!("wsgateway_operator_{name}"));
    assert_eq!(value(&format!("gateway_condition{{condition=\"Ready\",{key}}}"))?, 1.0);
    assert_eq!(value(&format!("gateway_replicas_wanted{{{key}}}"))?, 1.0);
    assert_eq!(value(&format!("gateway_plan{{{key},plan=\"rollout\",result=\"settled\"}}"))?, 1.0);
    let moved = format!(
        "disruption_clients_total{{gateway=\"{ODIN}\",kind=\"rollout\",namespace=\"{}\",outcome=\"gap\"}}",
        world.namespace
    );
    assert_eq!(value(&moved)?, 0.0, "the first one that misses messages is an increase");
    let thor = key.replace(ODIN, "thor");
    assert_eq!(value(&format!("gateway_replicas_max{{{thor}}}"))?, 5.0);
    assert_eq!(value("leader")?, 1.0);
    let created = "api_requests_total{code=\"201\",resource=\"deployments\",verb=\"patch\"}";
    ensure!(value(created)? >= 1.0, "no Deployment was created");
    ensure!(of(&before, ODIN) > 20, "few series: {:?}", before.series());
    world.delete(ODIN).await?;
    wait_until(SOON, "its series to end", async || {
        page(&world).await.is_ok_and(|page| of(&page, ODIN) == 0 && of(&page, "thor") > 0)
    })
    .await
}
