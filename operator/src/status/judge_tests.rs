use k8s_openapi::api::apps::v1::DeploymentStatus;
use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::fleet::{PodView, Report, Source};

fn now() -> Timestamp {
    Timestamp::from_second(10_000).unwrap()
}

fn deployment(ready: i32) -> Deployment {
    Deployment {
        status: Some(DeploymentStatus {
            replicas: Some(2),
            updated_replicas: Some(2),
            ready_replicas: Some(ready),
            ..DeploymentStatus::default()
        }),
        ..Deployment::default()
    }
}

fn pod(name: &str, ready: bool, seen: Seen) -> PodFacts {
    let view = PodView { name: name.into(), ready, ..PodView::default() };
    PodFacts { view, seen, full: false, leaving: false }
}

fn source(source: Source) -> Seen {
    Seen::Answered(Report {
        connections: 1,
        capacity: 10,
        draining: false,
        config_hash: None,
        live_hash: None,
        config_problem: None,
        source,
        lag_messages: 0,
        error: (source != Source::Live).then(|| "user is not allowed".to_owned()),
        ..Report::of_a_good_pod(0)
    })
}

fn crashing(name: &str) -> PodFacts {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": name },
        "status": { "containerStatuses": [{ "name": "gateway", "image": "i", "imageID": "", "ready": false,
            "restartCount": 7, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 2, "finishedAt": now().to_string() } } }] },
    }))
    .unwrap();
    PodFacts { view: PodView::of(&pod), seen: Seen::Silent, full: false, leaving: false }
}

fn facts<'a>(deployment: &'a Deployment, pods: &'a [PodFacts]) -> Facts<'a> {
    Facts {
        deployment: Some(deployment),
        wanted: 2,
        pods,
        halted: None,
        rollout: None,
        moves: None,
        metric: Registered::Off,
        now: now(),
    }
}

#[rstest]
#[case::one_of_two([source(Source::Live), source(Source::Unauthorized)], Some(true))]
#[case::none([source(Source::Unauthorized), source(Source::Connecting)], Some(false))]
#[case::not_asked([Seen::NotAsked, source(Source::Connecting)], None)]
#[case::cannot_ask([Seen::Silent, Seen::Silent], Some(true))]
fn clients_are_served_where_a_ready_pod_has_a_live_source(
    #[case] seen: [Seen; 2],
    #[case] expected: Option<bool>,
) {
    let deployment = deployment(2);
    let pods = seen.map(|seen| pod("a", true, seen));
    assert_eq!(served(&facts(&deployment, &pods)), expected);
}

#[test]
fn all_pods_without_nats_are_not_ready_and_the_source_says_why() {
    let deployment = deployment(2);
    let pods =
        [pod("a", true, source(Source::Unauthorized)), pod("b", true, source(Source::Error))];
    let facts = facts(&deployment, &pods);
    assert!(gateway(&facts, &deployment).holds, "Kubernetes finds nothing wrong");
    let verdict = ready(&facts, None, true).unwrap();
    assert_eq!((verdict.holds, verdict.reason), (false, "SourceNotLive"));
    assert!(
        verdict.message.contains("pod a: source unauthorized, user is not allowed"),
        "{verdict:?}"
    );
    assert_eq!(degraded(&facts).reason, "SourceNotLive");
}

#[test]
fn ready_takes_the_reason_of_what_is_not_as_specified() {
    let deployment = deployment(2);
    let live = [pod("a", true, source(Source::Live))];
    let broken = Verdict::no("NatsUnreachable", "no server");
    let verdict = ready(&facts(&deployment, &live), Some(&broken), true).unwrap();
    assert_eq!((verdict.holds, verdict.reason), (true, "NatsUnreachable"));
    let fine = ready(&facts(&deployment, &live), None, true).unwrap();
    assert_eq!((fine.holds, fine.reason), (true, "AsSpecified"));
    let starting = [pod("a", false, Seen::Silent)];
    let none = tests::deployment(0);
    let verdict = ready(&facts(&none, &starting), Some(&broken), true).unwrap();
    assert_eq!((verdict.holds, verdict.reason), (false, "NatsUnreachable"));
}

#[test]
fn before_pods_are_asked_ready_stays_as_it_was() {
    let deployment = deployment(1);
    let pods = [pod("a", true, Seen::NotAsked)];
    assert_eq!(ready(&facts(&deployment, &pods), None, true), None);
    let first = ready(&facts(&deployment, &pods), None, false).unwrap();
    assert_eq!((first.holds, first.reason, first.is_planned), (false, "PodsNotAsked", true));
}

#[test]
fn a_crash_is_named_with_its_pods_and_a_scale_up_is_as_planned() {
    let deployment = deployment(1);
    let starting = [pod("a", true, source(Source::Live)), pod("b", false, Seen::NotAsked)];
    let scaled = gateway(&facts(&deployment, &starting), &deployment);
    assert_eq!((scaled.reason, scaled.is_planned), ("PodsNotReady", true));
    assert_eq!(progressing(&facts(&deployment, &starting)).reason, "PodsStarting");
    assert!(!degraded(&facts(&deployment, &starting)).holds);

    let crashed: Vec<PodFacts> = ["p1", "p2", "p3", "p4", "p5"].map(crashing).into();
    let facts = facts(&deployment, &crashed);
    for verdict in [gateway(&facts, &deployment), progressing(&facts), degraded(&facts)] {
        assert_eq!((verdict.reason, verdict.is_planned), ("CrashLoopBackOff", false));
        let words = "kubectl logs p1 --previous";
        assert!(verdict.message.contains(words), "{verdict:?}");
        assert!(verdict.message.contains("and 2 more"), "{verdict:?}");
    }
}

#[test]
fn pods_that_do_not_answer_or_have_no_room_degrade() {
    let deployment = deployment(2);
    let silent = [pod("a", true, Seen::Silent), pod("b", true, source(Source::Live))];
    let verdict = degraded(&facts(&deployment, &silent));
    assert_eq!((verdict.holds, verdict.reason), (true, "PodsSilent"));
    assert!(verdict.message.contains("NetworkPolicies; pod a"), "{verdict:?}");
    let mut full = [pod("a", true, source(Source::Live))];
    full[0].full = true;
    assert_eq!(degraded(&facts(&deployment, &full)).reason, "Full");
}

#[test]
fn a_halt_degrades_and_is_told_with_its_numbers_wherever_it_is_told() {
    let deployment = deployment(2);
    let pods = [pod("a", true, source(Source::Live)), pod("b", true, source(Source::Live))];
    let words = |reason, message: &str| Some(Verdict::no(reason, message));
    let halted = Facts {
        halted: words("RolloutHalted", "50 of 100"),
        rollout: words("RolloutHalted", "1 of 4 pods"),
        ..facts(&deployment, &pods)
    };
    for (verdict, holds) in [
        (degraded(&halted), true),
        (progressing(&halted), false),
        (gateway(&halted, &deployment), false),
    ] {
        assert_eq!((verdict.holds, verdict.reason), (holds, "RolloutHalted"));
        assert!(verdict.message == "50 of 100" && !verdict.is_planned, "{verdict:?}");
    }
    let crashed = [crashing("p1")];
    let both = degraded(&Facts { pods: &crashed, ..halted });
    assert!(both.message.starts_with("50 of 100; pod p1: "), "{both:?}");
    let shrinking =
        Facts { halted: words("ScaleDownHalted", "50 of 100"), ..facts(&deployment, &pods) };
    assert_eq!(progressing(&shrinking).reason, "ScaleDownHalted");
    assert!(gateway(&shrinking, &deployment).holds, "its pods are ready");
}
