//! Optional kinds: whether the cluster knows them, asked again while running.

use std::time::Duration;

use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::oneshot;
use tokio::sync::watch;

/// The ServiceMonitor kind of the Prometheus operator.
pub(crate) fn service_monitor() -> GroupVersionKind {
    GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor")
}

/// The kind as the builders name it, without asking the cluster.
pub(crate) fn service_monitor_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&service_monitor(), "servicemonitors")
}

/// Keeps `known` up to date for ever. An API server that does not answer changes nothing.
pub(crate) async fn keep_looking(client: Client, every: Duration, known: watch::Sender<bool>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let found = match oneshot::pinned_kind(&client, &service_monitor()).await {
            Ok(_) => true,
            Err(kube::Error::Discovery(_)) => false,
            Err(kube::Error::Api(status)) if status.is_not_found() => false,
            Err(error) => {
                tracing::debug!(%error, "cannot ask for optional kinds");
                continue;
            }
        };
        known.send_if_modified(|known| std::mem::replace(known, found) != found);
    }
}
