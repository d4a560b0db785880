use k8s_openapi::api::apps::v1::DeploymentStatus;

use super::*;

const PACE: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn gateway() -> WsGateway {
    let manifest = include_str!("../../../manifests/samples/odin.yaml");
    let mut gateway = wsgateway_crds::parse(manifest).unwrap();
    gateway.metadata.generation = Some(3);
    gateway
}

fn findings<'a>(stream: Verdict, pods: Verdict) -> Findings<'a> {
    Findings::of(&gateway()).with(STREAM_READY, stream).with(GATEWAY_READY, pods)
}

fn yes() -> Verdict {
    Verdict::yes("Fine", "fine")
}

fn computed(
    findings: &Findings<'_>,
    previous: Option<&WsGatewayStatus>,
    second: i64,
) -> WsGatewayStatus {
    compute(findings, previous, at(second), PACE)
}

fn condition<'a>(status: &'a WsGatewayStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.type_ == kind).unwrap()
}

#[test]
fn a_condition_remembers_since_when_until_it_turns() {
    let first = computed(&findings(yes(), yes()), None, 1);
    let other = Verdict::yes("Other", "words");
    let same = computed(&findings(yes(), other), Some(&first), 2);
    assert_eq!(condition(&same, GATEWAY_READY).last_transition_time, Time(at(1)));
    let turned = computed(&findings(yes(), Verdict::no("Bad", "")), Some(&same), 3);
    assert_eq!(condition(&turned, GATEWAY_READY).last_transition_time, Time(at(3)));
    assert_eq!(condition(&turned, STREAM_READY).last_transition_time, Time(at(1)));
}

#[test]
fn the_same_findings_make_the_same_status_and_no_transition() {
    let found = findings(yes(), yes());
    let first = computed(&found, None, 1);
    let second = computed(&found, Some(&first), 9);
    assert_eq!(first, second);
    assert!(transitions(Some(&first), &second, &found).is_empty());
    assert_eq!(transitions(None, &first, &found).len(), 2);
}

#[test]
fn what_is_left_out_stays_and_what_says_nothing_any_more_is_removed() {
    let first = computed(&findings(yes(), yes()).with(PAUSED, yes()), None, 1);
    let invalid = Findings::of(&gateway()).with(READY, Verdict::no("SpecInvalid", "no"));
    let status = computed(&invalid.set(PAUSED, None), Some(&first), 2);
    assert_eq!(condition(&status, READY).reason, "SpecInvalid");
    assert_eq!(condition(&status, STREAM_READY), condition(&first, STREAM_READY));
    assert!(status.conditions.iter().all(|condition| condition.type_ != PAUSED));
}

#[test]
fn the_column_counts_ready_pods_of_the_pods_wanted() {
    let counted =
        DeploymentStatus { replicas: Some(4), ready_replicas: Some(2), ..Default::default() };
    let deployment = Deployment { status: Some(counted), ..Deployment::default() };
    let fleet = Fleet { deployment: Some(&deployment), wanted: 3, pods: &[] };
    let found = Findings { fleet: Some(fleet), ..findings(yes(), yes()) };
    let status = computed(&found, None, 1);
    assert_eq!(status.pods_ready.as_deref(), Some("2/3"));
    assert_eq!((status.replicas, status.ready_replicas), (4, 2));
}

#[test]
fn what_was_planned_is_no_warning_and_what_two_conditions_say_is_one_event() {
    let starting = Verdict::no("PodsNotReady", "1 of 3").planned();
    let found = findings(yes(), starting).with(DEGRADED, Verdict::no("NoProblem", ""));
    let status = computed(&found, None, 1);
    let news: Vec<(String, bool)> = transitions(None, &status, &found)
        .into_iter()
        .filter(|transition| transition.is_news)
        .map(|transition| (transition.condition.reason.clone(), transition.is_good))
        .collect();
    assert_eq!(news, [("Fine".to_owned(), true), ("PodsNotReady".to_owned(), true)]);

    let crash = || Verdict::no("CrashLoopBackOff", "pod a");
    let degraded = Verdict { holds: true, ..crash() };
    let found = findings(yes(), crash()).with(DEGRADED, degraded);
    let after = computed(&found, Some(&status), 2);
    let transitions = transitions(Some(&status), &after, &found);
    assert_eq!(transitions.iter().filter(|transition| transition.is_news).count(), 1);
    assert!(transitions.iter().all(|transition| !transition.is_good));
}

#[test]
fn a_message_is_cut_to_what_fits_into_a_condition() {
    let long = Verdict::no("Long", "ä".repeat(LONGEST_MESSAGE));
    let status = computed(&findings(yes(), long), None, 1);
    assert_eq!(condition(&status, GATEWAY_READY).message.len(), LONGEST_MESSAGE);
}
