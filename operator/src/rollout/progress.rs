//! How far a rollout is, in words (pure). Numbers that move are rounded, so that a status is not written for each client.

use super::plan::{Moves, Stage};
use crate::status::Verdict;

/// What the condition Progressing says of a rollout, if there is one. `most`: how many WsGateways are replaced at a time.
pub(crate) fn words(stage: &Stage, most: usize) -> Option<Verdict> {
    let verdict = match stage {
        Stage::Settled => return None,
        Stage::WaitsForTurn => Verdict::yes(
            "WaitingForTurn",
            format!(
                "this version of the operator replaces the pods, {most} WsGateways at a time (--rollouts-at-once), and others \
                 are before this one"
            ),
        ),
        Stage::Starting(moves) => Verdict::yes(
            "RollingOut",
            format!(
                "{} of {} new pods are ready; clients stay where they are until all are",
                moves.ready, moves.wanted
            ),
        ),
        Stage::Moving(moves) => Verdict::yes("RollingOut", moving(moves)),
        Stage::Halted(moves) => Verdict::no("RolloutHalted", moving(moves)),
        Stage::NoRoom { moves, room, needed } => Verdict::no(
            "NoRoom",
            format!(
                "{}; the new pods have room for {} clients, and the next pod has {}: raise spec.replicas or \
                 capacity.connectionsPerPod",
                moving(moves),
                about(*room),
                about(*needed)
            ),
        ),
    };
    Some(verdict)
}

fn moving(moves: &Moves) -> String {
    let done = moves.wanted.saturating_sub(moves.old_pods);
    format!(
        "{done} of {} pods are replaced; about {} clients have moved, {} are left, {}",
        moves.wanted,
        about(moves.moved),
        about(moves.left),
        time(moves.seconds_left)
    )
}

/// The first two digits and zeros.
pub(crate) fn about(number: u64) -> u64 {
    let unit = (number / 10).checked_ilog10().map_or(1, |digits| 10_u64.pow(digits));
    number / unit * unit
}

/// A time that is left (s), in words.
pub(crate) fn time(seconds: u64) -> String {
    match seconds {
        0..60 => "less than a minute".to_owned(),
        60..5_400 => format!("about {} minutes", seconds.div_ceil(60)),
        _ => format!("about {} hours", (seconds + 1_800) / 3_600),
    }
}
