//! A pod that goes on running and sends clients elsewhere, at a pace, until it is told otherwise.

use anyhow::{Context, Result};
use harness::{Scratch, wait_until, wait_until_some};
use serde_json::{Value, json};
use wsgateway_config::{Shed, ShedReason};

use super::client::Client;
use super::http::{get, refused_upgrade};
use super::poller::{Poller, cursor};
use super::process::Process;
use super::rig::{Rig, SOON, config, nats_with_stream, ready};

fn drain(per_minute: u32) -> Shed {
    let (id, reason) = ("scale-down-1".to_owned(), ShedReason::Drain);
    Shed { id, reason, keep: 0, per_minute, delay_ms: 0, min_age_seconds: 0, until: 0 }
}

async fn status(rig: &Rig) -> Result<Value> {
    get(rig.admin_addr, "/status").await?.json()
}

async fn wait_for(rig: &Rig, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
    wait_until(SOON, what, async || status(rig).await.is_ok_and(|status| is(&status))).await
}

async fn wait_for_connections(rig: &Rig, count: u64) -> Result<()> {
    wait_for(rig, "so many connections", |status| status["connections"] == count).await
}

#[tokio::test]
async fn a_drain_takes_nobody_in_sends_clients_away_and_is_called_off_by_those_who_are_left()
-> Result<()> {
    let rig = Rig::start().await?;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(rig.subscriber(&["a"]).await?);
    }
    rig.shed(Some(drain(600)))?;
    wait_for(&rig, "a few that were sent away", |status| {
        status["shed"]["told"].as_u64().is_some_and(|told| told >= 5)
    })
    .await?;
    let halfway = status(&rig).await?;
    assert_eq!(
        (&halfway["draining"], &halfway["shed"]["id"]),
        (&json!(true), &json!("scale-down-1"))
    );
    assert_eq!(get(rig.admin_addr, "/readyz").await?.status, 200, "its clients are served");
    let refused = refused_upgrade(rig.client_addr).await?;
    assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("draining")));
    assert!(refused.header("retry-after").is_some());

    rig.shed(None)?;
    let late =
        wait_until_some(SOON, "an open entrance", async || rig.subscriber(&["a"]).await.ok());
    clients.push(late.await?);
    assert_eq!(status(&rig).await?["draining"], false);
    let gone = status(&rig).await?["sentAway"].as_u64().context("no count")?;
    wait_for_connections(&rig, 41 - gone).await?;
    rig.publish("a", "1").await?;
    let (mut advised, mut served) = (0, 0);
    for client in &mut clients {
        match client.next().await? {
            push if push["type"] == "reconnect" => {
                assert_eq!(push["reason"], "drain");
                assert_eq!(client.until_closed().await?.1, 1012);
                advised += 1;
            }
            push => {
                assert_eq!(push["type"], "message");
                served += 1;
            }
        }
    }
    assert_eq!((advised, served), (gone, 41 - gone));
    assert!((5..40).contains(&gone), "{gone}");
    Ok(())
}

#[tokio::test]
async fn clients_are_taken_until_load_balancers_know_and_nobody_is_forgotten() -> Result<()> {
    let rig = Rig::start().await?;
    let mut clients = vec![rig.subscriber(&["a"]).await?];
    rig.shed(Some(Shed { delay_ms: 60_000, ..drain(60_000) }))?;
    wait_for(&rig, "the instruction", |status| status["shed"]["closed"] == false).await?;
    clients.push(rig.subscriber(&["a"]).await.context("the entrance is still open")?);
    assert_eq!(status(&rig).await?["draining"], false);
    rig.shed(Some(Shed { id: "2".to_owned(), ..drain(60_000) }))?;
    for client in &mut clients {
        assert_eq!(client.expect("reconnect").await?["reason"], "drain");
    }
    wait_for_connections(&rig, 0).await
}

