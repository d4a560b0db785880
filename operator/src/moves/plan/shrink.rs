//! Fewer pods: the one with the fewest clients goes first, once it has handed them over.

use std::cmp::Reverse;

use wsgateway_config::ShedReason;
use wsgateway_crds::DisruptionKind;

use super::{Moves, Observed, Pod, Stage, Wanted, ending, instruct};

/// Pods whose clients are moved in this part of a minute may go at the same time.
const BATCHES_PER_MINUTE: u64 = 6;

/// Marks pods that go, and calls off what is not wanted any more. Returns how many pods the Deployment is to have.
pub(super) fn step(
    pods: &mut [Pod<'_>],
    replicas: i32,
    observed: &Observed<'_>,
    wanted: Wanted,
) -> (i32, Stage) {
    let (there, target) = (pods.len(), usize::try_from(wanted.replicas).unwrap_or_default());
    let surplus = there.saturating_sub(target);
    keep_at_most(pods, surplus);
    if replicas <= wanted.replicas {
        // Kubernetes ends at this moment what is marked beyond them.
        return (wanted.replicas, Stage::Settled);
    }
    if wanted.halted == Some(DisruptionKind::ScaleDown) {
        keep_at_most(pods, 0);
        return (replicas, Stage::Halted(DisruptionKind::ScaleDown));
    }
    let all = usize::try_from(replicas).unwrap_or_default();
    if there < all {
        // Those that are missing need not come.
        return (i32::try_from(there.max(target)).unwrap_or(i32::MAX), Stage::Settled);
    }
    let replicas = if there > all {
        // Kubernetes has not ended those yet of which it was told.
        replicas
    } else {
        match next(pods, replicas, surplus, observed, wanted) {
            Ok(replicas) => replicas,
            Err(stage) => return (replicas, stage),
        }
    };
    (replicas, shrinking(pods, surplus, wanted))
}

/// Lowers the number of pods if those that go are empty, or marks the next ones. Or says why these stay.
fn next(
    pods: &mut [Pod<'_>],
    replicas: i32,
    surplus: usize,
    observed: &Observed<'_>,
    wanted: Wanted,
) -> Result<i32, Stage> {
    let lower = |by: usize| {
        let by = i32::try_from(by.min(surplus)).unwrap_or(i32::MAX);
        replicas.saturating_sub(by).max(wanted.replicas)
    };
    // Pods that serve nobody need not be told anything.
    let idle = pods.iter().filter(|pod| pod.stance.shed.is_none() && pod.facts.is_idle()).count();
    let marked = || pods.iter().filter(|pod| pod.sheds(ShedReason::Drain));
    let begun = marked().count();
    if begun > 0 {
        // Kubernetes ends those that are not ready before those that are marked.
        let may_go = |pod: &Pod<'_>| pod.sheds(ShedReason::Drain) || pod.facts.is_idle();
        let is_safe = pods.iter().all(|pod| pod.facts.view.ready || may_go(pod));
        let is_done = marked().all(|pod| pod.is_done(observed.now));
        return Ok(if is_done && is_safe { lower(begun + idle) } else { replicas });
    }
    if idle > 0 {
        return Ok(lower(idle));
    }
    if let Some(until) = observed.moved_enough_until {
        return Err(Stage::Resting { surplus, until });
    }
    if ending(observed) == 0 {
        mark(pods, surplus, observed.now, wanted).map_err(|(room, needed)| Stage::NoRoom {
            room,
            needed,
            surplus,
        })?;
    }
    Ok(replicas)
}

/// Calls off the drains of more pods than are to go: those that have most clients left stay.
fn keep_at_most(pods: &mut [Pod<'_>], surplus: usize) {
    let mut marked: Vec<&mut Pod<'_>> =
        pods.iter_mut().filter(|pod| pod.sheds(ShedReason::Drain)).collect();
    marked.sort_by_key(|pod| pod.connections());
    marked.into_iter().skip(surplus).for_each(|pod| pod.stance.shed = None);
}

/// Marks the next pods, or says for how many clients there is room and for how many there should be.
fn mark(pods: &mut [Pod<'_>], surplus: usize, now: i64, wanted: Wanted) -> Result<(), (u64, u64)> {
    let mut room: u64 = pods.iter().filter(|pod| pod.facts.takes_clients()).map(Pod::room).sum();
    let mut order: Vec<&mut Pod<'_>> = pods.iter_mut().collect();
    // Clients of a pod whose node is taken out of service have to go anyway. A pod that says nothing may have any number.
    order.sort_by_key(|pod| {
        let view = &pod.facts.view;
        (
            !pod.facts.leaving,
            pod.facts.report().is_none(),
            pod.connections(),
            Reverse(view.created),
            view.name.clone(),
        )
    });
    let together = u64::from(wanted.per_minute) / BATCHES_PER_MINUTE;
    let (mut moving, mut chosen) = (0, Vec::new());
    for pod in order.into_iter().take(surplus) {
        let clients = pod.connections();
        let left = room.saturating_sub(pod.room());
        if left < moving + clients {
            if chosen.is_empty() {
                return Err((left, clients));
            }
            break;
        }
        if !chosen.is_empty() && moving + clients > together {
            break;
        }
        (room, moving) = (left, moving + clients);
        chosen.push(pod);
    }
    for pod in chosen {
        let part = (0, pod.connections());
        let shed = instruct(ShedReason::Drain, now, part, moving, wanted.per_minute);
        pod.stance.shed = Some(shed);
    }
    Ok(())
}

fn shrinking(pods: &[Pod<'_>], surplus: usize, wanted: Wanted) -> Stage {
    let marked = || pods.iter().filter(|pod| pod.sheds(ShedReason::Drain));
    let left = marked().map(Pod::connections).sum::<u64>();
    let seconds_left = left.saturating_mul(60) / u64::from(wanted.per_minute.max(1));
    Stage::Shrinking(Moves { pods: marked().count(), of: surplus, left, seconds_left })
}
