//! What is wrong with a pod, by name, and what to do (pure). Messages hold nothing that moves, such as the number of
//! restarts, or each would be a write.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::view::{Ended, PodView};

/// An end of the container that is longer ago is history.
const RECENT: Duration = Duration::from_secs(600);
/// A gateway is ready seconds after its start, or as soon as its source is: longer needs a look.
const SLOW_START: Duration = Duration::from_secs(120);

/// What is wrong with one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// For conditions and events.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What is wrong with a pod now. One that hands over its clients is as it should be.
pub(crate) fn problem(pod: &PodView, now: Timestamp) -> Option<Problem> {
    let found = |reason, message| Some(Problem { reason, message });
    let recent = |end: &&Ended| end.at.is_some_and(|at| elapsed(at, now) < RECENT);
    if let Some(end) = &pod.ended {
        // Its successor is a pod of its own; the object may stay for weeks.
        let recent = recent(&end).then(|| ended(pod, end));
        return recent.map(|message| Problem { reason: "PodEnded", message });
    }
    if pod.terminating {
        return None;
    }
    if let Some(why) = &pod.unschedulable {
        return found(
            "Unschedulable",
            format!("no node takes it ({why}): add nodes, or change spec.pod"),
        );
    }
    if let Some((reason, message)) = &pod.waiting
        && let Some(problem) = waiting(pod, reason, message)
    {
        return Some(problem);
    }
    let end = pod.last_end.as_ref().filter(recent);
    match end {
        Some(end) if end.reason == "OOMKilled" => found(
            "OOMKilled",
            "its container ran out of memory: raise spec.pod.resources.limits.memory, or leave resources out and lower \
             spec.capacity"
                .to_owned(),
        ),
        Some(end) if !pod.ready => found("CrashLoopBackOff", crashed(pod, end)),
        Some(end) => found("Restarted", crashed(pod, end)),
        None if pod.ready => None,
        None if pod.container_ready => found(
            "NodeSilent",
            match &pod.node {
                Some(node) => format!("its node {node} does not report any more: see kubectl describe node {node}"),
                None => "its node does not report any more: see kubectl describe node".to_owned(),
            },
        ),
        None if pod.since.is_some_and(|since| elapsed(since, now) >= SLOW_START) => found(
            "NotReady",
            format!("it runs and is not ready for over two minutes: {}", logs(pod, "")),
        ),
        None => None,
    }
}

fn waiting(pod: &PodView, reason: &str, message: &str) -> Option<Problem> {
    let (reason, message) = match reason {
        // The two take turns.
        "ImagePullBackOff"
        | "ErrImagePull"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable" => (
            "ImagePullBackOff",
            format!(
                "image {} cannot be pulled: check spec.pod.image and spec.pod.imagePullSecrets, or the operator's \
                 --gateway-image",
                pod.image
            ),
        ),
        "CrashLoopBackOff" => {
            let end = pod.last_end.clone().unwrap_or_default();
            if end.reason == "OOMKilled" {
                return None;
            }
            ("CrashLoopBackOff", crashed(pod, &end))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            ("ContainerNotCreated", format!("its container cannot be created ({message})"))
        }
        // ContainerCreating, PodInitializing: on its way.
        _ => return None,
    };
    Some(Problem { reason, message })
}

fn crashed(pod: &PodView, end: &Ended) -> String {
    format!(
        "its container ended with exit code {} and is started again: {}",
        end.exit_code,
        logs(pod, " --previous")
    )
}

fn logs(pod: &PodView, how: &str) -> String {
    format!("kubectl logs {}{how} says why", pod.name)
}

