//! Numbers of pods as the API has them (pure): from what each pod answered last to a list of values, or to why there is
//! none. An autoscaler takes a value that is missing for one that changes nothing, and a list that is refused for a reason to
//! hold; a zero it believes.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::path::{GROUP, Metric, VERSION};
use crate::fleet::{Activity, PodFacts};

/// What is known of a pod at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) pod: String,
    /// Its answer counts: it takes clients, or did, and is not about to be replaced.
    pub(super) counts: bool,
    pub(super) value: Option<Answered>,
}

/// A pod's last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) connections: u32,
    pub(super) capacity: u32,
    /// Gateways of before do not say.
    pub(super) cpu_percent: Option<u32>,
    pub(super) lag_messages: u64,
    pub(super) activity: Activity,
    pub(super) at: Timestamp,
}

/// Why there are no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoValues {
    /// Most pods are silent: the others say too little of all.
    #[error(
        "{answering} of {pods} pods have answered the operator of late: the number of pods is better left as it is"
    )]
    TooFew {
        /// With an answer.
        answering: usize,
        /// That should answer.
        pods: usize,
    },
    /// There is no such object, or it has not answered.
    #[error("no pod has answered of late")]
    Nothing,
}

impl Known {
    /// `answered`: when, if that was of late.
    pub(super) fn of(facts: &PodFacts, answered: Option<Timestamp>) -> Self {
        let report = facts.report().zip(answered);
        Self {
            pod: facts.view.name.clone(),
            counts: facts.takes_clients(),
            value: report.map(|(report, at)| Answered {
                connections: report.connections,
                capacity: report.capacity,
                cpu_percent: report.cpu_percent,
                lag_messages: report.lag_messages,
                activity: report.activity,
                at,
            }),
        }
    }
}

impl Answered {
    /// What a pod claims beyond its places is no reason for more pods than full ones are.
    fn value(self, metric: Metric) -> Option<u64> {
        let capacity = u64::from(self.capacity);
        let connections = match capacity {
            0 => u64::from(self.connections),
            capacity => u64::from(self.connections).min(capacity),
        };
        match metric {
            Metric::Connections => Some(connections),
            Metric::CapacityPercent => Some((connections * 100).checked_div(capacity).unwrap_or(0)),
            Metric::CpuPercent => self.cpu_percent.map(u64::from),
            Metric::MessagesPerSecond => self.activity.messages_per_second,
            Metric::DeliveriesPerSecond => self.activity.deliveries_per_second,
            Metric::LagMessages => Some(self.lag_messages),
            Metric::SlowClients => self.activity.slow_clients,
            Metric::MemoryBytes => self.activity.memory_bytes,
        }
    }
}

/// One value for each of several pods.
pub(super) fn of_each(namespace: &str, metric: Metric, pods: &[Known]) -> Result<Value, NoValues> {
    let expected = pods.iter().filter(|pod| pod.counts).count();
    let has_value =
        |pod: &&Known| pod.value.is_some_and(|answered| answered.value(metric).is_some());
    let answering = pods.iter().filter(|pod| pod.counts).filter(has_value).count();
    if answering * 2 < expected {
        return Err(NoValues::TooFew { answering, pods: expected });
    }
    let items: Vec<Value> = pods
        .iter()
        .filter_map(|pod| {
            let answered = pod.value?;
            Some(item(
                ("Pod", "/v1", namespace, &pod.pod),
                metric,
                answered.value(metric)?,
                answered.at,
            ))
        })
        .collect();
    if items.is_empty() { Err(NoValues::Nothing) } else { Ok(list(items)) }
}

/// One value for all pods of a WsGateway together.
pub(super) fn of_all(
    namespace: &str,
    gateway: &str,
    metric: Metric,
    pods: &[Known],
) -> Result<Value, NoValues> {
    // The same conditions, and the same values.
    of_each(namespace, metric, pods)?;
    let answered = || pods.iter().filter_map(|pod| pod.value);
    let oldest = answered().map(|answered| answered.at).min().ok_or(NoValues::Nothing)?;
    let values = || answered().filter_map(|one| one.value(metric));
    // A pod may claim any number.
    let sum = values().fold(0_u64, u64::saturating_add);
    let mean = sum.checked_div(values().count() as u64).unwrap_or(0);
    let connections: u64 = answered().filter_map(|one| one.value(Metric::Connections)).sum();
    let places: u64 = answered().map(|one| u64::from(one.capacity)).sum();
    let value = match metric {
        Metric::Connections => connections,
        Metric::CapacityPercent => (connections * 100).checked_div(places).unwrap_or(0),
        Metric::CpuPercent | Metric::MessagesPerSecond => mean,
        Metric::DeliveriesPerSecond | Metric::SlowClients | Metric::MemoryBytes => sum,
        Metric::LagMessages => values().max().unwrap_or(0),
    };
    let object = ("WsGateway", "wsgateway.dev/v1alpha1", namespace, gateway);
    Ok(list(vec![item(object, metric, value, oldest)]))
}

fn list(items: Vec<Value>) -> Value {
    json!({
        "kind": "MetricValueList", "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": {},
        "items": items,
    })
}

fn item(
    (kind, version, namespace, name): (&str, &str, &str, &str),
    metric: Metric,
    value: u64,
    at: Timestamp,
) -> Value {
    // Seconds: Kubernetes' times have no more.
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    json!({
        "describedObject": {
            "kind": kind, "apiVersion": version, "namespace": namespace, "name": name,
        },
        "metric": { "name": metric.as_str(), "selector": null },
        "timestamp": at.to_string(),
        "value": value.to_string(),
    })
}

