//! Stage: report. What the stages found becomes conditions, a status and events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use wsgateway_crds::{ServiceMonitorMode, ValidGateway, WsGateway};

use crate::apply::Applied;
use crate::context::Context;
use crate::dereference::{self, World};
use crate::error::Error;
use crate::kinds::Kind;
use crate::status::conclude::{Outcomes, conclude};
use crate::status::judge::Facts;
use crate::status::{self, Findings, Fleet, READY, Verdict};
use crate::stream::Outcome;
use crate::wake::Name;

/// Failures before this one that make it worth reporting, even if it may pass by itself.
const LASTING: u32 = 2;

/// What was looked at.
pub(crate) struct Look<'a> {
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// Pods wanted.
    pub(crate) wanted: i32,
    pub(crate) stream: Option<&'a Outcome>,
    /// Where clients connect inside the cluster.
    pub(crate) internal: Option<String>,
}

/// What the stages found, after so many failures in a row.
pub(crate) fn outcomes(
    valid: &ValidGateway,
    world: &World,
    stream: &Outcome,
    deployed: &Result<Option<Applied>, Error>,
    failures: u32,
) -> Outcomes {
    let error = match deployed {
        Ok(None) => None,
        Ok(Some(applied)) => applied.broken(),
        Err(error) => Some(error),
    };
    // An API server that is busy for a moment is nothing to report.
    let lasting = error.filter(|error| failures >= LASTING || !error.is_temporary());
    let obstacle = if let Ok(None) = deployed {
        Some(Verdict::no("WaitingForStream", "gateways start once the stream is ours").planned())
    } else {
        lasting.map(|error| Verdict::no(error.reason, error.message.clone()))
    };
    let applied = deployed.as_ref().ok().and_then(Option::as_ref);
    Outcomes {
        standstill: None,
        stream: Some(stream.verdict.clone()),
        obstacle,
        monitoring: applied.map(|applied| monitoring(valid, &world.kinds, applied)),
        is_autoscaled: valid.autoscaling.is_some(),
    }
}

/// MonitoringReady: trouble with optional objects is a condition of its own.
fn monitoring(valid: &ValidGateway, kinds: &BTreeSet<Kind>, applied: &Applied) -> Verdict {
    if let Some(error) = applied.refused() {
        return Verdict::no(
            "ServiceMonitorRefused",
            format!(
                "{}; correct monitoring, give the operator the right, or set monitoring.serviceMonitor to Never",
                error.message
            ),
        );
    }
    let is_known = kinds.contains(&Kind::ServiceMonitor);
    match valid.monitoring.service_monitor {
        ServiceMonitorMode::Never => {
            Verdict::yes("NotWanted", "monitoring.serviceMonitor is Never")
        }
        _ if is_known => Verdict::yes("ServiceMonitorApplied", "the ServiceMonitor is as specified"),
        ServiceMonitorMode::Auto => {
            Verdict::yes("NotInstalled", "the cluster does not know the kind ServiceMonitor")
        }
        ServiceMonitorMode::Always => Verdict::no(
            "ServiceMonitorUnknown",
            "monitoring.serviceMonitor is Always, but the cluster does not know the kind ServiceMonitor: install the \
             Prometheus operator, or use Auto",
        ),
    }
}

/// Makes a status of what was found and writes it if it differs. True: all is as specified.
pub(crate) async fn tell(
    gateway: &WsGateway,
    key: &Name,
    look: Look<'_>,
    outcomes: Outcomes,
    context: &Context,
) -> Result<bool, Error> {
    let now = Timestamp::now();
    let pods = context.pods.of(key);
    let autoscaler = dereference::autoscaler(key, context);
    let deployment = look.deployment.as_deref();
    let facts = Facts { deployment, wanted: look.wanted, pods: &pods, now };
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice());
    let is_known =
        conditions.unwrap_or_default().iter().any(|condition| condition.type_ == READY);
    let findings = Findings {
        stream_status: look.stream.and_then(|stream| stream.status.clone()),
        fleet: Some(Fleet { deployment, wanted: look.wanted, pods: &pods }),
        internal: look.internal,
        ..Findings::of(gateway)
    };
    let findings = conclude(findings, &facts, autoscaler.as_deref(), outcomes, is_known);
    report(gateway, &findings, now, context).await
}

/// Writes the status if it changed, tells of transitions, and returns whether all is as specified.
async fn report(
    gateway: &WsGateway,
    findings: &Findings<'_>,
    now: Timestamp,
    context: &Context,
) -> Result<bool, Error> {
    let previous = gateway.status.as_ref();
    let pace = Duration::from_secs(u64::from(context.options.numbers_seconds.get()));
    let status = status::compute(findings, previous, now, pace);
    if previous != Some(&status) {
        status::write(&context.client, gateway, &status).await?;
        for transition in status::transitions(previous, &status, findings) {
            let condition = transition.condition;
            tracing::info!(
                namespace = gateway.namespace(),
                name = gateway.name_any(),
                condition = condition.type_,
                status = condition.status,
                reason = condition.reason,
                message = condition.message,
                "condition"
            );
            if transition.is_news {
                let (reason, message) = (&condition.reason, &condition.message);
                context.events.tell(gateway, transition.is_good, reason, message).await;
            }
        }
    }
    let as_specified = |condition: &Condition| {
        condition.type_ == READY && condition.status == "True" && condition.reason == "AsSpecified"
    };
    Ok(status.conditions.iter().any(as_specified))
}
