//! Stage: apply. Server-side apply of what should exist, removal of what we made and no longer want.
//!
//! Nothing is written at rest: an object whose desired state and resource version are those of our last write is left
//! alone, and so is one that an operator before us has written and nobody has changed since (`unchanged.rs`). Whatever
//! changes it moves the version, wakes us through the watch, and is repaired. An object of somebody else under a name that
//! we need is never taken over.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wsgateway_crds::ValidGateway;

use crate::FIELD_MANAGER;
use crate::build::{Objects, child_name, is_child_name};
use crate::children::{Children, seen};
use crate::discovery::{Known, http_route_resource, service_monitor_resource};
use crate::error::{Error, Stage};
use crate::metrics::{Deed, Metrics};
use crate::unchanged;

/// Kind, namespace and name.
type Key = (String, String, String);

/// What was last written: a hash of the desired object, and the version that came of it.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<HashMap<Key, (u64, String)>>);

impl Written {
    fn matches(&self, key: &Key, hash: u64, version: &str) -> bool {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(key).is_some_and(|(last, at)| *last == hash && at == version)
    }

    fn knows(&self, key: &Key) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    fn note(&self, key: Key, hash: u64, version: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (hash, version));
    }

    /// Notes that there is no such object, and none is wanted.
    fn note_absent(&self, key: Key) {
        self.note(key, 0, String::new());
    }

    fn is_absent(&self, key: &Key) -> bool {
        self.matches(key, 0, "")
    }

    /// Forgets the objects of a WsGateway that is gone.
    pub(crate) fn forget(&self, namespace: &str, gateway: &str) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|(_, ns, name), _| ns != namespace || !is_child_name(gateway, name));
    }
}

/// What the stage needs.
pub(crate) struct Applier<'a> {
    pub(crate) client: &'a Client,
    pub(crate) children: &'a Children,
    pub(crate) written: &'a Written,
    pub(crate) metrics: &'a Metrics,
    pub(crate) gateway: &'a ValidGateway,
    /// Which optional kinds the cluster knows.
    pub(crate) known: Known,
}

impl Applier<'_> {
    /// Applies all objects, in an order in which each finds what it names. Returns the Deployment as it is now.
    pub(crate) async fn all(&self, objects: &Objects) -> Result<Deployment, Error> {
        let known = self.children;
        self.one(&known.service_accounts, &objects.service_account).await?;
        self.one(&known.config_maps, &objects.config).await?;
        self.one(&known.config_maps, &objects.live).await?;
        self.one(&known.services, &objects.clients).await?;
        self.one(&known.services, &objects.admin).await?;
        self.one(&known.disruptions, &objects.disruption).await?;
        let deployment = self.one(&known.deployments, &objects.deployment).await?;
        self.maybe(&known.autoscalers, objects.autoscaler.as_ref()).await?;
        self.maybe(&known.network_policies, objects.network_policy.as_ref()).await?;
        self.maybe(&known.ingresses, objects.ingress.as_ref()).await?;
        if self.known.monitors {
            self.optional(&service_monitor_resource(), objects.monitor.as_ref()).await?;
        }
        if self.known.routes {
            self.optional(&http_route_resource(), objects.route.as_ref()).await?;
        }
        match deployment {
            Some(deployment) => Ok(deployment),
            None => Ok(seen(
                &known.deployments,
                &self.gateway.namespace,
                &child_name(&self.gateway.name),
            )
            .map(|deployment| (*deployment).clone())
            .unwrap_or_default()),
        }
    }

    pub(crate) fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(
        &self,
    ) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.gateway.namespace)
    }

    /// `None`: it was as desired and has not been touched.
    async fn one<K, S>(&self, store: &Store<S>, desired: &K) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
        S: Resource<DynamicType = ()> + Clone + 'static,
    {
        let api: Api<K> = self.api();
        let name = desired.name_any();
        let existing = match seen(store, &self.gateway.namespace, &name) {
            Some(object) => Some(object.meta().clone()),
            // The watch sees only what carries our label: anything else by this name is not in the store.
            None => metadata_of(&api, &name, &K::kind(&())).await?,
        };
        self.write(&api, &K::kind(&()), existing.as_ref(), desired).await
    }

    /// An object of a watched kind that may be wanted no longer.
    async fn maybe<K>(
        &self,
        store: &Store<PartialObjectMeta<K>>,
        desired: Option<&K>,
    ) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
            + 'static,
    {
        let name = child_name(&self.gateway.name);
        match (desired, seen(store, &self.gateway.namespace, &name)) {
            (Some(desired), _) => self.one(store, desired).await.map(drop),
            (None, Some(existing)) => {
                self.prune(&self.api::<K>(), &K::kind(&()), &existing.metadata).await
            }
            (None, None) => Ok(()),
        }
    }

    /// An object of a kind that the cluster may not know, and that is therefore not watched: looked at each time it is
    /// wanted, and once when it is not.
    async fn optional(
        &self,
        resource: &ApiResource,
        desired: Option<&DynamicObject>,
    ) -> Result<(), Error> {
        let name = child_name(&self.gateway.name);
        let key = (resource.kind.clone(), self.gateway.namespace.clone(), name.clone());
        if desired.is_none() && self.written.is_absent(&key) {
            return Ok(());
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.gateway.namespace, resource);
        let existing = match metadata_of(&api, &name, &resource.kind).await {
            // Whoever may not even look has made none.
            Err(error) if desired.is_none() && error.reason == "Forbidden" => None,
            looked => looked?,
        };
        match (desired, existing) {
            (Some(desired), existing) => {
                self.write(&api, &resource.kind, existing.as_ref(), desired).await.map(drop)
            }
            (None, existing) => {
                if let Some(existing) = existing {
                    self.prune(&api, &resource.kind, &existing).await?;
                }
                self.written.note_absent(key);
                Ok(())
            }
        }
    }

    async fn write<K>(
        &self,
        api: &Api<K>,
        kind: &str,
        existing: Option<&ObjectMeta>,
        desired: &K,
    ) -> Result<Option<K>, Error>
    where
        K: Resource + Clone + Debug + Serialize + DeserializeOwned,
    {
        let name = desired.meta().name.clone().unwrap_or_default();
        let key = (kind.to_owned(), self.gateway.namespace.clone(), name.clone());
        let desired = &marked(desired)?;
        let hash = hash_of(desired)?;
        if let Some(existing) = existing {
            if !self.is_ours(existing) {
                return Err(Error::new(
                    Stage::Apply,
                    "NameTaken",
                    format!(
                        "{kind} {name} exists and does not belong to this WsGateway: rename or delete it, or use another \
                         name for the WsGateway"
                    ),
                ));
            }
            if self.written.matches(
                &key,
                hash,
                existing.resource_version.as_deref().unwrap_or_default(),
            ) {
                return Ok(None);
            }
            if !self.written.knows(&key)
                && let Some(version) = found_as(api, kind, existing, desired).await?
            {
                self.written.note(key, hash, version);
                return Ok(None);
            }
        }
        let applied = api
            .patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(desired))
            .await
            .map_err(|error| Error::kube(Stage::Apply, &format!("{kind} {name}"), &error))?;
        self.metrics.object(kind, Deed::Applied);
        tracing::debug!(kind, name, "applied");
        self.written.note(key, hash, applied.meta().resource_version.clone().unwrap_or_default());
        Ok(Some(applied))
    }

    pub(crate) async fn prune<K>(
        &self,
        api: &Api<K>,
        kind: &str,
        existing: &ObjectMeta,
    ) -> Result<(), Error>
    where
        K: Resource + Clone + Debug + DeserializeOwned,
    {
        let name = existing.name.clone().unwrap_or_default();
        if !self.is_ours(existing) {
            return Ok(());
        }
        // Only the very object that we looked at.
        let uid = Preconditions { uid: existing.uid.clone(), resource_version: None };
        match api.delete(&name, &DeleteParams::background().preconditions(uid)).await {
            Ok(_) => {
                self.metrics.object(kind, Deed::Pruned);
                tracing::info!(kind, name, "removed: no longer wanted");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(Error::kube(Stage::Apply, &format!("{kind} {name}"), &error)),
        }
    }

    pub(crate) fn is_ours(&self, object: &ObjectMeta) -> bool {
        let owners = object.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|owner| owner.controller == Some(true) && owner.uid == self.gateway.uid)
    }
}

