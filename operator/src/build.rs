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
mod scaled_object;
mod service_account;
mod services;

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;
use wsgateway_config::{ConfigError, fingerprint};
use wsgateway_crds::{ValidGateway, gateway_config};

use crate::kinds::Kind;

pub(crate) use disruption::{HOLDS_EVICTIONS, max_unavailable};
pub(crate) use meta::{
    ACCEPTS, CONFIG_LABEL, INSTANCE, MANAGED_BY, MANAGED_BY_LABEL, POD_LABELS, SELECTS_ACCEPTING,
    SERVES_ONLY, TEMPLATE_LABEL, admin_name, child_name, config_version, keda_name, labels,
    owner_of, selector_text,
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
    /// In its place.
    pub(crate) scaled_object: Option<DynamicObject>,
    pub(crate) disruption: PodDisruptionBudget,
    pub(crate) network_policy: Option<NetworkPolicy>,
    pub(crate) ingress: Option<Ingress>,
    pub(crate) route: Option<DynamicObject>,
    pub(crate) monitor: Option<DynamicObject>,
}

/// What objects depend on beside their WsGateway.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings<'a> {
    /// Image that runs when the WsGateway names none.
    pub(crate) default_image: &'a str,
    /// Optional kinds that the cluster knows.
    pub(crate) kinds: &'a BTreeSet<Kind>,
    /// Without these there is no NetworkPolicy.
    pub(crate) network: Option<&'a NetworkRules>,
    /// Name of the Service for metrics.
    pub(crate) admin_name: String,
}

/// Builds them.
pub(crate) fn objects(
    gateway: &ValidGateway,
    surroundings: &Surroundings<'_>,
) -> Result<Objects, ConfigError> {
    let config = gateway_config(gateway);
    let parts = config.parts()?;
    let knows = |kind| surroundings.kinds.contains(&kind);
    Ok(Objects {
        service_account: service_account::build(gateway),
        config: config_map::restart(gateway, &parts),
        live: config_map::live(gateway, &parts),
        live_hash: fingerprint(&[&parts.live]),
        deployment: deployment::build(gateway, &config, &parts, surroundings.default_image)?,
        clients: services::clients(gateway),
        admin: services::admin(gateway, surroundings.admin_name.clone()),
        autoscaler: autoscaler::build(gateway),
        scaled_object: scaled_object::build(gateway, knows(Kind::ScaledObject)),
        disruption: disruption::build(gateway),
        network_policy: network_policy::build(gateway, surroundings.network),
        ingress: ingress::build(gateway),
        route: http_route::build(gateway, knows(Kind::HttpRoute)),
        monitor: monitor::build(gateway, knows(Kind::ServiceMonitor)),
    })
}

/// The hash of the pod template that this operator makes for a WsGateway with this default image. Pods with another one are
/// replaced; `wsgw plan` is held against it.
///
/// # Errors
/// When the configuration cannot be written as a file.
pub fn template_hash(gateway: &ValidGateway, image: &str) -> Result<String, ConfigError> {
    let surroundings = Surroundings {
        default_image: image,
        kinds: &BTreeSet::new(),
        network: None,
        admin_name: admin_name(&gateway.name, |_| false),
    };
    Ok(objects(gateway, &surroundings)?.template().unwrap_or_default().to_owned())
}

/// An object to apply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) object: Value,
}

impl Objects {
    /// The hash of the pod template.
    pub(crate) fn template(&self) -> Option<&str> {
        let metadata = self.deployment.spec.as_ref()?.template.metadata.as_ref()?;
        metadata.labels.as_ref()?.get(TEMPLATE_LABEL).map(String::as_str)
    }

    /// Limits the Service for clients to pods of one template.
    pub(crate) fn serve_only(&mut self, template: &str) {
        let spec = self.clients.spec.get_or_insert_default();
        spec.selector
            .get_or_insert_default()
            .insert(TEMPLATE_LABEL.to_owned(), template.to_owned());
        let annotations = self.clients.metadata.annotations.get_or_insert_default();
        annotations.insert(SERVES_ONLY.to_owned(), template.to_owned());
    }

    /// Limits the Service for clients to pods that take some.
    pub(crate) fn serve_accepting(&mut self) {
        let spec = self.clients.spec.get_or_insert_default();
        let selector = spec.selector.get_or_insert_default();
        selector.insert(ACCEPTS.0.to_owned(), ACCEPTS.1.to_owned());
        let annotations = self.clients.metadata.annotations.get_or_insert_default();
        annotations.insert(SELECTS_ACCEPTING.to_owned(), "true".to_owned());
    }

    /// Allows no evictions for now.
    pub(crate) fn hold_evictions(&mut self) {
        let budget = &mut self.disruption;
        budget.spec.get_or_insert_default().max_unavailable = Some(max_unavailable(true));
        let annotations = budget.metadata.annotations.get_or_insert_default();
        annotations.insert(HOLDS_EVICTIONS.to_owned(), "true".to_owned());
    }

    /// Has the Deployment have so many pods.
    pub(crate) fn scale(&mut self, replicas: i32) {
        self.deployment.spec.get_or_insert_default().replicas = Some(replicas);
    }

    /// Has the Deployment start no pods of its template yet.
    pub(crate) fn pause(&mut self) {
        self.deployment.spec.get_or_insert_default().paused = Some(true);
    }

    /// All of them, in the order in which they are applied.
    pub(crate) fn desired(&self) -> Result<Vec<Desired>, serde_json::Error> {
        let all = [
            Some(desired(Kind::ServiceAccount, &self.service_account)),
            Some(desired(Kind::ConfigMap, &self.config)),
            Some(desired(Kind::ConfigMap, &self.live)),
            Some(desired(Kind::Service, &self.clients)),
            Some(desired(Kind::Service, &self.admin)),
            Some(desired(Kind::PodDisruptionBudget, &self.disruption)),
            Some(desired(Kind::Deployment, &self.deployment)),
            maybe(Kind::HorizontalPodAutoscaler, self.autoscaler.as_ref()),
            maybe(Kind::ScaledObject, self.scaled_object.as_ref()),
            maybe(Kind::NetworkPolicy, self.network_policy.as_ref()),
            maybe(Kind::Ingress, self.ingress.as_ref()),
            maybe(Kind::HttpRoute, self.route.as_ref()),
            maybe(Kind::ServiceMonitor, self.monitor.as_ref()),
        ];
        let mut all: Vec<Desired> = all.into_iter().flatten().collect::<Result<_, _>>()?;
        all.sort_by_key(|desired| desired.kind);
        Ok(all)
    }
}

fn maybe(
    kind: Kind,
    object: Option<&(impl Resource + Serialize)>,
) -> Option<Result<Desired, serde_json::Error>> {
    object.map(|object| desired(kind, object))
}

fn desired(kind: Kind, object: &(impl Resource + Serialize)) -> Result<Desired, serde_json::Error> {
    Ok(Desired { kind, name: object.name_any(), object: serde_json::to_value(object)? })
}

#[cfg(test)]
mod tests;
