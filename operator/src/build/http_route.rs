//! The HTTPRoute that leads to the clients' Service, if one is wanted and the cluster knows the kind.

use kube::core::DynamicObject;
use serde_json::{Value, json};
use wsgateway_config::Millis;
use wsgateway_crds::{ValidGateway, ValidParent};

use super::meta::{child_name, metadata, some};
use crate::kinds::Kind;

/// `known`: the cluster has the kind.
pub(super) fn build(gateway: &ValidGateway, known: bool) -> Option<DynamicObject> {
    let wanted = gateway.expose.route.as_ref().filter(|_| known)?;
    let mut rule = json!({
        "matches": [{ "path": { "type": "PathPrefix", "value": wanted.path } }],
        "backendRefs": [{ "name": gateway.name, "port": gateway.port }],
    });
    if let Some(timeout) = wanted.request_timeout {
        rule["timeouts"] = json!({ "request": duration(timeout) });
    }
    let parents: Vec<Value> = wanted.parents.iter().map(parent).collect();
    let mut spec = json!({ "parentRefs": parents, "rules": [rule] });
    if !wanted.hosts.is_empty() {
        spec["hostnames"] = json!(wanted.hosts);
    }
    let mut route =
        DynamicObject::new("", &Kind::HttpRoute.resource()).data(json!({ "spec": spec }));
    route.metadata = metadata(gateway, child_name(&gateway.name));
    route.metadata.annotations = some(&wanted.annotations);
    Some(route)
}

/// Absent fields are left out: a null would be a field that we own.
fn parent(parent: &ValidParent) -> Value {
    let mut reference = json!({ "name": parent.name });
    if let Some(namespace) = &parent.namespace {
        reference["namespace"] = json!(namespace);
    }
    if let Some(section) = &parent.section {
        reference["sectionName"] = json!(section);
    }
    if let Some(port) = parent.port {
        reference["port"] = json!(port);
    }
    reference
}

/// As the Gateway API writes it (GEP-2257): up to five digits of each unit.
fn duration(time: Millis) -> String {
    match (time.0 / 1_000, time.0 % 1_000) {
        (seconds, 0) => format!("{seconds}s"),
        (0, millis) => format!("{millis}ms"),
        (seconds, millis) => format!("{seconds}s{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0s")]
    #[case(500, "500ms")]
    #[case(90_000, "90s")]
    #[case(1_500, "1s500ms")]
    #[case(86_400_000, "86400s")]
    fn times_are_written_as_the_gateway_api_reads_them(#[case] millis: u64, #[case] text: &str) {
        assert_eq!(duration(Millis(millis)), text);
    }
}
