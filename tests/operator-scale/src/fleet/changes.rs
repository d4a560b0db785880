//! Changes of some WsGateways, in one way after the other, and what each costs.

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use super::Round;
use crate::counts::stem;
use crate::environment::AT_ONCE;
use crate::gateways::name;
use crate::progress::until;

/// What a change cost.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// What was changed.
    pub what: String,
    /// How many were.
    pub gateways: usize,
    /// Writes for all of them, carried out or refused.
    pub writes: u64,
    /// The most for one of them.
    pub most: u64,
    /// Writes by verb and resource.
    pub kinds: BTreeMap<String, u64>,
    /// Writes for others, which did not change.
    pub elsewhere: u64,
}

pub(super) async fn measure(round: &Round<'_>) -> Result<Vec<Changed>> {
    let pods = round.plan.pods;
    let ways = [
        (
            "a limit, which running gateways take up",
            json!({ "rateLimits": { "commandsPerConnection": { "burst": 77 } } }),
        ),
        ("a limit of the stream", json!({ "stream": { "maxMessages": 900 } })),
        ("one pod more", json!({ "replicas": pods + 1 })),
        (
            "the path of clients, which replaces all pods",
            json!({ "listener": { "path": "/prices" } }),
        ),
    ];
    let mut all = Vec::new();
    for (what, spec) in ways {
        all.push(change(round, what, &spec).await?);
    }
    Ok(all)
}

async fn change(round: &Round<'_>, what: &str, spec: &Value) -> Result<Changed> {
    let (plan, environment) = (round.plan, round.environment);
    let count = plan.changed.min(plan.gateways);
    let generation = |number: usize| {
        let seen = round.observer.get(environment.namespace_of(number), &name(number));
        seen.map_or(0, |seen| seen.generation)
    };
    let before: Vec<i64> = (0..count).map(generation).collect();
    let from = Timestamp::now();
    let one = async |number: usize| {
        let api: Api<WsGateway> =
            Api::namespaced(environment.client.clone(), environment.namespace_of(number));
        let patch = Patch::Merge(json!({ "spec": spec }));
        api.patch(&name(number), &PatchParams::default(), &patch).await.map(drop)
    };
    stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    until(round.show, what, count, plan.limit, async || {
        round.operator.check_alive()?;
        let is_done = |number: &usize| {
            let seen = round.observer.get(environment.namespace_of(*number), &name(*number));
            seen.is_some_and(|seen| {
                seen.generation > before[*number] && seen.as_specified.is_some()
            })
        };
        Ok((0..count).filter(is_done).count())
    })
    .await?;
    round.settle().await?;
    let tally = round.tally(from, None).await?;
    let is_changed = |name: &str| (0..count).any(|number| self::name(number) == name);
    let (mut writes, mut most, mut elsewhere) = (0, 0, 0);
    for ((_, name), of_one) in &tally.writes {
        let sum = of_one.done + of_one.refused;
        if is_changed(stem(name)) {
            writes += sum;
            most = most.max(sum);
        } else {
            elsewhere += sum;
        }
    }
    let kinds = tally.kinds_of_writes();
    Ok(Changed { what: what.to_owned(), gateways: count, writes, most, kinds, elsewhere })
}
