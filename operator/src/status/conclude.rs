//! All conditions of one reconciliation (pure): what the stages found, and what the pods say.

use super::judge::{self, Facts};
use super::keys;
use super::scaling::{self, Scaler};
use super::{
    AUTOSCALING, DEGRADED, EXPOSE_READY, Findings, GATEWAY_READY, KEYS_READY, MONITORING_READY,
    PAUSED, PROGRESSING, READY, STREAM_READY, Verdict,
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
    /// On what leads clients to the gateways from outside, if it was looked at.
    pub(crate) exposure: Option<Verdict>,
    /// Whether there is to be anything of that kind.
    pub(crate) is_exposed: bool,
    /// On the objects for monitoring, if they were looked at.
    pub(crate) monitoring: Option<Verdict>,
    /// Whether there is to be an autoscaler.
    pub(crate) is_autoscaled: bool,
    /// Why there is none yet.
    pub(crate) no_scaler: Option<Verdict>,
    /// Whether clients show tokens.
    pub(crate) is_guarded: bool,
}

/// Findings with all conditions. `is_known`: Ready has been told before.
pub(crate) fn conclude<'a>(
    findings: Findings<'a>,
    facts: &Facts<'_>,
    scaler: &Scaler<'_>,
    outcomes: Outcomes,
    is_known: bool,
) -> Findings<'a> {
    let Outcomes { standstill, stream, obstacle, exposure, monitoring, no_scaler, .. } = outcomes;
    let (is_exposed, is_autoscaled) = (outcomes.is_exposed, outcomes.is_autoscaled);
    let is_guarded = outcomes.is_guarded;
    let is_invalid = standstill.as_ref().is_some_and(|verdict| !verdict.is_planned);
    let gateway =
        obstacle.or_else(|| Some(judge::gateway(facts, facts.deployment?))).or_else(|| {
            // Nothing was deployed, and nothing will be as long as it stands still.
            standstill.clone()
        });
    let degraded = match &standstill {
        Some(verdict) if is_invalid && facts.deployment.is_some() => {
            Some(Verdict { holds: true, ..verdict.clone() })
        }
        // That nothing is known is no good news.
        _ => Some(judge::degraded(facts)).filter(|degraded| degraded.holds || facts.all_asked()),
    };
    let is_serving = gateway.as_ref().is_some_and(|gateway| gateway.holds);
    let told = || {
        let told = scaling::verdict(scaler, &facts.metric)?;
        // Without pods there is no metric.
        Some(if is_serving { told } else { told.planned() })
    };
    let autoscaling = if is_autoscaled { no_scaler.or_else(told) } else { None };
    let keys = if is_guarded { keys::verdict(facts) } else { None };
    // What the operator cannot ask is not what is wrong with the service.
    let trouble =
        degraded.as_ref().filter(|degraded| degraded.holds && degraded.reason != "PodsSilent");
    let unmet = |verdict: &Option<Verdict>| {
        verdict.as_ref().filter(|verdict| !verdict.holds && !verdict.is_unknown).cloned()
    };
    let broken = standstill
        .clone()
        .or_else(|| unmet(&stream))
        .or_else(|| unmet(&gateway))
        .or_else(|| trouble.cloned())
        .or_else(|| [&keys, &exposure, &autoscaling, &monitoring].into_iter().find_map(unmet));
    let ready = judge::ready(facts, broken.as_ref(), is_known);
    let paused = standstill.filter(|verdict| verdict.is_planned);

    let findings = [
        (READY, ready),
        (STREAM_READY, stream),
        (GATEWAY_READY, gateway),
        (PROGRESSING, Some(judge::progressing(facts))),
        (DEGRADED, degraded.clone()),
        (MONITORING_READY, monitoring),
    ]
    .into_iter()
    .filter_map(|(kind, verdict)| Some((kind, verdict?)))
    .fold(findings, |findings, (kind, verdict)| findings.with(kind, verdict));
    let findings = [
        (AUTOSCALING, autoscaling, is_autoscaled),
        (EXPOSE_READY, exposure, is_exposed),
        (KEYS_READY, keys, is_guarded),
    ]
    .into_iter()
    // What is wanted and was not looked at stays as it was.
    .filter(|(_, verdict, is_wanted)| verdict.is_some() || !is_wanted)
    .fold(findings, |findings, (kind, verdict, _)| findings.set(kind, verdict));
    findings.set(PAUSED, paused.map(|verdict| Verdict { holds: true, ..verdict }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
    use k8s_openapi::jiff::Timestamp;
    use rstest::rstest;

    use super::*;
    use crate::fleet::{PodFacts, PodView, Seen};
    use crate::status::compute;

    fn deployment(ready: i32) -> Deployment {
        let status = DeploymentStatus {
            replicas: Some(1),
            updated_replicas: Some(1),
            ready_replicas: Some(ready),
            ..DeploymentStatus::default()
        };
        Deployment { status: Some(status), ..Deployment::default() }
    }

    /// Status and reason of all conditions, with one pod that Kubernetes finds ready and the operator cannot ask.
    fn told(deployment: Option<&Deployment>, outcomes: Outcomes) -> Vec<(String, String)> {
        told_of(Seen::Silent, deployment, outcomes)
    }

    fn told_of(
        seen: Seen,
        deployment: Option<&Deployment>,
        outcomes: Outcomes,
    ) -> Vec<(String, String)> {
        let view = PodView { name: "a".into(), ready: true, ..PodView::default() };
        let pods = [PodFacts { view, seen, full: false, leaving: false }];
        let pods = if deployment.is_some() { &pods[..] } else { &[] };
        let now = Timestamp::from_second(1).unwrap();
        let metric = crate::metrics_api::Registered::Off;
        let facts = Facts {
            deployment,
            wanted: 1,
            pods,
            halted: None,
            rollout: None,
            moves: None,
            metric,
            now,
        };
        let manifest = include_str!("../../../manifests/samples/odin.yaml");
        let gateway = wsgateway_crds::parse(manifest).unwrap();
        let findings =
            conclude(Findings::of(&gateway), &facts, &Scaler::default(), outcomes, false);
        let status = compute(&findings, None, now, std::time::Duration::ZERO);
        let words = |state: &str, reason: &str| format!("{state} {reason}");
        status.conditions.iter().map(|c| (c.type_.clone(), words(&c.status, &c.reason))).collect()
    }

    fn condition(told: &[(String, String)], kind: &str) -> Option<String> {
        told.iter().find(|(found, _)| found == kind).map(|(_, words)| words.clone())
    }

    fn fine() -> Outcomes {
        Outcomes {
            stream: Some(Verdict::yes("StreamAsSpecified", "")),
            monitoring: Some(Verdict::yes("NotInstalled", "")),
            ..Outcomes::default()
        }
    }

    #[rstest]
    #[case::fine(fine(), "True AsSpecified")]
    #[case::stream(Outcomes { stream: Some(Verdict::no("NatsUnreachable", "")), ..fine() }, "True NatsUnreachable")]
    #[case::monitoring(Outcomes { monitoring: Some(Verdict::no("Refused", "")), ..fine() }, "True Refused")]
    #[case::exposure(
        Outcomes { exposure: Some(Verdict::no("HttpRouteUnknown", "")), is_exposed: true, ..fine() },
        "True HttpRouteUnknown"
    )]
    #[case::obstacle(Outcomes { obstacle: Some(Verdict::no("NameTaken", "")), ..fine() }, "True NameTaken")]
    #[case::refused(Outcomes { standstill: Some(Verdict::no("SpecInvalid", "")), ..Outcomes::default() }, "True SpecInvalid")]
    #[case::paused(Outcomes { standstill: Some(Verdict::no("Paused", "").planned()), ..Outcomes::default() }, "True Paused")]
    fn ready_tells_that_clients_are_served_and_what_is_not_as_specified(
        #[case] outcomes: Outcomes,
        #[case] expected: &str,
    ) {
        let deployment = deployment(1);
        let told = told(Some(&deployment), outcomes);
        assert_eq!(condition(&told, READY).as_deref(), Some(expected));
    }

    #[test]
    fn what_leads_clients_here_is_told_as_long_as_there_is_to_be_something() {
        let deployment = deployment(1);
        let refused = Some(Verdict::no("IngressRefused", ""));
        let outcomes = Outcomes { exposure: refused, is_exposed: true, ..fine() };
        let now = told(Some(&deployment), outcomes);
        assert_eq!(condition(&now, EXPOSE_READY).as_deref(), Some("False IngressRefused"));
        assert_eq!(condition(&now, GATEWAY_READY).as_deref(), Some("True PodsReady"));
        assert_eq!(condition(&told(Some(&deployment), fine()), EXPOSE_READY), None);
    }

    #[test]
    fn a_refused_specification_degrades_what_runs_and_a_pause_does_not() {
        let deployment = deployment(1);
        let refused = || Some(Verdict::no("SpecInvalid", ""));
        let standing = |deployment, standstill| {
            told(deployment, Outcomes { standstill, ..Outcomes::default() })
        };
        let runs = standing(Some(&deployment), refused());
        assert_eq!(condition(&runs, DEGRADED).as_deref(), Some("True SpecInvalid"));
        assert_eq!(condition(&runs, GATEWAY_READY).as_deref(), Some("True PodsReady"));
        assert_eq!(condition(&runs, STREAM_READY), None);
        let new = standing(None, refused());
        assert_eq!(condition(&new, READY).as_deref(), Some("False SpecInvalid"));
        assert_eq!(condition(&new, GATEWAY_READY).as_deref(), Some("False SpecInvalid"));
        assert_eq!(condition(&new, DEGRADED).as_deref(), Some("False NoProblem"));
        let paused = Some(Verdict::no("Paused", "").planned());
        let paused = standing(Some(&deployment), paused);
        assert_eq!(condition(&paused, PAUSED).as_deref(), Some("True Paused"));
        assert_eq!(condition(&paused, DEGRADED).as_deref(), Some("True PodsSilent"));
        assert_eq!(condition(&runs, PAUSED), None);
    }

    #[test]
    fn a_stream_that_is_waited_for_is_what_ready_tells_of() {
        let outcomes = Outcomes {
            stream: Some(Verdict::no("StreamForeign", "")),
            obstacle: Some(Verdict::no("WaitingForStream", "").planned()),
            ..Outcomes::default()
        };
        let told = told(None, outcomes);
        assert_eq!(condition(&told, READY).as_deref(), Some("False StreamForeign"));
        assert_eq!(condition(&told, GATEWAY_READY).as_deref(), Some("False WaitingForStream"));
        assert_eq!(condition(&told, PROGRESSING).as_deref(), Some("False NotStarted"));
    }

    #[test]
    fn before_the_pods_are_asked_nothing_is_said_of_them() {
        let deployment = deployment(1);
        let told = told_of(Seen::NotAsked, Some(&deployment), fine());
        assert_eq!(condition(&told, DEGRADED), None);
        assert_eq!(condition(&told, READY).as_deref(), Some("False PodsNotAsked"));
    }
}
