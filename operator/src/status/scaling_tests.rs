use rstest::rstest;
use serde_json::json;

use super::*;

/// Type, status and reason of each.
fn told_as(conditions: &[(&str, &str, &str)]) -> Vec<Value> {
    let condition = |(kind, state, reason): &(&str, &str, &str)| json!({ "type": kind, "status": state, "reason": reason, "message": "as it says" });
    conditions.iter().map(condition).collect()
}

fn autoscaler(conditions: &[(&str, &str, &str)], bounds: (i32, i32)) -> HorizontalPodAutoscaler {
    serde_json::from_value(json!({
        "metadata": {},
        "spec": { "minReplicas": bounds.0, "maxReplicas": bounds.1, "scaleTargetRef": { "kind": "", "name": "" } },
        "status": { "desiredReplicas": 1, "conditions": told_as(conditions) },
    }))
    .unwrap()
}

fn told(scaler: &Scaler<'_>, metric: &Registered) -> Option<(bool, &'static str, String)> {
    verdict(scaler, metric).map(|verdict| (verdict.holds, verdict.reason, verdict.message))
}

#[rstest]
#[case("ScalingActive", "False", "FailedGetPodsMetric", Some((false, "NoMetric")))]
#[case("ScalingActive", "False", "ScalingDisabled", Some((false, "ScaledToZero")))]
#[case("ScalingActive", "False", "AmbiguousSelector", Some((false, "SeveralAutoscalers")))]
#[case("AbleToScale", "False", "FailedGetScale", Some((false, "CannotScale")))]
#[case("ScalingActive", "True", "ValidMetricFound", Some((true, "Active")))]
#[case("AbleToScale", "True", "SucceededGetScale", None)]
fn the_autoscaler_s_own_conditions_are_told_in_our_words(
    #[case] kind: &str,
    #[case] state: &str,
    #[case] reason: &str,
    #[case] expected: Option<(bool, &'static str)>,
) {
    let found = autoscaler(&[(kind, state, reason)], (1, 3));
    for source in [MetricsSource::Operator, MetricsSource::Adapter] {
        let scaler = Scaler { source, autoscaler: Some(&found), ..Scaler::default() };
        let verdict = verdict(&scaler, &Registered::Ours);
        assert_eq!(verdict.map(|verdict| (verdict.holds, verdict.reason)), expected);
        let none = Scaler { source, ..Scaler::default() };
        assert_eq!(super::verdict(&none, &Registered::Off), None);
    }
}

#[test]
fn a_number_that_cannot_change_is_not_to_be_raised() {
    let limited = [
        ("ScalingActive", "True", "ValidMetricFound"),
        ("ScalingLimited", "True", "TooManyReplicas"),
    ];
    for (bounds, expected) in [((2, 3), "AtMaximum"), ((3, 3), "Fixed")] {
        let found = autoscaler(&limited, bounds);
        let scaler = Scaler { autoscaler: Some(&found), ..Scaler::default() };
        assert_eq!(verdict(&scaler, &Registered::Ours).unwrap().reason, expected);
    }
}

#[rstest]
#[case(Registered::Taken("Service monitoring/adapter".into()), "Service monitoring/adapter, which serves")]
#[case(Registered::Ours, "but there is none")]
#[case(Registered::Off, "your metrics adapter has no wsgateway_connections")]
fn an_adapter_without_the_metric_is_told_with_the_rules_to_give_it(
    #[case] metric: Registered,
    #[case] expected: &str,
) {
    let found = autoscaler(&[("ScalingActive", "False", "FailedGetPodsMetric")], (1, 3));
    let scaler =
        Scaler { source: MetricsSource::Adapter, autoscaler: Some(&found), ..Scaler::default() };
    let (holds, reason, message) = told(&scaler, &metric).unwrap();
    assert_eq!((holds, reason), (false, "NoMetric"));
    assert!(message.contains(expected) && message.contains(RULES), "{message}");
}

fn scaled(conditions: &[(&str, &str, &str)]) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": { "name": "odin-gateway" },
        "status": { "conditions": told_as(conditions) },
    }))
    .unwrap()
}

const READY: (&str, &str, &str) = ("Ready", "True", "ScaledObjectReady");

#[rstest]
#[case::refused(&[("Ready", "False", "ScaledObjectCheckFailed")], (false, "KedaNotReady"))]
#[case::in_part(&[("Ready", "Unknown", "PartialTriggerError")], (false, "KedaNotReady"))]
#[case::good(&[READY, ("Active", "True", "ScalerActive"), ("Fallback", "False", "")], (true, "Active"))]
#[case::without_clients(&[READY, ("Active", "False", "ScalerNotActive")], (true, "Active"))]
#[case::without_data(&[READY, ("Fallback", "True", "FallbackExists")], (false, "NoMetric"))]
#[case::paused(&[READY, ("Paused", "True", "ScaledObjectPaused")], (false, "KedaPaused"))]
fn what_keda_says_is_told_in_our_words(
    #[case] conditions: &[(&str, &str, &str)],
    #[case] expected: (bool, &str),
) {
    let object = scaled(conditions);
    let active = autoscaler(&[("ScalingActive", "True", "ValidMetricFound")], (1, 3));
    for autoscaler in [None, Some(&active)] {
        let scaler = Scaler {
            source: MetricsSource::Keda,
            autoscaler,
            scaled_object: Some(&object),
            is_stopped: false,
        };
        let verdict = verdict(&scaler, &Registered::Off).unwrap();
        assert_eq!((verdict.holds, verdict.reason), expected, "{verdict:?}");
    }
}

#[rstest]
#[case("FailedGetExternalMetric", "NoMetric")]
#[case("AmbiguousSelector", "SeveralAutoscalers")]
fn what_keda_s_autoscaler_lacks_is_told_before_keda_says_so(
    #[case] reason: &str,
    #[case] expected: &str,
) {
    let object = scaled(&[READY]);
    let found = autoscaler(&[("ScalingActive", "False", reason)], (1, 3));
    let scaler = Scaler {
        source: MetricsSource::Keda,
        autoscaler: Some(&found),
        scaled_object: Some(&object),
        is_stopped: false,
    };
    let (holds, told, message) = told(&scaler, &Registered::Off).unwrap();
    assert_eq!((holds, told), (false, expected));
    assert!(message.contains("the number of pods stays as it is"), "{message}");
}

#[test]
fn a_pause_for_want_of_pods_is_no_pause_by_somebody() {
    let object = scaled(&[READY, ("Paused", "True", "ScaledObjectPaused")]);
    let scaler = Scaler {
        source: MetricsSource::Keda,
        scaled_object: Some(&object),
        is_stopped: true,
        ..Scaler::default()
    };
    assert_eq!(verdict(&scaler, &Registered::Off).unwrap().reason, "ScaledToZero");
}

#[test]
fn before_keda_has_polled_its_autoscaler_says_whether_it_works() {
    let active = autoscaler(&[("ScalingActive", "True", "ValidMetricFound")], (1, 3));
    for conditions in [&[][..], &[("Ready", "Unknown", "")]] {
        let object = scaled(conditions);
        for (autoscaler, expected) in
            [(None, (false, "KedaSilent")), (Some(&active), (true, "Active"))]
        {
            let scaler = Scaler {
                source: MetricsSource::Keda,
                autoscaler,
                scaled_object: Some(&object),
                is_stopped: false,
            };
            let verdict = verdict(&scaler, &Registered::Off).unwrap();
            assert_eq!((verdict.holds, verdict.reason), expected);
        }
    }
}
