//! Every kind of attack, short: no honest client is closed, none loses a message, memory stays within the request of the
//! pod, and places are free again. Latency is not judged here.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use harness::built_beside;
use hostile::environment::Plan;
use hostile::kind::Kind;
use hostile::report;
use hostile::run::{News, run};

fn plan() -> Result<Plan> {
    Ok(Plan {
        gateway: built_beside("gateway")?,
        attacker: PathBuf::from(env!("CARGO_BIN_EXE_wsgateway-hostile")),
        core: None,
        honest: 50,
        hostile: 20,
        rate: 10,
        stream: 4_000,
        seconds: 2.0,
        quiet: 0.2,
    })
}

/// Shown when the test fails.
fn notify(news: News<'_>) {
    if let News::Done(row) = news {
        println!("{}", report::line(row));
    }
}

/// Every fourth kind, so that four tests at once are done in a quarter of the time.
async fn every_fourth(first: usize) -> Result<()> {
    let kinds: Vec<Kind> = Kind::all().iter().copied().skip(first).step_by(4).collect();
    let rows = run(&plan()?, &kinds, notify).await?;
    let complaints: Vec<String> = rows.iter().flat_map(report::complaints).collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    for row in &rows {
        ensure!(row.owed > 0, "{}: nothing was published", row.kind.title());
        ensure!(row.hostile.connections > 0, "{}: nobody attacked", row.kind.title());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_clients_notice_nothing_of_attacks_1_5_9_and_so_on() -> Result<()> {
    every_fourth(0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_clients_notice_nothing_of_attacks_2_6_10_and_so_on() -> Result<()> {
    every_fourth(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_clients_notice_nothing_of_attacks_3_7_11_and_so_on() -> Result<()> {
    every_fourth(2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_clients_notice_nothing_of_attacks_4_8_12_and_so_on() -> Result<()> {
    every_fourth(3).await
}
