//! Stage: build. Every object of a gateway as a pure function of the checked WsGateway, one file per object.

mod autoscaler;
mod config_map;
mod container;
mod deployment;
mod disruption;
mod http_route;
mod ingress;
mod meta;
mod monitor;
mod network_policy;
mod placement;
mod service_account;
mod services;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DynamicObject;
use wsgateway_config::{ConfigError, fingerprint};
use wsgateway_crds::{ValidGateway, gateway_config};

use crate::discovery::Known;

pub(crate) use meta::{
    CONFIG_LABEL, MANAGED_BY, child_name, is_child_name, is_config_name, selector_text,
};
pub(crate) use network_policy::NetworkRules;

/// Everything that should exist for a WsGateway; what should not is `None`.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) service_account: ServiceAccount,
    /// What needs a new process.
    pub(crate) config: ConfigMap,
    /// What running gateways take up, and the hash by which they name it.
    pub(crate) live: ConfigMap,
    pub(crate) live_hash: String,
    pub(crate) deployment: Deployment,
    pub(crate) clients: Service,
    pub(crate) admin: Service,
    pub(crate) autoscaler: Option<HorizontalPodAutoscaler>,
    pub(crate) disruption: PodDisruptionBudget,
    pub(crate) network_policy: Option<NetworkPolicy>,
    pub(crate) ingress: Option<Ingress>,
    pub(crate) monitor: Option<DynamicObject>,
    pub(crate) route: Option<DynamicObject>,
}

/// Builds them. `default_image` runs when the WsGateway names no image; `known` says which optional kinds the cluster
/// knows; without `network` there is no NetworkPolicy.
pub(crate) fn objects(
    gateway: &ValidGateway,
    default_image: &str,
    known: Known,
    network: Option<&NetworkRules>,
) -> Result<Objects, ConfigError> {
    let config = gateway_config(gateway);
    let parts = config.parts()?;
    Ok(Objects {
        service_account: service_account::build(gateway),
        config: config_map::restart(gateway, &parts),
        live: config_map::live(gateway, &parts),
        live_hash: fingerprint(&[&parts.live]),
        deployment: deployment::build(gateway, &config, &parts, default_image)?,
        clients: services::clients(gateway),
        admin: services::admin(gateway),
        autoscaler: autoscaler::build(gateway),
        disruption: disruption::build(gateway),
        network_policy: network_policy::build(gateway, network),
        ingress: ingress::build(gateway),
        monitor: monitor::build(gateway, known.monitors),
        route: http_route::build(gateway, known.routes),
    })
}

#[cfg(test)]
mod tests;
