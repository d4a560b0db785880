//! Optional kinds: whether the cluster knows them, asked again while running.

use std::time::Duration;

use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::oneshot;
use tokio::sync::watch;
use wsgateway_crds::{ServiceMonitorMode, ValidGateway};

use crate::status::Verdict;

/// Which optional kinds the cluster knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// ServiceMonitors of the Prometheus operator.
    pub(crate) monitors: bool,
    /// HTTPRoutes of the Gateway API.
    pub(crate) routes: bool,
}

impl Known {
    /// What a WsGateway insists on and the cluster does not know.
    pub(crate) fn lacks(self, gateway: &ValidGateway) -> Option<Verdict> {
        if gateway.monitoring.service_monitor == ServiceMonitorMode::Always && !self.monitors {
            return Some(Verdict::no(
                "ServiceMonitorUnknown",
                "monitoring.serviceMonitor is Always, but the cluster does not know the kind ServiceMonitor: install \
                 the Prometheus operator, or use Auto",
            ));
        }
        if gateway.expose.route.is_some() && !self.routes {
            return Some(Verdict::no(
                "HttpRouteUnknown",
                "expose.httpRoute is given, but the cluster does not know the kind HTTPRoute of \
                 gateway.networking.k8s.io/v1: install the CRDs of the Gateway API, or drop it",
            ));
        }
        None
    }
}

fn service_monitor() -> GroupVersionKind {
    GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor")
}

fn http_route() -> GroupVersionKind {
    GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute")
}

/// The ServiceMonitor kind as the builders name it, without asking the cluster.
pub(crate) fn service_monitor_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&service_monitor(), "servicemonitors")
}

/// The HTTPRoute kind as the builders name it, without asking the cluster.
pub(crate) fn http_route_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&http_route(), "httproutes")
}

/// Keeps `known` up to date for ever. An API server that does not answer changes nothing.
pub(crate) async fn keep_looking(client: Client, every: Duration, known: watch::Sender<Known>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let before = *known.borrow();
        let now = Known {
            monitors: knows(&client, &service_monitor()).await.unwrap_or(before.monitors),
            routes: knows(&client, &http_route()).await.unwrap_or(before.routes),
        };
        known.send_if_modified(|known| std::mem::replace(known, now) != now);
    }
}

/// `None`: the API server did not say.
async fn knows(client: &Client, kind: &GroupVersionKind) -> Option<bool> {
    match oneshot::pinned_kind(client, kind).await {
        Ok(_) => Some(true),
        Err(kube::Error::Discovery(_)) => Some(false),
        Err(kube::Error::Api(status)) if status.is_not_found() => Some(false),
        Err(error) => {
            tracing::debug!(%error, kind = kind.kind, "cannot ask for an optional kind");
            None
        }
    }
}
