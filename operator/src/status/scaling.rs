//! The condition Autoscaling (pure): whether the autoscaler does its work, from its own conditions and, with KEDA, from those of
//! the ScaledObject.

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition,
};
use kube::core::DynamicObject;
use serde_json::Value;
use wsgateway_crds::MetricsSource;

use super::Verdict;
use crate::metrics_api::Registered;
use crate::text::cut;

/// Longest text taken from another controller.
const LONGEST_TEXT: usize = 400;
/// Rules for prometheus-adapter, in the chart.
const RULES: &str = "charts/wsgateway/prometheus-adapter-values.yaml";

/// What scales a WsGateway, as the watches last saw it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scaler<'a> {
    pub(crate) source: MetricsSource,
    /// Ours, or the one that KEDA makes.
    pub(crate) autoscaler: Option<&'a HorizontalPodAutoscaler>,
    pub(crate) scaled_object: Option<&'a DynamicObject>,
    /// spec.replicas is 0.
    pub(crate) is_stopped: bool,
}

/// The verdict. `None`: the autoscaler has not reported yet.
pub(crate) fn verdict(scaler: &Scaler<'_>, metric: &Registered) -> Option<Verdict> {
    match scaler.source {
        MetricsSource::Operator => of_autoscaler(
            scaler.autoscaler?,
            || not_served(metric),
            "the autoscaler follows the connections",
        ),
        MetricsSource::Adapter => {
            of_autoscaler(scaler.autoscaler?, || not_adapted(metric), adapted(metric))
        }
        MetricsSource::Keda => Some(of_keda(scaler)),
    }
}

/// What an autoscaler says of itself. `no_metric`: why it may have no metric, and what to do.
fn of_autoscaler(
    autoscaler: &HorizontalPodAutoscaler,
    no_metric: impl Fn() -> String,
    active: &str,
) -> Option<Verdict> {
    let conditions = autoscaler.status.as_ref()?.conditions.as_deref()?;
    let find = |kind: &str, state: &str| {
        conditions.iter().find(|condition| condition.type_ == kind && condition.status == state)
    };
    if let Some(condition) = find("AbleToScale", "False") {
        return Some(Verdict::no("CannotScale", words(condition)));
    }
    if let Some(condition) = find("ScalingActive", "False") {
        return Some(match condition.reason.as_deref() {
            Some("ScalingDisabled") => stopped(),
            // Kubernetes lets none of them scale.
            Some("AmbiguousSelector") => Verdict::no(
                "SeveralAutoscalers",
                format!(
                    "the number of pods stays as it is, since another autoscaler scales these pods, too: delete it, or remove \
                     spec.autoscaling ({})",
                    words(condition)
                ),
            ),
            _ => Verdict::no(
                "NoMetric",
                format!(
                    "the number of pods stays as it is: {} ({})",
                    no_metric(),
                    words(condition)
                ),
            ),
        });
    }
    find("ScalingActive", "True")?;
    let bounds = autoscaler.spec.as_ref();
    let is_fixed = bounds.is_some_and(|spec| spec.min_replicas == Some(spec.max_replicas));
    let is_most = find("ScalingLimited", "True")
        .is_some_and(|condition| condition.reason.as_deref() == Some("TooManyReplicas"));
    Some(match (is_fixed, is_most) {
        (true, _) => Verdict::yes(
            "Fixed",
            "the least number of pods is autoscaling.maxReplicas, so there are always so many",
        ),
        (false, true) => Verdict::yes(
            "AtMaximum",
            "more pods are called for than autoscaling.maxReplicas allows: raise it, or capacity.connectionsPerPod",
        ),
        (false, false) => Verdict::yes("Active", active),
    })
}

fn words(condition: &HorizontalPodAutoscalerCondition) -> String {
    let reason = condition.reason.as_deref().unwrap_or_default();
    let message = condition.message.as_deref().unwrap_or_default();
    cut(&format!("{reason}: {message}"), LONGEST_TEXT)
}

fn stopped() -> Verdict {
    Verdict::no("ScaledToZero", "spec.replicas is 0, which stops the autoscaler, too").planned()
}

