//! A rollout is many small steps, and each would be a write: of what is on its way as planned, a status tells the beginning,
//! the end, and in between now and then how far it is (pure).

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use wsgateway_crds::WsGatewayStatus;

/// Between two writes for steps: a person who watches sees that it goes on.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// Reasons of what is on its way: one for another is a step.
const ON_THEIR_WAY: [&str; 7] = [
    "RollingOut",
    "PodsNotReady",
    "PodsStarting",
    "Draining",
    "PodsNotAsked",
    "ScalingDown",
    "Rebalancing",
];

/// Whether all that lies between two statuses is a step: other pods, numbers of them and words, while each condition
/// stands as it stood, for the same specification.
pub(super) fn is_step(previous: &WsGatewayStatus, fresh: &WsGatewayStatus) -> bool {
    let same = previous.observed_generation == fresh.observed_generation
        && previous.selector == fresh.selector
        && previous.endpoints == fresh.endpoints
        && previous.stream == fresh.stream
        && previous.rebalance_asked == fresh.rebalance_asked
        && (&previous.halt, &previous.continue_asked) == (&fresh.halt, &fresh.continue_asked)
        && disruptions(previous).eq(disruptions(fresh))
        && previous.conditions.len() == fresh.conditions.len();
    let is_calm = |status: &WsGatewayStatus| status.pods.iter().all(|pod| pod.problem.is_none());
    let mut conditions = previous.conditions.iter().zip(&fresh.conditions);
    let is_rolling = fresh.conditions.iter().any(is_on_its_way);
    same && is_rolling && is_calm(previous) && is_calm(fresh) && conditions.all(stands)
}

/// What was and is the matter, without its numbers.
fn disruptions(status: &WsGatewayStatus) -> impl Iterator<Item = impl PartialEq> {
    status.disruptions.iter().map(|entry| (entry.kind, &entry.began, &entry.ended))
}

fn is_on_its_way(condition: &Condition) -> bool {
    ON_THEIR_WAY.contains(&condition.reason.as_str())
}

/// Conditions are in the order in which they came.
fn stands((before, now): (&Condition, &Condition)) -> bool {
    let same = (&before.type_, &before.status) == (&now.type_, &now.status);
    same && (before.reason == now.reason || (is_on_its_way(before) && is_on_its_way(now)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use rstest::rstest;

    use super::*;

    fn status(replicas: i32, conditions: &[(&str, &str, &str)]) -> WsGatewayStatus {
        let condition = |(kind, state, reason): &(&str, &str, &str)| Condition {
            type_: (*kind).to_owned(),
            status: (*state).to_owned(),
            reason: (*reason).to_owned(),
            message: format!("{replicas} pods"),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        WsGatewayStatus {
            replicas,
            conditions: conditions.iter().map(condition).collect(),
            ..WsGatewayStatus::default()
        }
    }

    fn rolling() -> WsGatewayStatus {
        status(2, &[("Ready", "True", "RollingOut"), ("Progressing", "True", "RollingOut")])
    }

    #[rstest]
    #[case::further(&[("Ready", "True", "RollingOut"), ("Progressing", "True", "RollingOut")], true)]
    #[case::another_phase(&[("Ready", "True", "PodsNotReady"), ("Progressing", "True", "PodsStarting")], true)]
    #[case::the_end(&[("Ready", "True", "AsSpecified"), ("Progressing", "False", "Settled")], false)]
    #[case::out_of_service(&[("Ready", "False", "RollingOut"), ("Progressing", "True", "RollingOut")], false)]
    #[case::trouble(&[("Ready", "True", "CrashLoopBackOff"), ("Progressing", "True", "RollingOut")], false)]
    #[case::more_to_tell(
        &[("Ready", "True", "RollingOut"), ("Progressing", "True", "RollingOut"), ("Degraded", "True", "Full")], false
    )]
    fn a_step_is_what_goes_on_as_planned(
        #[case] conditions: &[(&str, &str, &str)],
        #[case] expected: bool,
    ) {
        assert_eq!(is_step(&rolling(), &status(3, conditions)), expected);
    }

    #[test]
    fn nothing_is_a_step_without_a_rollout_or_for_another_specification() {
        let fine = |replicas| status(replicas, &[("Ready", "True", "AsSpecified")]);
        assert!(!is_step(&fine(1), &fine(2)));
        let other = WsGatewayStatus { observed_generation: Some(2), ..rolling() };
        assert!(!is_step(&rolling(), &other));
    }
}
