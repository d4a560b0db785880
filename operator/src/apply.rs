//! Stage: apply. Server-side apply of what should exist, and removal of what we made and no longer want: one mechanism for
//! all kinds.
//!
//! In steady state nothing is written: an object whose desired state and fingerprint are those of our last write is left
//! alone, and so is one that an operator before us has written and nobody has changed since (`unchanged.rs`). Whatever
//! changes it changes the fingerprint, wakes us through the watch, and is repaired. An object of somebody else under a name
//! that we need is never taken over; one that has lost its owner and still has our labels is.

mod retire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use wsgateway_crds::ValidGateway;

use crate::FIELD_MANAGER;
use crate::build::Desired;
use crate::error::{Error, Stage as Step};
use crate::halt::Contract;
use crate::handover::Leaving;
use crate::inventory::{Claim, Entry, Inventory, claim, fingerprint};
use crate::kinds::{Concern, Kind};
use crate::metrics::{Deed, Metrics};
use crate::moves::Plan;
use crate::rollout::Stage;
use crate::wake::{Name, Wake};
use crate::{traces, unchanged};

/// What was last written, by WsGateway.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<HashMap<Name, Last>>);

#[derive(Debug, Default)]
struct Last {
    /// Hash of the annotation that asks for another reconciliation.
    asked: u64,
    /// Whether it has changed: then what is found as desired is applied all the same.
    anew: bool,
    /// Of each object a hash of the desired one, and the fingerprint that came of it.
    objects: BTreeMap<(Kind, String), (u64, u64)>,
}

impl Written {
    fn matches(&self, key: &Name, object: &(Kind, String), hash: u64, fingerprint: u64) -> bool {
        let written = self.lock();
        let last = written.get(key).and_then(|last| last.objects.get(object));
        last == Some(&(hash, fingerprint))
    }

    /// Whether an object that has not been written yet is to be compared with what is there first.
    fn trusts(&self, key: &Name, object: &(Kind, String)) -> bool {
        let written = self.lock();
        written.get(key).is_none_or(|last| !last.anew && !last.objects.contains_key(object))
    }

    fn note(&self, key: &Name, object: (Kind, String), hash: u64, fingerprint: u64) {
        let mut written = self.lock();
        written.entry(key.clone()).or_default().objects.insert(object, (hash, fingerprint));
    }

    /// Forgets what was written if somebody asks for another reconciliation: everything is applied anew.
    pub(crate) fn ask(&self, key: &Name, annotation: Option<&str>) {
        let asked = annotation.map_or(0, hash_of);
        let mut written = self.lock();
        // What it was before this operator came nobody knows: no reason to write everything at each start.
        let last = written.entry(key.clone()).or_insert_with(|| Last { asked, ..Last::default() });
        if last.asked != asked {
            *last = Last { asked, anew: true, ..Last::default() };
        }
    }

    /// Forgets a WsGateway that is gone.
    pub(crate) fn forget(&self, key: &Name) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Last>> {
        // Valid after any panic: at worst an object is applied once more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the stage needs.
pub(crate) struct Applier<'a> {
    pub(crate) client: &'a Client,
    pub(crate) inventory: &'a Inventory,
    /// Optional kinds that the cluster knows.
    pub(crate) kinds: &'a BTreeSet<Kind>,
    pub(crate) written: &'a Written,
    pub(crate) metrics: &'a Metrics,
    pub(crate) wake: &'a Wake,
    pub(crate) gateway: &'a ValidGateway,
    /// The Deployment stays as it is.
    pub(crate) keeps_deployment: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The Deployment, if it was written.
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// Why objects are not as desired, in the order in which they were tried.
    pub(crate) problems: Vec<(Kind, Error)>,
    /// How far the pods are replaced.
    pub(crate) stage: Stage,
    /// Pods that the Deployment is to have.
    pub(crate) wanted: Option<i32>,
    /// How clients are moved while none is.
    pub(crate) moves: Option<Plan>,
    /// What clients have been put to by now.
    pub(crate) contract: Option<Contract>,
    /// What is left of an autoscaler that another one takes the place of.
    pub(crate) leaving: Option<Leaving>,
    /// The next step of that need not wait for anybody.
    pub(crate) goes_on: bool,
}

impl Applied {
    /// The first problem of an object without which clients are not served as specified.
    pub(crate) fn broken(&self) -> Option<&Error> {
        self.trouble(Concern::Gateway).map(|(_, error)| error)
    }

    /// The same, for those who try again.
    pub(crate) fn into_broken(self) -> Option<Error> {
        let mut problems = self.problems.into_iter();
        problems.find(|(kind, _)| kind.concern() == Concern::Gateway).map(|(_, error)| error)
    }

