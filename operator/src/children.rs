//! The watches of all namespaces that we look at, and what is kept of the objects that we made beside the inventory: those
//! whose status matters.

use std::fmt::Debug;
use std::future::{Ready, ready};
use std::hash::Hash;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::DynamicObject;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::backoff::WatchBackoff;
use crate::build::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::kinds::Kind;
use crate::metrics::Watches;
use crate::watches;

/// Objects with their status.
#[derive(Clone, Debug)]
pub(crate) struct Children {
    pub(crate) deployments: Store<Deployment>,
    pub(crate) autoscalers: Store<HorizontalPodAutoscaler>,
    /// Of KEDA; empty where the cluster does not know the kind.
    pub(crate) scaled_objects: Store<DynamicObject>,
}

/// What the watches write to.
pub(crate) struct Writers {
    pub(crate) deployments: Writer<Deployment>,
    pub(crate) autoscalers: Writer<HorizontalPodAutoscaler>,
    pub(crate) scaled_objects: Writer<DynamicObject>,
}

/// What happens to objects of one kind.
pub(crate) type Events<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

/// Watches what has our label.
pub(crate) fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"))
}

/// What happens to objects in all namespaces that `apis` name, as one watch. `known` is what has been heard of a namespace
/// so far. Each watch comes back by itself.
pub(crate) fn events<K>(
    apis: Vec<(String, Api<K>)>,
    which: &watcher::Config,
    known: impl FnMut(&str) -> Vec<K> + Send + 'static,
) -> Events<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let watch = |(namespace, api): (String, Api<K>)| {
        (namespace, watcher(api, which.clone()).backoff(WatchBackoff::default()).boxed())
    };
    watches::merged(apis.into_iter().map(watch).collect(), known)
}

/// What a store holds of a namespace.
pub(crate) fn held<K>(store: Store<K>) -> impl FnMut(&str) -> Vec<K> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    move |namespace| {
        let objects = store.state().into_iter();
        objects
            .filter(|object| object.namespace().as_deref() == Some(namespace))
            .map(|object| (*object).clone())
            .collect()
    }
}

/// Keeps trouble of one watch from the controller, which would pause all of them for it. The watch itself goes on, with
/// its own backoff.
pub(crate) fn good<K: Resource<DynamicType = ()>>(
    item: watcher::Result<K>,
    watches: &Watches,
) -> Ready<Option<watcher::Result<K>>> {
    ready(match item {
        Ok(object) => Some(Ok(object)),
        Err(error) => {
            watches.interrupted(&K::kind(&()), &error);
            None
        }
    })
}

/// The object as the watch last saw it.
pub(crate) fn seen<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<std::sync::Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    store.get(&ObjectRef::new(name).within(namespace))
}

/// Empty stores, and what fills them.
pub(crate) fn empty() -> (Children, Writers) {
    let (deployments, deployment_writer) = pair();
    let (autoscalers, autoscaler_writer) = pair();
    let scaled_object_writer = Writer::new(Kind::ScaledObject.resource());
    let scaled_objects = scaled_object_writer.as_reader();
    let writers = Writers {
        deployments: deployment_writer,
        autoscalers: autoscaler_writer,
        scaled_objects: scaled_object_writer,
    };
    (Children { deployments, autoscalers, scaled_objects }, writers)
}

/// An empty store and its writer.
pub(crate) fn pair<K>() -> (Store<K>, Writer<K>)
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    reflector::store()
}
