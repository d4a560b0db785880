//! What exists for each WsGateway: every object with our label, by the WsGateway that it names. The watches write,
//! reconciliations read; what is missing is created, what differs is repaired, what is not wanted any more is pruned.

mod claim;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use tokio::sync::watch as channel;

pub(crate) use claim::{Claim, claim};
pub(crate) use watch::{Follower, autoscalers, deployments, follow, optional};

use crate::build::{HOLDS_EVICTIONS, SELECTS_ACCEPTING, SERVES_ONLY};
use crate::fleet::gateway_of;
use crate::kinds::Kind;
use crate::unchanged::APPLIED;
use crate::wake::Name;

/// An object that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) uid: String,
    /// Changes with everything but the status.
    pub(crate) fingerprint: u64,
    /// It is being deleted, and somebody's finalizer holds it.
    pub(crate) is_ending: bool,
    /// Its controller, if it has one.
    pub(crate) controller: Option<OwnerReference>,
    /// Whether it names the WsGateway in its labels.
    pub(crate) is_labelled: bool,
    /// The mark of the desired object that it was last written from.
    pub(crate) mark: Option<String>,
    /// Of the Service for clients: the template of the pods that it is limited to.
    pub(crate) serves_only: Option<String>,
    /// The same: it is limited to pods that take clients.
    pub(crate) selects_accepting: bool,
    /// Of the PodDisruptionBudget: it allows no evictions for now.
    pub(crate) holds_evictions: bool,
}

impl Entry {
    /// `gateway`: the WsGateway that is asked about.
    pub(crate) fn of(metadata: &ObjectMeta, gateway: &Name) -> Self {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).cloned();
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            fingerprint: fingerprint(metadata),
            is_ending: metadata.deletion_timestamp.is_some(),
            controller: owners.iter().find(|owner| owner.controller == Some(true)).cloned(),
            is_labelled: is_managed(metadata) && gateway_of(metadata).as_ref() == Some(gateway),
            mark: annotation(APPLIED),
            serves_only: annotation(SERVES_ONLY),
            selects_accepting: annotation(SELECTS_ACCEPTING).is_some(),
            holds_evictions: annotation(HOLDS_EVICTIONS).is_some(),
        }
    }
}

fn is_managed(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(crate::build::MANAGED_BY_LABEL)).map(String::as_str)
        == Some(crate::build::MANAGED_BY)
}

/// Who wrote which fields when, but for those of the status, which other controllers write all the time.
pub(crate) fn fingerprint(metadata: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    let fields = metadata.managed_fields.as_deref().unwrap_or_default();
    for entry in fields.iter().filter(|entry| entry.subresource.as_deref() != Some("status")) {
        (&entry.manager, &entry.operation).hash(&mut hasher);
        entry.time.as_ref().map(|time| time.0.as_nanosecond()).hash(&mut hasher);
        let owned = entry.fields_v1.as_ref().map(|fields| fields.0.to_string());
        owned.hash(&mut hasher);
    }
    metadata.generation.hash(&mut hasher);
    metadata.labels.hash(&mut hasher);
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().for_each(|owner| (&owner.uid, owner.controller).hash(&mut hasher));
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

/// All objects, by WsGateway.
#[derive(Debug)]
pub(crate) struct Inventory {
    state: Mutex<State>,
    /// Kinds whose watch has listed all there is.
    listed: channel::Sender<BTreeSet<Kind>>,
}

#[derive(Debug, Default)]
struct State {
    owned: HashMap<Name, BTreeMap<(Kind, String), Known>>,
    /// Under which WsGateway an object is, by kind, namespace and name.
    places: HashMap<(Kind, String, String), Name>,
}

#[derive(Debug)]
struct Known {
    entry: Entry,
    /// Listed by the watch that runs anew.
    listed: bool,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { state: Mutex::default(), listed: channel::Sender::new(BTreeSet::new()) }
    }
}

impl Inventory {
    /// Kinds of which everything is known.
    pub(crate) fn listed(&self) -> channel::Receiver<BTreeSet<Kind>> {
        self.listed.subscribe()
    }

    /// Whether everything of a kind is known.
    pub(crate) fn is_listed(&self, kind: Kind) -> bool {
        self.listed.borrow().contains(&kind)
    }

    /// An object of a WsGateway.
    pub(crate) fn get(&self, key: &Name, kind: Kind, name: &str) -> Option<Entry> {
        let state = self.lock();
        Some(state.owned.get(key)?.get(&(kind, name.to_owned()))?.entry.clone())
    }