    /// The first problem of an object for this.
    pub(crate) fn trouble(&self, concern: Concern) -> Option<(Kind, &Error)> {
        let found = self.problems.iter().find(|(kind, _)| kind.concern() == concern);
        found.map(|(kind, error)| (*kind, error))
    }
}

impl Applier<'_> {
    /// Applies all objects, in an order in which each finds what it names, and prunes the others. One that is refused
    /// holds up only those that are of no use without it.
    pub(crate) async fn all(&self, desired: &[Desired]) -> Applied {
        let key = self.key();
        let mut applied = Applied::default();
        let is_sure = self.retire(&key, desired, &mut applied).await;
        let waits = applied.leaving.is_some() || !is_sure;
        let to_apply = desired
            .iter()
            .filter(|desired| desired.kind != Kind::Deployment || !self.keeps_deployment)
            .filter(|desired| !desired.kind.is_autoscaler() || !waits);
        for desired in to_apply {
            let span = traces::span!(
                "object",
                k8s.kind = desired.kind.as_str(),
                k8s.name = desired.name.as_str(),
                written = tracing::field::Empty
            );
            let one = traces::step(span.clone(), self.one(&key, desired)).await;
            span.record("written", matches!(one, Ok(Some(_))));
            match one {
                Ok(written) if desired.kind == Kind::Deployment => {
                    let written = written.and_then(|object| object.try_parse().ok());
                    applied.deployment = written.map(Arc::new);
                }
                Ok(_) => {}
                Err(error) => {
                    applied.problems.push((desired.kind, error));
                    if desired.kind.is_needed_by_pods() {
                        return applied;
                    }
                }
            }
        }
        let wanted: BTreeSet<(Kind, &str)> =
            desired.iter().map(|desired| (desired.kind, desired.name.as_str())).collect();
        for (kind, name, entry) in self.inventory.of(&key) {
            let is_unwanted = !wanted.contains(&(kind, name.as_str())) && !kind.is_autoscaler();
            if kind.is_pruned() && self.is_ours(&entry) && is_unwanted {
                let pruned = self.prune(kind, &name, &entry).await;
                applied.problems.extend(pruned.err().map(|error| (kind, error)));
            }
        }
        applied
    }

    /// Whether an object may be written and deleted.
    pub(crate) fn is_ours(&self, entry: &Entry) -> bool {
        claim(entry, &self.gateway.name, &self.gateway.uid).is_ours()
    }

    pub(crate) fn key(&self) -> Name {
        Name::new(&self.gateway.namespace, &self.gateway.name)
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.gateway.namespace, &kind.resource())
    }

    /// What the API server has under a name, whatever the watch has told.
    async fn ask(&self, key: &Name, kind: Kind, name: &str) -> Result<Option<Entry>, kube::Error> {
        let found = self.api(kind).get_metadata_opt(name).await?;
        Ok(found.map(|object| Entry::of(&object.metadata, key)))
    }

    /// `None`: it was as desired and has not been touched.
    async fn one(&self, key: &Name, desired: &Desired) -> Result<Option<DynamicObject>, Error> {
        let (kind, name) = (desired.kind, desired.name.as_str());
        let api = self.api(kind);
        let existing = match self.inventory.get(key, kind, name) {
            Some(entry) => Some(entry),
            // The watch sees only what carries our labels.
            None => self.ask(key, kind, name).await.map_err(|error| failed(kind, name, &error))?,
        };
        let object = (kind, name.to_owned());
        let (marked, mark) = marked(&desired.object);
        // Maps are in the order of their keys.
        let hash = hash_of(&marked.to_string());
        if let Some(existing) = &existing {
            match claim(existing, &self.gateway.name, &self.gateway.uid) {
                Claim::Ours if self.written.matches(key, &object, hash, existing.fingerprint) => {
                    return Ok(None);
                }
                Claim::Ours
                    if existing.mark.as_ref() == Some(&mark)
                        && self.written.trusts(key, &object) =>
                {
                    if let Some(found) = self.found_as(&api, desired.kind, name, &marked).await? {
                        self.written.note(key, object, hash, found);
                        return Ok(None);
                    }
                }
                Claim::Ours | Claim::Orphan => {}
                Claim::Predecessor => self.inherit(&api, desired, existing).await?,
                claim @ (Claim::Sibling | Claim::Foreign) => {
                    return Err(self.taken(kind, name, claim, existing));
                }
            }
        }
        let applied = api
            .patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&marked))
            .await
            .map_err(|error| failed(kind, name, &error))?;
        self.metrics.object(kind.as_str(), Deed::Applied);
        tracing::debug!(kind = kind.as_str(), name, "applied");
        self.written.note(key, object, hash, fingerprint(&applied.metadata));
        Ok(Some(applied))
    }

    /// The fingerprint of an object that another operator has left exactly as we want it.
    async fn found_as(
        &self,
        api: &Api<DynamicObject>,
        kind: Kind,
        name: &str,
        desired: &Value,
    ) -> Result<Option<u64>, Error> {
        let live = api.get_opt(name).await.map_err(|error| failed(kind, name, &error))?;
        let Some(live) = live else { return Ok(None) };
        let found = fingerprint(&live.metadata);
        let live = serde_json::to_value(&live)
            .map_err(|error| Error::new(Step::Apply, "NotSerializable", error.to_string()))?;
        Ok(unchanged::is_as(desired, &live).then_some(found))
    }

    /// An object of somebody else has the name. A sibling that holds it by mistake is woken to give it up.
    fn taken(&self, kind: Kind, name: &str, claim: Claim, existing: &Entry) -> Error {
        let owner = existing.controller.as_ref().filter(|_| claim == Claim::Sibling);
        let whose = owner.map_or("this WsGateway".to_owned(), |owner| {
            self.wake.wake(Name::new(&self.gateway.namespace, &owner.name));
            format!("this WsGateway, but to WsGateway {}", owner.name)
        });
        Error::new(
            Step::Apply,
            "NameTaken",
            format!(
                "{} {name} exists and does not belong to {whose}: rename or delete it, or use another name for the \
                 WsGateway",
                kind.as_str()
            ),
        )
    }

    /// Puts this WsGateway in the place of the earlier one of its name: two controllers would be refused.
    async fn inherit(
        &self,
        api: &Api<DynamicObject>,
        desired: &Desired,
        existing: &Entry,
    ) -> Result<(), Error> {
        let owners = &desired.object["metadata"]["ownerReferences"];
        let patch = json!({ "metadata": { "uid": existing.uid, "ownerReferences": owners } });
        api.patch_metadata(&desired.name, &in_our_name(), &Patch::Merge(&patch))
            .await
            .map_err(|error| failed(desired.kind, &desired.name, &error))?;
        let (kind, name) = (desired.kind.as_str(), desired.name.as_str());
        tracing::info!(kind, name, "taken over from an earlier WsGateway of the same name");
        Ok(())
    }

    /// Deletes an object that we looked at and no other, if it is ours.
    pub(crate) async fn prune(
        &self,
        kind: Kind,
        name: &str,
        existing: &Entry,
    ) -> Result<(), Error> {
        // Only the very object that we looked at.
        let uid = Preconditions { uid: Some(existing.uid.clone()), resource_version: None };
        let parameters = DeleteParams::background().preconditions(uid);
        match self.api(kind).delete(name, &parameters).await {
            Ok(_) => {
                self.metrics.object(kind.as_str(), Deed::Pruned);
                tracing::info!(kind = kind.as_str(), name, "removed: no longer wanted");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(failed(kind, name, &error)),
        }
    }
}

