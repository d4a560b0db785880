//! The pods as the status lists them (pure).

use k8s_openapi::jiff::Timestamp;
use wsgateway_crds::{PodStatus, WsGatewayStatus};

use super::numbers::{round, round_lag};
use crate::fleet::{self, PodFacts, Seen};
use crate::text::cut;

/// A status must stay readable, and small.
const LISTED: usize = 50;
/// As the schema has it.
const LONGEST_PROBLEM: usize = 512;

/// Enters pods and their sums. A pod that has not been asked yet, as after a restart of the operator, keeps what was known.
pub(super) fn enter(
    status: &mut WsGatewayStatus,
    pods: &[PodFacts],
    previous: Option<&WsGatewayStatus>,
    now: Timestamp,
) {
    let known = previous.map(|status| status.pods.as_slice()).unwrap_or_default();
    let mut listed: Vec<PodStatus> = pods
        .iter()
        // Pods that have ended stay for weeks, to be looked at; they serve nobody.
        .filter(|pod| pod.view.ended.is_none())
        .map(|pod| entry(pod, known.iter().find(|known| known.name == pod.view.name), now))
        .collect();
    let more = listed.len().saturating_sub(LISTED);
    if more > 0 {
        listed.sort_by_key(|pod| pod.problem.is_none());
        listed.truncate(LISTED);
        listed.sort_by(|one, other| one.name.cmp(&other.name));
    }
    status.pods = listed;
    status.more_pods = i32::try_from(more).ok().filter(|more| *more > 0);

    let unknown = pods.iter().any(|pod| pod.takes_clients() && pod.seen == Seen::NotAsked);
    if unknown && known.iter().any(|pod| pod.connections.is_some()) {
        return;
    }
    let load = fleet::load(pods);
    status.connections = load.map(|(connections, _)| round(connections));
    status.capacity_percent =
        load.and_then(|(connections, capacity)| percent(connections, capacity));
}

fn entry(pod: &PodFacts, known: Option<&PodStatus>, now: Timestamp) -> PodStatus {
    let report = pod.report();
    let state = pod.state();
    let problem = fleet::problem(&pod.view, now)
        .map(|problem| format!("{}: {}", problem.reason, problem.message));
    // What its source says matters most where Kubernetes finds nothing wrong.
    let source_error = || {
        let report = report.filter(|report| !report.is_live() && !report.draining)?;
        report.error.as_deref().map(|error| format!("source {}: {error}", report.source.as_str()))
    };
    let config_problem = || {
        let problem = report?.config_problem.as_deref()?;
        Some(format!("runs an older configuration: {problem}"))
    };
    let fresh = PodStatus {
        name: pod.view.name.clone(),
        node: pod.view.node.clone(),
        state,
        connections: report.map(|report| round(i64::from(report.connections))),
        source: report.map(|report| report.source.as_str().to_owned()),
        lag_messages: report.map(|report| round_lag(report.lag_messages)),
        config_hash: report.and_then(|report| report.config_hash.clone()),
        live_hash: report.and_then(|report| report.live_hash.clone()),
        problem: problem
            .or_else(source_error)
            .or_else(config_problem)
            .map(|problem| cut(&problem, LONGEST_PROBLEM)),
    };
    match known {
        Some(known) if pod.seen == Seen::NotAsked && pod.takes_clients() => {
            PodStatus { node: fresh.node, ..known.clone() }
        }
        _ => fresh,
    }
}

fn percent(connections: i64, capacity: i64) -> Option<i32> {
    (capacity > 0)
        .then(|| i32::try_from(connections.saturating_mul(100) / capacity).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::PodState;

    use super::*;
    use crate::fleet::{PodView, Report, Source};

    fn pod(name: &str, seen: Seen) -> PodFacts {
        let view = PodView { name: name.into(), ready: true, ..PodView::default() };
        PodFacts { view, seen, full: false, leaving: false }
    }

    fn report(connections: u32, source: Source) -> Seen {
        Seen::Answered(Report {
            connections,
            capacity: 2_000,
            draining: false,
            config_hash: Some("abc".into()),
            live_hash: Some("def".into()),
            config_problem: None,
            source,
            lag_messages: 12,
            error: Some("permission denied".into()),
            ..Report::of_a_good_pod(0)
        })
    }

    fn at() -> Timestamp {
        Timestamp::from_second(9_000).unwrap()
    }

    fn entered(pods: &[PodFacts], previous: Option<&WsGatewayStatus>) -> WsGatewayStatus {
        let mut status = previous.cloned().unwrap_or_default();
        enter(&mut status, pods, previous, at());
        status
    }

    #[test]
    fn sums_and_entries_are_of_the_pods_that_answer() {
        let pods = [
            pod("a", report(1_234, Source::Live)),
            pod("b", report(6, Source::Unauthorized)),
            pod("c", Seen::Silent),
        ];
        let status = entered(&pods, None);
        assert_eq!((status.connections, status.capacity_percent), (Some(1_240), Some(31)));
        let problems: Vec<Option<&str>> =
            status.pods.iter().map(|pod| pod.problem.as_deref()).collect();
        assert_eq!(problems, [None, Some("source unauthorized: permission denied"), None]);
        assert_eq!(status.pods[0].connections, Some(1_230));
        assert_eq!(status.pods[2].connections, None);
    }

    #[test]
    fn after_a_restart_of_the_operator_what_was_known_stays_until_pods_are_asked() {
        let before = entered(&[pod("a", report(9, Source::Live))], None);
        let after = entered(&[pod("a", Seen::NotAsked)], Some(&before));
        assert_eq!(after, before);
        let silent = entered(&[pod("a", Seen::Silent)], Some(&before));
        assert_eq!((silent.connections, silent.pods[0].connections), (None, None));
    }

    #[test]
    fn of_very_many_pods_those_with_a_problem_are_listed() {
        let mut pods: Vec<PodFacts> =
            (0..80).map(|n| pod(&format!("p{n:02}"), report(1, Source::Live))).collect();
        pods[79] = pod("p79", report(1, Source::Error));
        let status = entered(&pods, None);
        assert_eq!((status.pods.len(), status.more_pods), (50, Some(30)));
        assert_eq!(status.pods[49].name, "p79");
        assert_eq!(status.connections, Some(80));
    }

    #[test]
    fn a_pod_that_is_deleted_drains_and_its_places_do_not_count() {
        let mut leaving = pod("a", report(100, Source::Live));
        leaving.view.terminating = true;
        let status = entered(&[leaving, pod("b", report(100, Source::Live))], None);
        assert_eq!(status.pods[0].state, PodState::Draining);
        assert_eq!((status.connections, status.capacity_percent), (Some(200), Some(10)));
    }
}
