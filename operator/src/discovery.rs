//! Optional kinds: which of them the cluster knows, asked again while running.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::Client;
use kube::core::GroupVersionKind;
use kube::discovery::oneshot;
use tokio::sync::watch;

use crate::kinds::Kind;

/// Keeps `known` up to date for ever. An API server that does not answer changes nothing.
pub(crate) async fn keep_looking(
    client: Client,
    every: Duration,
    known: watch::Sender<BTreeSet<Kind>>,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for kind in Kind::OPTIONAL {
            let resource = kind.resource();
            let gvk = GroupVersionKind::gvk(&resource.group, &resource.version, &resource.kind);
            let found = match oneshot::pinned_kind(&client, &gvk).await {
                Ok(_) => true,
                Err(kube::Error::Discovery(_)) => false,
                Err(kube::Error::Api(status)) if status.is_not_found() => false,
                Err(error) => {
                    tracing::debug!(%error, kind = kind.as_str(), "cannot ask for an optional kind");
                    continue;
                }
            };
            known.send_if_modified(
                |known| {
                    if found { known.insert(kind) } else { known.remove(&kind) }
                },
            );
        }
    }
}
