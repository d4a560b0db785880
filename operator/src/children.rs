//! What the watches know about the objects that we made: one store per kind, filled by the controller's triggers.

use std::fmt::Debug;
use std::hash::Hash;

use std::future::{Ready, ready};

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::backoff::WatchBackoff;
use crate::build::MANAGED_BY;
use crate::scope::Scope;
use crate::watches;

/// Stores of all kinds that we make. Metadata is enough but for Deployments, whose status is needed.
#[derive(Clone, Debug)]
pub(crate) struct Children {
    pub(crate) service_accounts: Store<PartialObjectMeta<ServiceAccount>>,
    pub(crate) config_maps: Store<PartialObjectMeta<ConfigMap>>,
    pub(crate) services: Store<PartialObjectMeta<Service>>,
    pub(crate) autoscalers: Store<PartialObjectMeta<HorizontalPodAutoscaler>>,
    pub(crate) disruptions: Store<PartialObjectMeta<PodDisruptionBudget>>,
    pub(crate) network_policies: Store<PartialObjectMeta<NetworkPolicy>>,
    pub(crate) ingresses: Store<PartialObjectMeta<Ingress>>,
    pub(crate) deployments: Store<Deployment>,
}

fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"))
}

/// A watch that fills a store, and emits each object that came, changed or went. Of a `PartialObjectMeta` only metadata
/// is sent.
pub(crate) fn watch<K>(
    client: &Client,
    scope: &Scope,
    writer: Writer<K>,
) -> impl Stream<Item = watcher::Result<K>> + Send + 'static
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    events::<K>(client, scope, &ours(), writer.as_reader())
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .touched_objects()
        .filter_map(good)
}

/// What happens to objects in all namespaces of `scope`, for the store that `known` reads. Each watch comes back by
/// itself.
pub(crate) fn events<K>(
    client: &Client,
    scope: &Scope,
    which: &watcher::Config,
    known: Store<K>,
) -> BoxStream<'static, watcher::Result<watcher::Event<K>>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let watch = |(namespace, api): (String, Api<K>)| {
        (namespace, watcher(api, which.clone()).backoff(WatchBackoff::default()).boxed())
    };
    watches::merged(scope.apis::<K>(client).into_iter().map(watch).collect(), known)
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
