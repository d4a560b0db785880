//! Gateways that are killed, stop or are cut off, and subscriptions that are not read.

use anyhow::{Context as _, Result};
use harness::wait_until;
use serde_json::json;
use wsgateway::{Cursor, Event, Overflow};

use super::recorder::{Publisher, Recorder, builder};
use super::servers::{Gateway, Relay, SOON, Source};

#[tokio::test]
async fn a_gateway_that_is_killed_and_comes_back_costs_nothing() -> Result<()> {
    let source = Source::start().await?;
    let mut gateway = Gateway::start(&source).await?;
    let mut r = Recorder::subscribed(builder(gateway.url()), &["kill.a", "kill.quiet"]).await?;
    let publisher = Publisher::start(&source, "kill.a");
    for round in 1..=3 {
        r.received(round * 50).await?;
        gateway.kill();
        let before = publisher.so_far();
        wait_until(SOON, "messages that nobody delivers", async || {
            publisher.so_far() > before + 20
        })
        .await?;
        gateway.start_again().await?;
        r.acknowledged(round + 1).await?;
    }
    r.complete(publisher.stop().await?).await?;
    let acks: Vec<_> = r.acks().map(|ack| (ack.resumed, ack.recovered)).collect();
    assert_eq!(acks, [(false, false), (true, true), (true, true), (true, true)]);
    assert_eq!(r.client.duplicates(), 0);
    Ok(())
}

#[tokio::test]
async fn a_stop_is_followed_by_the_other_gateway_when_the_first_one_advises_it() -> Result<()> {
    let source = Source::start().await?;
    let mut one = Gateway::start_with(&source, &json!({ "drain": { "window": 200 } })).await?;
    let other = Gateway::start(&source).await?;
    let mut r = Recorder::subscribed(builder(one.url()).url(other.url()), &[">"]).await?;
    let publisher = Publisher::start(&source, "drain.a");
    r.received(50).await?;
    one.terminate()?;
    r.acknowledged(2).await?;
    r.complete(publisher.stop().await?).await?;
    assert_eq!(r.closed().map(|closed| closed.code).collect::<Vec<_>>(), [1012]);
    Ok(())
}

#[tokio::test]
async fn connections_that_are_cut_again_and_again_lose_nothing_while_others_come_with_last_values()
-> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let relay = Relay::to(gateway.address()).await?;
    let mut r = Recorder::subscribed(builder(relay.url()), &["cut.*"]).await?;
    let publisher = Publisher::start(&source, "cut.a");
    let mut others = Vec::new();
    for round in 1..=10 {
        let before = r.messages().count();
        let other = [format!("other.{round}")];
        match round % 3 {
            0 => drop(others.pop()),
            1 => others.push(r.client.subscribe_with_snapshot(other)),
            _ => others.push(r.client.subscribe(other)),
        }
        r.received(before + 10).await?;
        relay.cut();
    }
    let count = publisher.stop().await?;
    r.complete(count).await?;
    assert!(r.count(|event| matches!(event, Event::Opened(_))) >= 5);
    Ok(())
}

#[tokio::test]
async fn a_subscription_that_is_not_read_is_cut_off_and_gets_everything_when_it_is() -> Result<()> {
    let source = Source::start().await?;
    let slow = json!({ "slowConsumer": { "grace": 1000 } });
    let gateway = Gateway::start_with(&source, &slow).await?;
    let builder = builder(gateway.url()).queue(100, Overflow::Wait);
    let mut r = Recorder::subscribed(builder, &["much"]).await?;
    let filling = "x".repeat(16_384);
    for n in 1..=1500 {
        source.publish("much", json!([n, filling]).to_string()).await?;
    }
    wait_until(SOON, "the end of the connection", async || {
        gateway.clients().await.is_ok_and(|clients| clients == 0)
    })
    .await?;
    r.received(1500).await?;
    let first = |data: &[u8]| Ok(serde_json::from_slice::<(usize, String)>(data)?.0);
    let numbers: Result<Vec<_>> = r.messages().map(|message| first(&message.data)).collect();
    assert_eq!(numbers?, (1..=1500).collect::<Vec<_>>());
    assert!(r.gaps().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_was_kept_lets_the_next_client_go_on() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let mut first = Recorder::subscribed(builder(gateway.url()), &["keep.a"]).await?;
    source.number("keep.a", 1).await?;
    first.received(1).await?;
    let kept = serde_json::to_string(&first.client.cursor())?;
    first.client.close().await?;
    source.number("keep.a", 2).await?;
    source.number("keep.a", 3).await?;
    let cursor: Option<Cursor> = serde_json::from_str(&kept)?;
    let mut second = Recorder::new(builder(gateway.url()).cursor(cursor), &["keep.a"])?;
    for n in 1..=2 {
        second.received(n).await?;
        // While a message is handled the cursor is after it, and after no other.
        let offset = second.messages().last().map(|message| message.offset);
        assert_eq!(second.client.cursor().map(|cursor| cursor.offset), offset);
    }
    assert_eq!(second.numbers()?, [2, 3]);
    Ok(())
}

#[tokio::test]
async fn a_queue_that_overflows_is_reported_and_the_connection_stays() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let builder = builder(gateway.url()).queue(50, Overflow::Report);
    let mut r = Recorder::subscribed(builder, &["much"]).await?;
    let mut quick = r.client.subscribe(["end"]);
    for n in 1..=500 {
        source.number("much", n).await?;
    }
    source.number("end", 501).await?;
    loop {
        let event = tokio::time::timeout(SOON, quick.next()).await?;
        if let Event::Message(_) = event.context("it has ended")? {
            break;
        }
    }
    r.until("the gap", |r| !r.gaps().is_empty()).await?;
    let (came, gaps) = (r.messages().count(), r.gaps());
    let (gap, expected) = (gaps[0], i64::try_from(came)? + 1);
    assert_eq!((gap.first, gap.last, gap.reason.as_str()), (expected, 500, "overflow"));
    assert_eq!(r.closed().count(), 0);
    Ok(())
}
