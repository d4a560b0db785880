//! Stage: report. What the stages found becomes conditions, a status and events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use wsgateway_crds::{ServiceMonitorMode, ValidGateway, ValidMetricsSource, WsGateway};

use crate::apply::Applied;
use crate::context::Context;
use crate::dereference::{self, World};
use crate::disruptions::{self, Cause};
use crate::error::Error;
use crate::halt::{self, Contract};
use crate::kinds::{Concern, Kind};
use crate::metrics::Found;
use crate::moves::{self, Plan};
use crate::rollout::{self, Stage};
use crate::status::conclude::{Outcomes, conclude};
use crate::status::judge::Facts;
use crate::status::scaling::Scaler;
use crate::status::{self, Findings, Fleet, READY, Verdict};
use crate::stream::Outcome;
use crate::text::cut;
use crate::wake::Name;

/// Longest value of an annotation that is kept.
const LONGEST_ASKED: usize = 253;
/// Failures before this one that make it worth reporting, even if it may pass by itself.
const LASTING: u32 = 2;

/// What was looked at.
pub(crate) struct Look<'a> {
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// Pods wanted.
    pub(crate) wanted: i32,
    /// The fewest and the most pods that the autoscaler may choose, if there is one.
    pub(crate) bounds: Option<(i32, i32)>,
    /// How far the pods are replaced.
    pub(crate) rollout: Stage,
    /// How clients are moved while none is.
    pub(crate) moves: Option<Plan>,
    /// What clients have been put to; nothing new if it was not looked at.
    pub(crate) contract: Option<Contract>,
    pub(crate) stream: Option<&'a Outcome>,
    /// Where clients connect inside the cluster.
    pub(crate) internal: Option<String>,
}

/// What became of the objects.
pub(crate) enum Deployed {
    Applied(Box<Applied>),
    /// Why nothing of theirs is changed.
    Held(Verdict),
}

impl Deployed {
    pub(crate) fn applied(&self) -> Option<&Applied> {
        match self {
            Self::Applied(applied) => Some(applied),
            Self::Held(_) => None,
        }
    }

    /// Why it is to be tried again.
    pub(crate) fn into_broken(self) -> Option<Error> {
        match self {
            Self::Applied(applied) => applied.into_broken(),
            Self::Held(_) => None,
        }
    }
}

/// What the stages found, after so many failures in a row.
pub(crate) fn outcomes(
    valid: &ValidGateway,
    world: &World,
    stream: &Outcome,
    deployed: &Result<Deployed, Error>,
    failures: u32,
) -> Outcomes {
    // An API server that is busy for a moment is nothing to report.
    let lasting = |error: &Error| {
        let is_lasting = failures >= LASTING || !error.is_temporary();
        is_lasting.then(|| Verdict::no(error.reason, error.message.clone()))
    };
    let obstacle = match deployed {
        Ok(Deployed::Held(verdict)) => Some(verdict.clone()),
        Ok(Deployed::Applied(applied)) => applied.broken().and_then(lasting),
        Err(error) => lasting(error),
    };
    let applied = deployed.as_ref().ok().and_then(Deployed::applied);
    Outcomes {
        standstill: None,
        stream: Some(stream.verdict.clone()),
        obstacle,
        exposure: applied.and_then(|applied| exposure(valid, &world.kinds, applied)),
        is_exposed: is_exposed(valid),
        monitoring: applied.map(|applied| monitoring(valid, &world.kinds, applied)),
        is_autoscaled: valid.autoscaling.is_some(),
        no_scaler: applied.and_then(|applied| no_scaler(valid, &world.kinds, applied)),
        is_guarded: valid.auth.is_some(),
    }
}

fn is_exposed(valid: &ValidGateway) -> bool {
    valid.expose.ingress.is_some() || valid.expose.route.is_some()
}

/// ExposeReady, if anything is to lead clients to the gateways from outside: trouble with that is a condition of its own.
fn exposure(valid: &ValidGateway, kinds: &BTreeSet<Kind>, applied: &Applied) -> Option<Verdict> {
    if !is_exposed(valid) {
        return None;
    }
    if let Some((kind, error)) = applied.trouble(Concern::Exposure) {
        let reason = if kind == Kind::Ingress { "IngressRefused" } else { "HttpRouteRefused" };
        let message =
            format!("{}; correct spec.expose, or give the operator the right", error.message);
        return Some(Verdict::no(reason, message));
    }
    if valid.expose.route.is_some() && !kinds.contains(&Kind::HttpRoute) {
        return Some(Verdict::no(
            "HttpRouteUnknown",
            "expose.httpRoute is given, but the cluster does not know the kind HTTPRoute of \
             gateway.networking.k8s.io/v1: install the CRDs of the Gateway API, or drop it",
        ));
    }
    Some(Verdict::yes("ExposeApplied", "what spec.expose asks for is as specified"))
}

