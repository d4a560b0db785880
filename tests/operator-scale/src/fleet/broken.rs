//! The same cold start with a tenth of the WsGateways broken: what the others notice.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::cold::{self, Cold};
use super::{Round, rest};
use crate::environment::Environment;
use crate::gateways::{Fault, Traps, name};
use crate::kubelet::Kubelet;
use crate::observer::Observer;
use crate::plan::Plan;
use crate::progress::{Show, until};

/// A start with broken ones.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Broken {
    /// How many are broken.
    pub broken: usize,
    /// The start of the others.
    pub cold: Cold,
    /// When nothing is to be done for the others.
    pub rest: rest::Rest,
    /// What the status of broken ones says of the stream or the specification, by how they are broken.
    pub reasons: BTreeMap<Fault, BTreeMap<String, usize>>,
    /// The most resident memory of the operator (bytes).
    pub memory_peak: u64,
}

/// Starts as many as the plan says, a tenth of them broken.
///
/// # Errors
/// When something of ours fails, or the operator ends.
pub async fn beside_broken(
    plan: &Plan,
    environment: &Environment,
    show: Show<'_>,
) -> Result<Broken> {
    let traps = Traps::start(&environment.nats).await?;
    let _kubelet = Kubelet::start(&environment.client, &environment.namespaces);
    let observer = Observer::start(&environment.client, &environment.namespaces);
    let (operator, cold) = cold::start(plan, environment, &observer, Some(&traps), show).await?;
    let round = Round { plan, environment, operator: &operator, observer: &observer, show };
    let broken: Vec<usize> = (0..plan.gateways).filter(|number| Plan::is_broken(*number)).collect();
    let told = |number: &usize| {
        let seen = observer.get(environment.namespace_of(*number), &name(*number))?;
        let all = &seen.conditions;
        let kinds = ["StreamReady", "Ready"];
        let mut found = kinds.iter().filter_map(|kind| all.get(*kind)).filter(|one| !one.holds);
        found.next().map(|one| one.reason.clone())
    };
    until(show, "broken ones with a condition", broken.len(), plan.limit, async || {
        operator.check_alive()?;
        Ok(broken.iter().filter_map(told).count())
    })
    .await?;
    let cold = cold.finish(&round).await?;
    let rest = rest::measure(&round).await?;
    let mut reasons = BTreeMap::<Fault, BTreeMap<String, usize>>::new();
    for number in &broken {
        if let (Some(fault), Some(reason)) = (Fault::of(*number), told(number)) {
            *reasons.entry(fault).or_default().entry(reason).or_default() += 1;
        }
    }
    let memory_peak = operator.peak();
    operator.stop().await?;
    Ok(Broken { broken: broken.len(), cold, rest, reasons, memory_peak })
}
