//! Servers that are away, and come back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::{ControlPlane, Nats, wait_until};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, CustomResourceExt as _};
use serde_json::json;
use tokio::net::TcpListener;
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, SOON, World, options};

#[tokio::test]
async fn nats_down_at_the_start_is_a_condition_and_its_return_is_noticed() -> Result<()> {
    let mut world = World::without_operator("nats-down").await?;
    world.nats.stop().await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;

    world.condition(ODIN, "StreamReady", "False", "NatsUnreachable").await?;
    // The pods do not wait for the stream: they wait themselves.
    world.object::<Deployment>("odin-gateway", |_| true).await?;

    world.nats.restart().await?;
    world.stream_ready().await
}

#[tokio::test]
async fn a_wsgateway_without_its_nats_does_not_hold_up_another() -> Result<()> {
    let world = World::new("neighbours").await?;
    let closed = format!("nats://127.0.0.1:{}", harness::free_port()?);
    let lost =
        json!({ "metadata": { "name": "lost" }, "spec": { "nats": { "servers": [closed] } } });
    world.create(&lost).await?;
    world.condition("lost", "StreamReady", "False", "NatsUnreachable").await?;

    world.create(&json!({})).await?;

    world.stream_ready().await?;
    world.condition("lost", "StreamReady", "False", "NatsUnreachable").await.map(drop)
}

#[tokio::test]
async fn a_jetstream_that_answers_nothing_holds_no_place_of_others() -> Result<()> {
    let mut world = World::without_operator("mute").await?;
    let client = world.nats.client().await?;
    let _unanswered = client.subscribe("mute.API.>").await?;
    client.flush().await?;
    // Each request waits for five seconds: one after the other that would be longer than anything is waited for here.
    for number in 0..20 {
        let mute = json!({
            "metadata": { "name": format!("mute{number}") }, "spec": { "nats": { "apiPrefix": "mute.API" } },
        });
        world.create(&mute).await?;
    }
    let mut options = options(&world.namespace);
    options.concurrency = 1_u16.try_into()?;
    world.start_operator_with(options, world.client.clone()).await?;
    world.create(&json!({})).await?;

    world.stream_ready().await?;
    world.condition("mute7", "StreamReady", "False", "JetStreamNoAnswer").await?;
    // Its answer is heard however late it is.
    world.edit(&json!({ "spec": { "stream": { "maxMessages": 99 } } })).await?;
    world.stream_becomes("99 messages", |info| info.config.max_messages == 99).await.map(drop)
}

#[tokio::test]
async fn a_wsgateway_that_is_nested_too_deeply_has_a_condition_and_hides_no_other() -> Result<()> {
    let mut world = World::without_operator("deep").await?;
    let deep = (0..500).fold(json!("bottom"), |inner, _| json!({ "spec": inner }));
    let manifest = world.manifest(&json!({
        "metadata": { "name": "deep" }, "spec": { "pod": { "overrides": deep } },
    }));
    // Our own types could not send it.
    let path = format!("/apis/wsgateway.dev/v1alpha1/namespaces/{}/wsgateways", world.namespace);
    let request = http::Request::post(&path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(kube::client::Body::from(manifest.to_string().into_bytes()))?;
    let answer = world.client.send(request).await?;
    assert_eq!(answer.status(), http::StatusCode::CREATED);
    world.create(&json!({})).await?;

    // It finds both in its first list.
    world.start_operator().await?;

    world.stream_ready().await?;
    // Nor can our own types read it.
    let path = format!("{path}/deep");
    wait_until(SOON, "a condition of the deep one", async || {
        let request = http::Request::get(&path).body(Vec::new()).expect("a path");
        world.client.request_text(request).await.is_ok_and(|text| text.contains("SpecInvalid"))
    })
    .await
}

#[tokio::test]
async fn nobody_dials_for_a_wsgateway_that_is_deleted() -> Result<()> {
    let world = World::new("dialled").await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("nats://{}", listener.local_addr()?);
    let last = Arc::new(Mutex::new(None::<Instant>));
    let noted = Arc::clone(&last);
    let acceptor = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket);
            *noted.lock().unwrap() = Some(Instant::now());
        }
    });
    world.create(&json!({ "spec": { "nats": { "servers": [server] } } })).await?;
    wait_until(SOON, "an attempt", async || last.lock().unwrap().is_some()).await?;

    world.delete(ODIN).await?;

    // Attempts are at most two seconds apart.
    wait_until(SOON, "the end of attempts", async || {
        last.lock().unwrap().is_some_and(|at| at.elapsed() > Duration::from_secs(8))
    })
    .await?;
    acceptor.abort();
    Ok(())
}

#[tokio::test]
async fn nats_without_jetstream_is_a_condition_that_says_what_to_do() -> Result<()> {
    let mut world = World::without_operator("no-jetstream").await?;
    world.nats =
        Nats::start_with("accounts { A { users = [{ user: a, password: a }] } }\nno_auth_user: a")
            .await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "JetStreamNotEnabled").await?;
    assert!(message.contains("enable it for the account"), "{message}");
    Ok(())
}

#[tokio::test]
async fn nats_that_forbids_streams_is_a_condition_that_names_the_permission() -> Result<()> {
    let mut world = World::without_operator("forbidden").await?;
    let config = "accounts { A { jetstream: enabled, users = [{ user: a, password: a, \
                  permissions: { publish: { deny: [\"$JS.API.>\"] } } }] } }\nno_auth_user: a";
    world.nats = Nats::start_with(config).await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "NatsPermissionDenied").await?;
    assert!(message.contains("$JS.API.STREAM.*"), "{message}");
    Ok(())
}

#[tokio::test]
async fn the_operator_goes_on_after_a_restart_of_the_api_server() -> Result<()> {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    plane.apply_crd(&WsGateway::crd()).await?;
    let mut world = World::on(plane, "restart").await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;

    plane.restart_apiserver().await?;
    world.edit(&json!({ "spec": { "stream": { "maxAge": "3m" } } })).await?;

    world
        .stream_becomes("an age of three minutes", |info| info.config.max_age.as_secs() == 180)
        .await?;
    world.stop_operator().await?;
    Ok(())
}

#[tokio::test]
async fn one_unreadable_wsgateway_does_not_blind_the_operator_for_the_others() -> Result<()> {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    // A CRD of another time, which lets anything through.
    let mut loose = serde_json::to_value(WsGateway::crd())?;
    let schema = &mut loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"] = json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": { "replicas": { "type": "integer" } },
    });
    schema.as_object_mut().expect("an object").remove("x-kubernetes-validations");
    plane.apply_crd(&serde_json::from_value(loose)?).await?;
    let mut world = World::on(plane, "blind").await?;
    let resource = ApiResource::erase::<WsGateway>(&());
    let any: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let bad =
        DynamicObject::new("bad", &resource).data(json!({ "spec": { "nats": "everywhere" } }));
    any.create(&PostParams::default(), &bad).await?;

    world.start_operator().await?;
    world.create(&json!({})).await?;

    world.stream_ready().await?;
    world.stop_operator().await
}