/// MonitoringReady: trouble with optional objects is a condition of its own.
fn monitoring(valid: &ValidGateway, kinds: &BTreeSet<Kind>, applied: &Applied) -> Verdict {
    if let Some((_, error)) = applied.trouble(Concern::Monitoring) {
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
        _ if is_known => {
            Verdict::yes("ServiceMonitorApplied", "the ServiceMonitor is as specified")
        }
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

/// Why there is no autoscaler as specified, if there is to be one: Autoscaling.
fn no_scaler(valid: &ValidGateway, kinds: &BTreeSet<Kind>, applied: &Applied) -> Option<Verdict> {
    let source = &valid.autoscaling.as_ref()?.source;
    if let Some((_, error)) = applied.trouble(Concern::Scaling) {
        let message = format!(
            "{}; correct spec.autoscaling, give the operator the right, or use another metricsSource",
            error.message
        );
        return Some(Verdict::no("ScaledObjectRefused", message));
    }
    if matches!(source, ValidMetricsSource::Keda { .. }) && !kinds.contains(&Kind::ScaledObject) {
        return Some(Verdict::no(
            "KedaUnknown",
            "the number of pods stays as it is: autoscaling.metricsSource is Keda, but the cluster does not know the kind \
             ScaledObject of keda.sh/v1alpha1; install KEDA, or set metricsSource to Operator",
        ));
    }
    let left = applied.leaving.as_ref()?;
    let waits = format!(
        "{} {} is being deleted, and another autoscaler takes its place then",
        left.kind.as_str(),
        left.name
    );
    let finalizer = match left.kind {
        Kind::ScaledObject => {
            "; that is KEDA's to finish: if it lasts, start KEDA, or take the finalizer finalizer.keda.sh from it"
        }
        _ => "",
    };
    Some(Verdict::no("Switching", format!("{waits}{finalizer}")).planned())
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
    let source = gateway.spec.autoscaling.as_ref().map(|scaling| scaling.metrics_source);
    let source = source.unwrap_or_default();
    let autoscaler = dereference::autoscaler(key, source, context);
    let scaled_object = dereference::scaled_object(key, context);
    let scaler = Scaler {
        source,
        autoscaler: autoscaler.as_deref(),
        scaled_object: scaled_object.as_deref(),
        is_stopped: gateway.spec.replicas == 0,
    };
    let deployment = look.deployment.as_deref();
    let stage = look.moves.as_ref().map(|plan| plan.stage).unwrap_or_default();
    let facts = Facts {
        deployment,
        wanted: look.wanted,
        pods: &pods,
        halted: halted(gateway, &look, &stage),
        rollout: rollout::words(&look.rollout, context.turns.most()),
        moves: moves::words(&stage),
        metric: context.registered.borrow().clone(),
        now,
    };
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice());
    let is_known = conditions.unwrap_or_default().iter().any(|condition| condition.type_ == READY);
    let cause = Cause {
        kind: disruptions::kind(&look.rollout, &stage, &pods, now),
        template: deployment.and_then(rollout::template_of).unwrap_or_default(),
    };
    let before = gateway.status.as_ref().map(|status| status.disruptions.clone());
    let disruptions = context.ledger.enter(
        key,
        before.unwrap_or_default(),
        cause,
        &context.pods.counted(key),
        (Instant::now(), now),
    );
    if let Some(contract) = &look.contract {
        context.ledger.halted(key, contract.halted().is_some());
    }
    let is_answered = look.moves.as_ref().is_some_and(|plan| plan.is_answered);
    let asked = moves::asked(gateway).filter(|_| is_answered);
    let findings = Findings {
        stream_status: look.stream.and_then(|stream| stream.status.clone()),
        fleet: Some(Fleet { deployment, wanted: look.wanted, pods: &pods }),
        internal: look.internal,
        disruptions: Some(disruptions),
        contract: look.contract,
        rebalance_asked: asked.map(|asked| cut(asked, LONGEST_ASKED)),
        ..Findings::of(gateway)
    };
    let findings = conclude(findings, &facts, &scaler, outcomes, is_known);
    let Look { wanted, bounds, rollout, .. } = look;
    let found = Found { wanted, bounds, rollout, moves: stage };
    report(gateway, (&findings, found), now, context).await
}

/// What is to be said of a halt, if it stops anything.
fn halted(gateway: &WsGateway, look: &Look<'_>, moves: &moves::Stage) -> Option<Verdict> {
    let halt = match &look.contract {
        Some(contract) => {
            let stops = matches!(look.rollout, Stage::Halted(_))
                || matches!(moves, moves::Stage::Halted(_));
            contract.halt.as_ref().filter(|_| stops)
        }
        None => gateway.status.as_ref().and_then(|status| status.halt.as_ref()),
    };
    halt::words(halt, &gateway.name_any())
}

/// Writes the status if it changed, tells of transitions, and returns whether all is as specified.
async fn report(
    gateway: &WsGateway,
    (findings, found): (&Findings<'_>, Found),
    now: Timestamp,
    context: &Context,
) -> Result<bool, Error> {
    let previous = gateway.status.as_ref();
    let pace = Duration::from_secs(u64::from(context.options.numbers_seconds.get()));
    let status = status::compute(findings, previous, now, pace);
    let key = Name::new(&gateway.namespace().unwrap_or_default(), &gateway.name_any());
    context.fared.enter(&key, found, &status, findings.stream_status.as_ref());
    context.ledger.known(&key);
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
                detail = condition.message,
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

#[cfg(test)]
mod tests {
    use wsgateway_crds::{parse, validate};

    use super::*;
    use crate::error::Stage as Step;

    const SAMPLE: &str = include_str!("../../manifests/samples/odin.yaml");
    const FULL: &str = include_str!("build/full.yaml");

    fn valid(manifest: &str) -> ValidGateway {
        validate(&parse(manifest).unwrap()).unwrap()
    }

    /// Reasons of ExposeReady, if it is told, and MonitoringReady, and whether they hold.
    fn told(
        manifest: &str,
        kinds: &[Kind],
        applied: &Applied,
    ) -> [Option<(&'static str, bool)>; 2] {
        let (valid, kinds) = (valid(manifest), kinds.iter().copied().collect());
        let words = |verdict: Verdict| (verdict.reason, verdict.holds);
        let exposure = exposure(&valid, &kinds, applied).map(words);
        [exposure, Some(words(monitoring(&valid, &kinds, applied)))]
    }

    #[test]
    fn what_is_asked_for_and_unknown_is_told() {
        let none = Applied::default();
        assert_eq!(told(SAMPLE, &[], &none), [None, Some(("NotInstalled", true))]);
        let unknown = [Some(("HttpRouteUnknown", false)), Some(("ServiceMonitorUnknown", false))];
        assert_eq!(told(FULL, &[], &none), unknown);
        let known = [Some(("ExposeApplied", true)), Some(("ServiceMonitorApplied", true))];
        assert_eq!(told(FULL, &Kind::OPTIONAL, &none), known);
    }

    #[test]
    fn what_is_refused_is_told_by_the_condition_that_it_belongs_to() {
        let error = || Error::new(Step::Apply, "Forbidden", "no");
        let problems = vec![(Kind::Ingress, error()), (Kind::ServiceMonitor, error())];
        let applied = Applied { problems, ..Applied::default() };
        let refused = [Some(("IngressRefused", false)), Some(("ServiceMonitorRefused", false))];
        assert_eq!(told(FULL, &Kind::OPTIONAL, &applied), refused);
        assert!(applied.broken().is_none());
        let problems = vec![(Kind::HttpRoute, error()), (Kind::Service, error())];
        let applied = Applied { problems, ..Applied::default() };
        assert_eq!(told(FULL, &Kind::OPTIONAL, &applied)[0], Some(("HttpRouteRefused", false)));
        assert!(applied.broken().is_some());
    }

    #[test]
    fn what_keeps_an_autoscaler_away_is_told_with_what_to_do() {
        use crate::handover::Leaving;

        let told = |keda: bool, kinds: &[Kind], applied: &Applied| {
            let source =
                "metricsSource: Keda, keda: { prometheusAddress: \"http://prometheus:9090\" },";
            let by = if keda { source } else { "" };
            let valid = valid(&FULL.replace("autoscaling: {", &format!("autoscaling: {{ {by}")));
            let verdict = no_scaler(&valid, &kinds.iter().copied().collect(), applied);
            verdict.map(|verdict| (verdict.reason, verdict.is_planned, verdict.message))
        };
        let reason = |told: Option<(&'static str, bool, String)>| told.map(|told| (told.0, told.1));
        let fine = Applied::default();
        assert_eq!(reason(told(true, &[], &fine)), Some(("KedaUnknown", false)));
        assert_eq!(reason(told(false, &[], &fine)), None);
        assert_eq!(reason(told(true, &Kind::OPTIONAL, &fine)), None);
        let problems = vec![(Kind::ScaledObject, Error::new(Step::Apply, "Forbidden", "no"))];
        let refused = Applied { problems, ..Applied::default() };
        let refusal = told(true, &Kind::OPTIONAL, &refused);
        assert_eq!(reason(refusal), Some(("ScaledObjectRefused", false)));
        assert!(refused.broken().is_none(), "pods do without it");
        let leaving = |kind| Applied {
            leaving: Some(Leaving { kind, name: "odin-gateway".to_owned(), is_to_delete: true }),
            ..Applied::default()
        };
        let (reason, is_planned, message) =
            told(false, &Kind::OPTIONAL, &leaving(Kind::ScaledObject)).unwrap();
        assert_eq!((reason, is_planned), ("Switching", true));
        assert!(message.contains("finalizer.keda.sh"), "{message}");
        let message =
            told(true, &Kind::OPTIONAL, &leaving(Kind::HorizontalPodAutoscaler)).unwrap().2;
        assert!(!message.contains("finalizer"), "{message}");
    }
}
