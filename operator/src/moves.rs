//! Stage: moves. Clients go from pods that are not needed any more, or have too many of them, to others, while no pod is
//! replaced: what is seen, what follows (`plan.rs`, pure), and the writes.

mod often;
mod plan;
mod words;

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use wsgateway_crds::{DisruptionKind, DisruptionStatus, ValidGateway, WsGateway};

use crate::build::{ACCEPTS, Objects};
use crate::context::Context;
use crate::error::{Error, Stage as Step};
use crate::fleet::PodFacts;
use crate::kinds::Kind;
use crate::rollout::{self, Rollout};
use crate::wake::Name;
use plan::{Observed, Stance, Wanted, plan};

pub(crate) use plan::{Plan, Stage};
pub(crate) use words::words;

/// On a WsGateway: asks for clients to be spread over its pods once, by any value that it did not have before.
pub(crate) const REBALANCE_AT: &str = "wsgateway.dev/rebalance-at";
/// On a pod: what it is to do with its clients. It reads it itself.
pub(crate) const SHED: &str = "wsgateway.dev/shed";
/// On a pod: Kubernetes ends the one with the lowest number first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// That of a pod that is not needed any more.
const CHEAP: &str = "-1000";
/// Answers that are older say too little to choose a pod by.
const FRESH: Duration = Duration::from_secs(3);
/// Pods changed at the same time, for one WsGateway.
const AT_ONCE: usize = 8;

/// What follows from what is seen of the pods of a WsGateway; nothing as long as nobody knows which there are.
pub(crate) fn look(
    gateway: &WsGateway,
    valid: &ValidGateway,
    rollout: &Rollout,
    context: &Context,
) -> Plan {
    let deployment = rollout.deployment.as_deref();
    let replicas =
        deployment.and_then(|deployment| deployment.spec.as_ref()).and_then(|spec| spec.replicas);
    let wanted = valid.effective_replicas();
    let Some(pods) = &rollout.pods else {
        let replicas = replicas.map_or(wanted, |replicas| replicas.max(wanted));
        return Plan { replicas, ..Plan::default() };
    };
    let age = context.pods.oldest_answer(&key(valid), Instant::now());
    let now = Timestamp::now().as_second();
    let per_hour = valid.disruption.max_per_client_per_hour;
    let observed = Observed {
        replicas,
        pods,
        template: deployment.and_then(rollout::template_of).unwrap_or_default(),
        is_rolling: rollout.plan.stage.is_rolling(),
        is_pinned: rollout.plan.pin.is_some() || rollout.is_pinned,
        is_steady: context.pods.is_steady(&key(valid), Instant::now()),
        is_fresh: age.is_none_or(|age| age <= FRESH),
        now,
        since_rebalance: since_rebalance(gateway, now),
        moved_enough_until: often::moved_enough_until(disruptions(gateway), per_hour, now),
    };
    let wanted = Wanted {
        replicas: wanted,
        per_minute: valid.scale_down_per_minute,
        rebalance: valid.rebalance,
        is_asked: asked(gateway).is_some(),
        min_age_seconds: often::min_age_seconds(per_hour),
        halted: rollout.contract.halted(),
    };
    plan(&observed, wanted)
}

/// The value of the annotation that asks for a rebalance, if that has not been yet.
pub(crate) fn asked(gateway: &WsGateway) -> Option<&str> {
    let value = gateway.annotations().get(REBALANCE_AT)?;
    let status = gateway.status.as_ref();
    let handled = status.and_then(|status| status.rebalance_asked.as_deref());
    (handled != Some(&**value)).then_some(value)
}

fn disruptions(gateway: &WsGateway) -> &[DisruptionStatus] {
    gateway.status.as_ref().map(|status| status.disruptions.as_slice()).unwrap_or_default()
}

fn since_rebalance(gateway: &WsGateway, now: i64) -> Option<i64> {
    let all = disruptions(gateway).iter();
    let last = all.rev().find(|disruption| disruption.kind == DisruptionKind::Rebalance)?;
    let since = last.ended.as_ref().map_or(0, |ended| now.saturating_sub(ended.0.as_second()));
    // A clock that was put back must not hold the next one up until it is there again.
    (since >= 0).then_some(since)
}

/// Writes what pods are to do.
pub(crate) async fn step(
    plan: &Plan,
    valid: &ValidGateway,
    context: &Context,
) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &valid.namespace);
    let mut writes = stream::iter(plan.changes.clone())
        .map(|(pod, stance)| write(api.clone(), pod, stance))
        .buffer_unordered(AT_ONCE);
    let mut outcome = Ok(());
    while let Some(done) = writes.next().await {
        outcome = outcome.and(done);
    }
    outcome
}

async fn write(api: Api<Pod>, pod: String, stance: Stance) -> Result<(), Error> {
    let patch = Patch::Merge(change(&stance));
    match api.patch_metadata(&pod, &PatchParams::default(), &patch).await {
        Ok(_) => {
            let shed = stance.shed.as_ref().map(|shed| &*shed.id).unwrap_or_default();
            tracing::info!(
                pod,
                accepts = stance.accepts,
                shed,
                "a pod is told what to do with clients"
            );
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::kube(Step::Apply, &format!("pod {pod}"), &error)),
    }
}

fn change(stance: &Stance) -> Value {
    let drains = stance.shed.as_ref().is_some_and(|shed| shed.keep == 0);
    json!({ "metadata": {
        "labels": { ACCEPTS.0: stance.accepts.then_some(ACCEPTS.1) },
        "annotations": {
            SHED: stance.shed.as_ref().map(wsgateway_config::Shed::render),
            DELETION_COST: drains.then_some(CHEAP),
        },
    } })
}

/// Whether the Service may be limited to pods that accept clients: it is already, or all pods have their label.
fn may_select(is_selecting: bool, pods: Option<&[PodFacts]>) -> bool {
    let is_told = |pod: &PodFacts| pod.view.accepts || pod.view.shed.is_some() || pod.full;
    let current = |pods: &[PodFacts]| pods.iter().filter(|pod| pod.is_current()).all(is_told);
    is_selecting || pods.is_some_and(current)
}

fn key(valid: &ValidGateway) -> Name {
    Name::new(&valid.namespace, &valid.name)
}

impl Plan {
    /// Fits the objects to what is under way.
    pub(crate) fn fit(
        &self,
        objects: &mut Objects,
        rollout: &Rollout,
        valid: &ValidGateway,
        context: &Context,
    ) {
        objects.scale(self.replicas);
        let service = context.inventory.get(&key(valid), Kind::Service, &valid.name);
        let is_selecting = service.is_some_and(|entry| entry.selects_accepting);
        if may_select(is_selecting, rollout.pods.as_deref()) {
            objects.serve_accepting();
        }
    }

    /// Whether the next look should not wait for long.
    pub(crate) fn is_busy(&self) -> bool {
        let is_moving = matches!(self.stage, Stage::Shrinking(_) | Stage::Rebalancing(_));
        is_moving || self.is_waiting || !self.changes.is_empty()
    }
}
