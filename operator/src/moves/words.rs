//! What is under way, in words (pure). Numbers that move are rounded, so that a status is not written for each client.

use k8s_openapi::jiff::Timestamp;

use super::plan::{Moves, Stage};
use crate::rollout::{about, time};
use crate::status::Verdict;

/// What the condition Progressing says, if clients are moved.
pub(crate) fn words(stage: &Stage) -> Option<Verdict> {
    let verdict = match stage {
        // Of what is halted its numbers are told, which are not of this moment.
        Stage::Settled | Stage::Halted(_) => return None,
        Stage::Shrinking(moves) => Verdict::yes(
            "ScalingDown",
            format!(
                "{} of {} pods that are not needed any more hand over about {} clients, the emptiest first: {}",
                moves.pods,
                moves.of,
                about(moves.left),
                time(moves.seconds_left)
            ),
        ),
        Stage::NoRoom { room, needed, surplus } => Verdict::no(
            "NoRoom",
            format!(
                "{surplus} pods are not wanted any more, and stay: the next one has {} clients, and the others have room \
                 for {}: raise spec.replicas again, or capacity.connectionsPerPod",
                about(*needed),
                about(*room)
            ),
        ),
        Stage::Resting { surplus, until } => Verdict::no(
            "ScaleDownRests",
            format!(
                "{surplus} pods are not wanted any more, and stay until {}: clients have been moved as often in the last hour \
                 as disruption.maxPerClientPerHour allows",
                Timestamp::from_second(*until).unwrap_or_default()
            ),
        ),
        Stage::Yielding { ending, moves, shrinks } => yielding(*ending, *moves, *shrinks),
        Stage::Rebalancing(moves) => Verdict::yes(
            "Rebalancing",
            format!(
                "{} of {} pods have too many clients and hand over about {} to the others: {}",
                moves.pods,
                moves.of,
                about(moves.left),
                time(moves.seconds_left)
            ),
        ),
    };
    Some(verdict)
}

fn yielding(ending: usize, moves: Moves, shrinks: bool) -> Verdict {
    let who = if shrinks {
        format!("{} pods that are not needed any more keep their clients", moves.of)
    } else {
        format!("about {} clients are not spread yet", about(moves.left))
    };
    let why = "so that disruption.connectionsPerMinute holds for all of them";
    let message =
        format!("{who} until {ending} pods that are being deleted have handed over theirs, {why}");
    Verdict::yes("WaitsForPods", message)
}
