//! Evictions wait while a pod hands its clients over: two at a time would be twice the pace, and a pod that is being deleted
//! cannot be told to be slower. The PodDisruptionBudget says so, `kubectl drain` tries again every few seconds.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::Patch;
use serde_json::json;
use wsgateway_crds::ValidGateway;

use crate::apply::in_our_name;
use crate::build::{HOLDS_EVICTIONS, Objects, child_name, max_unavailable};
use crate::context::Context;
use crate::error::{Error, Stage};
use crate::kinds::Kind;
use crate::rollout::Rollout;
use crate::wake::Name;

/// Holds evictions while pods hand clients over as they end. Nobody holds them for longer than the grace period of a pod.
pub(crate) fn fit(
    objects: &mut Objects,
    rollout: &Rollout,
    valid: &ValidGateway,
    context: &Context,
) {
    let now = Timestamp::now().as_second();
    let is_held = match &rollout.pods {
        Some(pods) => rollout.ends_pods() || pods.iter().any(|pod| pod.is_ending(now)),
        // As they are, until it is known which pods there are.
        None => are_held(&Name::new(&valid.namespace, &valid.name), context),
    };
    if is_held {
        objects.hold_evictions();
    }
}

fn are_held(key: &Name, context: &Context) -> bool {
    let found = context.inventory.get(key, Kind::PodDisruptionBudget, &child_name(&key.name));
    found.is_some_and(|budget| budget.holds_evictions)
}

/// Allows them again where a WsGateway is left as it is: a drain of a node must not wait for ever.
pub(crate) async fn release(key: &Name, context: &Context) -> Result<(), Error> {
    if !are_held(key, context) {
        return Ok(());
    }
    let api: Api<PodDisruptionBudget> = Api::namespaced(context.client.clone(), &key.namespace);
    let patch = json!({
        "metadata": { "annotations": { HOLDS_EVICTIONS: null } },
        "spec": { "maxUnavailable": max_unavailable(false) },
    });
    match api.patch(&child_name(&key.name), &in_our_name(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::kube(Stage::Apply, "the PodDisruptionBudget", &error)),
    }
}
