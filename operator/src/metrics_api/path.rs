//! What is asked for, by the path of a request (pure). Paths come from whoever may reach the port.

use std::borrow::Cow;

/// Group of the API.
pub(crate) const GROUP: &str = "custom.metrics.k8s.io";
/// Its only version here, which all supported Kubernetes ask for.
pub(super) const VERSION: &str = "v1beta2";
/// The name of all pods.
const ALL: &str = "*";
/// Of a path, of a part of it, and of a query: more is no name of anything.
const LONGEST: usize = 4096;

/// A number of a pod that the API serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    /// Clients that are connected.
    Connections,
    /// The same, in hundredths of the pod's places.
    CapacityPercent,
    /// CPU use, in hundredths of what the pod may use.
    CpuPercent,
    /// Messages of the stream that it takes.
    MessagesPerSecond,
    /// Messages that it sends to clients, one for each receiver.
    DeliveriesPerSecond,
    /// Messages of the stream that it has not taken yet.
    LagMessages,
    /// Clients that bytes wait for.
    SlowClients,
    /// Resident memory of its process.
    MemoryBytes,
}

impl Metric {
    pub(super) const ALL: [Self; 8] = [
        Self::Connections,
        Self::CapacityPercent,
        Self::CpuPercent,
        Self::MessagesPerSecond,
        Self::DeliveriesPerSecond,
        Self::LagMessages,
        Self::SlowClients,
        Self::MemoryBytes,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "wsgateway_connections",
            Self::CapacityPercent => "wsgateway_capacity_percent",
            Self::CpuPercent => "wsgateway_cpu_percent",
            Self::MessagesPerSecond => "wsgateway_messages_per_second",
            Self::DeliveriesPerSecond => "wsgateway_deliveries_per_second",
            Self::LagMessages => "wsgateway_lag_messages",
            Self::SlowClients => "wsgateway_slow_clients",
            Self::MemoryBytes => "wsgateway_memory_bytes",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.as_str() == name)
    }
}

/// Of which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// All pods whose labels match a selector.
    Pods {
        selector: String,
    },
    Pod(String),
    /// All pods of a WsGateway together.
    WsGateway(String),
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The group and its versions.
    Group,
    /// The metrics of the version.
    Resources,
    Value {
        namespace: String,
        subject: Subject,
        metric: String,
    },
}

/// What a path and query ask for; `None`: nothing that there is.
pub(super) fn parse(path: &str, query: Option<&str>) -> Option<Asked> {
    if path.len() > LONGEST || query.is_some_and(|query| query.len() > LONGEST) {
        return None;
    }
    let parts: Option<Vec<Cow<'_, str>>> = path.trim_matches('/').split('/').map(decode).collect();
    let parts = parts?;
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    let rest = match parts.as_slice() {
        ["apis", GROUP] => return Some(Asked::Group),
        ["apis", GROUP, VERSION] => return Some(Asked::Resources),
        ["apis", GROUP, VERSION, rest @ ..] => rest,
        _ => return None,
    };
    let ["namespaces", namespace, resource, name, metric] = rest else { return None };
    let subject = match (*resource, *name) {
        ("pods", ALL) => Subject::Pods { selector: selector(query)? },
        ("pods", name) => Subject::Pod(name.to_owned()),
        ("wsgateways.wsgateway.dev" | "wsgateways", name) if name != ALL => {
            Subject::WsGateway(name.to_owned())
        }
        _ => return None,
    };
    Some(Asked::Value { namespace: (*namespace).to_owned(), subject, metric: (*metric).to_owned() })
}

impl Asked {
    /// The metric, if it is one that there is.
    pub(super) fn metric(name: &str) -> Option<Metric> {
        Metric::parse(name)
    }
}

fn selector(query: Option<&str>) -> Option<String> {
    let pairs = query.unwrap_or_default().split('&');
    let found =
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == "labelSelector");
    found.map_or(Some(String::new()), |(_, value)| {
        decode(&value.replace('+', " ")).map(Cow::into_owned)
    })
}

/// Percent-encoding; `None` for what is no text.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Owned(text.to_owned()));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "/apis/custom.metrics.k8s.io/v1beta2";

    #[test]
    fn what_the_autoscaler_asks_is_understood() {
        let path = format!("{BASE}/namespaces/trading/pods/%2A/wsgateway_connections");
        let query = "labelSelector=app.kubernetes.io%2Fname%3Dwsgateway%2Capp.kubernetes.io%2Finstance%3Dodin";
        let selector =
            "app.kubernetes.io/name=wsgateway,app.kubernetes.io/instance=odin".to_owned();
        let asked = Asked::Value {
            namespace: "trading".to_owned(),
            subject: Subject::Pods { selector },
            metric: "wsgateway_connections".to_owned(),
        };
        assert_eq!(parse(&path, Some(query)), Some(asked));
        let all = parse(&path.replace("%2A", "*"), None);
        assert!(
            matches!(all, Some(Asked::Value { subject: Subject::Pods { selector }, .. }) if selector.is_empty())
        );
        let one = parse(&path.replace("pods/%2A", "wsgateways.wsgateway.dev/odin"), None);
        assert!(
            matches!(one, Some(Asked::Value { subject: Subject::WsGateway(name), .. }) if name == "odin")
        );
        assert_eq!(parse(BASE, None), Some(Asked::Resources));
        assert_eq!(parse("/apis/custom.metrics.k8s.io/", None), Some(Asked::Group));
    }

    #[test]
    fn nothing_else_is() {
        for path in [
            "",
            "/",
            "/apis",
            "/apis/custom.metrics.k8s.io/v1beta1",
            "/apis/metrics.k8s.io/v1beta1",
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/*/wsgateway_connections",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/*",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/*/m/more",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/secrets/b/m",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/%zz/m",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/%ff/m",
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/%2/m",
            &"/a".repeat(5_000),
        ] {
            assert_eq!(parse(path, None), None, "{path}");
        }
        let path = format!("{BASE}/namespaces/a/pods/*/m");
        assert_eq!(parse(&path, Some(&"x".repeat(5_000))), None);
        assert_eq!(parse(&path, Some("labelSelector=%ff")), None);
    }

    #[test]
    fn every_metric_has_the_name_by_which_it_is_read() {
        for metric in Metric::ALL {
            assert_eq!(Asked::metric(metric.as_str()), Some(metric));
        }
        assert_eq!(Asked::metric("wsgateway_nothing"), None);
    }
}
