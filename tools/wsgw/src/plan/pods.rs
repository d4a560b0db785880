//! What a manifest would change for the pods: as the operator renders them, before and after.
//!
//! Which fields reach a running pod and which replace it is decided by the operator's pod template alone. Today it holds a
//! hash of the whole configuration, so that every change replaces the pods; where that changes, [`replaces`] follows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use wsgateway_config::{ConfigError, yaml};
use wsgateway_crds::{ValidGateway, gateway_config};

/// Of changed fields, as many as a person reads.
const MOST: usize = 20;

/// What runs now, as far as the status tells.
#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) pods: i32,
    pub(super) connections: Option<i64>,
}

/// Writes what would happen to the pods.
pub(super) fn describe(
    before: &ValidGateway,
    after: &ValidGateway,
    now: &Now,
    text: &mut String,
) -> Result<(), ConfigError> {
    let changes = replaces(before, after)?;
    if changes.is_empty() {
        text.push_str("pods stay as they are\n");
    } else {
        let clients = match now.connections {
            Some(connections) => format!("{connections} clients of {} pods", now.pods),
            None => format!("the clients of {} pods", now.pods),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "pods would be replaced, and move {clients}");
        for change in changes.iter().take(MOST) {
            let _ = writeln!(text, "  {change}");
        }
        if changes.len() > MOST {
            let _ = writeln!(text, "  and {} more", changes.len() - MOST);
        }
    }
    let (from, to) = (before.effective_replicas(), after.effective_replicas());
    if from != to {
        let _ = writeln!(text, "replicas: {from} -> {to}");
    }
    Ok(())
}

/// Fields whose change replaces the pods.
fn replaces(before: &ValidGateway, after: &ValidGateway) -> Result<Vec<String>, ConfigError> {
    let (old, new) = (template(before)?, template(after)?);
    let mut fields: Vec<&String> = old.keys().chain(new.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    let of = |template: &BTreeMap<String, String>, field: &String| {
        template.get(field).map_or("nothing", String::as_str).to_owned()
    };
    Ok(fields
        .into_iter()
        .filter(|field| old.get(*field) != new.get(*field))
        .map(|field| format!("{field}: {} -> {}", of(&old, field), of(&new, field)))
        .collect())
}

/// What makes a pod what it is, by path.
fn template(gateway: &ValidGateway) -> Result<BTreeMap<String, String>, ConfigError> {
    let config: Value = yaml::from_str(&gateway_config(gateway).render()?)?;
    let mut fields = BTreeMap::new();
    flatten("config", &config, &mut fields);
    let pod = &gateway.pod;
    let memory = (gateway.derived.memory_request, gateway.derived.memory_limit);
    fields.insert("pod.image".to_owned(), format!("{:?}", pod.image));
    fields.insert("pod.imagePullPolicy".to_owned(), format!("{:?}", pod.image_pull_policy));
    fields.insert("pod.imagePullSecrets".to_owned(), format!("{:?}", pod.image_pull_secrets));
    fields.insert("pod.resources".to_owned(), format!("{:?} {memory:?}", pod.resources));
    Ok(fields)
}

fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                flatten(&format!("{path}.{key}"), value, fields);
            }
        }
        value => drop(fields.insert(path.to_owned(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest::Manifest;

    use super::*;

    fn described(change: impl FnOnce(&mut ValidGateway)) -> String {
        let before = Manifest::demo().gateway().unwrap();
        let mut after = before.clone();
        change(&mut after);
        let mut text = String::new();
        let now = Now { pods: 2, connections: Some(21_000) };
        describe(&before, &after, &now, &mut text).unwrap();
        text
    }

    #[test]
    fn pods_that_would_be_replaced_are_counted_with_their_clients_and_the_reason() {
        assert_eq!(described(|_| ()), "pods stay as they are\n");
        let path = described(|gateway| gateway.path = "/other".to_owned());
        assert!(
            path.starts_with("pods would be replaced, and move 21000 clients of 2 pods\n"),
            "{path}"
        );
        assert!(path.contains("config.listener.path: \"/ws\" -> \"/other\""), "{path}");
        let image = described(|gateway| gateway.pod.image = Some("other".to_owned()));
        assert!(image.contains("pod.image"), "{image}");
    }

    #[test]
    fn scaling_replaces_no_pod() {
        let scaled = described(|gateway| gateway.replicas += 1);
        assert!(scaled.starts_with("pods stay as they are\nreplicas: "), "{scaled}");
    }
}
