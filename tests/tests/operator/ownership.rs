//! Whose a stream is: the next object of the same name gets it, a twin in another cluster does not, and nobody fights for it.

use anyhow::Result;
use async_nats::jetstream::stream::Config;
use futures_util::StreamExt as _;
use harness::{ApiProxy, Nats, wait_until};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, SOON, World};

const OWNER: &str = "wsgateway.dev/owner";
const RELEASED_BY: &str = "wsgateway.dev/released-by";

fn adopting(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "stream": { "adoptionPolicy": "Adopt" } } })
}

#[tokio::test]
async fn a_restored_object_of_the_same_name_gets_the_stream_that_its_predecessor_still_marks()
-> Result<()> {
    let mut world = World::new("restored").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    // As Velero and a recreated namespace do it: nobody is there to release the mark.
    world.stop_operator().await?;
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    let restored = world.create(&json!({})).await?;
    assert!(!world.stream().await?.config.metadata.contains_key(RELEASED_BY));

    world.start_operator().await?;

    world.stream_ready().await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    let mark = world.mark(ODIN, &restored.uid().unwrap_or_default()).await?;
    assert_eq!(world.stream().await?.config.metadata[OWNER], mark);
    Ok(())
}

#[tokio::test]
async fn the_stream_of_an_owner_that_is_gone_can_be_adopted_and_is_foreign_until_then() -> Result<()>
{
    let mut world = World::new("heir").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.stop_operator().await?;
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    world.start_operator().await?;

    world.create(&json!({ "metadata": { "name": "thor" } })).await?;
    let message = world.condition("thor", "StreamReady", "False", "StreamForeign").await?;
    assert!(message.contains(&world.mark(ODIN, "").await?), "{message}");
    world.delete("thor").await?;
    world.gone::<WsGateway>("thor").await?;

    world.create(&adopting("thor")).await?;
    world.condition("thor", "StreamReady", "True", "StreamAsSpecified").await.map(drop)
}

#[tokio::test]
async fn a_twin_in_another_cluster_keeps_its_stream_until_a_person_gives_it_away() -> Result<()> {
    let world = World::new("twin").await?;
    let theirs = format!("another-cluster/{}/odin/1-2-3", world.namespace);
    world.marked_stream(&theirs).await?;
    world.create(&adopting(ODIN)).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "StreamOwnedByOther").await?;
    let advice = format!("wsgateway.dev/take-over-from={theirs}");
    assert!(message.contains(&advice), "{message}");
    assert_eq!(world.stream().await?.config.subjects, ["theirs.>"]);

    let give = |owner: &str| json!({ "metadata": { "annotations": { "wsgateway.dev/take-over-from": owner } } });
    world.edit(&give("another-cluster/x/odin/1-2-3")).await?;
    world.condition(ODIN, "StreamReady", "False", "StreamOwnedByOther").await?;
    world.edit(&give(&theirs)).await?;
    world.stream_ready().await
}

#[tokio::test]
async fn a_mark_of_an_earlier_version_is_renewed_and_orphans_nothing() -> Result<()> {
    let mut world = World::without_operator("earlier").await?;
    let uid = world.create(&json!({})).await?.uid().unwrap_or_default();
    world.marked_stream(&format!("default/{}/odin/{uid}", world.namespace)).await?;

    let mut options = crate::world::options(&world.namespace);
    // As a chart of an earlier version passes it.
    options.cluster = Some("default".to_owned());
    world.start_operator_with(options, world.client.clone()).await?;

    world.stream_ready().await?;
    let mark = world.mark(ODIN, &uid).await?;
    assert_eq!(world.stream().await?.config.metadata[OWNER], mark);
    Ok(())
}

/// Somebody who sets the stream back whenever it is changed, and how.
async fn rival(
    world: &World,
    change: impl Fn(&mut Config) + Send + 'static,
) -> Result<tokio::task::JoinHandle<Result<()>>> {
    let (client, jetstream) = (world.nats.client().await?, world.jetstream().await?);
    let mut updates = client.subscribe("$JS.EVENT.ADVISORY.STREAM.UPDATED.ODIN_TOKENS").await?;
    client.flush().await?;
    Ok(tokio::spawn(async move {
        loop {
            let mut config =
                jetstream.get_stream("ODIN_TOKENS").await?.cached_info().config.clone();
            let before = config.clone();
            change(&mut config);
            if config != before {
                jetstream.update_stream(&config).await?;
            }
            updates.next().await;
        }
    }))
}

#[tokio::test]
async fn a_tool_that_sets_the_stream_back_is_noticed_and_not_fought() -> Result<()> {
    let world = World::new("contested").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    let tool = rival(&world, |config| config.max_messages = 5).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "StreamContested").await?;

    assert!(message.contains("maxMessages: 5 -> 100000"), "{message}");
    assert!(message.contains("set stream.adoptionPolicy to Observe"), "{message}");
    tool.abort();
    let looks = async || world.counter("wsgateway_operator_reconciles_total").await;
    let start = looks().await?;
    wait_until(SOON, "three more looks", async || looks().await.is_ok_and(|n| n >= start + 3.0))
        .await?;
    assert_eq!(world.stream().await?.config.max_messages, 5, "left alone");
    // The gateways go on meanwhile.
    world.edit(&json!({ "spec": { "replicas": 2 } })).await?;
    world
        .object::<Deployment>("odin-gateway", |deployment| {
            deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(2)
        })
        .await?;
    assert_eq!(world.stream().await?.config.max_messages, 5, "the stream was not edited");
    // An edit of the stream is a decision.
    world.edit(&json!({ "spec": { "stream": { "maxMessages": 70 } } })).await?;
    world.stream_becomes("70 messages", |info| info.config.max_messages == 70).await.map(drop)
}

