//! Old versions of a gateway's configuration: their ConfigMaps are deleted once no pod and no ReplicaSet names them.
//!
//! Nothing is asked while there is none; otherwise less and less often, since a Deployment keeps its last ReplicaSets for
//! as long as its template stays.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::apply::Applier;
use crate::build::{CONFIG_LABEL, config_version, selector_text};
use crate::context::Context;
use crate::error::{Error, Stage};
use crate::kinds::Kind;

/// Resyncs before the first look: the Deployment's controller may be about to make a ReplicaSet of the template before.
const FIRST_RESYNCS: u32 = 2;
/// Longest time between two looks at the same old versions.
const LONGEST: Duration = Duration::from_secs(3_600);
/// WsGateways remembered; what is forgotten is looked at again.
const MOST: usize = 20_000;

/// When to look next, for each WsGateway with old versions.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<HashMap<(String, String), Look>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    /// The old versions that there were.
    names: BTreeSet<String>,
    pause: Duration,
    next: Instant,
}

impl Looks {
    /// Whether to look at these old versions now.
    fn is_due(
        &self,
        key: (String, String),
        names: BTreeSet<String>,
        first: Duration,
        now: Instant,
    ) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.is_empty() {
            looks.remove(&key);
            return false;
        }
        if looks.len() >= MOST {
            looks.clear();
        }
        let look = looks.entry(key).or_insert_with(|| Look {
            names: BTreeSet::new(),
            pause: first,
            next: now + first,
        });
        if look.names != names {
            *look = Look { names, pause: first, next: now + first };
        }
        if now < look.next {
            return false;
        }
        look.pause = (look.pause * 2).min(LONGEST);
        look.next = now + look.pause;
        true
    }

    /// Forgets a WsGateway that is deleted.
    pub(crate) fn forget(&self, namespace: &str, gateway: &str) {
        let key = (namespace.to_owned(), gateway.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

/// Deletes old versions that nobody mounts. That it cannot is no reason to hold up anything else.
pub(crate) async fn prune(applier: &Applier<'_>, current: &ConfigMap, context: &Context) {
    if let Err(error) = try_prune(applier, &current.name_any(), context).await {
        context.metrics.problem(error.stage.as_str(), error.reason);
        tracing::warn!(%error, "cannot delete old configurations");
    }
}

async fn try_prune(applier: &Applier<'_>, current: &str, context: &Context) -> Result<(), Error> {
    let gateway = applier.gateway;
    let mut old = applier.inventory.of(&applier.key());
    old.retain(|(kind, name, entry)| {
        *kind == Kind::ConfigMap
            && config_version(&gateway.name, name).is_some()
            && name != current
            && applier.is_ours(entry)
    });
    let names = old.iter().map(|(_, name, _)| name.clone()).collect();
    let key = (gateway.namespace.clone(), gateway.name.clone());
    let resync = Duration::from_secs(u64::from(context.options.resync_seconds.get()));
    if !context.configs.is_due(key, names, FIRST_RESYNCS * resync, Instant::now()) {
        return Ok(());
    }
    let mut mounted = versions::<ReplicaSet>(applier, "ReplicaSets").await?;
    mounted.extend(versions::<Pod>(applier, "pods").await?);
    for (kind, name, entry) in &old {
        let version = config_version(&gateway.name, name).unwrap_or_default();
        if !mounted.contains(version) {
            applier.prune(*kind, name, entry).await?;
        }
    }
    Ok(())
}

/// Versions that the objects of a kind name.
async fn versions<K>(applier: &Applier<'_>, what: &str) -> Result<BTreeSet<String>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let selector = ListParams::default().labels(&selector_text(&applier.gateway.name));
    let api = Api::<K>::namespaced(applier.client.clone(), &applier.gateway.namespace);
    let list = api.list_metadata(&selector).await;
    let list =
        list.map_err(|error| Error::kube(Stage::Apply, &format!("{what} of the gateway"), &error))?;
    Ok(list.items.iter().map(|object| version(&object.metadata)).collect())
}

/// The version that an object names; those of earlier operators name none, which is the empty one.
fn version(object: &ObjectMeta) -> String {
    let label = object.labels.as_ref().and_then(|labels| labels.get(CONFIG_LABEL));
    label.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_looked_at_less_and_less_often_until_there_are_others() {
        let (looks, start, second) = (Looks::default(), Instant::now(), Duration::from_secs(1));
        let due = |names: &[&str], at: u32| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            looks.is_due(("ns".into(), "a".into()), names, second, start + at * second)
        };
        assert!(!due(&[], 0) && !due(&["a-config-1"], 0));
        let looked: Vec<u32> = (0..20).filter(|at| due(&["a-config-1"], *at)).collect();
        assert_eq!(looked, [1, 3, 7, 15]);
        assert!(!due(&["a-config-1", "a-config-2"], 20), "another one: from the beginning");
        assert!(due(&["a-config-1", "a-config-2"], 21));
        assert!(!due(&[], 100) && !due(&["a-config-1"], 100) && due(&["a-config-1"], 101));
        let days = 5 * 24 * 3_600;
        let count = (102..days).step_by(60).filter(|at| due(&["a-config-1"], *at)).count();
        assert!((100..140).contains(&count), "once an hour in the end: {count}");
    }
}
