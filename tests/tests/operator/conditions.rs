//! Conditions, pods and columns: what a person on call sees.

use anyhow::{Context as _, Result};
use harness::{ControlPlane, wait_until, wait_until_some};
use kube::CustomResourceExt as _;
use serde_json::json;
use wsgateway_crds::{PodState, WsGateway};

use crate::load::{connect, run};
use crate::rights::granted_but;
use crate::world::{ODIN, SOON, World, pod_address, service_monitors};

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_have_all_lost_nats_are_not_ready_and_come_back() -> Result<()> {
    let mut world = World::new("dark").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    let pod = world.pods(1).await?.remove(0);
    let gateway = run(&world, &pod, pod_address(21)).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;

    world.nats.stop().await?;

    world.condition(ODIN, "StreamReady", "False", "NatsUnreachable").await?;
    world.condition(ODIN, "Ready", "False", "NatsUnreachable").await?;
    let message = world.condition(ODIN, "Degraded", "True", "SourceNotLive").await?;
    assert!(message.contains(&format!("pod {pod}: source connecting")), "{message}");
    // Kubernetes finds nothing wrong: clients stay connected.
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;

    world.nats.restart().await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    world.condition(ODIN, "Degraded", "False", "NoProblem").await?;
    tokio::task::spawn_blocking(move || gateway.abort()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_lists_the_pods_and_where_clients_connect() -> Result<()> {
    let world = World::new("listed").await?;
    world
        .create(&json!({ "spec": { "replicas": 2, "capacity": { "connectionsPerPod": 2 } } }))
        .await?;
    world.stream_ready().await?;
    let names = world.pods(2).await?;
    let gateway = run(&world, &names[0], pod_address(22)).await?;
    let clients = [connect(gateway.client_addr).await?, connect(gateway.client_addr).await?];

    let status = wait_until_some(SOON, "a full pod and one that starts", async || {
        let status = world.status(ODIN).await?;
        (status.pods.len() == 2 && status.pods[0].state == PodState::Full).then_some(status)
    })
    .await?;

    let (serving, starting) = (&status.pods[0], &status.pods[1]);
    assert_eq!((serving.name.as_str(), starting.name.as_str()), (&*names[0], &*names[1]));
    assert_eq!((serving.connections, serving.source.as_deref()), (Some(2), Some("live")));
    assert!(serving.config_hash.as_ref().is_some_and(|hash| !hash.is_empty()));
    assert_eq!((starting.state, starting.connections), (PodState::Starting, None));
    assert_eq!(status.pods_ready.as_deref(), Some("1/2"));
    let internal = format!("odin.{}.svc:8080", world.namespace);
    assert_eq!(status.endpoints.map(|endpoints| endpoints.internal), Some(internal));
    world.condition(ODIN, "Progressing", "True", "PodsStarting").await?;
    let message = world.condition(ODIN, "Degraded", "True", "Full").await?;
    assert!(message.contains("raise spec.replicas"), "{message}");

    drop(clients);
    tokio::task::spawn_blocking(move || gateway.abort()).await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_s_trouble_is_named_with_the_pod_and_warned_of() -> Result<()> {
    let world = World::new("broken").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    let pod = world.pods(1).await?.remove(0);
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let ended = |reason: &str, code: i32| {
        json!({ "terminated": { "reason": reason, "exitCode": code, "finishedAt": now,
            "startedAt": now } })
    };
    let waiting = |reason: &str| json!({ "waiting": { "reason": reason } });
    for (state, last, reason, hint) in [
        (waiting("ErrImagePull"), json!({}), "ImagePullBackOff", "check spec.pod.image"),
        (waiting("CrashLoopBackOff"), ended("Error", 1), "CrashLoopBackOff", "--previous says why"),
        (ended("OOMKilled", 137), json!({}), "OOMKilled", "raise spec.pod.resources.limits.memory"),
    ] {
        world.break_pod(&pod, &state, &last).await?;
        for (kind, holds) in [("GatewayReady", "False"), ("Degraded", "True"), ("Ready", "False")] {
            let message = world.condition(ODIN, kind, holds, reason).await?;
            assert!(message.contains(&format!("pod {pod}")) && message.contains(hint), "{message}");
        }
        let warning = ("Warning".to_owned(), reason.to_owned());
        wait_until(SOON, &format!("a warning {reason}"), async || {
            world.events().await.is_ok_and(|events| events.contains(&warning))
        })
        .await?;
    }
    let problem = world.status(ODIN).await.context("a status")?.pods[0].problem.clone();
    assert!(problem.is_some_and(|problem| problem.starts_with("OOMKilled: ")));
    Ok(())
}

#[tokio::test]
async fn a_start_and_a_scale_up_are_no_warnings() -> Result<()> {
    let world = World::new("planned").await?;
    world.create(&json!({})).await?;
    world.condition(ODIN, "GatewayReady", "False", "PodsNotReady").await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    world.condition(ODIN, "Progressing", "False", "Settled").await?;

    world.edit(&json!({ "spec": { "replicas": 2 } })).await?;
    world.pods(2).await?;
    world.condition(ODIN, "Progressing", "True", "PodsStarting").await?;
    world.condition(ODIN, "Ready", "True", "PodsNotReady").await?;
    world.run_pods(2, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;

    let events = world.events().await?;
    let of_pods = |reason: &str| ["PodsNotReady", "RollingOut", "PodsReady"].contains(&reason);
    let kinds: Vec<_> = events.iter().filter(|(_, reason)| of_pods(reason)).collect();
    assert!(!kinds.is_empty(), "{events:?}");
    assert!(kinds.iter().all(|(kind, _)| kind == "Normal"), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn pods_that_the_operator_cannot_ask_are_ready_as_kubernetes_says_and_it_says_so()
-> Result<()> {
    let world = World::new("silent").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;

    world.run_pods(1, "127.0.0.1").await?;

    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let message = world.condition(ODIN, "Degraded", "True", "PodsSilent").await?;
    assert!(message.contains("NetworkPolicies"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_hangs_is_named_and_holds_nothing_up() -> Result<()> {
    let world = World::new("hangs").await?;
    world.create(&json!({ "spec": { "replicas": 2 } })).await?;
    world.stream_ready().await?;
    let pods = world.pods(2).await?;
    // Takes connections and never answers.
    let address = pod_address(31);
    let hangs = tokio::net::TcpListener::bind((address, wsgateway_crds::ADMIN_PORT)).await?;
    world.run_pod(&pods[1], &address.to_string()).await?;
    let gateway = run(&world, &pods[0], pod_address(32)).await?;

    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let message = world.condition(ODIN, "Degraded", "True", "PodsSilent").await?;
    assert!(message.contains("1 of 2 ready pods") && message.contains(&pods[1]), "{message}");
    wait_until(SOON, "the report of the other pod", async || {
        let status = world.status(ODIN).await.unwrap_or_default();
        status.pods.iter().any(|pod| pod.name == pods[0] && pod.connections == Some(0))
    })
    .await?;
    drop(hangs);
    tokio::task::spawn_blocking(move || gateway.abort()).await?;
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_without_its_metric_is_a_condition_that_goes_with_it() -> Result<()> {
    let world = World::new("metric").await?;
    let bounds = json!({ "minReplicas": 1, "maxReplicas": 2 });
    world.create(&json!({ "spec": { "autoscaling": bounds } })).await?;
    world.run_pods(1, "127.0.0.1").await?;

    let message = world.condition(ODIN, "Autoscaling", "False", "NoMetric").await?;
    assert!(message.contains("set up your metrics adapter"), "{message}");

    world.edit(&json!({ "spec": { "autoscaling": null } })).await?;
    wait_until(SOON, "the end of the condition", async || {
        world.status(ODIN).await.is_some_and(|status| {
            status.conditions.iter().all(|condition| condition.type_ != "Autoscaling")
        })
    })
    .await
}

#[tokio::test]
async fn a_refused_service_monitor_is_a_condition_of_its_own_and_holds_nothing_up() -> Result<()> {
    // Its kind must not be known to the other tests' cluster.
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    plane.apply_crd(&WsGateway::crd()).await?;
    plane.apply_crd(&service_monitors()?).await?;
    let mut world = World::on(plane, "refused").await?;
    let client = granted_but(&world, &[], "servicemonitors").await?;
    world.start_operator_with(crate::world::options(&world.namespace), client).await?;

    world.create(&json!({})).await?;

    let message =
        world.condition(ODIN, "MonitoringReady", "False", "ServiceMonitorRefused").await?;
    assert!(message.contains("is forbidden"), "{message}");
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    world.condition(ODIN, "Ready", "True", "ServiceMonitorRefused").await?;
    world.edit(&json!({ "spec": { "monitoring": { "serviceMonitor": "Never" } } })).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    world.stop_operator().await
}

#[tokio::test]
async fn kubectl_get_shows_what_is_wrong_in_one_line() -> Result<()> {
    let world = World::new("columns").await?;
    world.create(&json!({ "spec": { "replicas": 2 } })).await?;
    world.stream_ready().await?;
    world.run_pods(2, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    // What kubectl asks for.
    let path = format!("/apis/wsgateway.dev/v1alpha1/namespaces/{}/wsgateways", world.namespace);
    let request = http::Request::get(path)
        .header("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
        .body(Vec::new())?;
    let table: serde_json::Value = world.client.request(request).await?;

    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .context("columns")?
        .iter()
        .filter(|column| column["priority"] == 0)
        .filter_map(|column| column["name"].as_str())
        .collect();
    assert_eq!(
        columns,
        ["Name", "Ready", "Status", "Pods", "Connections", "Capacity", "Stream", "Age"]
    );
    let cells = table["rows"][0]["cells"].as_array().context("cells")?;
    assert_eq!(cells[..4], [json!("odin"), json!("True"), json!("AsSpecified"), json!("2/2")]);
    let categories = WsGateway::crd().spec.names.categories;
    assert_eq!(categories, Some(vec!["all".to_owned()]));
    Ok(())
}
