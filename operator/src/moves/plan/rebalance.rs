//! An even spread: pods far above the mean hand over what they have beyond it.

use wsgateway_config::{Shed, ShedReason};
use wsgateway_crds::{DisruptionKind, Even, RebalanceMode};

use super::{Moves, Observed, Pod, Stage, Wanted, ending, instruct};

/// Between two of them: clients that were moved are counted where they are now, and a load balancer that leads them back to
/// where they were costs little.
const REST_SECONDS: i64 = 60;

/// Marks pods that have too many clients, and takes marks from those that have done their part. Returns what is under way, and
/// whether it was looked who has too many.
pub(super) fn step(
    pods: &mut [Pod<'_>],
    replicas: i32,
    observed: &Observed<'_>,
    wanted: Wanted,
) -> (Stage, bool) {
    let is_due = match wanted.rebalance.mode {
        RebalanceMode::Off => {
            call_off(pods);
            return (Stage::Settled, false);
        }
        RebalanceMode::Manual => wanted.is_asked,
        RebalanceMode::Auto => {
            let has_rested = observed.since_rebalance.is_none_or(|seconds| seconds >= REST_SECONDS);
            has_rested || wanted.is_asked
        }
    };
    if wanted.halted == Some(DisruptionKind::Rebalance) {
        call_off(pods);
        return (Stage::Halted(DisruptionKind::Rebalance), false);
    }
    let mut is_under_way = false;
    let all: u64 = pods.iter().map(Pod::connections).sum();
    let mean = wanted.rebalance.even(all, count(pods)).mean;
    for pod in pods.iter_mut().filter(|pod| pod.sheds(ShedReason::Rebalance)) {
        is_under_way = true;
        // A crowd that has come meanwhile may have made the mean another one.
        if pod.is_done(observed.now) || pod.connections() <= mean {
            pod.stance.shed = None;
        }
    }
    let looks = !is_under_way && is_due && is_calm(pods, replicas, observed);
    if looks {
        mark(pods, observed.now, wanted);
    }
    (rebalancing(pods, wanted), looks)
}

/// Lets all pods keep the clients that they have.
pub(super) fn call_off(pods: &mut [Pod<'_>]) {
    for pod in pods.iter_mut().filter(|pod| pod.sheds(ShedReason::Rebalance)) {
        pod.stance.shed = None;
    }
}

/// All pods are there and say how many clients they have, and none of these moves for another reason.
fn is_calm(pods: &[Pod<'_>], replicas: i32, observed: &Observed<'_>) -> bool {
    // Clients of a pod that is about to be evicted are moved by that, and it gets none.
    let is_there = |pod: &Pod<'_>| {
        pod.facts.takes_clients() && pod.facts.report().is_some() && !pod.facts.leaving
    };
    usize::try_from(replicas) == Ok(pods.len())
        && pods.iter().all(is_there)
        && ending(observed) == 0
}

fn count(pods: &[Pod<'_>]) -> u64 {
    u64::try_from(pods.len()).unwrap_or(u64::MAX)
}

fn mark(pods: &mut [Pod<'_>], now: i64, wanted: Wanted) {
    let rebalance = &wanted.rebalance;
    let all: u64 = pods.iter().map(Pod::connections).sum();
    if all < rebalance.min_connections.max(1) || pods.len() < 2 {
        return;
    }
    let Even { mean: keep, usual, most } = rebalance.even(all, count(pods));
    if !pods.iter().any(|pod| pod.connections() > most) {
        return;
    }
    // Once anybody moves, all move that are to: a pod that is a bit above the mean and stays open would be filled up by those
    // who leave the others, and be the next that is beyond what is tolerated.
    let fits = |limit: &u64| {
        let moving = moving(pods, keep, *limit);
        let room: u64 = pods.iter().filter(|pod| pod.connections() <= *limit).map(Pod::room).sum();
        moving > 0 && moving <= room
    };
    let Some(limit) = [usual, most].into_iter().find(fits) else { return };
    let moving = moving(pods, keep, limit);
    for pod in pods.iter_mut().filter(|pod| pod.connections() > limit) {
        let part = (keep, pod.connections().saturating_sub(keep));
        let shed = instruct(ShedReason::Rebalance, now, part, moving, rebalance.per_minute);
        pod.stance.shed = Some(Shed { min_age_seconds: wanted.min_age_seconds, ..shed });
    }
}

/// Clients beyond `keep` of pods that have more than `limit`.
fn moving(pods: &[Pod<'_>], keep: u64, limit: u64) -> u64 {
    let above = pods.iter().map(Pod::connections).filter(|count| *count > limit);
    above.map(|count| count.saturating_sub(keep)).sum()
}

fn rebalancing(pods: &[Pod<'_>], wanted: Wanted) -> Stage {
    let marked = || pods.iter().filter(|pod| pod.sheds(ShedReason::Rebalance));
    let count = marked().count();
    if count == 0 {
        return Stage::Settled;
    }
    let keep = |pod: &Pod<'_>| pod.stance.shed.as_ref().map_or(0, |shed| shed.keep);
    let left: u64 = marked().map(|pod| pod.connections().saturating_sub(keep(pod))).sum();
    let seconds_left = left.saturating_mul(60) / u64::from(wanted.rebalance.per_minute.max(1));
    Stage::Rebalancing(Moves { pods: count, of: pods.len(), left, seconds_left })
}
