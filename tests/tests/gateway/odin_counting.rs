//! odin.v1: clients that judge a server by counting, as the Odin server's own check of its subscription filter does.
//!
//! They count every frame that is neither an acknowledgement nor a pong, and compare with what was published for them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::net::TcpStream;
use wsgateway_config::Protocol;

use super::client::Client;
use super::resume::read_up_to;
use super::rig::Rig;

/// A client that counts.
struct Counter {
    client: Client,
    /// Frames counted since the last question, by the channel they name; a frame that names none counts for "".
    counts: BTreeMap<String, usize>,
}

impl Counter {
    /// Connects, naming no protocol, and reads nothing.
    async fn connect(rig: &Rig) -> Result<Self> {
        let stream = TcpStream::connect(rig.client_addr).await?;
        let client = Client::open(stream, "/ws", None).await?;
        Ok(Self { client, counts: BTreeMap::new() })
    }

    async fn subscriber(rig: &Rig, channels: &[&str]) -> Result<Self> {
        let mut counter = Self::connect(rig).await?;
        counter.change("subscribe", channels).await?;
        Ok(counter)
    }

    /// Sends a command and waits for its acknowledgement.
    async fn change(&mut self, command: &str, channels: &[&str]) -> Result<()> {
        let data = json!({ "channels": channels });
        self.client.send(&json!({ "type": command, "data": data })).await?;
        self.count_until(&["subscription_ack", "unsubscription_ack"]).await
    }

    /// Everything that was counted until now. A shard serves its sockets before it takes what the source has read, so the
    /// second pong comes after all of that.
    async fn counted(&mut self) -> Result<BTreeMap<String, usize>> {
        for _ in 0..2 {
            self.client.send(&json!({ "type": "ping" })).await?;
            self.count_until(&["pong"]).await?;
        }
        Ok(std::mem::take(&mut self.counts))
    }

    async fn count_until(&mut self, kinds: &[&str]) -> Result<()> {
        loop {
            let frame = self.client.next().await?;
            if kinds.iter().any(|kind| frame["type"] == *kind) {
                return Ok(());
            }
            let channel = frame["channel"].as_str().unwrap_or_default();
            *self.counts.entry(channel.to_owned()).or_default() += 1;
        }
    }
}

/// Publishes so many messages on each channel, and waits until the gateway has read them.
async fn publish(rig: &Rig, channels: &[&str], count: usize) -> Result<()> {
    let trade = |channel: &&str| ((*channel).to_owned(), json!({ "price": 1 }).to_string().into());
    let messages = (0..count).flat_map(|_| channels.iter().map(trade));
    let offsets = rig.publish_all(messages.collect::<Vec<_>>()).await?;
    read_up_to(rig, *offsets.last().context("nothing published")?).await
}

fn counts<'a>(expected: impl IntoIterator<Item = (&'a str, usize)>) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(channel, count)| (channel.to_owned(), count)).collect()
}

async fn rig(greeting: bool) -> Result<Rig> {
    Rig::start_with(|config| {
        config.listener.default_protocol = Protocol::Odin;
        config.odin.greeting = greeting;
    })
    .await
}

#[tokio::test]
async fn clients_that_count_frames_find_only_what_they_subscribed_to() -> Result<()> {
    let rig = rig(false).await?;
    // Two clients, a channel each.
    let mut btc = Counter::subscriber(&rig, &["BTC.trade"]).await?;
    let mut eth = Counter::subscriber(&rig, &["ETH.trade"]).await?;
    publish(&rig, &["BTC.trade", "ETH.trade", "BTC.liquidity"], 3).await?;
    assert_eq!(btc.counted().await?, counts([("BTC.trade", 3)]));
    assert_eq!(eth.counted().await?, counts([("ETH.trade", 3)]));

    // One of two channels is given up.
    let mut both = Counter::subscriber(&rig, &["BTC.trade", "ETH.trade"]).await?;
    publish(&rig, &["BTC.trade", "ETH.trade"], 2).await?;
    assert_eq!(both.counted().await?, counts([("BTC.trade", 2), ("ETH.trade", 2)]));
    both.change("unsubscribe", &["BTC.trade"]).await?;
    publish(&rig, &["BTC.trade", "ETH.trade"], 2).await?;
    assert_eq!(both.counted().await?, counts([("ETH.trade", 2)]));

    // Many channels.
    let channels = ["BTC.trade", "ETH.trade", "SOL.trade", "ODIN.trade", "DOGE.trade"];
    let mut all = Counter::subscriber(&rig, &channels).await?;
    publish(&rig, &channels, 1).await?;
    assert_eq!(all.counted().await?, counts(channels.map(|channel| (channel, 1))));

    // None at all.
    let mut none = Counter::connect(&rig).await?;
    publish(&rig, &channels, 2).await?;
    assert_eq!(none.counted().await?, counts([]));
    Ok(())
}

#[tokio::test]
async fn the_greeting_is_a_frame_that_such_clients_count_so_it_can_be_left_out() -> Result<()> {
    let rig = rig(true).await?;
    let mut greeted = Counter::connect(&rig).await?;
    assert_eq!(greeted.counted().await?, counts([("", 1)]));
    // It is for odin.v1 alone: clients of this gateway need theirs.
    let silent = self::rig(false).await?;
    assert!(silent.client().await?.epoch() != "");
    Ok(())
}
