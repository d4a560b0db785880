//! The watches that fill the inventory. Each is a task: trouble of one does not hold up the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta, PartialObjectMetaExt as _};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::Event;
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::watch as channel;
use tokio::task::AbortHandle;

use super::Inventory;
use crate::children::{self, Events, held, ours};
use crate::fleet::gateway_of;
use crate::kinds::Kind;
use crate::metrics::Watches;
use crate::scope::Scope;
use crate::wake::Wake;

/// Where watches write to.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) client: Client,
    pub(crate) scope: Scope,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) wake: Wake,
    pub(crate) watches: Watches,
}

/// An object of which only metadata is watched.
type Partial = PartialObjectMeta<DynamicObject>;

/// Watches the metadata of a kind until dropped.
pub(crate) async fn follow(follower: Follower, kind: Kind) {
    let apis = follower.scope.apis_of::<Partial>(&follower.client, &kind.resource());
    let inventory = Arc::clone(&follower.inventory);
    let known = move |namespace: &str| -> Vec<Partial> {
        let known = inventory.known(kind, namespace).into_iter();
        known.map(ObjectMeta::into_response_partial).collect()
    };
    let events = children::events(apis, &ours(), known);
    follower.run(kind, events, |_| false).await;
}

/// The same for Deployments, whose status is kept, too.
pub(crate) async fn deployments(
    follower: Follower,
    store: Store<Deployment>,
    mut writer: Writer<Deployment>,
) {
    let apis = follower.scope.apis::<Deployment>(&follower.client);
    let events = children::events(apis, &ours(), held(store.clone()));
    let keep = |event: &Event<Deployment>| {
        let before = object(event).and_then(|object| store.get(&ObjectRef::from_obj(object)));
        let status = |deployment: &Deployment| deployment.status.clone();
        let news = object(event).map(status) != before.map(|before| status(&before));
        writer.apply_watcher_event(&without_template(slim(event)));
        news
    };
    follower.run(Kind::Deployment, events, keep).await;
}

/// The same for autoscalers, of whose status only the conditions matter: the rest changes with every metric.
pub(crate) async fn autoscalers(
    follower: Follower,
    store: Store<HorizontalPodAutoscaler>,
    mut writer: Writer<HorizontalPodAutoscaler>,
) {
    let apis = follower.scope.apis::<HorizontalPodAutoscaler>(&follower.client);
    let events = children::events(apis, &ours(), held(store.clone()));
    let keep = |event: &Event<HorizontalPodAutoscaler>| {
        let before = object(event).and_then(|object| store.get(&ObjectRef::from_obj(object)));
        let news = object(event).map(said) != before.map(|before| said(&before));
        writer.apply_watcher_event(&slim(event));
        news
    };
    follower.run(Kind::HorizontalPodAutoscaler, events, keep).await;
}

/// The watch of KEDA's objects begins anew whenever the cluster learns of the kind.
type Shared = Arc<Mutex<Writer<DynamicObject>>>;

/// The same for KEDA's ScaledObjects, of whose status only the conditions matter, too.
async fn scaled_objects(follower: Follower, writer: Shared) {
    let kind = Kind::ScaledObject;
    let apis = follower.scope.apis_of::<DynamicObject>(&follower.client, &kind.resource());
    let write = |event: &Event<DynamicObject>| {
        // Valid after any panic: at worst conditions are those of before.
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.apply_watcher_event(event);
        writer.as_reader()
    };
    let store = write(&Event::Init);
    let known = {
        let store = store.clone();
        move |namespace: &str| -> Vec<DynamicObject> {
            let objects = store.state().into_iter();
            let here = |object: &Arc<DynamicObject>| {
                object.metadata.namespace.as_deref() == Some(namespace)
            };
            objects.filter(here).map(|object| (*object).clone()).collect()
        }
    };
    let events = children::events(apis, &ours(), known);
    let keep = |event: &Event<DynamicObject>| {
        let slim = only_conditions(event);
        let before = object(&slim)
            .and_then(|object| store.get(&ObjectRef::from_obj_with(object, kind.resource())));
        let news = object(&slim).map(|object| &object.data) != before.as_ref().map(|was| &was.data);
        write(&slim);
        news
    };
    follower.run(kind, events, keep).await;
}

/// Of a ScaledObject its metadata and its conditions: the rest of its status changes with every poll.
fn only_conditions(event: &Event<DynamicObject>) -> Event<DynamicObject> {
    let mut event = slim(event);
    if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &mut event {
        let conditions = object.data["status"]["conditions"].take();
        object.data = json!({ "status": { "conditions": conditions } });
    }
    event
}

