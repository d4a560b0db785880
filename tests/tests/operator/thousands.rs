//! `make operator-scale`, short: many WsGateways, a tenth of them broken, and hostile ones. Counts are judged, times are not.

use anyhow::{Result, ensure};
use harness::{ControlPlane, built_beside};
use operator_scale::environment::{Environment, Plane};
use operator_scale::fleet;
use operator_scale::hostile;
use operator_scale::plan::Plan;
use operator_scale::report::most_besides_status;

use crate::world::SOON;

fn plan() -> Result<Plan> {
    Ok(Plan {
        operator: built_beside("operator")?,
        gateways: 50,
        pods: 1,
        namespaces: 3,
        changed: 5,
        resync: 2,
        rounds: 3,
        hostile: 200,
        batch: 200,
        watch: std::time::Duration::from_secs(5),
        seed: 1,
        limit: 5 * SOON,
    })
}

async fn environment(name: &str, plan: &Plan) -> Result<Environment> {
    let plane = Plane::Shared(ControlPlane::shared().await?);
    Environment::start(plane, name, plan.namespaces).await
}

/// Shown when the test fails.
fn show(_step: &str) {}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_wsgateways_cost_nothing_at_rest_and_a_change_a_few_writes() -> Result<()> {
    let plan = plan()?;
    let environment = environment("fifty", &plan).await?;

    let fleet = fleet::run(&plan, &environment, &show).await?;

    assert_eq!(fleet.rest.writes, 0, "{:?}", fleet.rest.kinds);
    // A slow poll of each stream may fall into this time, and no more.
    assert!(fleet.rest.lookups <= plan.gateways as u64, "{}", fleet.rest.lookups);
    let reads_pods = fleet.rest.kinds.keys().any(|kind| kind == "list pods" || kind == "get pods");
    assert!(!reads_pods, "{:?}", fleet.rest.kinds);
    for change in &fleet.changes {
        let status = change.kinds.get("patch wsgateways/status").copied().unwrap_or_default();
        let most = most_besides_status(&change.what) * change.gateways as u64;
        assert!(change.writes - status <= most, "{change:?}");
        assert_eq!(change.elsewhere, 0, "{change:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_that_is_broken_has_conditions_and_costs_no_write_at_rest() -> Result<()> {
    let plan = plan()?;
    let environment = environment("tenth", &plan).await?;

    let broken = fleet::beside_broken(&plan, &environment, &show).await?;

    let told: Vec<(&str, Vec<&str>)> = broken
        .reasons
        .iter()
        .map(|(fault, reasons)| (fault.title(), reasons.keys().map(String::as_str).collect()))
        .collect();
    let expected: Vec<&str> = vec![
        "SecretMissing",
        "NatsUnreachable",
        "JetStreamNoAnswer",
        "SpecInvalid",
        "StreamForeign",
    ];
    let found: Vec<&str> = told.iter().flat_map(|(_, reasons)| reasons.clone()).collect();
    assert_eq!(found, expected, "{told:?}");
    assert_eq!(broken.rest.writes, 0, "{:?}", broken.rest.kinds);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_wsgateways_are_refused_or_have_a_condition_and_do_no_harm() -> Result<()> {
    let plan = plan()?;
    let environment = environment("hostile", &plan).await?;

    let hostile = hostile::run(&plan, &environment, &show).await?;

    ensure!(hostile.is_faultless(), "{hostile:#?}");
    ensure!(hostile.accepted > 20 && hostile.refused.values().sum::<usize>() > 20, "{hostile:?}");
    Ok(())
}
