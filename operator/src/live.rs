//! The live part of a configuration: pods have it within seconds of its change.
//!
//! The kubelet brings a changed ConfigMap to a pod when it next looks at that pod, which may take a minute; a change of the
//! pod itself makes it look at once. So pods that do not run what they should get an annotation, and another one after a
//! while, until their /status, which the poller asks for, has the hash or it was tried often enough: then the kubelet's own
//! period remains. Nothing is written once the pods have it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use wsgateway_crds::ValidGateway;

use crate::context::Context;
use crate::error::{Error, Stage};
use crate::fleet::{PodFacts, Seen};
use crate::wake::Name;

/// On a pod: which live part it was made to look for last.
pub(crate) const LIVE_HASH: &str = "wsgateway.dev/live-hash";
/// Times between looks, from the first to the last: a kubelet takes a second or two, the gateway another one.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
];
/// Pods changed at the same time, for one WsGateway.
const AT_ONCE: usize = 8;
/// Pods are asked so long before a look: who is slow is seen at the next one.
const ANSWER: Duration = Duration::from_millis(500);
/// WsGateways remembered; what is forgotten is looked at again.
const MOST: usize = 20_000;

/// How far each WsGateway's live part has come.
#[derive(Debug, Default)]
pub(crate) struct Spread(Mutex<HashMap<(String, String), Progress>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    hash: String,
    /// It has changed while we were here: no pod can have had it from its start.
    is_fresh: bool,
    looks: usize,
    /// `None`: nothing is left to do.
    next: Option<Instant>,
}

/// A pod as it was found.
#[derive(Clone, Debug, Default)]
struct Found {
    name: String,
    /// What it was made to look for last.
    asked: Option<String>,
    /// What it says that it runs; `None` when it says nothing.
    runs: Option<String>,
    /// Why it does not run what its files say.
    problem: Option<String>,
}

impl Progress {
    /// What is to be done for a live part, after what was known before.
    fn begin(before: Option<&Self>, hash: &str, now: Instant) -> Self {
        match before {
            Some(same) if same.hash == hash => same.clone(),
            other => {
                Self { hash: hash.to_owned(), is_fresh: other.is_some(), looks: 0, next: Some(now) }
            }
        }
    }

    /// The pods to change, each with the value of its annotation.
    fn changes(&self, pods: &[Found]) -> Vec<(String, String)> {
        let behind = pods.iter().filter(|pod| match &pod.runs {
            Some(runs) => *runs != self.hash,
            // It may be on its way up. Once is enough: nobody can tell whether another change would help.
            None => self.is_fresh && self.looks == 0,
        });
        let value = |pod: &Found| match &pod.asked {
            // Only another value is a change.
            Some(asked) if asked.starts_with(&self.hash) => format!("{}.{}", self.hash, self.looks),
            _ => self.hash.clone(),
        };
        behind.map(|pod| (pod.name.clone(), value(pod))).collect()
    }

    /// What follows a look.
    fn after(mut self, pods: &[Found], now: Instant) -> Self {
        let all_have_it =
            pods.iter().all(|pod| pod.runs.as_ref().is_none_or(|it| *it == self.hash));
        self.next = match PAUSES.get(self.looks) {
            Some(pause) if !all_have_it => Some(now + *pause),
            _ => None,
        };
        self.looks += 1;
        self
    }
}

impl Spread {
    fn begin(&self, key: &(String, String), hash: &str, now: Instant) -> Progress {
        Progress::begin(self.lock().get(key), hash, now)
    }