/// What an autoscaler says of itself, without the times.
fn said(autoscaler: &HorizontalPodAutoscaler) -> Vec<[Option<String>; 4]> {
    let status = autoscaler.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default().into_iter();
    conditions.map(|c| [Some(c.type_), Some(c.status), c.reason, c.message]).collect()
}

fn object<K>(event: &Event<K>) -> Option<&K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}

/// An event without what is only needed for the fingerprint.
fn slim<K: Resource + Clone>(event: &Event<K>) -> Event<K> {
    let mut event = event.clone();
    if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &mut event {
        object.meta_mut().managed_fields = None;
    }
    event
}

/// A Deployment is kept for its status, its number of pods and the labels of these; the rest of the template is most of its
/// size.
fn without_template(mut event: Event<Deployment>) -> Event<Deployment> {
    if let Event::Apply(deployment) | Event::InitApply(deployment) = &mut event
        && let Some(spec) = &mut deployment.spec
    {
        let labels = spec.template.metadata.take().and_then(|metadata| metadata.labels);
        let metadata =
            labels.map(|labels| ObjectMeta { labels: Some(labels), ..ObjectMeta::default() });
        spec.template = PodTemplateSpec { metadata, spec: None };
    }
    event
}

impl Follower {
    /// Takes in events. `is_news` is told of each, and whether its status is a reason to wake its WsGateway.
    async fn run<K: Resource + 'static>(
        &self,
        kind: Kind,
        mut events: Events<K>,
        mut is_news: impl FnMut(&Event<K>) -> bool,
    ) {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let news =
                        is_news(&event).then(|| gateway_of(object(&event)?.meta())).flatten();
                    let touched = self.inventory.apply(kind, &event);
                    touched.into_iter().chain(news).for_each(|key| self.wake.wake(key));
                }
                Err(error) => self.watches.interrupted(kind.as_str(), &error),
            }
        }
    }
}

/// Watches optional kinds as long as the cluster knows them, until dropped.
pub(crate) async fn optional(
    follower: Follower,
    scaled: Writer<DynamicObject>,
    mut known: channel::Receiver<BTreeSet<Kind>>,
) {
    let scaled: Shared = Arc::new(Mutex::new(scaled));
    let mut watches: HashMap<Kind, Watching> = HashMap::new();
    loop {
        let kinds = known.borrow_and_update().clone();
        watches.retain(|kind, _| {
            let keep = kinds.contains(kind);
            if !keep {
                follower.inventory.forget(*kind);
            }
            keep
        });
        for kind in kinds {
            watches.entry(kind).or_insert_with(|| {
                let follower = follower.clone();
                let task = match kind {
                    Kind::ScaledObject => tokio::spawn(scaled_objects(follower, scaled.clone())),
                    _ => tokio::spawn(follow(follower, kind)),
                };
                Watching(task.abort_handle())
            });
        }
        if known.changed().await.is_err() {
            return;
        }
    }
}

/// A watch that ends when this is dropped.
struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_keeps_what_a_rollout_reads_and_not_its_pods() {
        let given = json!({
            "metadata": { "name": "odin-gateway", "generation": 3, "annotations": { "wsgateway.dev/turn-until": "x" },
                "managedFields": [{ "manager": "us" }] },
            "spec": { "paused": true, "replicas": 2, "selector": {}, "template": {
                "metadata": { "labels": { "wsgateway.dev/template": "1" }, "annotations": { "a": "b" } },
                "spec": { "containers": [{ "name": "gateway" }] },
            } },
            "status": { "observedGeneration": 3 },
        });
        let deployment: Deployment = serde_json::from_value(given).unwrap();
        let Event::Apply(kept) = without_template(slim(&Event::Apply(deployment))) else {
            unreachable!()
        };
        let kept = serde_json::to_value(&kept).unwrap();
        assert_eq!(kept["metadata"]["annotations"]["wsgateway.dev/turn-until"], "x");
        let template = json!({ "metadata": { "labels": { "wsgateway.dev/template": "1" } } });
        assert_eq!(kept["spec"]["template"], template);
        assert_eq!((&kept["spec"]["paused"], &kept["spec"]["replicas"]), (&json!(true), &json!(2)));
        assert_eq!(kept["status"]["observedGeneration"], 3);
        assert!(kept["metadata"].get("managedFields").is_none());
    }
}