#[tokio::test]
async fn two_clusters_of_one_name_that_take_a_stream_from_each_other_stop() -> Result<()> {
    let world = World::new("flapping").await?;
    let uid = world.create(&json!({})).await?.uid().unwrap_or_default();
    world.stream_ready().await?;
    let (ours, theirs) = (world.mark(ODIN, &uid).await?, world.mark(ODIN, "9-9-9").await?);
    let mark = theirs.clone();
    let twin = rival(&world, move |config| {
        config.max_messages = 5;
        config.metadata.insert(OWNER.to_owned(), mark.clone());
    })
    .await?;

    let message = world.condition(ODIN, "StreamReady", "False", "StreamContested").await?;

    assert!(message.contains(&format!("owner: {theirs} -> {ours}")), "{message}");
    assert!(message.contains("give the clusters different names"), "{message}");
    twin.abort();
    assert_eq!(world.stream().await?.config.metadata[OWNER], theirs);
    Ok(())
}

#[tokio::test]
async fn what_an_old_server_ignores_is_a_condition_and_not_sent_for_ever() -> Result<()> {
    let world = World::new("ignored").await?;
    let proxy = ApiProxy::start(&world.nats, |_, mut body| {
        if let Some(config) = body.as_object_mut().filter(|body| body.contains_key("subjects")) {
            config.remove("compression");
        }
        vec![body]
    })
    .await?;
    let spec =
        json!({ "nats": { "apiPrefix": proxy.prefix() }, "stream": { "compression": "S2" } });
    world.create(&json!({ "spec": spec })).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "FieldsIgnoredByNats").await?;
    assert!(message.contains("ignored compression: use a server"), "{message}");
    let asked = proxy.count("STREAM.INFO.");
    wait_until(SOON, "five more looks", async || proxy.count("STREAM.INFO.") >= asked + 5).await?;
    assert_eq!(
        (proxy.count("STREAM.CREATE."), proxy.count("STREAM.UPDATE.")),
        (1, 2),
        "tried, and no more"
    );

    world.edit(&json!({ "spec": { "stream": { "compression": "None" } } })).await?;
    world.stream_ready().await
}

#[tokio::test]
async fn servers_that_are_moved_to_another_nats_release_the_mark_on_the_old_one() -> Result<()> {
    let world = World::new("moved").await?;
    let there = Nats::start().await?;
    let uid = world.create(&json!({})).await?.uid().unwrap_or_default();
    world.stream_ready().await?;

    world.edit(&json!({ "spec": { "nats": { "servers": [there.url()] } } })).await?;

    let left = world
        .stream_becomes("a released stream", |info| !info.config.metadata.contains_key(OWNER))
        .await?;
    let mark = world.mark(ODIN, &uid).await?;
    let (place, _) = mark.rsplit_once('/').expect("a mark");
    assert_eq!(left.config.metadata[RELEASED_BY], place);
    let jetstream = async_nats::jetstream::new(there.client().await?);
    let stream = jetstream.get_stream("ODIN_TOKENS").await?;
    assert_eq!(stream.cached_info().config.metadata[OWNER], mark);

    // Another list of the same server is no move.
    let list = [there.url(), world.nats.url().replace(&world.nats.port().to_string(), "1")];
    world.edit(&json!({ "spec": { "nats": { "servers": list } } })).await?;
    let generation = world.api::<WsGateway>().get(ODIN).await?.metadata.generation;
    wait_until(SOON, "the new list to be used", async || {
        world.status(ODIN).await.is_some_and(|status| status.observed_generation == generation)
    })
    .await?;
    world.stream_ready().await?;
    let stream = jetstream.get_stream("ODIN_TOKENS").await?;
    assert_eq!(stream.cached_info().config.metadata[OWNER], mark);
    Ok(())
}

#[tokio::test]
async fn a_managed_nats_whose_user_may_only_ask_about_the_stream_is_enough_to_observe_it()
-> Result<()> {
    let mut world = World::without_operator("managed").await?;
    let config = "accounts { A { jetstream: enabled, users: [\
                  { user: admin, password: a },\
                  { user: me, password: m, permissions: { subscribe: [\"_INBOX.>\"], \
                    publish: [\"$JS.API.STREAM.INFO.ODIN_TOKENS\"] } }] } }\nno_auth_user: me";
    world.nats = Nats::start_with(config).await?;
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".into(), "a".into());
    let jetstream = async_nats::jetstream::new(world.nats.client_with(admin).await?);
    let theirs = Config {
        name: "ODIN_TOKENS".to_owned(),
        subjects: vec!["theirs.>".to_owned()],
        ..Config::default()
    };
    jetstream.create_stream(theirs).await?;
    world.start_operator().await?;
    world.create(&json!({ "spec": { "stream": { "adoptionPolicy": "Adopt" } } })).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "NatsPermissionDenied").await?;
    assert!(message.contains("set stream.adoptionPolicy to Observe"), "{message}");

    world.edit(&json!({ "spec": { "stream": { "adoptionPolicy": "Observe" } } })).await?;

    world.condition(ODIN, "StreamReady", "True", "StreamObserved").await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    Ok(())
}