    /// All objects of a WsGateway.
    pub(crate) fn of(&self, key: &Name) -> Vec<(Kind, String, Entry)> {
        let state = self.lock();
        let objects = state.owned.get(key).into_iter().flatten();
        objects.map(|((kind, name), known)| (*kind, name.clone(), known.entry.clone())).collect()
    }

    /// Takes in an event of the watch of a kind, and returns the WsGateways of which an object came, went or changed.
    pub(crate) fn apply<K: Resource>(&self, kind: Kind, event: &Event<K>) -> HashSet<Name> {
        let mut state = self.lock();
        match event {
            Event::Apply(object) | Event::InitApply(object) => state.put(kind, object.meta()),
            Event::Delete(object) => {
                let metadata = object.meta();
                let namespace = metadata.namespace.clone().unwrap_or_default();
                let place = (kind, namespace, object.name_any());
                state.remove(&place).into_iter().chain(owner(metadata)).collect()
            }
            Event::Init => {
                let objects = state.owned.values_mut().flatten();
                let of_kind = objects.filter(|((of, _), _)| *of == kind);
                of_kind.for_each(|(_, known)| known.listed = false);
                HashSet::new()
            }
            Event::InitDone => {
                let gone = state.unlisted(kind);
                self.listed.send_if_modified(|listed| listed.insert(kind));
                gone.iter().filter_map(|place| state.remove(place)).collect()
            }
        }
    }

    /// Objects of a kind in a namespace, by the names under which they can be deleted here.
    pub(crate) fn known(&self, kind: Kind, namespace: &str) -> Vec<ObjectMeta> {
        let state = self.lock();
        let places =
            state.places.keys().filter(|(of, within, _)| *of == kind && within == namespace);
        let metadata = |(_, namespace, name): &(Kind, String, String)| ObjectMeta {
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            ..ObjectMeta::default()
        };
        places.map(metadata).collect()
    }

    /// Forgets a kind that the cluster does not know any more.
    pub(crate) fn forget(&self, kind: Kind) {
        let mut state = self.lock();
        state.places.retain(|(of, _, _), _| *of != kind);
        state.owned.values_mut().for_each(|objects| objects.retain(|(of, _), _| *of != kind));
        self.listed.send_if_modified(|listed| listed.remove(&kind));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Valid after any panic: at worst an object is looked for again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, kind: Kind, metadata: &ObjectMeta) -> HashSet<Name> {
        let mut touched: HashSet<Name> = owner(metadata).into_iter().collect();
        let name = metadata.name.clone().unwrap_or_default();
        let place = (kind, metadata.namespace.clone().unwrap_or_default(), name.clone());
        let Some(key) = gateway_of(metadata) else {
            // It names nobody any more.
            touched.extend(self.remove(&place));
            return touched;
        };
        if self.places.get(&place).is_some_and(|before| *before != key) {
            touched.extend(self.remove(&place));
        }
        let known = Known { entry: Entry::of(metadata, &key), listed: true };
        let objects = self.owned.entry(key.clone()).or_default();
        self.places.insert(place, key.clone());
        match objects.insert((kind, name), known) {
            // Listed again, or another status.
            Some(before) if before.entry == Entry::of(metadata, &key) => HashSet::new(),
            _ => {
                touched.insert(key);
                touched
            }
        }
    }

    fn remove(&mut self, place: &(Kind, String, String)) -> Option<Name> {
        let key = self.places.remove(place)?;
        if let Some(objects) = self.owned.get_mut(&key) {
            objects.remove(&(place.0, place.2.clone()));
            if objects.is_empty() {
                self.owned.remove(&key);
            }
        }
        Some(key)
    }

    fn unlisted(&self, kind: Kind) -> Vec<(Kind, String, String)> {
        let mut gone = Vec::new();
        for (key, objects) in &self.owned {
            for ((of, name), known) in objects {
                if *of == kind && !known.listed {
                    gone.push((kind, key.namespace.clone(), name.clone()));
                }
            }
        }
        gone
    }
}

/// The WsGateway that controls an object, which its labels may not say any more.
fn owner(metadata: &ObjectMeta) -> Option<Name> {
    let owners = metadata.owner_references.as_deref()?;
    let owner = owners.iter().find(|owner| claim::is_wsgateway(owner))?;
    Some(Name::new(metadata.namespace.as_deref()?, &owner.name))
}

#[cfg(test)]
#[path = "inventory/tests.rs"]
mod tests;
