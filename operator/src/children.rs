//! What the watches keep of the objects that we made beside the inventory: those whose status matters.

use std::future::{Ready, ready};
use std::hash::Hash;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};

use crate::build::{MANAGED_BY, MANAGED_BY_LABEL};

/// Objects with their status.
#[derive(Clone, Debug)]
pub(crate) struct Children {
    pub(crate) deployments: Store<Deployment>,
    pub(crate) autoscalers: Store<HorizontalPodAutoscaler>,
}

/// An `Api` of the watched namespace, or of all.
pub(crate) fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    if namespace.is_empty() {
        Api::all(client.clone())
    } else {
        Api::namespaced(client.clone(), namespace)
    }
}

/// Watches what has our label.
pub(crate) fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"))
}

/// Keeps trouble of one watch from the controller, which would pause all of them for it. The watch itself goes on, with
/// its own backoff.
pub(crate) fn good<K: Resource<DynamicType = ()>>(
    item: watcher::Result<K>,
) -> Ready<Option<watcher::Result<K>>> {
    ready(match item {
        Ok(object) => Some(Ok(object)),
        Err(error) => {
            tracing::warn!(%error, kind = %K::kind(&()), "a watch is interrupted");
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

/// An empty store and its writer.
pub(crate) fn pair<K>() -> (Store<K>, Writer<K>)
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone + Default,
{
    reflector::store()
}
