//! Stage: build. Every object of a gateway as a pure function of the checked WsGateway, one file per object.

mod autoscaler;
mod config_map;
mod deployment;
mod disruption;
mod meta;
mod monitor;
mod service_account;
mod services;

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::Value;
use wsgateway_config::ConfigError;
use wsgateway_crds::{ValidGateway, gateway_config};

pub(crate) use meta::{
    INSTANCE, MANAGED_BY, MANAGED_BY_LABEL, POD_LABELS, admin_name, child_name, selector_text,
};

use crate::kinds::Kind;

/// Everything that should exist for a WsGateway; what should not is `None`.
#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) service_account: ServiceAccount,
    pub(crate) config_map: ConfigMap,
    pub(crate) deployment: Deployment,
    pub(crate) clients: Service,
    pub(crate) admin: Service,
    pub(crate) autoscaler: Option<HorizontalPodAutoscaler>,
    pub(crate) disruption: PodDisruptionBudget,
    pub(crate) monitor: Option<DynamicObject>,
}

/// What objects depend on beside their WsGateway.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings<'a> {
    /// Image that runs when the WsGateway names none.
    pub(crate) default_image: &'a str,
    /// Optional kinds that the cluster knows.
    pub(crate) kinds: &'a BTreeSet<Kind>,
    /// Name of the Service for metrics.
    pub(crate) admin_name: String,
}

/// Builds them.
pub(crate) fn objects(
    gateway: &ValidGateway,
    surroundings: &Surroundings<'_>,
) -> Result<Objects, ConfigError> {
    let config = gateway_config(gateway);
    let text = config.render()?;
    Ok(Objects {
        service_account: service_account::build(gateway),
        config_map: config_map::build(gateway, &text),
        deployment: deployment::build(gateway, &config, &text, surroundings.default_image),
        clients: services::clients(gateway),
        admin: services::admin(gateway, surroundings.admin_name.clone()),
        autoscaler: autoscaler::build(gateway),
        disruption: disruption::build(gateway),
        monitor: monitor::build(gateway, surroundings.kinds.contains(&Kind::ServiceMonitor)),
    })
}

/// An object to apply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) object: Value,
}

impl Objects {
    /// All of them, in the order in which they are applied.
    pub(crate) fn desired(&self) -> Result<Vec<Desired>, serde_json::Error> {
        let all = [
            Some(desired(Kind::ServiceAccount, &self.service_account)),
            Some(desired(Kind::ConfigMap, &self.config_map)),
            Some(desired(Kind::Service, &self.clients)),
            Some(desired(Kind::Service, &self.admin)),
            Some(desired(Kind::PodDisruptionBudget, &self.disruption)),
            Some(desired(Kind::Deployment, &self.deployment)),
            self.autoscaler
                .as_ref()
                .map(|autoscaler| desired(Kind::HorizontalPodAutoscaler, autoscaler)),
            self.monitor.as_ref().map(|monitor| desired(Kind::ServiceMonitor, monitor)),
        ];
        let mut all: Vec<Desired> = all.into_iter().flatten().collect::<Result<_, _>>()?;
        all.sort_by_key(|desired| desired.kind);
        Ok(all)
    }
}

fn desired(
    kind: Kind,
    object: &(impl Resource + Serialize),
) -> Result<Desired, serde_json::Error> {
    Ok(Desired { kind, name: object.name_any(), object: serde_json::to_value(object)? })
}

#[cfg(test)]
mod tests;
