//! Pods that hand clients over wait while others do that somebody else ends: these cannot wait, and there is one pace for all.

use wsgateway_config::{Shed, ShedReason};

use super::{Observed, Pod, Stage, Wanted, ending, instruct};

/// Clients in a minute that a pod sends away meanwhile: an instruction of none is refused.
const AT_REST: u32 = 1;
/// The deadline of a pod that waits: its clients cannot be late.
const NEVER: i64 = i64::MAX;

/// Has all wait, or go on where they were, with the clients that are left and a deadline of their own.
pub(super) fn step(pods: &mut [Pod<'_>], observed: &Observed<'_>, wanted: Wanted) {
    if ending(observed) > 0 {
        for shed in pods.iter_mut().filter_map(|pod| pod.stance.shed.as_mut()) {
            (shed.per_minute, shed.until) = (AT_REST, NEVER);
        }
        return;
    }
    let paces = [
        (ShedReason::Drain, wanted.per_minute),
        (ShedReason::Rebalance, wanted.rebalance.per_minute),
    ];
    for (reason, pace) in paces {
        go_on(pods, reason, observed.now, pace);
    }
}

fn go_on(pods: &mut [Pod<'_>], reason: ShedReason, now: i64, pace: u32) {
    let rests = |shed: &Shed| shed.reason == reason && shed.until == NEVER;
    let left = |pod: &Pod<'_>, shed: &Shed| pod.connections().saturating_sub(shed.keep);
    let of = |pod: &Pod<'_>| {
        let shed = pod.stance.shed.as_ref().filter(|shed| rests(shed))?;
        Some((left(pod, shed), shed.clone()))
    };
    let all: u64 = pods.iter().filter_map(of).map(|(left, _)| left).sum();
    for pod in pods {
        let Some((left, before)) = of(pod) else { continue };
        // The same one: its entrance stays closed.
        let Shed { id, min_age_seconds, keep, .. } = before;
        let shed = instruct(reason, now, (keep, left), all, pace);
        pod.stance.shed = Some(Shed { id, min_age_seconds, ..shed });
    }
}

/// What is under way, in the light of those that somebody else ends.
pub(super) fn stage(stage: Stage, observed: &Observed<'_>) -> Stage {
    match (stage, ending(observed)) {
        (stage, 0) => stage,
        (Stage::Shrinking(moves), ending) => Stage::Yielding { ending, moves, shrinks: true },
        (Stage::Rebalancing(moves), ending) => Stage::Yielding { ending, moves, shrinks: false },
        (stage, _) => stage,
    }
}
