//! A message whose publisher asks for it is traced on its way; whatever the receiver of spans does, messages flow.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::Context as JetStream;
use harness::{
    Jaeger, OtlpAnswer, OtlpReceiver, ReceivedSpan, free_port, show_trace, wait_until,
    wait_until_some,
};
use serde_json::json;
use wsgateway_config::GatewayConfig;

use super::client::Client;
use super::process::Process;
use super::redis_rig::metric;
use super::rig::{Rig, SOON, config, nats_with_stream, ready};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(trace_id: &str, flags: &str) -> String {
    format!("00-{trace_id}-{PARENT}-{flags}")
}

/// Publishes on a channel with a header.
async fn publish(jetstream: &JetStream, channel: &str, traceparent: &str) -> Result<u64> {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", traceparent);
    let subject = format!("p.{channel}");
    let stored = jetstream.publish_with_headers(subject, headers, "1".into()).await?;
    Ok(stored.await?.sequence)
}

fn traced(endpoint: String) -> impl FnOnce(&mut GatewayConfig) {
    move |config| config.tracing.endpoint = Some(endpoint)
}

async fn trace_of(
    receiver: &OtlpReceiver,
    trace_id: &str,
    spans: usize,
) -> Result<Vec<ReceivedSpan>> {
    wait_until_some(SOON, &format!("{spans} spans of {trace_id}"), async || {
        Some(receiver.trace(trace_id)).filter(|found| found.len() >= spans)
    })
    .await
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> Result<&'a ReceivedSpan> {
    spans.iter().find(|span| span.name == name).with_context(|| format!("no {name} in {spans:#?}"))
}

#[tokio::test]
async fn a_sampled_message_has_a_span_for_each_step_of_its_way() -> Result<()> {
    let receiver = OtlpReceiver::start(OtlpAnswer::Accept).await?;
    let rig = Rig::start_with(traced(receiver.endpoint())).await?;
    let mut clients = [rig.subscriber(&["BTC.*"]).await?, rig.subscriber(&["BTC.price"]).await?];
    let sequence = publish(&rig.jetstream, "BTC.price", &traceparent(TRACE, "01")).await?;
    for client in &mut clients {
        assert_eq!(client.expect("message").await?["offset"], json!(sequence));
    }

    // Two shards have a client each.
    let spans = trace_of(&receiver, TRACE, 4).await?;
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let (receive, encode) = (named(&spans, "receive")?, named(&spans, "encode")?);
    assert_eq!(receive.parent, PARENT);
    assert_eq!(receive.attributes["messaging.destination.name"], "p.BTC.price");
    assert_eq!(receive.service, "wsgateway-gateway");
    assert_eq!(encode.parent, receive.span_id);
    assert_eq!(encode.time.0, receive.time.1);
    assert_eq!(encode.attributes["wsgateway.channel"], "BTC.price");
    let writes: Vec<_> = spans.iter().filter(|span| span.name == "write").collect();
    let mut shards: Vec<_> =
        writes.iter().map(|span| &span.attributes["wsgateway.shard"]).collect();
    shards.sort();
    assert_eq!(shards, ["0", "1"]);
    for write in writes {
        assert_eq!(write.parent, receive.span_id);
        assert_eq!(write.time.0, encode.time.1);
        assert_eq!(write.attributes["wsgateway.receivers"], "1");
        assert_eq!(write.attributes["wsgateway.offset"], sequence.to_string());
        assert_eq!(write.attributes["wsgateway.outcome"], "written");
    }
    assert!(spans.iter().all(|span| span.time.0 <= span.time.1), "{spans:#?}");
    wait_until(SOON, "the spans to be counted", async || {
        let series = "wsgateway_trace_spans_total{outcome=\"exported\"}";
        metric(rig.admin_addr, series).await.is_ok_and(|count| count == 4)
    })
    .await
}

#[tokio::test]
async fn only_valid_sampled_headers_within_the_limit_are_traced() -> Result<()> {
    let receiver = OtlpReceiver::start(OtlpAnswer::Accept).await?;
    let rig = Rig::start_with(|config| {
        config.tracing.endpoint = Some(receiver.endpoint());
        config.tracing.max_per_second = 1;
    })
    .await?;
    let mut client = rig.subscriber(&[">"]).await?;
    for bad in ["garbage", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""] {
        publish(&rig.jetstream, "a", bad).await?;
    }
    publish(&rig.jetstream, "a", &traceparent(TRACE, "00")).await?;
    rig.publish("a", "1").await?;
    // A hundred in a row last less than a hundred seconds.
    for number in 1..=100_u128 {
        publish(&rig.jetstream, "a", &traceparent(&format!("{number:032x}"), "01")).await?;
    }
    for _ in 0..105 {
        client.expect("message").await?;
    }
    let outcome = async |outcome: &str| {
        metric(rig.admin_addr, &format!("wsgateway_trace_contexts_total{{outcome=\"{outcome}\"}}"))
            .await
    };
    assert_eq!(outcome("invalid").await?, 3);
    assert_eq!(outcome("unsampled").await?, 1);
    let (traced, limited) = (outcome("traced").await?, outcome("limited").await?);
    assert_eq!(traced + limited, 100);
    assert!(traced >= 1 && limited >= 1, "{traced} traced, {limited} limited");
    Ok(())
}