async fn metadata_of<K>(api: &Api<K>, name: &str, kind: &str) -> Result<Option<ObjectMeta>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    match api.get_metadata_opt(name).await {
        Ok(object) => Ok(object.map(|object| object.metadata)),
        Err(error) => Err(Error::kube(Stage::Apply, &format!("{kind} {name}"), &error)),
    }
}

/// The desired object with the mark of its content.
fn marked<K: Resource + Clone + Serialize>(desired: &K) -> Result<K, Error> {
    let mark = unchanged::mark(&json_of(desired)?);
    let mut marked = desired.clone();
    let annotations = marked.meta_mut().annotations.get_or_insert_default();
    annotations.insert(unchanged::APPLIED.to_owned(), mark);
    Ok(marked)
}

/// The version of an object that another operator has left exactly as we want it.
async fn found_as<K>(
    api: &Api<K>,
    kind: &str,
    existing: &ObjectMeta,
    desired: &K,
) -> Result<Option<String>, Error>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let mark = |meta: &ObjectMeta| meta.annotations.as_ref()?.get(unchanged::APPLIED).cloned();
    if mark(existing) != mark(desired.meta()) {
        return Ok(None);
    }
    let name = desired.meta().name.clone().unwrap_or_default();
    let live = api.get_opt(&name).await;
    let live = live.map_err(|error| Error::kube(Stage::Apply, &format!("{kind} {name}"), &error))?;
    let Some(live) = live else { return Ok(None) };
    let same = unchanged::is_as(&json_of(desired)?, &json_of(&live)?);
    Ok(live.meta().resource_version.clone().filter(|_| same))
}

fn json_of(object: &impl Serialize) -> Result<serde_json::Value, Error> {
    serde_json::to_value(object)
        .map_err(|error| Error::new(Stage::Build, "NotSerializable", error.to_string()))
}

fn hash_of(object: &impl Serialize) -> Result<u64, Error> {
    let text = serde_json::to_string(object)
        .map_err(|error| Error::new(Stage::Build, "NotSerializable", error.to_string()))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(hasher.finish())
}
