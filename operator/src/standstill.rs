//! WsGateways that are left as they are: paused, or with a specification that cannot be put into practice.

use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use wsgateway_crds::{FieldError, WsGateway, WsGatewaySpec};

use crate::context::Context;
use crate::error::Error;
use crate::reconcile::rest;
use crate::report::{Look, tell};
use crate::rollout::Stage;
use crate::status::Verdict;
use crate::status::conclude::Outcomes;
use crate::wake::Name;
use crate::{apply, dereference, evictions};

/// As the schema has it.
const MOST_PODS: i32 = 1_000;

/// Why a WsGateway that is paused is left alone.
pub(crate) fn paused() -> Verdict {
    Verdict::no("Paused", "spec.paused is true: nothing is changed until it is false").planned()
}

/// An invalid spec is a condition; only its change helps.
pub(crate) fn refused(errors: &[FieldError]) -> Verdict {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Verdict::no("SpecInvalid", lines.join("; "))
}

/// Changes nothing but the number of pods, and that only where the specification is refused: a rule that is stricter than
/// the one under which pods were started must not keep them from being scaled. Evictions that were held are allowed again.
pub(crate) async fn stand_still(
    gateway: &WsGateway,
    key: &Name,
    why: Verdict,
    context: &Context,
) -> Result<(Action, bool), Error> {
    context.records.end_look(&gateway.uid().unwrap_or_default()).await;
    dereference::first_lists(context).await;
    let deployment = dereference::deployment(key, context);
    let wanted = asked_for(&gateway.spec);
    if !why.is_planned {
        context.metrics.problem("validate", why.reason);
        if let Some(deployment) = &deployment
            && deployment.spec.as_ref().and_then(|spec| spec.replicas) != Some(wanted)
        {
            apply::scale(&context.client, deployment, wanted).await?;
        }
    }
    evictions::release(key, context).await?;
    let is_deployed = deployment.is_some();
    let outcomes = Outcomes {
        standstill: Some(why),
        is_exposed: gateway.spec.expose.ingress.is_some()
            || gateway.spec.expose.http_route.is_some(),
        is_autoscaled: gateway.spec.autoscaling.is_some(),
        is_guarded: gateway.spec.auth.is_some(),
        ..Outcomes::default()
    };
    let look = Look {
        deployment,
        wanted,
        bounds: None,
        rollout: Stage::Settled,
        moves: None,
        contract: None,
        stream: None,
        internal: None,
    };
    tell(gateway, key, look, outcomes, context).await?;
    // Pods that run wake it when something about them changes.
    let action = if is_deployed { Action::requeue(rest(context)) } else { Action::await_change() };
    Ok((action, false))
}

/// The number of pods that a specification asks for, as far as it can be understood.
fn asked_for(spec: &WsGatewaySpec) -> i32 {
    let replicas = match &spec.autoscaling {
        Some(bounds) if spec.replicas > 0 && bounds.min_replicas <= bounds.max_replicas => {
            spec.replicas.clamp(bounds.min_replicas, bounds.max_replicas)
        }
        _ => spec.replicas,
    };
    replicas.clamp(0, MOST_PODS)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({ "replicas": 3 }), 3)]
    #[case(json!({ "replicas": -3 }), 0)]
    #[case(json!({ "replicas": 9, "autoscaling": { "minReplicas": 2, "maxReplicas": 4 } }), 4)]
    #[case(json!({ "replicas": 0, "autoscaling": { "minReplicas": 2, "maxReplicas": 4 } }), 0)]
    #[case(json!({ "replicas": 9, "autoscaling": { "minReplicas": 5, "maxReplicas": 4 } }), 9)]
    #[case(json!({ "replicas": 2_000, "autoscaling": { "minReplicas": 1_500, "maxReplicas": 4_000 } }), 1_000)]
    fn pods_are_asked_for_as_far_as_the_specification_makes_sense(
        #[case] spec: serde_json::Value,
        #[case] expected: i32,
    ) {
        let spec: WsGatewaySpec = serde_json::from_value(spec).unwrap();
        assert_eq!(asked_for(&spec), expected);
    }
}
