//! Users and tokens that are disconnected: from an annotation, or wsgw, to the live configuration of the pods.

use anyhow::{Context as _, Result, ensure};
use harness::{wait_until, wait_until_some};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use wsgateway_config::Disconnect;
use wsgateway_crds::{DISCONNECT, WsGateway};

use crate::people::Person;
use crate::rights::created_by;
use crate::world::{ODIN, SOON, World};

/// The sample, whose clients show tokens.
fn with_tokens() -> Value {
    let jwt = json!({ "jwks": { "url": "https://issuer.example/keys" }, "algorithms": ["RS256"] });
    json!({ "spec": { "auth": { "jwt": jwt } } })
}

async fn world(name: &str) -> Result<World> {
    let world = World::new(name).await?;
    world.create(&with_tokens()).await?;
    wait_until(SOON, "a configuration", async || world.config().await.is_ok()).await?;
    Ok(world)
}

/// Has the annotation say this; `None`: nothing.
async fn write(world: &World, text: Option<&str>) -> Result<()> {
    world.edit(&json!({ "metadata": { "annotations": { DISCONNECT: text } } })).await.map(drop)
}

async fn annotation(world: &World) -> Result<String> {
    let gateway = world.api::<WsGateway>().get(ODIN).await?;
    Ok(gateway.annotations().get(DISCONNECT).cloned().unwrap_or_default())
}

/// What the pods are given, once it passes.
async fn given(world: &World, passes: impl Fn(&[Disconnect]) -> bool) -> Result<Vec<Disconnect>> {
    wait_until_some(SOON, "disconnects in the configuration", async || {
        world.config().await.ok().map(|config| config.disconnects).filter(|list| passes(list))
    })
    .await
}

/// Everything that the operator says of a WsGateway where others may read it.
async fn said(world: &World) -> Result<String> {
    let events = world.api::<Event>().list(&ListParams::default()).await?;
    let notes: Vec<String> = events.items.into_iter().filter_map(|event| event.note).collect();
    let status = serde_json::to_string(&world.status(ODIN).await)?;
    Ok([status, notes.join("\n"), world.admin("/metrics").await?].join("\n"))
}

