//! A reconciliation is a trace, with its stages and objects; the log shows nothing of that.

use std::net::SocketAddr;

use anyhow::Result;
use harness::{
    Guarded, Identity, Jaeger, OtlpAnswer, OtlpReceiver, Scratch, built_beside, free_port,
    show_trace, wait_until, wait_until_some,
};
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use serde_json::json;

use crate::world::{ODIN, SOON, World, asked};

/// The operator as a process, since traces belong to a process.
fn start(world: &World, scratch: &Scratch, endpoint: &str) -> Result<(Guarded, SocketAddr)> {
    let identity = Identity::new(&format!("operator-{}", world.namespace), &["system:masters"]);
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let command = [
        format!("KUBECONFIG={}", world.plane.kubeconfig_as(&identity)?.display()),
        format!("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}"),
        "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20s3cr3t".to_owned(),
        "OTEL_RESOURCE_ATTRIBUTES=k8s.cluster.name=test".to_owned(),
        "WSGATEWAY_LOG_FORMAT=json".to_owned(),
        built_beside("operator")?.display().to_string(),
        format!("--admin={admin}"),
        format!("--namespace={}", world.namespace),
        format!("--own-namespace={}", world.namespace),
        "--gateway-image=example.com/gateway:test".to_owned(),
        "--leader-elect=false".to_owned(),
        "--resync-seconds=1".to_owned(),
    ];
    let log = scratch.join("operator.log");
    Ok((Guarded::start("/usr/bin/env".as_ref(), &command, &log)?, admin))
}

#[tokio::test]
async fn a_reconciliation_is_a_trace_of_its_stages_and_objects() -> Result<()> {
    let receiver = OtlpReceiver::start(OtlpAnswer::Accept).await?;
    let (world, scratch) = (World::without_operator("traces").await?, Scratch::new("traces")?);
    let (operator, _) = start(&world, &scratch, &receiver.endpoint())?;
    world.create(&json!({})).await?;
    let spans = wait_until_some(SOON, "the trace of a first reconciliation", async || {
        let spans = receiver.spans();
        let object = spans.iter().find(|span| {
            span.name == "object"
                && span.attributes.get("k8s.kind").is_some_and(|kind| kind == "Deployment")
        })?;
        let trace = receiver.trace(&object.trace_id);
        trace.iter().any(|span| span.name == "reconcile").then_some(trace)
    })
    .await?;
    let find = |name: &str| spans.iter().find(|span| span.name == name).expect(name);
    let root = find("reconcile");
    assert_eq!((root.parent.as_str(), root.service.as_str()), ("", "wsgateway-operator"));
    assert_eq!(root.attributes["k8s.namespace.name"], world.namespace);
    assert_eq!(root.attributes["wsgateway.name"], "odin");
    assert_eq!(root.attributes["wsgateway.generation"], "1");
    assert!(["ok", "not_ready"].contains(&root.attributes["result"].as_str()), "{root:#?}");
    for stage in ["read", "stream", "deploy", "status"] {
        assert_eq!(find(stage).parent, root.span_id, "{stage}");
    }
    assert_eq!(find("plan").parent, find("deploy").span_id);
    assert_eq!(find("apply").parent, find("deploy").span_id);
    let deployment = spans
        .iter()
        .find(|span| span.attributes.get("k8s.kind").is_some_and(|kind| kind == "Deployment"));
    assert_eq!(deployment.expect("found above").parent, find("apply").span_id);
    assert_eq!(receiver.header("authorization").as_deref(), Some("Bearer s3cr3t"));

    drop(operator);
    let log = std::fs::read_to_string(scratch.join("operator.log"))?;
    assert!(log.contains("operator starts"), "{log}");
    assert!(!log.contains("wsgateway_spans") && !log.contains("s3cr3t"), "{log}");
    assert!(!log.contains("\"name\":\"reconcile\""), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_reconciliation_that_fails_says_why_in_its_trace() -> Result<()> {
    let receiver = OtlpReceiver::start(OtlpAnswer::Accept).await?;
    let (world, scratch) =
        (World::without_operator("traces-err").await?, Scratch::new("traces-err")?);
    // Its Service for clients would have this name.
    let taken = json!({ "metadata": { "name": ODIN }, "spec": { "ports": [{ "port": 1 }] } });
    let services = world.api::<Service>();
    services.create(&PostParams::default(), &serde_json::from_value(taken)?).await?;
    let (operator, _) = start(&world, &scratch, &receiver.endpoint())?;
    world.create(&json!({})).await?;
    let error = wait_until_some(SOON, "a span with an error", async || {
        receiver
            .spans()
            .into_iter()
            .find(|span| span.name == "object" && span.error.is_some())?
            .error
    })
    .await?;
    assert!(error.contains("NameTaken"), "{error}");
    drop(operator);
    Ok(())
}

/// The proof: `make traces`.
#[tokio::test]
#[ignore = "needs Jaeger: make traces"]
async fn jaeger_shows_a_reconciliation() -> Result<()> {
    let jaeger = Jaeger::start().await?;
    let (world, scratch) = (World::without_operator("jaeger").await?, Scratch::new("jaeger-op")?);
    let (operator, admin) = start(&world, &scratch, &jaeger.endpoint())?;
    world.create(&json!({})).await?;
    let path = "/api/traces?service=wsgateway-operator&operation=reconcile&limit=100&lookback=1h";
    let names = ["reconcile", "read", "stream", "deploy", "plan", "apply", "object", "status"];
    let trace = jaeger.trace(path, &names).await?;
    println!("{}", show_trace(&trace));
    wait_until(SOON, "the spans to be counted", async || {
        let answer = asked(admin, "/metrics").await.unwrap_or_default();
        answer.contains("wsgateway_operator_trace_spans_total{outcome=\"exported\"}")
    })
    .await?;
    drop(operator);
    Ok(())
}
