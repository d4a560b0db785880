//! All conditions of one reconciliation (pure): what the stages found, and what the pods say.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use super::judge::{self, Facts};
use super::{
    AUTOSCALING, DEGRADED, Findings, GATEWAY_READY, MONITORING_READY, PAUSED, PROGRESSING, READY,
    STREAM_READY, Verdict,
};

/// What the stages found.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// Why nothing was touched: the specification is refused, or paused.
    pub(crate) standstill: Option<Verdict>,
    /// On the stream, if it was looked at.
    pub(crate) stream: Option<Verdict>,
    /// Why the pods are not deployed as specified.
    pub(crate) obstacle: Option<Verdict>,
    /// On the objects for monitoring, if they were looked at.
    pub(crate) monitoring: Option<Verdict>,
    /// Whether there is to be an autoscaler.
    pub(crate) is_autoscaled: bool,
}

/// Findings with all conditions. `is_known`: Ready has been told before.
pub(crate) fn conclude<'a>(
    findings: Findings<'a>,
    facts: &Facts<'_>,
    autoscaler: Option<&HorizontalPodAutoscaler>,
    outcomes: Outcomes,
    is_known: bool,
) -> Findings<'a> {
    let Outcomes { standstill, stream, obstacle, monitoring, is_autoscaled } = outcomes;
    let is_invalid = standstill.as_ref().is_some_and(|verdict| !verdict.is_planned);
    let gateway =
        obstacle.or_else(|| Some(judge::gateway(facts, facts.deployment?))).or_else(|| {
            // Nothing was deployed, and nothing will be as long as it stands still.
            standstill.clone()
        });
    let degraded = match &standstill {
        Some(verdict) if is_invalid && facts.deployment.is_some() => {
            Verdict { holds: true, ..verdict.clone() }
        }
        _ => judge::degraded(facts),
    };
    let autoscaling = is_autoscaled.then(|| judge::autoscaling(autoscaler)).flatten();
    // What the operator cannot ask is not what is wrong with the service.
    let trouble = Some(&degraded).filter(|degraded| degraded.holds && degraded.reason != "PodsSilent");
    let unmet = |verdict: &Option<Verdict>| verdict.as_ref().filter(|verdict| !verdict.holds).cloned();
    let broken = standstill
        .clone()
        .or_else(|| unmet(&stream))
        .or_else(|| unmet(&gateway))
        .or_else(|| trouble.cloned())
        .or_else(|| unmet(&autoscaling))
        .or_else(|| unmet(&monitoring));
    let ready = judge::ready(facts, broken.as_ref(), is_known);
    let paused = standstill.filter(|verdict| verdict.is_planned);

    let findings = [
        (READY, ready),
        (STREAM_READY, stream),
        (GATEWAY_READY, gateway),
        (PROGRESSING, Some(judge::progressing(facts))),
        (DEGRADED, Some(degraded)),
        (MONITORING_READY, monitoring),
    ]
    .into_iter()
    .filter_map(|(kind, verdict)| Some((kind, verdict?)))
    .fold(findings, |findings, (kind, verdict)| findings.with(kind, verdict));
    let findings = match autoscaling {
        Some(verdict) => findings.with(AUTOSCALING, verdict),
        None if is_autoscaled => findings,
        None => findings.set(AUTOSCALING, None),
    };
    findings.set(PAUSED, paused.map(|verdict| Verdict { holds: true, ..verdict }))
}
