use serde_json::json;

use super::*;

const PACE: Pace = Pace { poll: Duration::from_secs(10), numbers: Duration::from_secs(60) };

fn pod(name: &str, uid: &str, ready: bool) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "trading", "uid": uid,
            "labels": { "app.kubernetes.io/instance": "odin" } },
        "status": { "podIP": "10.0.0.1",
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
    }))
    .unwrap()
}

fn report(connections: u32) -> Option<Report> {
    Some(Report::of_a_good_pod(connections))
}

fn key() -> Name {
    Name::new("trading", "odin")
}

#[test]
fn a_watch_that_lists_anew_forgets_the_pods_that_are_gone() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    for name in ["a", "b"] {
        assert_eq!(pods.apply(&Event::Apply(pod(name, name, true)), now), [key()]);
    }
    assert!(pods.apply(&Event::Apply(pod("a", "a", true)), now).is_empty(), "nothing changed");
    pods.apply(&Event::Init, now);
    pods.apply(&Event::InitApply(pod("b", "b", true)), now);
    assert_eq!(pods.of(&key()).len(), 2, "the list is not complete yet");
    assert_eq!(pods.apply(&Event::InitDone, now), [key()]);
    assert_eq!(pods.of(&key())[0].view.name, "b");
    assert_eq!(pods.apply(&Event::Delete(pod("b", "b", true)), now), [key()]);
    assert!(pods.of(&key()).is_empty() && pods.lock().is_empty());
}

#[test]
fn the_list_of_one_namespace_says_nothing_about_another() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    let mut elsewhere = pod("b", "b", true);
    elsewhere.metadata.namespace = Some("other".to_owned());
    pods.apply(&Event::Apply(pod("a", "a", true)), now);
    pods.apply(&Event::Apply(elsewhere), now);
    // As the list of a namespace that has none any more.
    for gone in pods.known("other") {
        assert_eq!(pods.apply(&Event::Delete(gone), now), [Name::new("other", "odin")]);
    }
    assert_eq!((pods.of(&key()).len(), pods.lock().len()), (1, 1));
}

#[test]
fn pods_of_a_node_out_of_service_are_leaving_and_their_wsgateways_are_woken() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    for (name, node) in [("a", "one"), ("b", "two")] {
        let mut pod = pod(name, name, true);
        pod.spec =
            Some(serde_json::from_value(json!({ "nodeName": node, "containers": [] })).unwrap());
        pods.apply(&Event::Apply(pod), now);
    }
    let leaving = || pods.of(&key()).iter().map(|pod| pod.leaving).collect::<Vec<_>>();
    let nodes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(pods.cordon(nodes(&["three"])), []);
    assert_eq!(pods.cordon(nodes(&["two", "three"])), [key()]);
    assert_eq!(leaving(), [false, true]);
    assert_eq!(pods.cordon(nodes(&["two"])), []);
    assert_eq!(pods.cordon(nodes(&[])), [key()]);
    assert_eq!(leaving(), [false, false]);
}

#[test]
fn pods_that_may_have_news_are_asked_earlier_than_it_is_their_turn() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    pods.apply(&Event::Apply(pod("a", "1", true)), now);
    let target = pods.due(now, |_| true).pop().unwrap();
    pods.answered(&target, report(3), now, 0.5);
    let soon = now + Duration::from_secs(2);
    assert!(pods.due_peek(soon).is_empty());
    pods.ask_at(&key(), soon);
    assert!(pods.due_peek(now).is_empty());
    assert_eq!(pods.due_peek(soon), ["a"]);
    pods.ask_at(&key(), now + LONGEST_PAUSE);
    assert_eq!(pods.due_peek(soon), ["a"], "never later");
}

#[test]
fn pods_of_wsgateways_that_another_operator_keeps_are_not_asked() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    pods.apply(&Event::Apply(pod("a", "1", true)), now);
    assert!(pods.due(now, |_| false).is_empty());
    assert_eq!(pods.due(now, |kept| *kept == key()).len(), 1);
}

#[test]
fn a_pod_is_asked_once_at_a_time_and_a_silent_one_ever_more_rarely() {
    let (pods, begin) = (Pods::new(PACE), Instant::now());
    pods.apply(&Event::Apply(pod("a", "1", true)), begin);
    let mut now = begin;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let target = pods.due(now, |_| true).pop().unwrap();
        assert!(pods.due(now + LONGEST_PAUSE, |_| true).is_empty(), "it is being asked");
        pods.answered(&target, None, now, 0.5);
        let pause = (1..).find(|s| !pods.due_peek(now + Duration::from_secs(*s)).is_empty());
        pauses.push(pause.unwrap());
        now += Duration::from_secs(pause.unwrap());
    }
    assert_eq!(pauses, [10, 10, 20, 40, 60, 60]);
}

#[test]
fn one_failure_keeps_the_report_and_two_do_not() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    pods.apply(&Event::Apply(pod("a", "1", true)), now);
    let target = pods.due(now, |_| true).pop().unwrap();
    assert_eq!(pods.of(&key())[0].seen, Seen::NotAsked);
    pods.answered(&target, report(3), now, 0.5);
    pods.answered(&target, None, now, 0.5);
    assert!(matches!(&pods.of(&key())[0].seen, Seen::Answered(report) if report.connections == 3));
    pods.answered(&target, None, now, 0.5);
    assert_eq!(pods.of(&key())[0].seen, Seen::Silent);
}

#[test]
fn silence_while_a_pod_starts_is_forgotten_when_it_is_ready() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    pods.apply(&Event::Apply(pod("a", "1", false)), now);
    let target = pods.due(now, |_| true).pop().unwrap();
    pods.answered(&target, None, now, 0.5);
    assert_eq!(pods.of(&key())[0].seen, Seen::Silent);
    pods.apply(&Event::Apply(pod("a", "1", true)), now);
    assert_eq!(pods.of(&key())[0].seen, Seen::NotAsked);
    assert_eq!(pods.due(now, |_| true).len(), 1, "it is asked at once");
}

#[test]
fn the_answer_of_a_pod_that_was_replaced_is_not_its_successor_s() {
    let (pods, now) = (Pods::new(PACE), Instant::now());
    pods.apply(&Event::Apply(pod("a", "old", true)), now);
    let target = pods.due(now, |_| true).pop().unwrap();
    pods.apply(&Event::Apply(pod("a", "new", true)), now);
    pods.answered(&target, report(3), now, 0.5);
    assert_eq!(pods.of(&key())[0].seen, Seen::NotAsked);
}

#[test]
fn a_wsgateway_is_woken_for_what_is_worth_writing_and_for_nothing_else() {
    let (pods, begin) = (Pods::new(PACE), Instant::now());
    pods.apply(&Event::Apply(pod("a", "1", true)), begin);
    let target = pods.due(begin, |_| true).pop().unwrap();
    let after = |connections, seconds| {
        let now = begin + Duration::from_secs(seconds);
        pods.answered(&target, report(connections), now, 0.5);
        !pods.worth_telling(now).is_empty()
    };
    assert!(after(50, 0), "the first answer");
    assert!(!after(50, 10));
    assert!(!after(52, 100), "4 %");
    assert!(after(70, 101), "20 more");
    assert!(!after(75, 110), "5 more, a moment later");
    assert!(after(75, 170), "5 more, a minute later");
    assert!(after(100, 171) && !after(99, 300), "full, and still so");
    assert!(pods.worth_telling(begin).is_empty(), "no answer since");
}