    fn note(&self, key: (String, String), progress: Progress) {
        let mut all = self.lock();
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key, progress);
    }

    /// Time until the pods of a WsGateway are to be looked at again; `None`: there is no need, or the next sync does it.
    pub(crate) fn wait(&self, namespace: &str, gateway: &str, now: Instant) -> Option<Duration> {
        let key = (namespace.to_owned(), gateway.to_owned());
        let next = self.lock().get(&key)?.next?;
        next.checked_duration_since(now)
    }

    /// Forgets a WsGateway that is deleted.
    pub(crate) fn forget(&self, namespace: &str, gateway: &str) {
        self.lock().remove(&(namespace.to_owned(), gateway.to_owned()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes one step towards pods that all run the live part with this hash. That it cannot is no reason to hold up anything
/// else: the kubelet brings it in its own time.
pub(crate) async fn spread(gateway: &ValidGateway, hash: &str, context: &Context) {
    let key = (gateway.namespace.clone(), gateway.name.clone());
    let now = Instant::now();
    let progress = context.spread.begin(&key, hash, now);
    if progress.next.is_none_or(|next| next > now) {
        return;
    }
    let name = Name::new(&gateway.namespace, &gateway.name);
    let facts = context.pods.of(&name);
    if !*context.pods.listed().borrow() || (!progress.is_fresh && are_to_be_asked(&facts)) {
        // Their watch or their answers wake us.
        return;
    }
    let pods: Vec<Found> = facts.iter().filter(|pod| pod.is_current()).map(Found::of).collect();
    let changes = progress.changes(&pods);
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &gateway.namespace);
    let changed = stream::iter(changes)
        .map(|(name, value)| change(&api, name, value))
        .buffer_unordered(AT_ONCE)
        .filter_map(|done| std::future::ready(done.err()))
        .collect::<Vec<_>>();
    for error in changed.await.iter().take(1) {
        report(error, context);
    }
    let progress = progress.after(&pods, Instant::now());
    match progress.next {
        Some(next) => context.pods.ask_at(&name, next.checked_sub(ANSWER).unwrap_or(next)),
        None => conclude(gateway, &progress, &pods, context),
    }
    context.spread.note(key, progress);
}

fn report(error: &Error, context: &Context) {
    context.metrics.problem(error.stage.as_str(), error.reason);
    tracing::warn!(%error, "pods have a changed configuration when their kubelet brings it");
}

/// Reports pods that have not taken the configuration up, however often they were made to look.
fn conclude(gateway: &ValidGateway, progress: &Progress, pods: &[Found], context: &Context) {
    let behind = |pod: &&Found| pod.runs.as_ref().is_some_and(|runs| *runs != progress.hash);
    for pod in pods.iter().filter(behind) {
        context.metrics.problem("apply", "LiveConfigNotTaken");
        tracing::warn!(
            namespace = gateway.namespace,
            pod = pod.name,
            problem = pod.problem.as_deref().unwrap_or("its kubelet has not brought it yet"),
            "a pod does not run the newest configuration"
        );
    }
}

/// Whether pods that take clients are about to be asked for the first time, as after a start of the operator.
fn are_to_be_asked(pods: &[PodFacts]) -> bool {
    pods.iter().any(|pod| pod.takes_clients() && pod.seen == Seen::NotAsked)
}

impl Found {
    fn of(pod: &PodFacts) -> Self {
        let report = pod.report();
        Self {
            name: pod.view.name.clone(),
            asked: pod.view.live_asked.clone(),
            runs: report.and_then(|report| report.live_hash.clone()),
            problem: report.and_then(|report| report.config_problem.clone()),
        }
    }
}

/// Changes a pod, so that its kubelet looks at it.
async fn change(api: &Api<Pod>, name: String, value: String) -> Result<(), Error> {
    let patch = json!({ "metadata": { "annotations": { LIVE_HASH: value } } });
    match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::kube(Stage::Apply, &format!("pod {name}"), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, asked: Option<&str>, runs: Option<&str>) -> Found {
        let text = |text: &str| text.to_owned();
        Found { name: text(name), asked: asked.map(text), runs: runs.map(text), problem: None }
    }

    fn changes(progress: &Progress, pods: &[Found]) -> Vec<(String, String)> {
        progress.changes(pods)
    }

    #[test]
    fn an_operator_that_starts_leaves_pods_alone_that_run_what_they_should_or_say_nothing() {
        let now = Instant::now();
        let first = Progress::begin(None, "new", now);
        let pods = [pod("a", None, Some("new")), pod("b", None, None), pod("c", None, Some("old"))];
        assert_eq!(changes(&first, &pods), [("c".to_owned(), "new".to_owned())]);
        let settled = first.after(&pods[..2], now);
        assert_eq!(settled.next, None);
        assert_eq!(Progress::begin(Some(&settled), "new", now), settled);
    }

    #[test]
    fn a_change_reaches_every_pod_and_those_that_stay_behind_are_changed_again_and_not_for_ever() {
        let mut now = Instant::now();
        let before = Progress::begin(None, "old", now).after(&[], now);
        let mut progress = Progress::begin(Some(&before), "new", now);
        let pods = [pod("a", Some("old"), Some("old")), pod("b", None, None)];
        let new = |name: &str| (name.to_owned(), "new".to_owned());
        assert_eq!(changes(&progress, &pods), [new("a"), new("b")]);
        let behind = [pod("a", Some("new"), Some("old")), pod("b", Some("new"), None)];
        let mut values = Vec::new();
        progress = progress.after(&pods, now);
        while let Some(next) = progress.next {
            assert!(next > now);
            now = next;
            values.extend(changes(&progress, &behind));
            progress = progress.after(&behind, now);
        }
        assert_eq!(values.len(), PAUSES.len());
        values.dedup();
        assert_eq!(values.len(), PAUSES.len(), "each is another value: {values:?}");
        assert!(values.iter().all(|(name, value)| name == "a" && value.starts_with("new.")));
    }

    #[test]
    fn when_all_pods_that_answer_have_it_nothing_is_left_to_do() {
        let now = Instant::now();
        let progress = Progress::begin(None, "new", now);
        let after = progress.clone().after(&[pod("a", None, Some("old"))], now);
        assert_eq!(after.next, Some(now + PAUSES[0]));
        let pods = [pod("a", Some("new"), Some("new")), pod("b", None, None)];
        assert_eq!(after.after(&pods, now).next, None);
    }
}
