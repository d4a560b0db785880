//! The stream: as specified, and never somebody else's.

use std::time::Instant;

use anyhow::Result;
use async_nats::jetstream::stream::{Config, Source, StorageType};
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use wsgateway_crds::Ownership;

use crate::world::{ODIN, SOON, World};

const OWNER: &str = "wsgateway.dev/owner";

fn foreign() -> Config {
    Config {
        name: "ODIN_TOKENS".to_owned(),
        subjects: vec!["somebody.else.>".to_owned()],
        max_messages: 7,
        ..Config::default()
    }
}

#[tokio::test]
async fn the_stream_is_as_specified_and_says_whose_it_is() -> Result<()> {
    let world = World::new("stream").await?;
    let gateway = world
        .create(&json!({ "spec": { "stream": { "compression": "S2", "storage": "Memory" } } }))
        .await?;
    world.stream_ready().await?;

    let config = world.stream().await?.config;

    assert_eq!(config.max_age.as_secs(), 30);
    assert_eq!(config.max_messages, 100_000);
    assert_eq!(config.max_bytes, 50 << 20);
    assert_eq!(config.max_message_size, 64 << 10);
    assert_eq!(config.storage, StorageType::Memory);
    assert_eq!(config.subjects.len(), 4);
    let uid = gateway.metadata.uid.unwrap_or_default();
    assert_eq!(config.metadata[OWNER], world.mark(ODIN, &uid).await?);
    Ok(())
}

#[tokio::test]
async fn a_stream_changed_by_hand_is_repaired() -> Result<()> {
    let world = World::new("hand").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    let mut config = world.stream().await?.config;
    config.max_messages = 5;

    world.jetstream().await?.update_stream(&config).await?;

    world.stream_becomes("100000 messages", |info| info.config.max_messages == 100_000).await?;
    Ok(())
}

#[tokio::test]
async fn a_foreign_stream_is_left_alone_until_adopted() -> Result<()> {
    let world = World::new("foreign").await?;
    world.jetstream().await?.create_stream(foreign()).await?;
    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "StreamForeign").await?;
    assert!(message.contains("set stream.adoptionPolicy to Adopt"), "{message}");
    world.condition(ODIN, "GatewayReady", "False", "WaitingForStream").await?;
    assert_eq!(world.stream().await?.config.max_messages, 7);
    assert!(world.api::<Deployment>().get_opt("odin-gateway").await?.is_none());
    let status = world.status(ODIN).await.and_then(|status| status.stream).expect("NATS was asked");
    assert_eq!(status.ownership, Ownership::Foreign);

    world.edit(&json!({ "spec": { "stream": { "adoptionPolicy": "Adopt" } } })).await?;

    world.stream_ready().await?;
    let config = world.stream().await?.config;
    assert_eq!(config.max_messages, 100_000);
    assert!(config.metadata.contains_key(OWNER));
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    Ok(())
}

#[tokio::test]
async fn the_second_of_two_wsgateways_on_one_stream_is_refused_even_if_it_would_adopt() -> Result<()>
{
    let world = World::new("second").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;

    let change = json!({ "metadata": { "name": "thor" }, "spec": { "stream": { "adoptionPolicy": "Adopt" } } });
    world.create(&change).await?;

    let message = world.condition("thor", "StreamReady", "False", "StreamOwnedByOther").await?;
    assert!(message.contains(&world.mark(ODIN, "").await?), "{message}");
    world.stream_ready().await?;

    let observe = json!({ "spec": { "stream": { "adoptionPolicy": "Observe" } } });
    let thor = world.api::<wsgateway_crds::WsGateway>();
    thor.patch("thor", &PatchParams::default(), &Patch::Merge(&observe)).await?;
    world.condition("thor", "StreamReady", "True", "StreamObserved").await?;
    world.object::<Deployment>("thor-gateway", |_| true).await?;
    world.stream_ready().await
}

#[tokio::test]
async fn what_nats_cannot_change_is_refused_with_its_fields() -> Result<()> {
    let world = World::new("immutable-stream").await?;
    let config = Config { storage: StorageType::Memory, ..foreign() };
    world.jetstream().await?.create_stream(config).await?;
    world.create(&json!({ "spec": { "stream": { "adoptionPolicy": "Adopt" } } })).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "StreamImmutable").await?;
    assert!(message.contains("storage: Memory -> File"), "{message}");
    Ok(())
}

#[tokio::test]
async fn subjects_of_another_stream_are_a_condition_that_names_it() -> Result<()> {
    let world = World::new("overlap").await?;
    let other = Config {
        name: "OTHER".to_owned(),
        subjects: vec!["odin.market.>".to_owned()],
        ..Config::default()
    };
    world.jetstream().await?.create_stream(other).await?;
    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "SubjectsOverlap").await?;
    assert!(message.contains("change stream.subjects"), "{message}");
    Ok(())
}

#[tokio::test]
async fn more_copies_than_servers_is_a_condition() -> Result<()> {
    let world = World::new("copies").await?;
    world.create(&json!({ "spec": { "stream": { "replicas": 3 } } })).await?;
    world.condition(ODIN, "StreamReady", "False", "ReplicasUnavailable").await?;
    Ok(())
}

