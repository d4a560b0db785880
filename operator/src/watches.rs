//! Several watches as one: one per namespace, with one store for all of them.
//!
//! A store takes a list as the whole truth, and each watch lists its own namespace only, again after every interruption.
//! So the first lists are put together to one, and a later one becomes the changes that it shows. Pure but for whoever
//! takes the events in, who is asked for what is known of a namespace.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt as _};

/// What a watch brings.
type Item<K> = watcher::Result<Event<K>>;

/// The events of several watches, each with its namespace, as those of one watch. `known` is what whoever takes them in
/// holds of a namespace.
pub(crate) fn merged<K>(
    mut watches: Vec<(String, BoxStream<'static, Item<K>>)>,
    mut known: impl FnMut(&str) -> Vec<K> + Send + 'static,
) -> BoxStream<'static, Item<K>>
where
    K: Resource + Clone + Send + Sync + 'static,
{
    if watches.len() == 1
        && let Some((_all, only)) = watches.pop()
    {
        return only;
    }
    let (namespaces, watches): (Vec<String>, Vec<_>) = watches.into_iter().unzip();
    let numbered = watches
        .into_iter()
        .enumerate()
        .map(|(from, watch)| watch.map(move |item| (from, item)).boxed());
    let mut merge = Merge::new(namespaces);
    let events = stream::select_all(numbered)
        .flat_map(move |(from, item)| stream::iter(merge.take(from, item, &mut known)));
    events.boxed()
}

/// What has been heard of each watch; watches have numbers.
struct Merge<K> {
    namespaces: Vec<String>,
    /// Watches that have not ended their first list.
    waiting: BTreeSet<usize>,
    /// What was heard before the last of them has, by watch and name.
    first: BTreeMap<(usize, String), K>,
    /// Names of lists that are coming in again, by watch.
    again: BTreeMap<usize, HashSet<String>>,
}

impl<K> Merge<K>
where
    K: Resource + Clone + 'static,
{
    fn new(namespaces: Vec<String>) -> Self {
        let waiting = (0..namespaces.len()).collect();
        Self { namespaces, waiting, first: BTreeMap::new(), again: BTreeMap::new() }
    }

    /// `known` is what the store holds of a namespace.
    fn take(
        &mut self,
        from: usize,
        item: Item<K>,
        known: impl FnOnce(&str) -> Vec<K>,
    ) -> Vec<Item<K>> {
        let (event, trouble) = match item {
            Ok(event) => (event, None),
            // A namespace that we may not list must not keep the others from being served. Its watch goes on trying. An API
            // server that does not answer has nothing to say of any of them.
            Err(error) if self.waiting.contains(&from) && is_denied(&error) => {
                (Event::InitDone, Some(error))
            }
            Err(error) => return vec![Err(error)],
        };
        let events = if self.waiting.is_empty() {
            self.later(from, event, known)
        } else {
            self.at_first(from, event)
        };
        events.into_iter().map(Ok).chain(trouble.map(Err)).collect()
    }

    /// Until every watch has ended its first list: all of them together are one list.
    fn at_first(&mut self, from: usize, event: Event<K>) -> Vec<Event<K>> {
        match event {
            Event::Init => self.first.retain(|(watch, _), _| *watch != from),
            Event::InitApply(object) | Event::Apply(object) => {
                self.first.insert((from, object.name_any()), object);
            }
            Event::Delete(object) => drop(self.first.remove(&(from, object.name_any()))),
            Event::InitDone => {
                self.waiting.remove(&from);
            }
        }
        if !self.waiting.is_empty() {
            return Vec::new();
        }
        let objects = std::mem::take(&mut self.first).into_values().map(Event::InitApply);
        std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]).collect()
    }

    /// After that: a list that comes again is changes, and deletions of what it lacks.
    fn later(
        &mut self,
        from: usize,
        event: Event<K>,
        known: impl FnOnce(&str) -> Vec<K>,
    ) -> Vec<Event<K>> {
        match event {
            Event::Init => {
                self.again.insert(from, HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                self.again.entry(from).or_default().insert(object.name_any());
                vec![Event::Apply(object)]
            }
            Event::InitDone => {
                let Some(listed) = self.again.remove(&from) else { return Vec::new() };
                let mut gone = known(&self.namespaces[from]);
                gone.retain(|object| !listed.contains(&object.name_any()));
                gone.into_iter().map(Event::Delete).collect()
            }
            change @ (Event::Apply(_) | Event::Delete(_)) => vec![change],
        }
    }
}

