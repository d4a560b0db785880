//! The steady state: nothing is to be done, and every WsGateway is reconciled now and then.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use futures_util::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Round;

/// What was asked for meanwhile.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// How long it was counted (s).
    pub seconds: f64,
    /// Reconciliations.
    pub reconciles: u64,
    /// Writes, carried out or refused, without those of the Lease.
    pub writes: u64,
    /// Renewals of the Lease.
    pub lease_writes: u64,
    /// Requests to the API server, without those for the Lease.
    pub requests: u64,
    /// The same by verb and resource.
    pub kinds: BTreeMap<String, u64>,
    /// Requests to JetStream about streams.
    pub lookups: u64,
    /// Resident memory of the operator at the end (bytes).
    pub memory: u64,
    /// CPU time of the operator (s).
    pub cpu_seconds: f64,
}

pub(super) async fn measure(round: &Round<'_>) -> Result<Rest> {
    let client = round.environment.nats.client().await?;
    // A second listener at JetStream's API hears every request.
    let mut requests = client.subscribe("$JS.API.STREAM.>").await?;
    client.flush().await?;
    let operator = round.operator;
    let (before, cpu) = (operator.reconciles().await?, operator.cpu_seconds());
    let (from, clock) = (Timestamp::now(), Instant::now());
    let goal = round.plan.gateways * usize::try_from(round.plan.rounds)?;
    round.reconciled(goal, "reconciliations at rest").await?;
    let (to, seconds) = (Timestamp::now(), clock.elapsed().as_secs_f64());
    let reconciles = operator.reconciles().await?.saturating_sub(before);
    let cpu_seconds = operator.cpu_seconds() - cpu;
    client.flush().await?;
    let mut lookups = 0;
    while let Some(Some(_)) = requests.next().now_or_never() {
        lookups += 1;
    }
    let tally = round.tally(from, Some(to)).await?;
    let writes = tally.written();
    Ok(Rest {
        seconds,
        reconciles,
        writes: writes.done + writes.refused,
        lease_writes: tally.leases,
        requests: tally.requests(),
        kinds: tally.kinds.clone(),
        lookups,
        memory: operator.resident(),
        cpu_seconds,
    })
}