#[tokio::test]
async fn what_only_the_operator_can_see_is_wrong_is_a_condition_and_then_ready_once_fixed()
-> Result<()> {
    let world = World::new("invalid").await?;
    let change =
        json!({ "spec": { "stream": { "subjects": ["odin.token.*.price", "odin.token.BTC.*"] } } });
    world.create(&change).await?;

    let message = world.condition(ODIN, "Ready", "False", "SpecInvalid").await?;
    assert!(
        message.contains("spec.stream.subjects[1]: odin.token.BTC.* overlaps odin.token.*.price"),
        "{message}"
    );

    world.edit(&json!({ "spec": { "stream": { "subjects": ["odin.token.*.price"] } } })).await?;
    world.stream_ready().await
}

#[tokio::test]
async fn a_refusal_is_looked_at_as_rarely_as_a_success_and_written_once() -> Result<()> {
    let world = World::new("calm").await?;
    let config = Config { storage: StorageType::Memory, ..foreign() };
    world.jetstream().await?.create_stream(config).await?;
    world.create(&json!({ "spec": { "stream": { "adoptionPolicy": "Adopt" } } })).await?;
    world.condition(ODIN, "StreamReady", "False", "StreamImmutable").await?;
    let version = async || -> Result<_> {
        Ok(world.api::<wsgateway_crds::WsGateway>().get(ODIN).await?.resource_version())
    };
    let looks = async || world.counter("wsgateway_operator_reconciles_total").await;

    let (written, start, since) = (version().await?, looks().await?, Instant::now());
    wait_until(SOON, "five more looks", async || looks().await.is_ok_and(|n| n >= start + 5.0))
        .await?;

    let made = looks().await? - start;
    let seconds = since.elapsed().as_secs_f64();
    // A look a second, a tenth of jitter; one may have been under way, and one more is the fence post.
    assert!(made <= seconds / 0.9 + 2.0, "{made} looks in {seconds} s");
    assert_eq!(version().await?, written);
    Ok(())
}

#[tokio::test]
async fn a_mirror_is_named_as_one_and_read_where_it_is_observed() -> Result<()> {
    let world = World::new("mirror").await?;
    let jetstream = world.jetstream().await?;
    jetstream.create_stream(Config { name: "ORIGIN".to_owned(), ..foreign() }).await?;
    let origin = Source { name: "ORIGIN".to_owned(), ..Source::default() };
    let mirror = Config { subjects: Vec::new(), mirror: Some(origin), ..foreign() };
    jetstream.create_stream(mirror).await?;
    let before = world.stream().await?.config;
    world.create(&json!({ "spec": { "stream": { "adoptionPolicy": "Adopt" } } })).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "StreamFedByOthers").await?;
    assert!(message.contains("has mirror ORIGIN") && message.contains("to Observe"), "{message}");

    world.edit(&json!({ "spec": { "stream": { "adoptionPolicy": "Observe" } } })).await?;
    world.condition(ODIN, "StreamReady", "True", "StreamObserved").await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    assert_eq!(world.stream().await?.config, before);
    Ok(())
}

#[tokio::test]
async fn an_observed_stream_is_read_and_neither_changed_nor_released() -> Result<()> {
    let world = World::new("observe").await?;
    let spec = json!({ "spec": { "stream": { "adoptionPolicy": "Observe" } } });
    world.create(&spec).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "StreamMissing").await?;
    assert!(message.contains("create it, correct stream.name"), "{message}");
    assert!(world.api::<Deployment>().get_opt("odin-gateway").await?.is_none());

    world.jetstream().await?.create_stream(foreign()).await?;
    let message = world.condition(ODIN, "StreamReady", "True", "StreamObserved").await?;
    assert!(
        message.contains("maxMessages: 7 -> 100000, maxBytes: unlimited -> 52428800"),
        "{message}"
    );
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    let before = world.stream().await?.config;
    let observed = wsgateway_nats::epoch(&before.metadata, world.stream().await?.created);
    let status = world.status(ODIN).await.and_then(|status| status.stream).expect("NATS was asked");
    assert_eq!((status.epoch, status.ownership), (observed, Ownership::Foreign));

    world.edit(&json!({ "spec": { "stream": { "maxAge": "1m" }, "replicas": 2 } })).await?;
    world
        .object::<Deployment>("odin-gateway", |deployment| {
            deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(2)
        })
        .await?;
    assert_eq!(world.stream().await?.config, before);
    Ok(())
}

#[tokio::test]
async fn a_stream_for_too_few_consumers_is_told_with_the_name_of_the_field() -> Result<()> {
    let world = World::new("consumers").await?;
    let config = Config { max_consumers: 2, ..foreign() };
    world.jetstream().await?.create_stream(config).await?;
    world
        .create(&json!({ "spec": { "replicas": 2, "stream": { "adoptionPolicy": "Adopt" } } }))
        .await?;
    let message = world.condition(ODIN, "StreamReady", "False", "MaxConsumersTooLow").await?;
    assert!(message.contains("max_consumers 2, and up to 4 gateways"), "{message}");
    world.object::<Deployment>("odin-gateway", |_| true).await?;

    world.edit(&json!({ "spec": { "replicas": 1 } })).await?;
    world.stream_ready().await?;
    Ok(())
}