/// The desired object with the mark of its content, and the mark.
fn marked(desired: &Value) -> (Value, String) {
    let mark = unchanged::mark(desired);
    let mut marked = desired.clone();
    marked["metadata"]["annotations"][unchanged::APPLIED] = json!(mark);
    (marked, mark)
}

fn failed(kind: Kind, name: &str, error: &kube::Error) -> Error {
    Error::kube(Step::Apply, &format!("{} {name}", kind.as_str()), error)
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Writes that are no server-side apply, in our name.
pub(crate) fn in_our_name() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// Sets the number of pods of a Deployment that exists, and nothing else: all that can be done for pods of a WsGateway
/// whose specification is refused.
pub(crate) async fn scale(
    client: &Client,
    deployment: &Deployment,
    replicas: i32,
) -> Result<(), Error> {
    let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
    let api: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({ "spec": { "replicas": replicas } });
    match api.patch(&name, &in_our_name(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(Kind::Deployment, &name, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_that_changes_forgets_what_was_written() {
        let (written, key) = (Written::default(), Name::new("trading", "odin"));
        let object = (Kind::Service, "odin".to_owned());
        let known = || written.matches(&key, &object, 1, 2);
        written.ask(&key, None);
        assert!(written.trusts(&key, &object), "somebody before us may have written it");
        written.note(&key, object.clone(), 1, 2);
        written.ask(&key, None);
        assert!(known() && !written.trusts(&key, &object));
        written.ask(&key, Some("now"));
        assert!(!known() && !written.trusts(&key, &object));
        written.note(&key, object.clone(), 1, 2);
        written.ask(&key, Some("now"));
        assert!(known());
        written.forget(&key);
        assert!(!known());
        written.ask(&key, Some("now"));
        assert!(written.trusts(&key, &object), "asked of the operator before us");
    }

    #[test]
    fn the_mark_is_an_annotation_next_to_those_that_are_wanted() {
        let (plain, mark) = marked(&json!({ "metadata": { "name": "a" } }));
        assert_eq!(plain["metadata"]["annotations"], json!({ unchanged::APPLIED: mark }));
        let wanted = json!({ "metadata": { "annotations": { "a": "b" } } });
        let (marked, other) = marked(&wanted);
        assert_ne!(mark, other);
        assert_eq!(marked["metadata"]["annotations"]["a"], "b");
    }
}
