//! When a number of the status is worth a write (pure). Numbers move all the time; a status that follows each of them is
//! a write a second for each WsGateway.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use wsgateway_crds::WsGatewayStatus;

use super::steps::{PAUSE, is_step};

/// A number that is off by less than one in so many is right.
const TWENTIETH: u64 = 20;
/// A smaller difference is no reason to hurry, however few there are.
const MANY: u64 = 10;
/// From here on three digits say enough.
const ROUNDED_FROM: u64 = 1_000;

/// How far a written number is from the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Drift {
    /// Less than 5 %.
    None,
    /// 5 % or more.
    Small,
    /// 5 % or more, and at least 10.
    Large,
}

/// How far `written` is from what holds `now`.
pub(crate) fn drift(written: i64, now: i64) -> Drift {
    let off = written.abs_diff(now);
    if off == 0 || off.saturating_mul(TWENTIETH) < written.unsigned_abs() {
        Drift::None
    } else if off < MANY {
        Drift::Small
    } else {
        Drift::Large
    }
}

/// A number as the status has it: exact below 1,000, then three digits and zeros.
pub(crate) fn round(number: i64) -> i64 {
    let size = number.unsigned_abs();
    let unit = (size / ROUNDED_FROM).checked_ilog10().map_or(1, |digits| 10_u64.pow(digits + 1));
    let rounded = (size.saturating_add(unit / 2) / unit).saturating_mul(unit);
    i64::try_from(rounded).unwrap_or(i64::MAX).saturating_mul(number.signum())
}

/// A lag as the status has it: a pod is behind by some messages at any time, so that only thousands mean something.
pub(crate) fn round_lag(messages: u64) -> i64 {
    let Some(digits) = (messages / ROUNDED_FROM).checked_ilog10() else { return 0 };
    let unit = 10_u64.pow(digits + 3);
    i64::try_from(messages / unit * unit).unwrap_or(i64::MAX)
}

/// The status to write: `fresh`, or `previous` if only numbers or steps of a rollout differ and those may wait. `pace` is the time between two
/// writes for numbers that are a little off.
pub(crate) fn settle(
    previous: Option<&WsGatewayStatus>,
    mut fresh: WsGatewayStatus,
    now: Timestamp,
    pace: Duration,
) -> WsGatewayStatus {
    if let Some(previous) = previous {
        let (before, after) = (without_numbers(previous), without_numbers(&fresh));
        let may_wait = match before == after {
            true => !is_due(previous, &fresh, now, pace),
            false => is_step(&before, &after) && !has_waited(previous, now, pace.min(PAUSE)),
        };
        if may_wait {
            return previous.clone();
        }
    }
    fresh.numbers_time = Some(Time(now));
    fresh
}

fn is_due(
    previous: &WsGatewayStatus,
    fresh: &WsGatewayStatus,
    now: Timestamp,
    pace: Duration,
) -> bool {
    let connections =
        drift(previous.connections.unwrap_or_default(), fresh.connections.unwrap_or_default());
    let worst = pairs(previous, fresh).map(|(written, now)| drift(written, now)).max();
    connections == Drift::Large
        || has_waited(previous, now, pace)
            && connections.max(worst.unwrap_or(Drift::None)) != Drift::None
}

/// Whether the last write is as long ago as `pace`.
fn has_waited(previous: &WsGatewayStatus, now: Timestamp, pace: Duration) -> bool {
    previous.numbers_time.as_ref().is_none_or(|at| {
        let elapsed = Duration::try_from(now.duration_since(at.0)).unwrap_or_default();
        elapsed >= pace
    })
}

/// Numbers that are written in time when they are off, before and now.
fn pairs<'a>(
    previous: &'a WsGatewayStatus,
    fresh: &'a WsGatewayStatus,
) -> impl Iterator<Item = (i64, i64)> + 'a {
    // The same pods in the same order: their names are no numbers.
    let pods = previous.pods.iter().zip(&fresh.pods).flat_map(|(before, after)| {
        [
            (before.connections.unwrap_or_default(), after.connections.unwrap_or_default()),
            (before.lag_messages.unwrap_or_default(), after.lag_messages.unwrap_or_default()),
        ]
    });
    let stream = previous.stream.iter().zip(&fresh.stream).flat_map(|(before, after)| {
        [
            (before.messages, after.messages),
            (before.bytes, after.bytes),
            (i64::from(before.consumers), i64::from(after.consumers)),
        ]
    });
    pods.chain(stream)
}