fn is_denied(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_forbidden())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;
    use kube::runtime::reflector;

    use super::*;

    fn map(namespace: &str, name: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn denied() -> watcher::Error {
        let status = serde_json::json!({ "code": 403, "reason": "Forbidden" });
        let status = serde_json::from_value(status).unwrap();
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    /// Names in the store after these events of watches 0 (namespace `a`) and 1 (namespace `b`); `None`: it is not ready.
    fn stored(items: Vec<(usize, Item<ConfigMap>)>) -> Option<Vec<String>> {
        let (store, mut writer) = reflector::store::<ConfigMap>();
        let mut merge = Merge::new(vec!["a".to_owned(), "b".to_owned()]);
        let mut ready = false;
        for (from, item) in items {
            let known = |namespace: &str| {
                let mut objects: Vec<_> =
                    store.state().into_iter().map(|object| (*object).clone()).collect();
                objects.retain(|object| object.namespace().as_deref() == Some(namespace));
                objects
            };
            for event in merge.take(from, item, known).into_iter().flatten() {
                ready |= matches!(event, Event::InitDone);
                writer.apply_watcher_event(&event);
            }
        }
        let mut names: Vec<String> = store
            .state()
            .iter()
            .map(|object| {
                format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
            })
            .collect();
        names.sort();
        ready.then_some(names)
    }

    /// A whole list of a watch.
    fn list(from: usize, namespace: &str, names: &[&str]) -> Vec<(usize, Item<ConfigMap>)> {
        let objects = names.iter().map(|name| Event::InitApply(map(namespace, name)));
        let events = std::iter::once(Event::Init).chain(objects).chain([Event::InitDone]);
        events.map(|event| (from, Ok(event))).collect()
    }

    #[test]
    fn the_store_is_ready_once_every_namespace_is_listed_and_holds_all_of_them() {
        let first = list(0, "a", &["x", "y"]);
        assert_eq!(stored(first.clone_items()), None);
        let both = first.into_iter().chain(list(1, "b", &["x"])).collect();
        assert_eq!(stored(both).unwrap(), ["a/x", "a/y", "b/x"]);
    }

    #[test]
    fn changes_of_a_listed_namespace_are_not_lost_while_another_is_still_listed() {
        let mut items = list(0, "a", &["x", "y"]);
        items.push((0, Ok(Event::Apply(map("a", "z")))));
        items.push((0, Ok(Event::Delete(map("a", "x")))));
        items.extend(list(1, "b", &[]));
        assert_eq!(stored(items).unwrap(), ["a/y", "a/z"]);
    }

    #[test]
    fn a_list_that_comes_again_removes_what_is_gone_from_its_own_namespace_alone() {
        let mut items = list(0, "a", &["x", "y"]);
        items.extend(list(1, "b", &["x"]));
        items.extend(list(0, "a", &["y", "z"]));
        assert_eq!(stored(items).unwrap(), ["a/y", "a/z", "b/x"]);
        let mut items = list(0, "a", &["x"]);
        items.extend(list(1, "b", &["x"]));
        items.extend(list(0, "a", &[]));
        assert_eq!(stored(items).unwrap(), ["b/x"]);
    }

    #[test]
    fn a_namespace_that_cannot_be_listed_does_not_hold_up_the_others_and_comes_later() {
        let mut items = list(0, "a", &["x"]);
        items.push((1, Ok(Event::Init)));
        items.push((1, Err(watcher::Error::NoResourceVersion)));
        assert_eq!(stored(items.clone_items()), None, "nothing is known of it yet");
        items.push((1, Err(denied())));
        assert_eq!(stored(items.clone_items()).unwrap(), ["a/x"]);
        items.extend(list(1, "b", &["late"]));
        assert_eq!(stored(items).unwrap(), ["a/x", "b/late"]);
    }

    #[test]
    fn trouble_is_passed_on() {
        let mut merge = Merge::<ConfigMap>::new(vec!["a".to_owned(), "b".to_owned()]);
        for from in [0, 1, 1] {
            let events = merge.take(from, Err(denied()), |_| Vec::new());
            assert!(events.last().is_some_and(Result::is_err), "{from}");
        }
    }

    /// Errors of watches cannot be cloned.
    trait CloneItems {
        fn clone_items(&self) -> Self;
    }

    impl CloneItems for Vec<(usize, Item<ConfigMap>)> {
        fn clone_items(&self) -> Self {
            let error = |error: &watcher::Error| match error {
                watcher::Error::NoResourceVersion => watcher::Error::NoResourceVersion,
                _ => denied(),
            };
            let item = |item: &Item<ConfigMap>| match item {
                Ok(event) => Ok(event.clone()),
                Err(trouble) => Err(error(trouble)),
            };
            self.iter().map(|(from, one)| (*from, item(one))).collect()
        }
    }
}
