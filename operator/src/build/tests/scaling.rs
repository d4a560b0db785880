//! What scales the pods.

use serde_json::json;

use super::*;

const AUTOSCALED: &str = include_str!("../../../../manifests/samples/odin-autoscaled.yaml");
const KEDA: &str =
    "{ metricsSource: Keda, keda: { prometheusAddress: \"http://prometheus.monitoring:9090\" },";

/// The full manifest, scaled by KEDA.
fn by_keda() -> String {
    let manifest = FULL.replace("autoscaling: {", &format!("autoscaling: {KEDA}"));
    assert_ne!(manifest, FULL);
    manifest
}

#[test]
fn two_to_five_pods_follow_cpu_and_connections_whichever_asks_for_more() {
    let objects = built(AUTOSCALED, false);
    let spec = objects.autoscaler.unwrap().spec.unwrap();
    assert_eq!((spec.min_replicas, spec.max_replicas), (Some(2), 5));
    let metrics = spec.metrics.unwrap().into_iter().map(|metric| {
        let pods = metric.pods.unwrap();
        (pods.metric.name, pods.target.average_value.unwrap().0)
    });
    let wanted = [("wsgateway_connections", "8000"), ("wsgateway_cpu_percent", "60")];
    let wanted = wanted.map(|(name, average)| (name.to_owned(), average.to_owned()));
    assert_eq!(metrics.collect::<Vec<_>>(), wanted);
    let down = spec.behavior.unwrap().scale_down.unwrap();
    assert_eq!(down.stabilization_window_seconds, Some(300));
}

#[test]
fn the_autoscalers_least_follows_the_schedule() {
    let mut gateway = parse(FULL).unwrap();
    let schedule = json!([
        { "cron": "45 8 * * 1-5", "timeZone": "America/New_York", "minReplicas": 4 },
        { "cron": "0 17 * * 1-5", "timeZone": "America/New_York", "minReplicas": 3 },
    ]);
    let autoscaling = gateway.spec.autoscaling.as_mut().unwrap();
    autoscaling.schedule = serde_json::from_value(schedule).unwrap();
    gateway.spec.replicas = 1;
    for (now, least) in [("2026-11-27T14:00:00Z", 4), ("2026-11-28T14:00:00Z", 3)] {
        let valid = validate(&gateway).unwrap().at(now.parse().unwrap());
        let objects = objects(&valid, &surroundings(&valid, &BTreeSet::new(), None)).unwrap();
        let spec = objects.autoscaler.unwrap().spec.unwrap();
        assert_eq!((spec.min_replicas, valid.effective_replicas()), (Some(least), least));
    }
    gateway.spec.autoscaling.as_mut().unwrap().schedule[0].min_replicas = 6;
    let refused = validate(&gateway).unwrap_err();
    assert_eq!(refused[0].path, "spec.autoscaling.schedule[0].minReplicas");
}

#[test]
fn with_keda_a_scaled_object_takes_the_place_of_the_autoscaler() {
    let objects =
        built(&by_keda().replace("targetConnectionsPerPod: 300", "targetCpuPercent: 60"), true);
    assert!(objects.autoscaler.is_none());
    insta::assert_snapshot!(yaml::to_string(&objects.scaled_object.unwrap()).unwrap());
}

#[test]
fn an_adapter_of_ones_own_is_asked_for_what_the_operator_is_asked_for() {
    let adapter = FULL.replace("autoscaling: {", "autoscaling: { metricsSource: Adapter,");
    let (theirs, ours) = (built(&adapter, true), built(FULL, true));
    assert_eq!(theirs.autoscaler, ours.autoscaler);
    let rules = include_str!("../../../../charts/wsgateway/prometheus-adapter-values.yaml");
    let autoscaled = built(AUTOSCALED, false).autoscaler.unwrap().spec.unwrap();
    for metric in autoscaled.metrics.unwrap() {
        let name = metric.pods.unwrap().metric.name;
        assert!(rules.contains(&format!("as: {name} }}")), "{name}");
    }
    assert!(theirs.scaled_object.is_none() && ours.scaled_object.is_none());
}

#[test]
fn without_keda_in_the_cluster_there_is_nothing_that_scales() {
    let objects = built(&by_keda(), false);
    assert!(objects.autoscaler.is_none() && objects.scaled_object.is_none());
}

#[test]
fn keda_scales_as_the_autoscaler_would_and_leaves_pods_alone_that_were_stopped() {
    let keda = built(&by_keda(), true).scaled_object.unwrap();
    let ours = built(FULL, true).autoscaler.unwrap().spec.unwrap();
    let spec = &keda.data["spec"];
    let target = serde_json::to_value(&ours.scale_target_ref).unwrap();
    assert_eq!(spec["scaleTargetRef"], target);
    assert_eq!(spec["minReplicaCount"], json!(ours.min_replicas));
    assert_eq!(spec["maxReplicaCount"], json!(ours.max_replicas));
    let config = &spec["advanced"]["horizontalPodAutoscalerConfig"];
    assert_eq!(config["behavior"], serde_json::to_value(&ours.behavior).unwrap());
    let metric = ours.metrics.unwrap()[0].pods.clone().unwrap();
    let trigger = &spec["triggers"][0];
    assert_eq!(trigger["metadata"]["threshold"], metric.target.average_value.unwrap().0);
    assert!(trigger["metadata"]["query"].as_str().unwrap().contains(&metric.metric.name));
    assert_eq!(keda.metadata.annotations, None);
    let stopped = built(&by_keda().replace("replicas: 4 #", "replicas: 0 #"), true);
    let annotations = stopped.scaled_object.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations["autoscaling.keda.sh/paused"], "true");
}

#[test]
fn the_name_of_what_keda_makes_fits_into_a_label() {
    assert!(keda_name(&"a".repeat(50)).len() <= 63);
    assert!(child_name(&"a".repeat(50)).len() <= 63);
}