fn without_numbers(status: &WsGatewayStatus) -> WsGatewayStatus {
    let mut status = status.clone();
    status.numbers_time = None;
    // That there are none is no number.
    status.connections = status.connections.map(|_| 0);
    status.capacity_percent = status.capacity_percent.map(|_| 0);
    for pod in &mut status.pods {
        pod.connections = pod.connections.map(|_| 0);
        pod.lag_messages = pod.lag_messages.map(|_| 0);
    }
    if let Some(stream) = &mut status.stream {
        (stream.messages, stream.bytes, stream.consumers) = (0, 0, 0);
        (stream.first_sequence, stream.last_sequence) = (0, 0);
    }
    status
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use wsgateway_crds::{Ownership, StreamStatus};

    use super::*;

    const PACE: Duration = Duration::from_secs(60);

    #[rstest]
    #[case(0, 0, Drift::None)]
    #[case(0, 1, Drift::Small)]
    #[case(4, 3, Drift::Small)]
    #[case(100, 104, Drift::None)]
    #[case(100, 105, Drift::Small)]
    #[case(100, 110, Drift::Large)]
    #[case(21_000, 20_000, Drift::None)]
    #[case(21_000, 19_000, Drift::Large)]
    #[case(i64::MAX, 0, Drift::Large)]
    fn a_number_drifts_by_its_share(#[case] written: i64, #[case] now: i64, #[case] drift: Drift) {
        assert_eq!(super::drift(written, now), drift);
    }

    #[rstest]
    #[case(0, 0)]
    #[case(999, 999)]
    #[case(1_004, 1_000)]
    #[case(1_005, 1_010)]
    #[case(9_999, 10_000)]
    #[case(21_044, 21_000)]
    #[case(12_345_678, 12_300_000)]
    #[case(i64::MAX, 9_220_000_000_000_000_000)]
    fn from_a_thousand_on_three_digits_count(#[case] number: i64, #[case] rounded: i64) {
        assert_eq!(round(number), rounded);
    }

    #[rstest]
    #[case(999, 0)]
    #[case(1_999, 1_000)]
    #[case(23_456, 20_000)]
    fn a_lag_is_told_in_thousands(#[case] messages: u64, #[case] told: i64) {
        assert_eq!(round_lag(messages), told);
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status(connections: i64, messages: i64, last: i64) -> WsGatewayStatus {
        WsGatewayStatus {
            connections: Some(connections),
            stream: Some(StreamStatus {
                name: "S".into(),
                epoch: "e".into(),
                messages,
                bytes: 0,
                first_sequence: 1,
                last_sequence: last,
                consumers: 1,
                ownership: Ownership::Owned,
            }),
            ..WsGatewayStatus::default()
        }
    }

    #[test]
    fn traffic_alone_is_never_written() {
        let first = settle(None, status(100, 5_000, 5_000), at(0), PACE);
        for (second, last) in [(10, 6_000), (100, 90_000), (99_999, 900_000_000)] {
            let same = settle(Some(&first), status(102, 5_100, last), at(second), PACE);
            assert_eq!(same, first);
        }
    }

    #[test]
    fn many_connections_are_written_at_once_and_little_after_a_minute() {
        let first = settle(None, status(100, 0, 0), at(0), PACE);
        assert_eq!(settle(Some(&first), status(106, 0, 0), at(59), PACE), first);
        let later = settle(Some(&first), status(106, 0, 7), at(60), PACE);
        assert_eq!((later.connections, &later.numbers_time), (Some(106), &Some(Time(at(60)))));
        let many = settle(Some(&later), status(120, 0, 0), at(61), PACE);
        assert_eq!(many.connections, Some(120));
        let stream = settle(Some(&many), status(120, 50, 0), at(62), PACE);
        assert_eq!(stream, many, "the stream's numbers wait");
    }

    #[test]
    fn steps_of_a_rollout_are_written_every_five_seconds() {
        let condition = |reason: &str| {
            let words = format!(
                r#"{{"type":"Progressing","status":"True","reason":"{reason}","message":"","lastTransitionTime":"1970-01-01T00:00:00Z"}}"#
            );
            vec![serde_json::from_str(&words).unwrap()]
        };
        let rolling = |replicas, reason| WsGatewayStatus {
            replicas,
            conditions: condition(reason),
            ..WsGatewayStatus::default()
        };
        let first = settle(None, rolling(1, "RollingOut"), at(0), PACE);
        let second = settle(Some(&first), rolling(2, "PodsStarting"), at(4), PACE);
        assert_eq!(second, first);
        assert_eq!(settle(Some(&first), rolling(2, "RollingOut"), at(5), PACE).replicas, 2);
        assert_eq!(settle(Some(&first), rolling(2, "RolloutStuck"), at(1), PACE).replicas, 2);
    }

    #[test]
    fn whatever_else_changes_takes_the_numbers_along() {
        let first = settle(None, status(100, 0, 0), at(0), PACE);
        let fresh = WsGatewayStatus { replicas: 2, ..status(101, 1, 1) };
        let written = settle(Some(&first), fresh, at(1), PACE);
        assert_eq!((written.replicas, written.connections), (2, Some(101)));
        let silent = WsGatewayStatus { connections: None, ..written.clone() };
        assert_eq!(settle(Some(&written), silent, at(2), PACE).connections, None);
    }
}