/// Why the operator's metric may not reach the autoscaler, and what to do.
fn not_served(metric: &Registered) -> String {
    match metric {
        Registered::Ours => "the operator serves wsgateway_connections in custom.metrics.k8s.io, and the autoscaler has no \
             value of it; it asks again every few seconds"
            .to_owned(),
        Registered::Taken(whose) => format!(
            "custom.metrics.k8s.io is served by {whose}, which has no wsgateway_connections; add it there, and set \
             autoscaling.metricsSource to Adapter, or delete the APIService: then the operator serves it"
        ),
        Registered::Unknown(why) => {
            format!("the operator does not serve custom.metrics.k8s.io yet: {}", cut(why, LONGEST_TEXT))
        }
        Registered::Off => "the metric wsgateway_connections is not served in custom.metrics.k8s.io; start the operator with \
             --metrics-api (chart: metricsApi.enabled), or set up your metrics adapter"
            .to_owned(),
    }
}

/// The same of an adapter.
fn not_adapted(metric: &Registered) -> String {
    match metric {
        Registered::Taken(whose) => format!(
            "autoscaling.metricsSource is Adapter, and {whose}, which serves custom.metrics.k8s.io, has no \
             wsgateway_connections of these pods; give it the rules of {RULES}, and have its Prometheus read the pods"
        ),
        Registered::Ours => format!(
            "autoscaling.metricsSource is Adapter, but there is none, so that the operator serves custom.metrics.k8s.io; \
             install an adapter with the rules of {RULES}, or set metricsSource to Operator"
        ),
        Registered::Unknown(_) | Registered::Off => format!(
            "autoscaling.metricsSource is Adapter, and your metrics adapter has no wsgateway_connections of these pods; see \
             that it serves custom.metrics.k8s.io with the rules of {RULES}, and that its Prometheus reads the pods"
        ),
    }
}

fn adapted(metric: &Registered) -> &'static str {
    match metric {
        Registered::Ours => {
            "the autoscaler follows the connections, which the operator serves: no metrics adapter has custom.metrics.k8s.io"
        }
        _ => "the autoscaler follows the connections that a metrics adapter serves",
    }
}

/// What KEDA says of its ScaledObject, and the autoscaler that it has made of it of itself. That no trigger is active is
/// nothing to report: there are no clients. A new ScaledObject is not ready until KEDA has polled, half a minute later, while its
/// autoscaler works.
fn of_keda(scaler: &Scaler<'_>) -> Verdict {
    let none = Vec::new();
    let status = scaler.scaled_object.map(|object| &object.data["status"]["conditions"]);
    let conditions = status.and_then(Value::as_array).unwrap_or(&none);
    let find = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind);
    let is = |kind: &str, state: &str| find(kind).is_some_and(|found| found["status"] == state);
    if is("Paused", "True") {
        if scaler.is_stopped {
            return stopped();
        }
        let message = "the ScaledObject is paused by an annotation: remove those that begin with autoscaling.keda.sh/paused";
        return Verdict::no("KedaPaused", message).planned();
    }
    let ready = find("Ready");
    let is_partial = ready.is_some_and(|ready| ready["reason"] == "PartialTriggerError");
    if is("Ready", "False") || is_partial {
        return Verdict::no("KedaNotReady", not_ready(ready));
    }
    let told = scaler.autoscaler.and_then(|autoscaler| {
        of_autoscaler(autoscaler, no_data, "KEDA follows the connections that Prometheus has")
    });
    match told {
        Some(verdict) if !verdict.holds => verdict,
        // To its autoscaler, KEDA gives as many connections as fit the pods that there are.
        _ if is("Fallback", "True") => {
            Verdict::no("NoMetric", format!("the number of pods stays as it is: {}", no_data()))
        }
        Some(verdict) => verdict,
        None if is("Ready", "True") => Verdict::yes("Active", "KEDA has made an autoscaler"),
        None => Verdict::no(
            "KedaSilent",
            "KEDA has not said yet whether it scales by the ScaledObject; if that lasts, see whether it runs, and looks at \
             this namespace",
        )
        .planned(),
    }
}

fn not_ready(condition: Option<&Value>) -> String {
    let part = |name: &str| condition.and_then(|found| found[name].as_str()).unwrap_or_default();
    let words = format!("{}: {}", part("reason"), part("message"));
    format!("KEDA cannot scale by the ScaledObject ({})", cut(&words, LONGEST_TEXT))
}

fn no_data() -> String {
    "KEDA gets no number from Prometheus; see whether autoscaling.keda.prometheusAddress answers, whether it has \
     wsgateway_connections of more than half of these pods, with the labels namespace and pod, and whether KEDA's \
     external.metrics.k8s.io is available"
        .to_owned()
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
mod tests;
