//! odin.v1: numbers asked for again, by a client as S3 wrote it and by others.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::client::Client;
use super::odin::{connect, messages, seqs, subscriber};
use super::rig::Rig;

/// The web client of S3: it looks at `seq` only, and asks for what it believes to have missed.
struct Website {
    client: Client,
    last_seq: u64,
    /// What its listeners got, by type.
    emitted: Vec<(String, Value)>,
    asked: u64,
}

impl Website {
    async fn on_message(&mut self, message: &Value) -> Result<()> {
        if let Some(seq) = message["seq"].as_u64() {
            self.check_sequence(seq).await?;
        }
        let kind = message["type"].as_str().context("no type")?.to_owned();
        self.emitted.push((kind, message["data"].clone()));
        Ok(())
    }

    async fn check_sequence(&mut self, seq: u64) -> Result<()> {
        if self.last_seq > 0 && seq > self.last_seq + 1 {
            let (from_seq, to_seq) = (self.last_seq + 1, seq - 1);
            let replay = json!({ "type": "replay", "from_seq": from_seq, "to_seq": to_seq });
            self.client.send(&replay).await?;
            self.asked += 1;
        }
        self.last_seq = seq;
        Ok(())
    }
}

#[tokio::test]
async fn a_website_that_missed_messages_gets_them_again_under_their_numbers() -> Result<()> {
    let rig = Rig::start().await?;
    let client = subscriber(rig.client_addr, &["BTC.price"]).await?;
    let mut website = Website { client, last_seq: 0, emitted: Vec::new(), asked: 0 };
    let numbered = |n: u64| ("BTC.price".to_owned(), n.to_string().into_bytes());
    rig.publish_all((1..=10).map(numbered)).await?;

    // All of them first: what is sent again may come between live ones.
    let seen = messages(&mut website.client, 10).await?;
    for (n, message) in (1..).zip(&seen) {
        // What the page was too busy for: 4, 5 and 6 never reach its code.
        if !(4..=6).contains(&n) {
            website.on_message(message).await?;
        }
    }
    assert_eq!(website.asked, 1);
    for n in 4..=6 {
        let again = website.client.next().await?;
        assert_eq!(again, seen[n - 1], "the same message under the same number");
        website.on_message(&again).await?;
    }
    let end = website.client.next().await?;
    assert_eq!(end, json!({"type": "replay_complete", "from": 4, "to": 6, "count": 3}));
    website.on_message(&end).await?;

    let mut prices: Vec<_> = website
        .emitted
        .iter()
        .filter(|(kind, _)| kind == "price:update")
        .map(|(_, data)| data.as_u64())
        .collect();
    prices.sort_unstable();
    assert_eq!(prices, (1..=10).map(Some).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_replay_is_taken_in_every_spelling_while_live_messages_go_on() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = subscriber(rig.client_addr, &[">"]).await?;
    rig.publish_all((0..50_u64).map(|n| ("a".to_owned(), n.to_string().into_bytes()))).await?;
    let live = messages(&mut client, 50).await?;
    for command in [
        json!({"type": "replay", "data": {"from": 11, "to": 20}, "id": "r"}),
        json!({"type": "replay", "from_seq": 11, "to_seq": 20, "id": "r"}),
        json!({"type": "replay", "from": 11, "to": 20, "id": "r"}),
    ] {
        client.send(&command).await?;
        assert_eq!(messages(&mut client, 10).await?, live[10..20], "{command}");
        let end = client.expect("replay_complete").await?;
        assert_eq!(
            end,
            json!({"type": "replay_complete", "id": "r", "from": 11, "to": 20, "count": 10})
        );
    }
    // Numbers that were never given, and none at all.
    client.send(&json!({"type": "replay", "from": 49, "to": 1_000_000})).await?;
    assert_eq!(messages(&mut client, 2).await?, live[48..]);
    assert_eq!(client.expect("replay_complete").await?["to"], 50);
    client.send(&json!({"type": "replay", "from": 51})).await?;
    assert_eq!(client.expect("replay_complete").await?["count"], 0);
    rig.publish("a", "50").await?;
    assert_eq!(messages(&mut client, 1).await?[0]["seq"], 51, "a replay takes no numbers");
    Ok(())
}

#[tokio::test]
async fn numbers_out_of_reach_are_told_and_the_others_sent() -> Result<()> {
    const COUNT: u64 = 1_500;
    let rig = Rig::start().await?;
    let mut client = subscriber(rig.client_addr, &[">"]).await?;
    let mut live = Vec::new();
    for from in (0..COUNT).step_by(100) {
        rig.publish_all((from..from + 100).map(|n| ("a".to_owned(), n.to_string().into_bytes())))
            .await?;
        live.extend(messages(&mut client, 100).await?);
    }
    let reach = 1_024;
    let oldest = COUNT - reach + 1;

    client.send(&json!({"type": "replay", "from": 1, "to": COUNT})).await?;
    let again = messages(&mut client, reach as usize).await?;
    assert_eq!(seqs(&again), (oldest..=COUNT).collect::<Vec<_>>());
    assert_eq!(again, live[oldest as usize - 1..]);
    let end = client.expect("replay_incomplete").await?;
    assert_eq!(
        end,
        json!({"type": "replay_incomplete", "from": 1, "to": oldest - 1, "count": reach})
    );

    client.send(&json!({"type": "replay", "from": 5, "to": 10})).await?;
    let end = client.expect("replay_incomplete").await?;
    assert_eq!(end, json!({"type": "replay_incomplete", "from": 5, "to": 10, "count": 0}));
    Ok(())
}

#[tokio::test]
async fn what_the_history_has_lost_is_told_as_out_of_reach() -> Result<()> {
    let rig = Rig::start_with(|config| config.history.messages = 20).await?;
    let mut client = subscriber(rig.client_addr, &[">"]).await?;
    let mut live = Vec::new();
    for n in 0..50_u64 {
        rig.publish("a", n.to_string()).await?;
        live.extend(messages(&mut client, 1).await?);
    }
    client.send(&json!({"type": "replay", "from": 1, "to": 50})).await?;
    let mut again = Vec::new();
    let end = loop {
        let push = client.next().await?;
        if push["seq"].is_null() {
            break push;
        }
        again.push(push);
    };
    ensure!(end["type"] == "replay_incomplete", "{end}");
    let (gone, count) = (end["to"].as_u64().context("no end")?, again.len() as u64);
    assert_eq!((&end["from"], &end["count"]), (&json!(1), &json!(count)));
    assert_eq!(gone + count, 50, "every number is either sent or told as gone");
    assert_eq!(again, live[gone as usize..]);
    assert!((1..50).contains(&count), "{count}");
    Ok(())
}

#[tokio::test]
async fn a_cursor_works_as_in_the_newer_protocol_and_numbers_go_on() -> Result<()> {
    let rig = Rig::start().await?;
    let mut first = subscriber(rig.client_addr, &["a"]).await?;
    rig.publish_all((0..5_u64).map(|n| ("a".to_owned(), n.to_string().into_bytes()))).await?;
    let seen = messages(&mut first, 2).await?;
    let resume = json!({"epoch": first.epoch(), "offset": seen[1]["offset"]});
    drop(first);

    let mut second = connect(rig.client_addr).await?;
    let command = json!({"type": "subscribe", "channels": ["p.a"], "resume": resume});
    second.send(&command).await?;
    let ack = second.expect("subscription_ack").await?;
    assert_eq!((&ack["recovered"], &ack["offset"]), (&json!(true), &seen[1]["offset"]));
    let mut rest = messages(&mut second, 3).await?;
    assert_eq!(second.expect("live").await?["offset"], 5);
    rig.publish("a", "5").await?;
    rest.extend(messages(&mut second, 1).await?);
    assert_eq!(seqs(&rest), [1, 2, 3, 4]);
    let data: Vec<_> = rest.iter().map(|message| message["data"].clone()).collect();
    assert_eq!(data, [2, 3, 4, 5]);
    // What came by the cursor can be asked for again like everything else.
    second.send(&json!({"type": "replay", "from": 1, "to": 2})).await?;
    assert_eq!(messages(&mut second, 2).await?, rest[..2]);
    second.expect("replay_complete").await?;
    Ok(())
}