fn ended(pod: &PodView, end: &Ended) -> String {
    let node = pod.node.as_deref().unwrap_or("its node");
    format!("it ended on {node} ({}: {}); another one takes its place", end.reason, end.message)
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn pod(conditions: &Value, container: &Value) -> PodView {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "odin-gateway-x", "namespace": "trading" },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "gateway", "image": "example.com/gateway:9" }] },
            "status": { "phase": "Running", "podIP": "10.0.0.1", "conditions": conditions, "containerStatuses": [container] },
        }))
        .unwrap();
        PodView::of(&pod)
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn ready(state: &str, minute: i64) -> Value {
        json!({ "type": "Ready", "status": state, "lastTransitionTime": at(minute).to_string() })
    }

    fn container(ready: bool, state: Value, last: Value) -> Value {
        json!({ "name": "gateway", "image": "i", "imageID": "", "ready": ready, "restartCount": 1,
            "state": state, "lastState": last })
    }

    fn terminated(reason: &str, code: i32, minute: i64) -> Value {
        json!({ "terminated": { "reason": reason, "exitCode": code, "finishedAt": at(minute).to_string() } })
    }

    fn waiting(reason: &str) -> Value {
        json!({ "waiting": { "reason": reason, "message": "as the kubelet says" } })
    }

    fn running() -> Value {
        json!({ "running": {} })
    }

    #[rstest]
    #[case::serving(ready("True", 1), container(true, running(), json!({})), None)]
    #[case::starting(ready("False", 9), container(false, waiting("ContainerCreating"), json!({})), None)]
    #[case::slow(ready("False", 1), container(false, running(), json!({})), Some("NotReady"))]
    #[case::pull(ready("False", 9), container(false, waiting("ErrImagePull"), json!({})), Some("ImagePullBackOff"))]
    #[case::back_off(ready("False", 9), container(false, waiting("ImagePullBackOff"), json!({})), Some("ImagePullBackOff"))]
    #[case::config(ready("False", 9), container(false, waiting("CreateContainerConfigError"), json!({})), Some("ContainerNotCreated"))]
    #[case::crashed(ready("False", 9), container(false, terminated("Error", 1, 9), json!({})), Some("CrashLoopBackOff"))]
    #[case::crash_loop(
        ready("False", 9),
        container(false, waiting("CrashLoopBackOff"), terminated("Error", 1, 9)),
        Some("CrashLoopBackOff")
    )]
    #[case::crashing(
        ready("False", 9),
        container(false, running(), terminated("Error", 1, 9)),
        Some("CrashLoopBackOff")
    )]
    #[case::oom_loop(
        ready("False", 9),
        container(false, waiting("CrashLoopBackOff"), terminated("OOMKilled", 137, 9)),
        Some("OOMKilled")
    )]
    #[case::oom(
        ready("True", 9),
        container(true, running(), terminated("OOMKilled", 137, 9)),
        Some("OOMKilled")
    )]
    #[case::restarted(
        ready("True", 9),
        container(true, running(), terminated("Error", 101, 9)),
        Some("Restarted")
    )]
    #[case::long_ago(ready("True", -60), container(true, running(), terminated("OOMKilled", 137, -60)), None)]
    #[case::node_lost(ready("False", 9), container(true, running(), json!({})), Some("NodeSilent"))]
    fn a_pod_s_problem_is_named(
        #[case] ready: Value,
        #[case] container: Value,
        #[case] reason: Option<&str>,
    ) {
        let found = problem(&pod(&json!([ready]), &container), at(10));
        assert_eq!(found.as_ref().map(|problem| problem.reason), reason, "{found:?}");
    }

    #[test]
    fn a_pod_that_no_node_takes_has_the_scheduler_s_words() {
        let scheduled = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient memory." });
        let pod = pod(&json!([scheduled]), &container(false, json!({}), json!({})));
        let found = problem(&pod, at(10)).unwrap();
        assert_eq!(found.reason, "Unschedulable");
        assert!(found.message.contains("3 Insufficient memory"), "{found:?}");
    }

    #[test]
    fn an_evicted_pod_is_a_problem_for_a_while_and_a_deleted_one_is_none() {
        let mut pod = pod(&json!([ready("False", 9)]), &container(false, json!({}), json!({})));
        let at_nine = Some(at(9));
        pod.ended = Some(Ended { reason: "Evicted".into(), at: at_nine, ..Ended::default() });
        assert_eq!(problem(&pod, at(10)).map(|problem| problem.reason), Some("PodEnded"));
        assert_eq!(problem(&pod, at(60)), None);
        pod.ended = None;
        pod.terminating = true;
        assert_eq!(problem(&pod, at(60)), None);
    }
}
