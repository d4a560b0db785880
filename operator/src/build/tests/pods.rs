//! The pods: where they run, with how much memory, how they end, and what overrides do to them.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;
use rstest::rstest;
use wsgateway_config::{GatewayConfig, NAME_BYTES_PER_CONNECTION, Protocol};

use super::*;

fn gateway(objects: &Objects) -> Container {
    pod(objects).containers.swap_remove(0)
}

fn amount(objects: &Objects, kind: &str, resource: &str) -> Option<String> {
    let resources = gateway(objects).resources.unwrap();
    let amounts = if kind == "limits" { resources.limits } else { resources.requests };
    amounts.unwrap().get(resource).map(|amount| amount.0.clone())
}

fn config(objects: &Objects) -> GatewayConfig {
    let [restart, live] = [(&objects.config, "gateway.yaml"), (&objects.live, "live.yaml")]
        .map(|(map, file)| map.data.as_ref().unwrap()[file].as_str());
    GatewayConfig::load(restart, Some(live)).unwrap().config
}

fn mebibytes(text: &str) -> u64 {
    if let Some(number) = text.strip_suffix("Gi") {
        return number.parse::<u64>().unwrap() << 10;
    }
    text.strip_suffix("Mi").unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

/// Counted from what the gateway reads, independently of `Derived`.
fn may_be_used(config: &GatewayConfig) -> u64 {
    let capacity = &config.capacity;
    let odin = if config.listener.protocols.contains(&Protocol::Odin) { 4 << 10 } else { 0 };
    let subscriptions = u64::from(capacity.subscriptions_per_connection) * 32;
    let connection = (6 << 10) + NAME_BYTES_PER_CONNECTION + odin + subscriptions;
    let stalled = capacity.outbox_bytes_total / u64::from(capacity.outbox_bytes_per_connection);
    (64 << 20)
        + u64::from(capacity.connections) * connection
        + u64::from(capacity.fallback_connections) * (24 << 10)
        + capacity.outbox_bytes_total
        + config.history.bytes * 3 / 2
        + stalled * (154 << 10)
}

fn samples() -> Vec<(PathBuf, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn in_no_sample_may_a_gateway_use_more_memory_than_its_limit() {
    let samples = samples();
    assert!(samples.len() > 8);
    for (path, text) in samples {
        let objects = built(&text, true);
        let limit = mebibytes(&amount(&objects, "limits", "memory").unwrap()) << 20;
        let used = may_be_used(&config(&objects));
        assert!(used <= limit, "{}: {used} of {limit} bytes", path.display());
    }
}

#[rstest]
#[case::nothing_given("", "576Mi", "1153Mi", Some("250m"))]
#[case::a_limit("limits: { memory: 512Mi }", "380Mi", "512Mi", Some("250m"))]
#[case::a_wide_limit("limits: { memory: 4Gi }", "576Mi", "4Gi", Some("250m"))]
#[case::a_request("requests: { memory: 48Mi }", "48Mi", "1153Mi", Some("250m"))]
#[case::a_request_above_our_limit(
    "requests: { memory: '3000000000' }",
    "3000000000",
    "2862Mi",
    Some("250m")
)]
#[case::a_cpu_limit("limits: { cpu: 100m }", "576Mi", "1153Mi", None)]
fn what_is_not_given_of_the_resources_is_derived(
    #[case] resources: &str,
    #[case] memory_request: &str,
    #[case] memory_limit: &str,
    #[case] cpu_request: Option<&str>,
) {
    let objects = with(&format!("\n  pod: {{ resources: {{ {resources} }} }}\n"));
    assert_eq!(amount(&objects, "requests", "memory").as_deref(), Some(memory_request));
    assert_eq!(amount(&objects, "limits", "memory").as_deref(), Some(memory_limit));
    assert_eq!(amount(&objects, "requests", "cpu").as_deref(), cpu_request);
}

#[test]
fn a_memory_limit_moves_outboxes_and_history_and_not_the_connections() {
    let (usual, small) = (
        config(&with("")),
        config(&with("\n  pod: { resources: { limits: { memory: 512Mi } } }\n")),
    );
    assert_eq!(small.capacity.connections, usual.capacity.connections);
    assert!(small.capacity.outbox_bytes_total < usual.capacity.outbox_bytes_total);
    assert!(small.history.bytes < usual.history.bytes);
    small.check().unwrap();

    let limit = "pod: { resources: { limits: { memory: 512Mi } } }";
    let kept = config(&with(&format!("\n  {limit}\n  history: {{ bytes: 64Mi }}\n")));
    assert_eq!(kept.history.bytes, 64 << 20, "what is given stays");
}

#[test]
fn the_pod_ends_after_a_pause_for_the_endpoints_and_the_drain() {
    let objects = built(SAMPLE, false);
    let (pod, config) = (pod(&objects), config(&objects));
    let sleep = gateway(&objects).lifecycle.unwrap().pre_stop.unwrap().sleep.unwrap().seconds;
    let drain = i64::try_from(config.drain.window.0 / 1_000).unwrap();
    assert!((3..=10).contains(&sleep), "{sleep}");
    let grace = pod.termination_grace_period_seconds.unwrap();
    assert!(grace >= sleep + drain + 10, "{grace}");
}

