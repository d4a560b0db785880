//! A WsGateway whose messages come from Redis: pods without a stream, and an end that waits for nobody.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use wsgateway_config::Source;
use wsgateway_crds::WsGateway;

use crate::secrets::put;
use crate::world::{ODIN, World};

/// Changes the sample to one with Redis.
fn with_redis() -> Value {
    json!({ "spec": {
        "nats": null,
        "stream": null,
        "redis": {
            "servers": ["redis://redis.cache:6379"],
            "channels": ["channel:trade:*"],
            "passwordSecret": { "name": "redis", "key": "password" },
        },
        "channels": { "stripPrefix": "channel.trade." },
    }})
}

#[tokio::test]
async fn redis_needs_no_stream_no_nats_and_no_finalizer() -> Result<()> {
    let mut world = World::new("redis").await?;
    // Nothing is asked of it.
    world.nats.stop().await?;
    put(&world, "redis", &[("password", "secret")]).await?;
    world.create(&with_redis()).await?;

    let config = world.config().await?;
    let Source::Redis(source) = config.source else { panic!("{:?}", config.source) };
    assert_eq!(source.channels, ["channel:trade:*"]);
    let deployment = world.object::<Deployment>("odin-gateway", |_| true).await?;
    let pod = deployment.spec.unwrap_or_default().template.spec.unwrap_or_default();
    assert_eq!(pod.volumes.unwrap_or_default()[1].name, "redis");

    let message = world.condition(ODIN, "StreamReady", "True", "NotApplicable").await?;
    assert!(message.contains("Redis"), "{message}");
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let gateway = world.object::<WsGateway>(ODIN, |_| true).await?;
    assert_eq!(gateway.finalizers(), [""; 0]);
    assert_eq!(gateway.status.and_then(|status| status.stream), None);

    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    world.gone::<Deployment>("odin-gateway").await
}
