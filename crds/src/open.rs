//! Parts of Kubernetes' own API that the CRD leaves open, read into Kubernetes' types.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::FieldError;

/// Reads a value of at most `most_bytes` as JSON. What Kubernetes would drop in silence is refused.
///
/// # Errors
/// The first field of a wrong type or unknown to Kubernetes, by its path.
pub(crate) fn read<T>(path: &str, value: &Value, most_bytes: usize) -> Result<T, FieldError>
where
    T: DeserializeOwned + Serialize,
{
    let bytes = value.to_string().len();
    if bytes > most_bytes {
        let message =
            format!("must be at most {} KiB of JSON; got {bytes} bytes", most_bytes >> 10);
        return Err(FieldError::new(path, message));
    }
    let read: T = serde_path_to_error::deserialize(value).map_err(|error| {
        let below = error.path().to_string();
        let path = if below == "." { path.to_owned() } else { format!("{path}.{below}") };
        FieldError::new(path, error.inner().to_string())
    })?;
    let kept = serde_json::to_value(&read)
        .map_err(|error| FieldError::new(path, format!("cannot be written: {error}")))?;
    match unknown(path, value, &kept) {
        Some(path) => Err(FieldError::new(
            path,
            "is unknown to Kubernetes here: check its name and place with kubectl explain pod.spec --recursive",
        )),
        None => Ok(read),
    }
}

/// The path of the first field that did not survive.
fn unknown(path: &str, given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            given.iter().filter(|(_, value)| !value.is_null()).find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                match kept.get(name) {
                    Some(kept) => unknown(&path, value, kept),
                    None => Some(path),
                }
            })
        }
        (Value::Array(given), Value::Array(kept)) => {
            let mut pairs = given.iter().zip(kept).enumerate();
            pairs.find_map(|(at, (given, kept))| unknown(&format!("{path}[{at}]"), given, kept))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Affinity, PodTemplateSpec};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const MOST: usize = 16 << 10;

    #[rstest]
    #[case::unknown(json!({ "nodeAffinty": {} }), "spec.pod.affinity.nodeAffinty", "is unknown to Kubernetes")]
    #[case::unknown_deep_down(
        json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
            { "topologyKey": "a" }, { "topologyKey": "b", "labelselector": {} }] } }),
        "spec.pod.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].labelselector",
        "is unknown to Kubernetes")]
    #[case::of_another_type(
        json!({ "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": "much" }] } }),
        "spec.pod.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight", "invalid type")]
    #[case::not_even_an_object(json!(["a"]), "spec.pod.affinity", "invalid type")]
    fn what_is_no_affinity_is_refused_by_its_path(
        #[case] value: Value,
        #[case] path: &str,
        #[case] message: &str,
    ) {
        let error = read::<Affinity>("spec.pod.affinity", &value, MOST).unwrap_err();
        assert_eq!(error.path, path, "{error}");
        assert!(error.message.contains(message), "{error}");
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_size() {
        let value = json!({ "nodeAffinity": { "x": "x".repeat(MOST) } });
        let error = read::<Affinity>("spec.pod.affinity", &value, MOST).unwrap_err();
        assert!(error.message.starts_with("must be at most 16 KiB of JSON; got 164"), "{error}");
    }

    #[test]
    fn amounts_numbers_empty_lists_and_nulls_survive() {
        let value = json!({ "metadata": { "labels": {} }, "spec": { "nodeName": null, "tolerations": [], "containers": [
            { "name": "c", "resources": { "limits": { "cpu": 1, "memory": "1Gi" } },
              "livenessProbe": { "httpGet": { "port": "admin" } }, "ports": [{ "containerPort": 1 }] }] } });
        read::<PodTemplateSpec>("spec.pod.overrides", &value, MOST).unwrap();
    }
}
