//! What the generator starts from: a WsGateway that says little, and one that says everything (pure).

use serde_json::{Value, json};

/// Every field of a specification, as the operator's own tests have it.
const FULL: &str = include_str!("../../../../operator/src/build/full.yaml");

/// A WsGateway that is sound but for its name. Nothing in it leads away from this machine.
pub(super) fn base(name: &str, nats: &str, is_full: bool) -> Value {
    let little = json!({
        "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "metadata": { "name": name },
        "spec": {
            "nats": { "servers": [nats] },
            "stream": { "name": name.to_uppercase(), "subjects": [format!("{name}.>")], "storage": "Memory", "maxBytes": "1Mi" },
        },
    });
    if !is_full {
        return little;
    }
    let mut full: Value = wsgateway_config::yaml::from_str(FULL).unwrap_or_else(|_| little.clone());
    full["metadata"] = little["metadata"].clone();
    full["spec"]["nats"] = little["spec"]["nats"].clone();
    let stream = &mut full["spec"]["stream"];
    stream["name"] = little["spec"]["stream"]["name"].clone();
    stream["subjects"] = json!([format!("{name}.*.price"), format!("{name}.trades.*.>")]);
    // One server has one copy.
    stream["replicas"] = json!(1);
    stream["maxBytes"] = json!("1Mi");
    stream["maxMessageSize"] = json!("64Ki");
    full["spec"]["channels"]["stripPrefix"] = json!(format!("{name}."));
    // The cluster has one family of addresses.
    if let Some(service) = full["spec"]["expose"]["service"].as_object_mut() {
        service.retain(|field, _| !field.starts_with("ipFamil"));
    }
    if let Some(spec) = full["spec"].as_object_mut() {
        // Its controller looks at each of thousands every two seconds here.
        spec.remove("autoscaling");
    }
    full
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::{parse, validate};

    use super::*;

    #[test]
    fn what_the_generator_starts_from_is_sound() {
        for is_full in [false, true] {
            let base = base("h00001", "nats://127.0.0.1:4222", is_full);
            let parsed = parse(&base.to_string()).unwrap();
            assert!(validate(&parsed).is_ok(), "{:?}", validate(&parsed));
            assert_eq!(base["spec"].get("expose").is_some(), is_full);
        }
    }
}
