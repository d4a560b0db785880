//! The loss meter, short: the main faults on one NATS server and on three, and a check that it finds losses.

use anyhow::{Result, ensure};
use harness::built_beside;
use loss::balancer::Way;
use loss::clients::sdk::Program;
use loss::fault::{Fault, Times};
use loss::poison;
use loss::report;
use loss::run::{News, Row, run};
use loss::servers::Kind;
use loss::world::Plan;

fn plan(kind: Kind) -> Result<Plan> {
    Ok(Plan {
        kind,
        gateway: built_beside("gateway")?,
        pods: 3,
        clients: 200,
        sse: 20,
        sdk: 0,
        node: Program::new(None, None),
        subjects: 100,
        rate: 150,
        poison: poison::Kind::all().to_vec(),
        resume: true,
        tls: false,
        way: Way::RoundRobin,
        times: Times::QUICK,
    })
}

/// Shown when the test fails.
fn tell(news: News<'_>) {
    if let News::Done(row) = news {
        println!("{}", report::line(row));
    }
}

async fn faultless(plan: &Plan, faults: &[Fault]) -> Result<()> {
    let rows = run(plan, faults, tell).await?;
    let complaints: Vec<String> = rows.iter().flat_map(report::complaints).collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    ensure!(rows.iter().all(|row| row.counts.delivered > row.published), "hardly anything came");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_nats_server_nothing_is_lost_or_comes_twice_whatever_fails() -> Result<()> {
    let faults = [
        Fault::GatewayKilled,
        Fault::GatewayStopped,
        Fault::Storm,
        Fault::NatsGone,
        Fault::StreamReplaced,
        Fault::HistoryLost,
    ];
    faultless(&plan(Kind::Single)?, &faults).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_three_nats_servers_nothing_is_lost_or_comes_twice_whatever_fails() -> Result<()> {
    let faults = [Fault::LeaderKilled, Fault::Resets, Fault::NatsRestarted, Fault::RollingRestart];
    faultless(&plan(Kind::Cluster)?, &faults).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_nothing_is_lost_or_comes_twice_either() -> Result<()> {
    let plan = Plan { tls: true, sse: 0, ..plan(Kind::Single)? };
    faultless(&plan, &[Fault::GatewayKilled, Fault::GatewayStopped, Fault::Storm]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_the_stream_and_deleted_consumers_lose_nothing() -> Result<()> {
    faultless(&plan(Kind::Single)?, &[Fault::StreamEdited, Fault::ConsumersDeleted]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_between_two_restarts_of_nats_is_no_new_stream() -> Result<()> {
    faultless(&plan(Kind::Single)?, &[Fault::NatsEdited]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_move_lose_nothing() -> Result<()> {
    faultless(&plan(Kind::Cluster)?, &[Fault::LeadersMoved]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_reaches_clients_and_stops_nobody() -> Result<()> {
    faultless(&plan(Kind::Single)?, &[Fault::Poison]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meter_finds_what_clients_lose_that_forget_their_cursor() -> Result<()> {
    let times = Times::QUICK.without_hope();
    let plan = Plan { resume: false, times, ..plan(Kind::Single)? };
    let rows: Vec<Row> = run(&plan, &[Fault::None, Fault::NetworkCut], |_| ()).await?;
    assert!(rows[0].is_faultless(), "{:?}", report::complaints(&rows[0]));
    assert!(rows[1].counts.lost > 0 && !rows[1].is_faultless(), "{:?}", rows[1]);
    assert_eq!((rows[1].counts.twice, rows[1].counts.out_of_order), (0, 0), "{:?}", rows[1]);
    Ok(())
}
