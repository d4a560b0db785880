//! How often clients may be moved (pure). What a client was put to no pod knows, but how often all of them were is in the
//! status, and how old each connection is its pod knows.

use wsgateway_crds::{DisruptionKind, DisruptionStatus};

use crate::disruptions::MOST;

const HOUR: i64 = 3_600;

/// The age below which a client may have been moved too short a time ago (s).
pub(super) fn min_age_seconds(per_hour: Option<u32>) -> u32 {
    per_hour.map_or(0, |most| 3_600 / most.max(1))
}

/// Until when pods that are not needed any more have to stay (Unix time, s): as many moves as a client may be put to in an
/// hour began within the last one. A scale-down that is under way ends.
pub(super) fn moved_enough_until(
    entries: &[DisruptionStatus],
    per_hour: Option<u32>,
    now: i64,
) -> Option<i64> {
    let per_hour = i64::from(per_hour?).max(1);
    // The status has no more of them: then the same rate counts over a shorter time.
    let count = usize::try_from(per_hour).unwrap_or(MOST).min(MOST);
    let window = i64::try_from(count).unwrap_or(1) * HOUR / per_hour;
    let is_under_way =
        |entry: &DisruptionStatus| entry.ended.is_none() && entry.kind == DisruptionKind::ScaleDown;
    let counts = |entry: &&DisruptionStatus| {
        entry.kind != DisruptionKind::PodStopped && !is_under_way(entry)
    };
    let oldest = entries.iter().rev().filter(counts).nth(count - 1)?;
    // What begins in the future began before the clock was put back.
    let until = oldest.began.0.as_second().min(now).saturating_add(window);
    (until > now).then_some(until)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use rstest::rstest;

    use super::*;

    const NOW: i64 = 100_000;

    fn entry(kind: DisruptionKind, ago: i64, has_ended: bool) -> DisruptionStatus {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        DisruptionStatus {
            kind,
            template: None,
            began: at(NOW - ago),
            ended: has_ended.then(|| at(NOW - ago + 1)),
            clients: 5,
            recovered: 5,
            lost: 0,
            refused: 0,
            away_p99_ms: None,
        }
    }

    #[rstest]
    #[case::no_bound(&[10, 5], None, None)]
    #[case::none_yet(&[], Some(1), None)]
    #[case::once(&[900], Some(1), Some(2_700))]
    #[case::a_clock_that_was_put_back(&[-9_000], Some(1), Some(3_600))]
    #[case::a_clock_that_was_put_forward(&[900 + 9_000], Some(1), None)]
    #[case::more_than_an_hour_ago(&[3_600], Some(1), None)]
    #[case::one_more_may(&[900], Some(2), None)]
    #[case::the_first_of_two_counts(&[9_000, 3_000, 900], Some(2), Some(600))]
    #[case::as_many_as_are_known(&[290, 280, 270, 260, 250, 240, 230, 220, 210, 200], Some(60), Some(310))]
    #[case::slowly_enough(&[600, 590, 580, 570, 560, 550, 540, 530, 520, 510], Some(60), None)]
    fn pods_stay_while_clients_were_moved_as_often_as_they_may(
        #[case] ago: &[i64],
        #[case] per_hour: Option<u32>,
        #[case] rest: Option<i64>,
    ) {
        let entries: Vec<_> =
            ago.iter().map(|ago| entry(DisruptionKind::Rebalance, *ago, true)).collect();
        assert_eq!(moved_enough_until(&entries, per_hour, NOW), rest.map(|rest| NOW + rest));
    }

    #[rstest]
    #[case::a_rollout(DisruptionKind::Rollout, true, true)]
    #[case::a_rollout_under_way(DisruptionKind::Rollout, false, true)]
    #[case::a_scale_down(DisruptionKind::ScaleDown, true, true)]
    #[case::the_one_under_way(DisruptionKind::ScaleDown, false, false)]
    #[case::somebody_else(DisruptionKind::PodStopped, true, false)]
    fn what_counts_is_what_we_did_before(
        #[case] kind: DisruptionKind,
        #[case] has_ended: bool,
        #[case] counts: bool,
    ) {
        let entries = [entry(kind, 60, has_ended)];
        assert_eq!(moved_enough_until(&entries, Some(1), NOW).is_some(), counts);
    }

    #[test]
    fn a_connection_stays_for_its_part_of_an_hour() {
        assert_eq!([None, Some(1), Some(60)].map(min_age_seconds), [0, 3_600, 60]);
    }
}
