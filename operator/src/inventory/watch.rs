//! The watches that fill the inventory. Each is a task: trouble of one does not hold up the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use tokio::sync::watch as channel;
use tokio::task::AbortHandle;

use super::Inventory;
use crate::backoff::WatchBackoff;
use crate::children::{self, ours};
use crate::fleet::gateway_of;
use crate::kinds::Kind;
use crate::wake::Wake;

/// Where watches write to.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) client: Client,
    /// The namespace that is watched; empty for all.
    pub(crate) namespace: String,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) wake: Wake,
}

/// Watches the metadata of a kind until dropped.
pub(crate) async fn follow(follower: Follower, kind: Kind) {
    let resource = kind.resource();
    let client = follower.client.clone();
    let api: Api<PartialObjectMeta<DynamicObject>> = if follower.namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &follower.namespace, &resource)
    };
    let events = watcher(api, ours()).backoff(WatchBackoff::default());
    follower.run(kind, events, |_| false).await;
}

/// The same for Deployments, whose status is kept, too.
pub(crate) async fn deployments(
    follower: Follower,
    store: Store<Deployment>,
    mut writer: Writer<Deployment>,
) {
    let api = children::api::<Deployment>(&follower.client, &follower.namespace);
    let events = watcher(api, ours()).backoff(WatchBackoff::default());
    let keep = |event: &Event<Deployment>| {
        let before = object(event).and_then(|object| store.get(&ObjectRef::from_obj(object)));
        let status = |deployment: &Deployment| deployment.status.clone();
        let news = object(event).map(status) != before.map(|before| status(&before));
        writer.apply_watcher_event(&slim(event));
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
    let api = children::api::<HorizontalPodAutoscaler>(&follower.client, &follower.namespace);
    let events = watcher(api, ours()).backoff(WatchBackoff::default());
    let keep = |event: &Event<HorizontalPodAutoscaler>| {
        let before = object(event).and_then(|object| store.get(&ObjectRef::from_obj(object)));
        let news = object(event).map(said) != before.map(|before| said(&before));
        writer.apply_watcher_event(&slim(event));
        news
    };
    follower.run(Kind::HorizontalPodAutoscaler, events, keep).await;
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

impl Follower {
    /// Takes in events. `is_news` is told of each, and whether its status is a reason to wake its WsGateway.
    async fn run<K: Resource>(
        &self,
        kind: Kind,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        mut is_news: impl FnMut(&Event<K>) -> bool,
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let news = is_news(&event).then(|| gateway_of(object(&event)?.meta())).flatten();
                    let touched = self.inventory.apply(kind, &self.namespace, &event);
                    touched.into_iter().chain(news).for_each(|key| self.wake.wake(key));
                }
                Err(error) => tracing::warn!(%error, kind = kind.as_str(), "a watch is interrupted"),
            }
        }
    }
}

/// Watches optional kinds as long as the cluster knows them, until dropped.
pub(crate) async fn optional(follower: Follower, mut known: channel::Receiver<BTreeSet<Kind>>) {
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
                Watching(tokio::spawn(follow(follower.clone(), kind)).abort_handle())
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