#[tokio::test]
async fn a_rebalance_moves_those_with_the_fewest_subscriptions_and_no_more_than_it_should()
-> Result<()> {
    // Each shard chooses among its own.
    let rig = Rig::start_with(|config| config.capacity.shards = 1).await?;
    let (mut busy, mut idle): (Vec<Client>, Vec<Client>) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        busy.push(rig.subscriber(&["a", "b", "c"]).await?);
        idle.push(rig.subscriber(&["a"]).await?);
    }
    let reason = ShedReason::Rebalance;
    rig.shed(Some(Shed { reason, keep: 24, ..drain(60_000) }))?;
    wait_for_connections(&rig, 24).await?;
    let at_rest = status(&rig).await?;
    assert_eq!((&at_rest["draining"], &at_rest["shed"]["told"]), (&json!(false), &json!(16)));
    assert_eq!(get(rig.client_addr, "/health").await?.status, 200);
    rig.shed(None)?;
    rig.publish("c", "1").await?;
    for client in &mut busy {
        assert_eq!(client.next().await?["type"], "message", "who has most to lose stays");
    }
    rig.publish("a", "2").await?;
    let mut moved = 0;
    for client in &mut idle {
        let push = client.next().await?;
        assert!(push["type"] == "message" || push["reason"] == "rebalance", "{push}");
        moved += u32::from(push["type"] == "reconnect");
    }
    assert_eq!(moved, 16);
    Ok(())
}

#[tokio::test]
async fn connections_that_are_too_young_stay_until_they_are_not() -> Result<()> {
    let rig = Rig::start_with(|config| config.capacity.shards = 1).await?;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(rig.subscriber(&["a"]).await?);
    }
    let moves = |id: &str, min_age_seconds| {
        let (id, reason) = (id.to_owned(), ShedReason::Rebalance);
        Shed { id, reason, keep: 4, min_age_seconds, ..drain(60_000) }
    };
    rig.shed(Some(moves("1", 3_600)))?;
    wait_for(&rig, "six that are looked for", |status| status["shed"]["told"] == 6).await?;
    rig.publish("a", "1").await?;
    for client in &mut clients {
        assert_eq!(client.next().await?["type"], "message", "all have come within an hour");
    }
    assert_eq!(status(&rig).await?["sentAway"], 0);
    rig.shed(Some(moves("2", 1)))?;
    wait_for_connections(&rig, 4).await
}

#[tokio::test]
async fn a_long_poll_is_answered_and_its_connection_leads_no_more_to_a_pod_that_drains()
-> Result<()> {
    let rig = Rig::start().await?;
    let mut poller = Poller::connect(rig.client_addr).await?;
    let begun = poller.poll("channels=a").await?;
    let query = format!("/poll?channels=a&cursor={}&wait=55", cursor(&begun)?);
    poller.ask(&query, "").await?;
    wait_until(SOON, "the poll to wait", async || {
        rig.metric("wsgateway_subscriptions").await.is_ok_and(|count| count == 1)
    })
    .await?;
    rig.shed(Some(drain(60_000)))?;
    let answer = poller.answer().await?;
    assert_eq!(cursor(&answer)?, cursor(&begun)?);
    assert!(poller.is_last(), "the next one is to find another pod");
    Ok(())
}

#[tokio::test]
async fn the_file_of_a_pod_tells_it_and_nonsense_in_it_changes_nothing() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let folder = Scratch::new("shed")?;
    let file = folder.write("shed", "")?;
    let mut process = Process::start_with_shed(&config(&nats.url()), &file).await?;
    ready(process.admin_addr).await?;
    let address = process.admin_addr;
    let shed =
        async || -> Result<Value> { Ok(get(address, "/status").await?.json()?["shed"].clone()) };
    assert_eq!(shed().await?, Value::Null);
    let mut client = Client::connect(process.client_addr).await?;
    folder.write("shed", drain(60_000).render())?;
    assert_eq!(client.expect("reconnect").await?["reason"], "drain");
    folder.write("shed", "{ everybody out }")?;
    process.logged("no instruction: what was before goes on").await?;
    assert_eq!(shed().await?["id"], "scale-down-1");
    folder.write("shed", "")?;
    wait_until(SOON, "an open entrance", async || {
        Client::connect(process.client_addr).await.is_ok()
    })
    .await?;
    assert_eq!(shed().await?, Value::Null);
    std::fs::remove_file(&file)?;
    process.logged("nobody can tell this pod to hand over its clients").await?;
    let _served = Client::connect(process.client_addr).await?;
    Ok(())
}
