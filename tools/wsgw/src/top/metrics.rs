//! Figures from the operator, through custom.metrics.k8s.io: one request for each column and namespace.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use serde::Deserialize;

use super::{Line, PODS};
use crate::cluster::{Asked, Cluster, Trouble};

const BASE: &str = "/apis/custom.metrics.k8s.io/v1beta2";
/// Namespaces that are asked for: each refresh costs a request for each and column.
const MOST: usize = 20;

/// A column: the metric, and where its value goes.
type Metric = (&'static str, fn(&mut Line) -> &mut Option<u64>);

const METRICS: [Metric; 7] = [
    ("wsgateway_connections", |line| &mut line.connections),
    ("wsgateway_messages_per_second", |line| &mut line.messages_per_second),
    ("wsgateway_deliveries_per_second", |line| &mut line.deliveries_per_second),
    ("wsgateway_lag_messages", |line| &mut line.lag_messages),
    ("wsgateway_slow_clients", |line| &mut line.slow_clients),
    ("wsgateway_cpu_percent", |line| &mut line.cpu_percent),
    ("wsgateway_memory_bytes", |line| &mut line.memory_bytes),
];

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    described_object: Described,
    value: String,
}

#[derive(Deserialize)]
struct Described {
    name: String,
}

/// Fills in what the operator knows. An error says why it says nothing at all.
pub(super) async fn fill(cluster: &Cluster, lines: &mut [Line]) -> Result<(), String> {
    let namespaces: BTreeSet<String> = lines.iter().map(|line| line.namespace.clone()).collect();
    if namespaces.len() > MOST {
        return Err(format!("pods in more than {MOST} namespaces: name one with -n"));
    }
    let asked = namespaces
        .iter()
        .flat_map(|namespace| METRICS.iter().map(move |metric| (namespace, metric)));
    let answers = asked.map(async |(namespace, metric)| {
        Ok::<_, String>((namespace, metric, values(cluster, namespace, metric.0).await?))
    });
    for (namespace, (_, figure), values) in try_join_all(answers).await? {
        for line in lines.iter_mut().filter(|line| line.namespace == *namespace) {
            if let Some(value) = values.get(&line.pod) {
                *figure(line) = Some(*value);
            }
        }
    }
    Ok(())
}

/// Values by pod; none where the operator has none.
async fn values(
    cluster: &Cluster,
    namespace: &str,
    metric: &'static str,
) -> Result<BTreeMap<String, u64>, String> {
    let selector = PODS.replace('/', "%2F").replace('=', "%3D").replace(',', "%2C");
    let path = format!("{BASE}/namespaces/{namespace}/pods/*/{metric}?labelSelector={selector}");
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    match cluster.client.request::<List>(request).await {
        Ok(list) => {
            let value = |item: Item| Some((item.described_object.name, quantity(&item.value)?));
            Ok(list.items.into_iter().filter_map(value).collect())
        }
        Err(kube::Error::Api(status))
            if status.code == 404 && status.message.contains("answered") =>
        {
            Ok(BTreeMap::new())
        }
        Err(kube::Error::Api(status)) if status.code == 403 => Err(format!(
            "you may not read the operator's metrics (kubectl auth can-i get pods.custom.metrics.k8s.io --subresource={metric} \
             -n {namespace}): ask for the ClusterRole view, to which the chart adds them (rbac.aggregate)"
        )),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Err("no operator serves custom.metrics.k8s.io (metricsApi.enabled of the chart)"
                .to_owned())
        }
        Err(kube::Error::Api(status)) => Err(format!("custom.metrics.k8s.io: {}", status.message)),
        Err(error) => {
            let asked = Asked {
                verb: "get",
                resource: "pods.custom.metrics.k8s.io",
                namespace: Some(namespace),
            };
            let trouble: Trouble = cluster.trouble(error, asked);
            Err(trouble.to_string())
        }
    }
}

/// A quantity of Kubernetes as a whole number: the operator writes digits alone, adapters also 1500m or 2k.
fn quantity(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1_024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        _ => return None,
    };
    let value: f64 = number.parse().ok()?;
    Some((value * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_kubernetes_are_read() {
        let read = ["1234", "1500m", "2k", "1Mi", "2.5", "", "-1", "1x"].map(quantity);
        let expected =
            [Some(1_234), Some(2), Some(2_000), Some(1 << 20), Some(3), None, None, None];
        assert_eq!(read, expected);
    }
}
