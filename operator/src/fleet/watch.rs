//! The watch of the gateway pods: one for all WsGateways, of which only [`PodView`](super::view::PodView)s are kept.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::watcher;

use super::store::Pods;
use crate::build::POD_LABELS;
use crate::children;
use crate::metrics::Watches;
use crate::scope::Scope;
use crate::wake::Wake;

/// Watches until dropped; wakes a WsGateway when one of its pods comes, goes or changes.
pub(crate) async fn watch(
    client: Client,
    scope: Scope,
    (pods, wake, watches): (Arc<Pods>, Wake, Watches),
) {
    let config = watcher::Config::default().labels(POD_LABELS);
    let held = Arc::clone(&pods);
    let known = move |namespace: &str| held.known(namespace);
    let mut events = children::events(scope.apis::<Pod>(&client), &config, known);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let touched = pods.apply(&event, Instant::now());
                touched.into_iter().for_each(|key| wake.wake(key));
            }
            Err(error) => watches.interrupted("Pod", &error),
        }
    }
}
