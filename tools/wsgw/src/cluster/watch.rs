//! A list that is kept up to date until Ctrl-C.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::ResourceExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{Asked, Cluster, Trouble};

/// Before it is listed again, after the API server has ended a watch or is not there.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one watch lasts (s): below what proxies allow.
const LASTS: u32 = 240;
/// Changes that come within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(100);

/// What is followed.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    pub(crate) all: bool,
    pub(crate) parameters: ListParams,
    pub(crate) resource: &'static str,
}

/// Objects by namespace and name.
pub(crate) type Known<K> = BTreeMap<(Option<String>, String), K>;

/// Calls `show` with all objects at first, and with each change. Ends with an error of `show`, or with one of the API
/// server that does not pass by itself.
pub(crate) async fn follow<K, E>(
    cluster: &Cluster,
    follow: &Follow,
    mut show: impl FnMut(&Known<K>) -> Result<(), E>,
) -> Result<(), E>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
    E: From<Trouble>,
{
    let api = cluster.api::<K>(follow.all);
    let mut is_first = true;
    loop {
        match cluster.list::<K>(follow.all, follow.parameters.clone(), follow.resource).await {
            Ok(list) => {
                is_first = false;
                let version = list.metadata.resource_version.unwrap_or_default();
                let mut known: Known<K> = list.items.into_iter().map(keyed).collect();
                show(&known)?;
                changes(cluster, &api, follow, (&mut known, version), &mut show).await?;
            }
            Err(trouble) if is_first || !trouble.may_pass() => return Err(trouble.into()),
            Err(trouble) => eprintln!("wsgw: {trouble}; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn keyed<K: Resource>(object: K) -> ((Option<String>, String), K) {
    ((object.namespace(), object.name_any()), object)
}

/// Follows one watch to its end.
async fn changes<K, E>(
    cluster: &Cluster,
    api: &Api<K>,
    follow: &Follow,
    (known, version): (&mut Known<K>, String),
    show: &mut impl FnMut(&Known<K>) -> Result<(), E>,
) -> Result<(), E>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
    E: From<Trouble>,
{
    let mut parameters = WatchParams::default().timeout(LASTS);
    parameters.field_selector.clone_from(&follow.parameters.field_selector);
    parameters.label_selector.clone_from(&follow.parameters.label_selector);
    let mut events = match api.watch(&parameters, &version).await {
        Ok(events) => events.boxed(),
        Err(error) => {
            let asked = Asked {
                verb: "watch",
                resource: follow.resource,
                namespace: cluster.place(follow.all),
            };
            let trouble = cluster.trouble(error, asked);
            return if trouble.may_pass() { Ok(()) } else { Err(trouble.into()) };
        }
    };
    while let Some(event) = events.next().await {
        let mut changed = take(known, event);
        let until = tokio::time::Instant::now() + TOGETHER;
        while let Ok(Some(next)) = tokio::time::timeout_at(until, events.next()).await {
            changed |= take(known, next);
        }
        if changed {
            show(known)?;
        }
    }
    Ok(())
}

/// Takes in an event. Errors are left to the next list: the API server ends the watch after one.
fn take<K: Resource>(known: &mut Known<K>, event: kube::Result<WatchEvent<K>>) -> bool {
    match event {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            let (key, object) = keyed(object);
            known.insert(key, object);
            true
        }
        Ok(WatchEvent::Deleted(object)) => known.remove(&keyed(object).0).is_some(),
        Ok(WatchEvent::Bookmark(_) | WatchEvent::Error(_)) | Err(_) => false,
    }
}
