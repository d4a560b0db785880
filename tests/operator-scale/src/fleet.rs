//! Sound WsGateways: from a cold start to the steady state, then changes; and the same start with a tenth of them broken.

mod broken;
mod changes;
mod cold;
mod rest;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::counts::Tally;
use crate::environment::Environment;
use crate::kubelet::Kubelet;
use crate::observer::Observer;
use crate::operator::Operator;
use crate::plan::Plan;
use crate::progress::{Show, until};

pub use broken::{Broken, beside_broken};
pub use changes::Changed;
pub use cold::Cold;
pub use rest::Rest;

/// Reconciliations of each without a change, after which nothing is under way.
const CALM: usize = 2;
/// Attempts to see that.
const UNSETTLED: usize = 6;

/// What sound WsGateways cost.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// From the operator's start on.
    pub cold: Cold,
    /// When nothing is to be done.
    pub rest: Rest,
    /// One change after the other.
    pub changes: Vec<Changed>,
    /// The most resident memory of the operator (bytes).
    pub memory_peak: u64,
}

/// A running round.
pub(crate) struct Round<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) environment: &'a Environment,
    pub(crate) operator: &'a Operator,
    pub(crate) observer: &'a Observer,
    pub(crate) show: Show<'a>,
}

impl Round<'_> {
    /// Waits until every WsGateway, on average, has been reconciled twice without a change of any status. If one never
    /// stops, what follows counts its writes.
    pub(crate) async fn settle(&self) -> Result<()> {
        let goal = CALM * self.plan.gateways;
        for _ in 0..UNSETTLED {
            let changes = self.observer.changes();
            self.reconciled(goal, "waiting until nothing is under way").await?;
            if self.observer.changes() == changes {
                break;
            }
        }
        Ok(())
    }

    /// Waits for so many reconciliations.
    pub(crate) async fn reconciled(&self, goal: usize, what: &str) -> Result<()> {
        let before = self.operator.reconciles().await?;
        until(self.show, what, goal, self.plan.limit, async || {
            self.operator.check_alive()?;
            Ok(usize::try_from(self.operator.reconciles().await?.saturating_sub(before))?)
        })
        .await
    }

    /// What the operator asked for between two instants, or since one.
    pub(crate) async fn tally(&self, from: Timestamp, to: Option<Timestamp>) -> Result<Tally> {
        let events = self.environment.plane.audit_until_now(&[self.operator.user.as_str()]).await?;
        let counts = events
            .iter()
            .filter(|event| event.received >= from && to.is_none_or(|to| event.received < to));
        Ok(Tally::of(counts))
    }
}

/// Starts, rests and changes as many as the plan says.
///
/// # Errors
/// When something of ours fails, or the operator ends.
pub async fn run(plan: &Plan, environment: &Environment, show: Show<'_>) -> Result<Fleet> {
    let _kubelet = Kubelet::start(&environment.client, &environment.namespaces);
    let observer = Observer::start(&environment.client, &environment.namespaces);
    let (operator, cold) = cold::start(plan, environment, &observer, None, show).await?;
    let round = Round { plan, environment, operator: &operator, observer: &observer, show };
    let cold = cold.finish(&round).await?;
    let rest = rest::measure(&round).await?;
    let changes = changes::measure(&round).await?;
    let memory_peak = operator.peak();
    operator.stop().await?;
    Ok(Fleet { cold, rest, changes, memory_peak })
}
