//! From the start of the operator, with all WsGateways there and none of their objects, until each is as specified.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Round;
use crate::counts::Writes;
use crate::environment::Environment;
use crate::gateways::{self, Traps, name};
use crate::observer::Observer;
use crate::operator::Operator;
use crate::plan::Plan;
use crate::progress::{Show, until};

/// A cold start.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cold {
    /// Until the last of those that can be was as specified (s).
    pub seconds: f64,
    /// The same of those alone that are sound in the round with broken ones, too (s).
    pub seconds_of_sound: f64,
    /// Until half of those were (s).
    pub median_of_sound: f64,
    /// Writes of the operator, carried out and refused.
    pub writes: Writes,
    /// The most for one WsGateway.
    pub most_writes: u64,
    /// All requests of the operator.
    pub requests: u64,
    /// Its writes by verb and resource.
    pub kinds: BTreeMap<String, u64>,
    /// CPU time of the operator (s).
    pub cpu_seconds: f64,
}

/// A cold start that has ended, of which requests are not counted yet.
pub(super) struct Started {
    begin: Timestamp,
    seconds: f64,
    sound: Vec<Duration>,
    cpu_seconds: f64,
}

/// Creates WsGateways, starts the operator and waits until all that are sound are as specified.
pub(super) async fn start(
    plan: &Plan,
    environment: &Environment,
    observer: &Observer,
    traps: Option<&Traps>,
    show: Show<'_>,
) -> Result<(Operator, Started)> {
    let total = plan.gateways;
    let created = |done| show(&format!("creating WsGateways: {done} of {total}"));
    gateways::create(environment, plan, traps, &created).await?;
    let (begin, clock) = (Timestamp::now(), Instant::now());
    let operator = Operator::start(plan, environment, &[]).await?;
    let is_sound: Vec<bool> =
        (0..total).map(|number| traps.is_none() || !Plan::is_broken(number)).collect();
    let goal = is_sound.iter().filter(|sound| **sound).count();
    let counts = |name: &str| {
        let number = name.strip_prefix('g').and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| is_sound.get(number) == Some(&true))
    };
    until(show, "as specified", goal, plan.limit, async || {
        operator.check_alive()?;
        Ok(observer.as_specified(counts))
    })
    .await?;
    let since = |number: usize| {
        let seen = observer.get(environment.namespace_of(number), &name(number))?;
        Some(seen.as_specified?.saturating_duration_since(clock))
    };
    let mut sound: Vec<Duration> =
        (0..total).filter(|number| !Plan::is_broken(*number)).filter_map(since).collect();
    sound.sort();
    let seconds = clock.elapsed().as_secs_f64();
    let cpu_seconds = operator.cpu_seconds();
    Ok((operator, Started { begin, seconds, sound, cpu_seconds }))
}

impl Started {
    /// Waits until nothing is under way, and counts.
    pub(super) async fn finish(self, round: &Round<'_>) -> Result<Cold> {
        round.settle().await?;
        let tally = round.tally(self.begin, None).await?;
        let at = |place: usize| self.sound.get(place).map_or(0.0, Duration::as_secs_f64);
        Ok(Cold {
            seconds: self.seconds,
            seconds_of_sound: at(self.sound.len().saturating_sub(1)),
            median_of_sound: at(self.sound.len() / 2),
            writes: tally.written(),
            most_writes: tally.most(),
            requests: tally.requests(),
            kinds: tally.kinds_of_writes(),
            cpu_seconds: self.cpu_seconds,
        })
    }
}