#[test]
fn pods_are_spread_within_their_own_rollout_unless_told_otherwise() {
    let usual = pod(&built(SAMPLE, false)).topology_spread_constraints.unwrap();
    let keys: Vec<&str> = usual.iter().map(|spread| spread.topology_key.as_str()).collect();
    // With zones beside it, the scheduler would spread nothing over nodes that are in none.
    assert_eq!(keys, ["kubernetes.io/hostname"]);
    let other = with("\n  pod: { topologySpread: [{ topologyKey: rack, maxSkew: 3 }] }\n");
    let other = pod(&other).topology_spread_constraints.unwrap();
    assert_eq!((other.len(), other[0].topology_key.as_str(), other[0].max_skew), (1, "rack", 3));
    for spread in usual.iter().chain(&other) {
        assert_eq!(spread.match_label_keys, Some(vec!["pod-template-hash".to_owned()]));
        assert!(spread.label_selector.is_some());
        assert_eq!(spread.when_unsatisfiable, "ScheduleAnyway");
    }
    let none = with("\n  pod: { topologySpread: [] }\n");
    assert_eq!(pod(&none).topology_spread_constraints, None);
    assert_eq!(pod(&none).affinity, None);
}

#[test]
fn pods_prefer_other_zones_than_those_of_their_own_rollout_unless_told_otherwise() {
    let zones = |change: &str| {
        let objects = with(change);
        let anti = pod(&objects).affinity?.pod_anti_affinity?;
        let terms = anti.preferred_during_scheduling_ignored_during_execution?;
        let term = terms[0].pod_affinity_term.clone();
        assert_eq!((terms.len(), &*term.topology_key), (1, "topology.kubernetes.io/zone"));
        let labels = term.label_selector?.match_labels?;
        assert_eq!(labels["wsgateway.dev/template"], objects.template()?);
        Some(labels.len())
    };
    let usual = zones("");
    assert!(usual.is_some_and(|labels| labels > 2), "{usual:?}");
    let beside = "\n  pod: { affinity: { nodeAffinity: {} } }\n";
    assert_eq!(zones(beside), usual, "nodes are chosen as well");
    assert_eq!(zones("\n  pod: { affinity: { podAntiAffinity: {} } }\n"), None);
    assert_eq!(zones("\n  pod: { overrides: { spec: { affinity: null } } }\n"), None);
}

#[test]
fn overrides_come_last_and_leave_what_the_operator_relies_on() {
    let plain = with("\n  pod: { priorityClassName: low, labels: { team: a } }\n");
    let overridden = with(
        "\n  pod:\n    priorityClassName: low\n    labels: { team: a }\n    overrides:\n      \
         metadata: { labels: { team: b } }\n      spec:\n        priorityClassName: high\n        \
         containers: [{ name: gateway, env: [{ name: RUST_LOG, value: debug }] }, { name: proxy, image: p }]\n",
    );
    let template = |objects: &Objects| objects.deployment.spec.clone().unwrap().template;
    let (before, after) = (template(&plain), template(&overridden));
    let labels = |template: &k8s_openapi::api::core::v1::PodTemplateSpec| {
        template.metadata.clone().unwrap().labels.unwrap()
    };
    assert_eq!(labels(&after)["team"], "b");
    for (key, value) in &selector_labels(&overridden) {
        assert_eq!(labels(&after).get(key), Some(value));
    }
    let spec = after.spec.unwrap();
    assert_eq!(spec.priority_class_name.as_deref(), Some("high"));
    let names: Vec<&str> =
        spec.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["gateway", "proxy"]);
    let mut expected = before.spec.unwrap().containers.swap_remove(0);
    let added = spec.containers[0].env.as_ref().unwrap().last().unwrap().clone();
    assert_eq!((added.name.as_str(), added.value.as_deref()), ("RUST_LOG", Some("debug")));
    expected.env.as_mut().unwrap().push(added);
    assert_eq!(spec.containers[0], expected, "the rest of the container is as it was");
}

fn selector_labels(objects: &Objects) -> std::collections::BTreeMap<String, String> {
    objects.deployment.spec.clone().unwrap().selector.match_labels.unwrap()
}

#[test]
fn a_drain_takes_one_pod_at_a_time_and_never_waits_for_ever() {
    for manifest in [SAMPLE, FULL] {
        let budget = built(manifest, true).disruption.spec.unwrap();
        let one = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1);
        // Of a single pod minAvailable 1 would block every drain.
        assert_eq!((budget.max_unavailable, budget.min_available), (Some(one), None));
        assert_eq!(budget.unhealthy_pod_eviction_policy.as_deref(), Some("AlwaysAllow"));
    }
}

#[test]
fn traces_reach_the_live_file_and_their_headers_the_environment() {
    let sample = include_str!("../../../../manifests/samples/odin.yaml");
    let with = |tracing: &str| built(&format!("{sample}\n  tracing: {tracing}\n"), true);
    let plain = built(sample, true);
    let traced = with("{ endpoint: 'http://collector:4318', maxPerSecond: 7 }");
    assert_eq!(config(&traced).tracing.endpoint.as_deref(), Some("http://collector:4318"));
    assert_eq!(config(&traced).tracing.max_per_second, 7);
    // Nobody is disconnected for it.
    assert_eq!((&pod(&traced), &traced.config), (&pod(&plain), &plain.config));
    assert_ne!(traced.live, plain.live);

    let secret = with("{ endpoint: 'http://collector:4318', headersSecret: { name: collector } }");
    let environment = gateway(&secret).env.unwrap();
    let headers = environment.iter().find(|variable| variable.name == "OTEL_EXPORTER_OTLP_HEADERS");
    let source = headers.unwrap().value_from.clone().unwrap().secret_key_ref.unwrap();
    assert_eq!((source.name.as_str(), source.key.as_str()), ("collector", "headers"));
    assert_eq!(source.optional, Some(true), "a pod starts without it, too");
}
