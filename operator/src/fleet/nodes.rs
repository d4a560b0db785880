//! Nodes that are taken out of service: a pod on one of them is about to go, and is not to get the clients of the next.
//!
//! Watched where the operator keeps a whole cluster; Roles of namespaces cannot give the right to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};

use super::store::Pods;
use crate::backoff::WatchBackoff;
use crate::metrics::Watches;
use crate::wake::Wake;

/// The API server selects them, so that the others cost nothing.
const CORDONED: &str = "spec.unschedulable=true";

/// Watches until dropped; wakes each WsGateway with a pod on a node that is taken out of service, or into it again.
pub(crate) async fn watch_nodes(client: Client, pods: Arc<Pods>, wake: Wake, watches: Watches) {
    let config = watcher::Config::default().fields(CORDONED);
    // Only their names matter.
    let nodes: Api<PartialObjectMeta<Node>> = Api::all(client);
    let mut events = watcher(nodes, config).backoff(WatchBackoff::default()).boxed();
    let mut cordoned = Cordoned::default();
    let mut is_told = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                is_told = false;
                if let Some(nodes) = cordoned.take(event, ResourceExt::name_any) {
                    pods.cordon(nodes).into_iter().for_each(|key| wake.wake(key));
                }
            }
            // Without the right to it, it fails for ever: once is enough.
            Err(error) if !is_told => {
                is_told = true;
                watches.interrupted("Node", &error);
            }
            Err(_) => watches.count("Node"),
        }
    }
}

/// The names of nodes out of service.
#[derive(Debug, Default)]
struct Cordoned {
    now: BTreeSet<String>,
    /// Of a list that is coming in.
    listed: BTreeSet<String>,
}

impl Cordoned {
    /// Takes an event in; returns all names if they may have changed.
    fn take<N>(
        &mut self,
        event: Event<N>,
        name: impl Fn(&N) -> String,
    ) -> Option<BTreeSet<String>> {
        match event {
            Event::Init => {
                self.listed.clear();
                return None;
            }
            Event::InitApply(node) => {
                self.listed.insert(name(&node));
                return None;
            }
            Event::InitDone => self.now = std::mem::take(&mut self.listed),
            Event::Apply(node) => drop(self.now.insert(name(&node))),
            Event::Delete(node) => drop(self.now.remove(&name(&node))),
        }
        Some(self.now.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_comes_again_replaces_what_was_known() {
        let mut cordoned = Cordoned::default();
        let mut take = |event| cordoned.take(event, |name: &&str| (*name).to_owned());
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(take(Event::Init), None);
        assert_eq!(take(Event::InitApply("a")), None);
        assert_eq!(take(Event::InitDone), names(&["a"]));
        assert_eq!(take(Event::Apply("b")), names(&["a", "b"]));
        assert_eq!(take(Event::Delete("a")), names(&["b"]));
        assert_eq!((take(Event::Init), take(Event::InitApply("c"))), (None, None));
        assert_eq!(take(Event::InitDone), names(&["c"]));
    }
}