#[tokio::test]
async fn without_an_endpoint_no_header_is_read_and_a_change_turns_traces_on_and_off() -> Result<()>
{
    let receiver = OtlpReceiver::start(OtlpAnswer::Accept).await?;
    let (nats, jetstream) = nats_with_stream().await?;
    let mut watched = super::watched::Watched::start(config(&nats.url())).await?;
    let mut client = watched.client().await?;
    client.subscribe(&["a"]).await?;
    let admin = watched.process.admin_addr;
    let seen = async |outcome: &str| {
        metric(admin, &format!("wsgateway_trace_contexts_total{{outcome=\"{outcome}\"}}")).await
    };
    publish(&jetstream, "a", "garbage").await?;
    client.expect("message").await?;
    assert_eq!(seen("invalid").await?, 0);

    watched.change(|config| config.tracing.endpoint = Some(receiver.endpoint())).await?;
    publish(&jetstream, "a", &traceparent(TRACE, "01")).await?;
    client.expect("message").await?;
    trace_of(&receiver, TRACE, 3).await?;

    watched.change(|config| config.tracing.endpoint = None).await?;
    publish(&jetstream, "a", "garbage").await?;
    client.expect("message").await?;
    assert_eq!(seen("invalid").await?, 0);
    Ok(())
}

/// Publishes traced messages and sees that a client gets each at once, and that the spans are counted as lost.
async fn flows(rig: &Rig, client: &mut Client, first: u128) -> Result<()> {
    for number in first..first + 20 {
        publish(&rig.jetstream, "a", &traceparent(&format!("{number:032x}"), "01")).await?;
        client.expect("message").await?;
    }
    Ok(())
}

async fn failed(rig: &Rig) -> Result<u64> {
    metric(rig.admin_addr, "wsgateway_trace_spans_total{outcome=\"failed\"}").await
}

#[tokio::test]
async fn whatever_the_receiver_does_messages_flow() -> Result<()> {
    let receiver = OtlpReceiver::start(OtlpAnswer::Status(500)).await?;
    let rig = Rig::start_with(|config| {
        config.tracing.endpoint = Some(receiver.endpoint());
        config.tracing.max_per_second = 1_000;
    })
    .await?;
    let mut client = rig.subscriber(&["a"]).await?;
    for (round, answer) in [OtlpAnswer::Status(500), OtlpAnswer::Bytes(10 << 20), OtlpAnswer::Never]
        .into_iter()
        .enumerate()
    {
        receiver.set_answer(answer);
        flows(&rig, &mut client, 1 + 1_000 * round as u128).await?;
        wait_until(SOON, &format!("lost spans with {answer:?}"), async || {
            failed(&rig).await.is_ok_and(|lost| lost == 60 * (1 + round as u64))
        })
        .await?;
    }
    receiver.set_answer(OtlpAnswer::Accept);
    publish(&rig.jetstream, "a", &traceparent(TRACE, "01")).await?;
    client.expect("message").await?;
    trace_of(&receiver, TRACE, 3).await?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_without_its_receiver_serves_and_stops_in_time() -> Result<()> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut rig = Rig::start_with(traced(format!("http://{nowhere}"))).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    flows(&rig, &mut client, 1).await?;
    wait_until(SOON, "lost spans", async || failed(&rig).await.is_ok_and(|lost| lost > 0)).await?;
    drop(client);
    rig.shutdown().await
}

#[tokio::test]
async fn headers_of_a_secret_are_sent_and_in_no_log_and_the_last_spans_leave_when_it_stops()
-> Result<()> {
    let receiver = OtlpReceiver::start(OtlpAnswer::Accept).await?;
    let (nats, jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    config.tracing.endpoint = Some(receiver.endpoint());
    let environment =
        [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cr3t"), ("RUST_LOG", "debug")];
    let mut process = Process::start_with(&config, &environment).await?;
    ready(process.admin_addr).await?;
    let mut client = Client::connect(process.client_addr).await?;
    client.subscribe(&["a"]).await?;
    publish(&jetstream, "a", &traceparent(TRACE, "01")).await?;
    client.expect("message").await?;
    drop(client);
    let log = process.end_log().await?;
    assert_eq!(process.exit_code().await?, Some(0), "{log}");
    assert_eq!(receiver.trace(TRACE).len(), 3, "the last spans leave before it ends");
    assert_eq!(receiver.header("authorization").as_deref(), Some("Bearer s3cr3t"));
    assert!(!log.contains("s3cr3t"), "{log}");
    Ok(())
}

/// The proof: `make traces`.
#[tokio::test]
#[ignore = "needs Jaeger: make traces"]
async fn jaeger_shows_the_way_of_a_message() -> Result<()> {
    let jaeger = Jaeger::start().await?;
    let rig = Rig::start_with(traced(jaeger.endpoint())).await?;
    let mut clients = [rig.subscriber(&["BTC.*"]).await?, rig.subscriber(&["BTC.price"]).await?];
    publish(&rig.jetstream, "BTC.price", &traceparent(TRACE, "01")).await?;
    for client in &mut clients {
        client.expect("message").await?;
    }
    let path = format!("/api/traces/{TRACE}");
    let trace = jaeger.trace(&path, &["receive", "encode", "write"]).await?;
    println!("{}", show_trace(&trace));
    let services = jaeger.get("/api/services").await?;
    assert!(
        services["data"].as_array().is_some_and(|all| all.contains(&json!("wsgateway-gateway")))
    );
    Ok(())
}
