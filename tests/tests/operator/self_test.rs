//! `operator self-test` by the rights of the chart's test: it passes where an operator works, and only there.

use anyhow::{Context as _, Result};
use clap::Parser as _;
use kube::Client;
use operator::{Cli, Command, self_test};

use crate::rights::{granted, granted_by};
use crate::world::World;

fn lease(world: &World) -> String {
    format!("rights-{}-wsgateway-operator", world.namespace)
}

async fn run(world: &World, client: Client, metrics: &str, seconds: &str) -> Result<()> {
    let (lease, namespace) = (lease(world), world.namespace.as_str());
    let begin = ["operator", "--own-namespace", namespace, "--lease-name", &lease];
    let end = ["self-test", "--metrics-url", metrics, "--timeout-seconds", seconds];
    let cli = Cli::try_parse_from(begin.iter().chain(&end))?;
    let Some(Command::SelfTest(how)) = &cli.command else { anyhow::bail!("another command") };
    Ok(self_test(&cli.options, how, client).await?)
}

#[tokio::test]
async fn a_release_passes_its_test_while_an_operator_leads_and_fails_it_afterwards() -> Result<()> {
    let mut world = World::without_operator("self-test").await?;
    let mut options = crate::world::options(&world.namespace);
    options.election.leader_elect = true;
    options.election.own_namespace = Some(world.namespace.clone());
    options.election.lease_name = lease(&world);
    let operator = granted(&world, &[]).await?;
    world.start_operator_with(options, operator).await?;
    let metrics = format!("http://{}/metrics", world.admin_address()?);
    let tester = granted_by("templates/tests/self-test.yaml", &world, &[], "").await?;

    run(&world, tester.clone(), &metrics, "60").await.context("with an operator")?;

    let elsewhere = run(&world, tester.clone(), "http://127.0.0.1:9/metrics", "1").await;
    assert!(elsewhere.is_err(), "nothing answers there");
    world.stop_operator().await?;
    let failed = run(&world, tester, &metrics, "1").await.err().context("without an operator")?;
    // Nobody leads, and nobody answers.
    assert_eq!(failed.to_string(), "2 of the checks failed");
    Ok(())
}