#[tokio::test]
async fn what_a_person_writes_reaches_the_live_part_and_a_bad_line_takes_no_other_with_it()
-> Result<()> {
    let mut world = world("disconnects").await?;
    let before = world.object::<Deployment>("odin-gateway", |_| true).await?;
    let lines = [r#"{"user":"mallory","ban":"10m"}"#, "trudy", r#"{"tokenId":"j-1"}"#];
    write(&world, Some(&lines.join("\n"))).await?;
    let list = given(&world, |list| list.len() == 2).await?;
    assert_eq!(
        (list[0].user.as_deref(), list[1].token_id.as_deref()),
        (Some("mallory"), Some("j-1"))
    );
    assert_eq!((list[0].until, list[1].until), (Some(list[0].at + 600_000), None));
    let stamped = annotation(&world).await?;
    assert_eq!(stamped.lines().nth(1), Some("trudy"), "a person's to correct: {stamped}");
    ensure!(!stamped.contains("ban") && stamped.contains("until"), "{stamped}");
    wait_until(SOON, "an event for the bad line", async || {
        let ignored = ("Warning".to_owned(), "DisconnectIgnored".to_owned());
        world.events().await.is_ok_and(|events| events.contains(&ignored))
    })
    .await?;

    // Another operator goes on with the same times.
    world.stop_operator().await?;
    world.start_operator().await?;
    world.more_reconciles(2.0).await?;
    assert_eq!((world.config().await?.disconnects, annotation(&world).await?), (list, stamped));
    let said = said(&world).await?;
    for name in ["mallory", "trudy", "j-1"] {
        ensure!(!said.contains(name), "{name} is in {said}");
    }

    // What is over goes by itself, and what is taken back at once.
    let over = r#"{"user":"old","at":"2020-01-01T00:00:00Z","until":"2020-01-01T00:10:00Z"}"#;
    write(&world, Some(&format!("{over}\n{{\"user\":\"eve\"}}"))).await?;
    let list =
        given(&world, |list| list.iter().any(|one| one.user.as_deref() == Some("eve"))).await?;
    assert_eq!(list.len(), 1);
    ensure!(!annotation(&world).await?.contains("old"));
    write(&world, None).await?;
    given(&world, <[Disconnect]>::is_empty).await?;
    let after = world.api::<Deployment>().get("odin-gateway").await?;
    assert_eq!(after.metadata.generation, before.metadata.generation, "no pod is replaced for it");
    Ok(())
}

#[tokio::test]
async fn where_clients_show_no_tokens_an_event_says_that_nobody_has_a_name() -> Result<()> {
    let world = World::new("disconnect-nobody").await?;
    world.create(&json!({})).await?;
    write(&world, Some(r#"{"user":"ann"}"#)).await?;
    let note = wait_until_some(SOON, "an event", async || {
        let events = world.api::<Event>().list(&ListParams::default()).await.ok()?;
        let is_it = |event: &Event| event.reason.as_deref() == Some("DisconnectIgnored");
        events.items.into_iter().find(is_it)?.note
    })
    .await?;
    ensure!(note.contains("set spec.auth"), "{note}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_with_the_role_edit_disconnects_bans_lists_and_lifts() -> Result<()> {
    let world = world("disconnect-people").await?;
    created_by("templates/aggregate-roles.yaml", &world, &[], "").await?;
    let eve = Person::new(&world, "eve-of-disconnects", Some("edit")).await?;
    eve.waits_for_its_role().await?;
    let list: [&str; 2] = ["disconnect", "--list"];
    ensure!(eve.sees(&list).await?.contains("nobody is disconnected"));

    let ban = eve.sees(&["disconnect", ODIN, "--user", "ann", "--ban", "10m"]).await?;
    ensure!(ban.contains("user ann: ") && ban.contains("banned until 2"), "{ban}");
    // Several at the same moment: nobody's is lost. The only WsGateway need not be named.
    let ids = ["j-1", "j-2", "j-3", "j-4"];
    let all = ids.map(|id| ["disconnect", "--token-id", id]);
    let done = futures_util::future::join_all(all.iter().map(|one| eve.sees(one))).await;
    for said in done {
        let said = said?;
        ensure!(said.contains("may come back"), "{said}");
    }
    let listed = given(&world, |list| list.len() == 5).await?;
    let ann = listed.iter().find(|one| one.user.is_some()).context("ann")?;
    assert_eq!(ann.until, Some(ann.at + 600_000));
    let items = eve.items(&list).await?;
    assert_eq!(items.len(), 5);
    ensure!(items.iter().any(|one| one["user"] == "ann" && one["until"].is_string()), "{items:?}");

    let lifted = eve.sees(&["disconnect", ODIN, "--user", "ann", "--lift"]).await?;
    ensure!(lifted.contains("may connect again"), "{lifted}");
    given(&world, |list| list.iter().all(|one| one.user.is_none())).await?;
    let again = eve.sees(&["disconnect", ODIN, "--user", "ann", "--lift"]).await?;
    ensure!(again.contains("nothing stands"), "{again}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_with_what_to_do() -> Result<()> {
    let world = world("disconnect-trouble").await?;
    created_by("templates/aggregate-roles.yaml", &world, &[], "").await?;
    let eve = Person::new(&world, "eve-of-trouble", Some("edit")).await?;
    let ann = Person::new(&world, "ann-of-trouble", Some("view")).await?;
    for person in [&eve, &ann] {
        person.waits_for_its_role().await?;
    }
    let refused = ann.is_told(&["disconnect", ODIN, "--user", "bob"]).await?;
    ensure!(refused.contains("auth can-i patch wsgateways.wsgateway.dev"), "{refused}");
    let long = eve.is_told(&["disconnect", ODIN, "--user", "bob", "--ban", "721h"]).await?;
    ensure!(long.contains("from 1s to 720h"), "{long}");
    let typo = eve.is_told(&["disconnect", "odn", "--user", "bob"]).await?;
    ensure!(typo.contains("there is odin"), "{typo}");
    let many: Vec<String> = (0..64).map(|n| json!({ "user": n.to_string() }).to_string()).collect();
    write(&world, Some(&many.join("\n"))).await?;
    given(&world, |list| list.len() == 64).await?;
    let full = eve.is_told(&["disconnect", ODIN, "--user", "bob"]).await?;
    ensure!(full.contains("64 disconnects stand already"), "{full}");
    write(&world, None).await?;
    // An operator that does not act: what is written stands, and is taken up later.
    world.edit(&json!({ "spec": { "paused": true } })).await?;
    world.condition(ODIN, "Paused", "True", "Paused").await?;
    let late = eve.is_told(&["disconnect", ODIN, "--user", "bob", "--timeout", "1s"]).await?;
    ensure!(late.contains("has not taken it up within 1s"), "{late}");
    world.edit(&json!({ "spec": { "paused": false } })).await?;
    given(&world, |list| list.len() == 1).await.map(drop)
}
