//! What tokens cost when everybody comes back at once.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use wsgateway_client::{Swarm, SwarmOptions};

use super::process::Process;
use super::rig::{SOON, config, nats_with_stream, ready};
use super::tokens::{Issuer, token};

/// Those who come at once, and how often: as long as the scheduler's clock needs for a difference of some percent.
const CROWD: usize = 1_000;
const TIMES: usize = 8;

/// CPU time of a process (clock ticks).
fn cpu(process: &Process) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid()?))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let times = fields.split(' ').skip(12).take(2).map(str::parse::<u64>);
    Ok(times.sum::<Result<u64, _>>()?)
}

/// Everybody comes once; what that costs.
async fn storm(process: &Process, path: &str) -> Result<u64> {
    let before = cpu(process)?;
    let options = SwarmOptions {
        connections: CROWD,
        protocol: Some("wsgateway.v1".to_owned()),
        path: path.to_owned(),
        in_flight: CROWD,
        ..SwarmOptions::default()
    };
    let address = process.client_addr;
    tokio::task::spawn_blocking(move || -> Result<()> {
        let mut swarm = Swarm::connect(address, options)?;
        swarm.run_until(|counters| counters.connected == CROWD as u64, SOON)?;
        ensure!(swarm.counters().is_faultless(), "{}", swarm.counters());
        Ok(())
    })
    .await??;
    Ok(cpu(process)? - before)
}

/// A measurement: run it alone, on a machine that does nothing else.
#[tokio::test]
#[ignore = "measures CPU time"]
async fn a_storm_of_known_users_costs_about_what_one_without_tokens_does() -> Result<()> {
    let issuer = Issuer::new()?;
    let (nats, _jetstream) = nats_with_stream().await?;
    let open = config(&nats.url());
    let mut guarded = open.clone();
    guarded.auth = Some(issuer.auth());
    let (open, guarded) = (Process::start(&open).await?, Process::start(&guarded).await?);
    ready(open.admin_addr).await?;
    ready(guarded.admin_addr).await?;
    // A token of usual length.
    let path = format!("/ws?token={}", token("ann", &json!({ "roles": "x".repeat(300) })));
    let (mut without, mut with) = (0, 0);
    for round in 0..=TIMES {
        let (one, other) = (storm(&open, "/ws").await?, storm(&guarded, &path).await?);
        // The first one warms both up.
        if round > 0 {
            (without, with) = (without + one, with + other);
        }
    }
    println!("CPU time with tokens: {with} ticks, without: {without} ticks");
    ensure!(with as f64 <= 1.1 * without as f64, "{with} and {without} ticks");
    Ok(())
}
