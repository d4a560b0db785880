//! What the status of every WsGateway says, and since when: one watch for each namespace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::task::JoinSet;
use wsgateway_crds::WsGateway;

/// A condition as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds.
    pub holds: bool,
    /// In one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What is known of a WsGateway.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Of the specification.
    pub generation: i64,
    /// Generation that the status, or the condition Ready, speaks of.
    pub observed: i64,
    /// Conditions by type.
    pub conditions: HashMap<String, Condition>,
    /// When the status said first that this generation is as specified.
    pub as_specified: Option<Instant>,
}

type Key = (String, String);

#[derive(Debug)]
struct Shared {
    seen: HashMap<Key, Seen>,
    changes: u64,
}

/// The watches; dropping it ends them.
#[derive(Debug)]
pub struct Observer {
    shared: Arc<Mutex<Shared>>,
    _watches: JoinSet<()>,
}

impl Observer {
    /// Watches these namespaces.
    #[must_use]
    pub fn start(client: &Client, namespaces: &[String]) -> Self {
        let shared = Arc::new(Mutex::new(Shared { seen: HashMap::new(), changes: 0 }));
        let mut watches = JoinSet::new();
        for namespace in namespaces {
            watches.spawn(watch(client.clone(), namespace.clone(), Arc::clone(&shared)));
        }
        Self { shared, _watches: watches }
    }

    /// How many WsGateways pass.
    pub fn count(&self, passes: impl Fn(&str, &Seen) -> bool) -> usize {
        let shared = lock(&self.shared);
        shared.seen.iter().filter(|((_, name), seen)| passes(name, seen)).count()
    }

    /// How many are as specified in their newest generation.
    pub fn as_specified(&self, counts: impl Fn(&str) -> bool) -> usize {
        self.count(|name, seen| counts(name) && seen.as_specified.is_some())
    }

    /// What is known of one.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Seen> {
        lock(&self.shared).seen.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All that is known, by namespace and name.
    #[must_use]
    pub fn all(&self) -> Vec<(Key, Seen)> {
        let shared = lock(&self.shared);
        shared.seen.iter().map(|(key, seen)| (key.clone(), seen.clone())).collect()
    }

    /// How often a WsGateway came, went or changed, its status included.
    #[must_use]
    pub fn changes(&self) -> u64 {
        lock(&self.shared).changes
    }
}

async fn watch(client: Client, namespace: String, shared: Arc<Mutex<Shared>>) {
    // Also those that our types cannot hold.
    let resource = ApiResource::erase::<WsGateway>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let mut shared = lock(&shared);
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                let key = (namespace.clone(), object.name_any());
                let before = shared.seen.remove(&key);
                shared.seen.insert(key, seen(&object, before.as_ref()));
            }
            Ok(watcher::Event::Delete(object)) => {
                shared.seen.remove(&(namespace.clone(), object.name_any()));
            }
            _ => continue,
        }
        shared.changes += 1;
    }
}

fn seen(object: &DynamicObject, before: Option<&Seen>) -> Seen {
    let status = &object.data["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let condition = |one: &Value| {
        let (reason, message) = (text(&one["reason"]), text(&one["message"]));
        (text(&one["type"]), Condition { holds: one["status"] == "True", reason, message })
    };
    let conditions: HashMap<String, Condition> = all.iter().map(condition).collect();
    let ready = all.iter().find(|one| one["type"] == "Ready");
    let observed = [
        &status["observedGeneration"],
        ready.map_or(&Value::Null, |one| &one["observedGeneration"]),
    ];
    let observed = observed.into_iter().filter_map(Value::as_i64).max().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let is_as_specified = observed == generation
        && conditions.get("Ready").is_some_and(|one| one.holds && one.reason == "AsSpecified");
    let since =
        before.filter(|before| before.generation == generation).and_then(|it| it.as_specified);
    let as_specified = is_as_specified.then(|| since.unwrap_or_else(Instant::now));
    Seen { generation, observed, conditions, as_specified }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