/// The metrics that there are.
pub(super) fn resources() -> Value {
    let resource = |name: String| {
        json!({
            "name": name, "singularName": "", "namespaced": true, "kind": "MetricValueList",
            "verbs": ["get"],
        })
    };
    let names = Metric::ALL.into_iter().flat_map(|metric| {
        ["pods", "wsgateways.wsgateway.dev"].map(|of| format!("{of}/{}", metric.as_str()))
    });
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": names.map(resource).collect::<Vec<_>>(),
    })
}

/// The group.
pub(super) fn group() -> Value {
    let version = json!({ "groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION });
    json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version],
        "preferredVersion": version,
    })
}

/// A refusal, as Kubernetes writes it.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pod: &str, counts: bool, connections: Option<u32>) -> Known {
        let at = Timestamp::from_second(100).unwrap();
        let value = connections.map(|connections| Answered {
            connections,
            capacity: 1_000,
            cpu_percent: (connections > 1).then_some(connections),
            lag_messages: connections.into(),
            activity: Activity { slow_clients: Some(1), ..Activity::default() },
            at,
        });
        Known { pod: pod.to_owned(), counts, value }
    }

    fn values(pods: &[Known]) -> Result<Vec<String>, NoValues> {
        let list = of_each("trading", Metric::Connections, pods)?;
        let items = list["items"].as_array().unwrap();
        Ok(items.iter().map(|item| item["value"].as_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_pod_without_an_answer_is_left_out_and_never_zero() {
        let pods = [known("a", true, Some(7)), known("b", true, None), known("c", true, Some(0))];
        assert_eq!(values(&pods).unwrap(), ["7", "0"]);
        assert_eq!(values(&[known("a", false, None)]), Err(NoValues::Nothing), "it starts");
        assert_eq!(values(&[]), Err(NoValues::Nothing));
    }

    #[test]
    fn when_most_are_silent_nothing_is_said_of_the_others_either() {
        let two_of_five: Vec<Known> =
            (0..5).map(|n| known(&format!("p{n}"), true, (n < 2).then_some(9))).collect();
        let refused = NoValues::TooFew { answering: 2, pods: 5 };
        assert_eq!(values(&two_of_five), Err(refused.clone()));
        assert_eq!(of_all("n", "odin", Metric::Connections, &two_of_five), Err(refused));
        assert_eq!(values(&two_of_five[..4]).unwrap().len(), 2, "half of them are enough");
        // Those that start or end are not expected to answer.
        let rolling =
            [known("a", true, Some(5)), known("b", false, None), known("c", false, Some(3))];
        assert_eq!(values(&rolling).unwrap(), ["5", "3"]);
    }

    #[test]
    fn a_pod_cannot_claim_more_than_it_has_places() {
        assert_eq!(values(&[known("a", true, Some(u32::MAX))]).unwrap(), ["1000"]);
        let percent = of_each("n", Metric::CapacityPercent, &[known("a", true, Some(u32::MAX))]);
        assert_eq!(percent.unwrap()["items"][0]["value"], "100");
        let at = Timestamp::UNIX_EPOCH;
        let (lag_messages, activity) = (0, Activity::default());
        let none =
            Answered { connections: 5, capacity: 0, cpu_percent: None, lag_messages, activity, at };
        assert_eq!(none.value(Metric::CapacityPercent), Some(0));
    }

    #[test]
    fn a_pod_that_does_not_say_how_busy_it_is_is_left_out() {
        let pods =
            [known("a", true, Some(60)), known("b", true, Some(1)), known("c", true, Some(20))];
        let busy = of_each("n", Metric::CpuPercent, &pods).unwrap();
        let names: Vec<_> =
            busy["items"].as_array().unwrap().iter().map(|one| &one["value"]).collect();
        assert_eq!(names, ["60", "20"]);
        let all = of_all("n", "odin", Metric::CpuPercent, &pods).unwrap();
        assert_eq!(all["items"][0]["value"], "40");
        assert!(of_each("n", Metric::CpuPercent, &pods[1..2]).is_err());
    }

    #[test]
    fn all_pods_together_are_one_value() {
        let pods = [known("a", true, Some(250)), known("b", true, Some(750))];
        let sum = of_all("trading", "odin", Metric::Connections, &pods).unwrap();
        assert_eq!(sum["items"][0]["value"], "1000");
        assert_eq!(sum["items"][0]["describedObject"]["kind"], "WsGateway");
        let percent = of_all("trading", "odin", Metric::CapacityPercent, &pods).unwrap();
        assert_eq!(percent["items"][0]["value"], "50");
        assert_eq!(percent["items"][0]["timestamp"], "1970-01-01T00:01:40Z");
        let value = |metric| {
            let all = of_all("trading", "odin", metric, &pods);
            all.map(|all| all["items"][0]["value"].as_str().unwrap().to_owned())
        };
        assert_eq!(value(Metric::SlowClients).as_deref(), Ok("2"), "a sum");
        assert_eq!(value(Metric::LagMessages).as_deref(), Ok("750"), "of the one that is last");
        // A gateway of before does not say.
        assert!(value(Metric::MemoryBytes).is_err());
    }

    #[test]
    fn discovery_names_each_metric_of_pods_and_of_wsgateways() {
        let list = resources();
        let names: Vec<&str> = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"pods/wsgateway_connections"), "{names:?}");
        assert!(
            names.contains(&"wsgateways.wsgateway.dev/wsgateway_capacity_percent"),
            "{names:?}"
        );
    }
}
