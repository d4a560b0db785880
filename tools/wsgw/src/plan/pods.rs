//! What a manifest would change for the pods, before and after.
//!
//! Which fields replace a pod and which reach it as it runs is decided by the operator's pod template; what is compared here
//! is what that is made from. A test holds both together, field by field (`tests/tests/wsgw_plan.rs`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use wsgateway_config::{ConfigError, yaml};
use wsgateway_crds::{ValidGateway, gateway_config};

use super::scale;

/// Of changed fields, as many as a person reads.
const MOST: usize = 20;

/// What runs now, as far as the status tells.
#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) pods: i32,
    pub(super) connections: Option<i64>,
    /// The pods that the status names, and how many it does not.
    pub(super) each: Vec<Pod>,
    pub(super) more: i32,
}

/// A pod that runs now.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) connections: Option<i64>,
}

/// Writes what would happen to the pods.
pub(super) fn describe(
    before: &ValidGateway,
    after: &ValidGateway,
    now: &Now,
    text: &mut String,
) -> Result<(), ConfigError> {
    let replaced = changes(&template(before)?, &template(after)?);
    let taken_up = changes(&live(before)?, &live(after)?);
    // Writing to a String cannot fail.
    let (from, to) = (before.effective_replicas(), scale::wanted(before, after));
    if replaced.is_empty() {
        let moved = if from == to { "and no client moves" } else { "but for their number" };
        let _ = writeln!(text, "pods stay as they are, {moved}");
    } else {
        let _ = writeln!(text, "pods would be replaced: {}", moving(after, now));
        list(&replaced, text);
    }
    if !taken_up.is_empty() {
        let _ = writeln!(text, "pods take up within seconds, with no client moved:");
        list(&taken_up, text);
    }
    if replaced.is_empty() {
        scale::describe(before, after, now, text);
    } else if from != to {
        let _ = writeln!(text, "replicas: {from} -> {to}, once they are replaced");
    }
    Ok(())
}

/// Whom a rollout moves, and how long that takes at its pace.
fn moving(after: &ValidGateway, now: &Now) -> String {
    let pods = now.pods;
    let Some(connections) = now.connections else {
        return format!("the clients of {pods} pods would move once each");
    };
    let pace = after.rollout.connections_per_minute;
    let minutes = minutes(connections, pace);
    format!(
        "{connections} clients of {pods} pods would move once each, within about {minutes} at {pace} a minute \
         (spec.rollout.connectionsPerMinute), once the new pods are ready"
    )
}

/// How long clients take at a pace.
pub(super) fn minutes(clients: i64, per_minute: u32) -> String {
    let pace = i64::from(per_minute).max(1);
    match clients.saturating_add(pace - 1) / pace {
        ..=1 => "a minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

fn list(changes: &[String], text: &mut String) {
    for change in changes.iter().take(MOST) {
        let _ = writeln!(text, "  {change}");
    }
    if changes.len() > MOST {
        let _ = writeln!(text, "  and {} more", changes.len() - MOST);
    }
}

/// Values by path.
type Fields = BTreeMap<String, String>;

fn changes(old: &Fields, new: &Fields) -> Vec<String> {
    let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let of = |fields: &Fields, path: &String| {
        fields.get(path).map_or("nothing", String::as_str).to_owned()
    };
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| format!("{path}: {} -> {}", of(old, path), of(new, path)))
        .collect()
}

/// What makes a pod what it is.
fn template(gateway: &ValidGateway) -> Result<Fields, ConfigError> {
    let mut fields = config(&gateway_config(gateway).parts()?.restart)?;
    let pod = &gateway.pod;
    let memory = (gateway.derived.memory_request >> 20, gateway.derived.memory_limit >> 20);
    let files: Vec<String> = gateway
        .files()
        .iter()
        .map(|file| format!("{}/{} as {}", file.source.name, file.source.key, file.file))
        .collect();
    let given = (&pod.resources.requests, &pod.resources.limits);
    for (path, value) in [
        ("pod.image", format!("{:?}", pod.image)),
        ("pod.imagePullPolicy", format!("{:?}", pod.image_pull_policy)),
        ("pod.imagePullSecrets", format!("{:?}", pod.image_pull_secrets)),
        ("pod.resources", format!("{given:?}")),
        ("pod.resources.memory (MiB)", format!("{memory:?}")),
        ("pod.nodeSelector", format!("{:?}", pod.node_selector)),
        ("pod.tolerations", format!("{:?}", pod.tolerations)),
        ("pod.affinity", format!("{:?}", pod.affinity)),
        ("pod.topologySpread", format!("{:?}", pod.spread)),
        ("pod.priorityClassName", format!("{:?}", pod.priority_class)),
        ("pod.labels", format!("{:?}", pod.labels)),
        ("pod.annotations", format!("{:?}", pod.annotations)),
        ("pod.serviceAccountName", format!("{:?}", pod.service_account)),
        ("pod.securityContext", format!("{:?}", pod.security)),
        ("pod.overrides", format!("{:?}", pod.overrides)),
        ("files of Secrets", format!("{files:?}")),
    ] {
        fields.insert(path.to_owned(), value);
    }
    Ok(fields)
}

/// What a running pod takes up.
fn live(gateway: &ValidGateway) -> Result<Fields, ConfigError> {
    config(&gateway_config(gateway).parts()?.live)
}

fn config(text: &str) -> Result<Fields, ConfigError> {
    let mut fields = Fields::new();
    flatten("config", &yaml::from_str(text)?, &mut fields);
    Ok(fields)
}

fn flatten(path: &str, value: &Value, fields: &mut Fields) {
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
        let now = Now { pods: 2, connections: Some(21_000), ..Now::default() };
        describe(&before, &after, &now, &mut text).unwrap();
        text
    }

    #[test]
    fn pods_that_would_be_replaced_are_counted_with_their_clients_and_the_reason() {
        assert_eq!(described(|_| ()), "pods stay as they are, and no client moves\n");
        let path = described(|gateway| gateway.path = "/other".to_owned());
        let summary = "pods would be replaced: 21000 clients of 2 pods would move once each, within about 4 minutes at 6000 a \
                       minute";
        assert!(path.starts_with(summary), "{path}");
        assert!(path.contains("config.listener.path: \"/ws\" -> \"/other\""), "{path}");
        let image = described(|gateway| gateway.pod.image = Some("other".to_owned()));
        assert!(image.contains("pod.image"), "{image}");
        let slower = described(|gateway| {
            gateway.rollout.connections_per_minute = 60_000;
            gateway.path = "/other".to_owned();
        });
        assert!(slower.contains("within about a minute at 60000"), "{slower}");
    }

    #[test]
    fn scaling_replaces_no_pod() {
        let scaled = described(|gateway| gateway.replicas += 1);
        assert!(
            scaled.starts_with("pods stay as they are, but for their number\nreplicas: "),
            "{scaled}"
        );
    }

    #[test]
    fn a_limit_reaches_the_pods_that_run() {
        let limit = described(|gateway| gateway.limits.subscriptions += 1);
        assert!(limit.starts_with("pods stay as they are"), "{limit}");
        assert!(
            limit.contains("pods take up within seconds, with no client moved:\n  config."),
            "{limit}"
        );
    }
}
