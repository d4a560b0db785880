//! Whatever bytes nats-server stores are delivered, by every way, and never cost the reader its connection.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{PublishAnswer, RawPublisher};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::client::Client;
use super::rig::{PREFIX, Rig, SOON, config, nats_with_stream};

/// A message as a publisher of bytes sends it.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub subject: Vec<u8>,
    pub headers: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Raw {
    pub(super) fn new(subject: &[u8], headers: &[u8], payload: &str) -> Self {
        let subject = [PREFIX.as_bytes(), subject].concat();
        Self { subject, headers: headers.to_vec(), payload: payload.as_bytes().to_vec() }
    }

    /// The channel that clients know it by.
    fn channel(&self) -> String {
        let bytes = &self.subject[PREFIX.len()..];
        if let Ok(text) = std::str::from_utf8(bytes) {
            return text.to_owned();
        }
        let escaped = |byte: &u8| format!("%{byte:02X}");
        bytes.utf8_chunks().fold(String::new(), |text, chunk| {
            let invalid: String = chunk.invalid().iter().map(escaped).collect();
            text + &chunk.valid().replace('%', "%25") + &invalid
        })
    }

    /// Whether a push carries it.
    fn is_in(&self, push: &Value) -> bool {
        let data = match push["encoding"].as_str() {
            Some("base64") => STANDARD
                .decode(push["data"].as_str().unwrap_or("?"))
                .is_ok_and(|b| b == self.payload),
            _ => serde_json::from_slice::<Value>(&self.payload).is_ok_and(|v| v == push["data"]),
        };
        push["channel"] == self.channel() && data
    }
}

/// The next messages of a client must be these, at offsets from 1.
async fn receives(client: &mut Client, stored: &[Raw]) -> Result<()> {
    for (offset, raw) in (1..).zip(stored) {
        let push = client.expect("message").await?;
        ensure!(
            push["offset"] == offset && raw.is_in(&push),
            "{offset}: {raw:?} was due, got {push}"
        );
    }
    Ok(())
}

/// They arrive live, and when they are looked up in the stream, on one connection to NATS each.
async fn all_arrive(messages: impl IntoIterator<Item = Raw>) -> Result<usize> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    config.history.messages = 1;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    let mut publisher = RawPublisher::connect(&rig.nats.url()).await?;
    let mut stored = Vec::new();
    for raw in messages {
        let answer = publisher.publish(&raw.subject, &raw.headers, &raw.payload);
        if let PublishAnswer::Stored(sequence) = timeout(SOON, answer).await?? {
            stored.push(raw);
            ensure!(sequence == stored.len() as u64, "{sequence} is not the next one");
        }
    }
    receives(&mut client, &stored).await?;
    ensure!(rig.metric("wsgateway_source_restarts_total").await? == 0, "the source began anew");

    let mut late = rig.client().await?;
    let resume = json!({ "epoch": late.epoch(), "offset": 0 });
    late.send(&json!({ "type": "subscribe", "id": 1, "channels": [">"], "resume": resume }))
        .await?;
    let ack = late.expect("subscription_ack").await?;
    ensure!(ack["recovered"] == true, "{ack}");
    receives(&mut late, &stored).await.context("looked up")?;
    Ok(stored.len())
}

#[tokio::test]
async fn odd_headers_and_subjects_are_delivered_like_any_others() -> Result<()> {
    let plain = b"NATS/1.0\r\n\r\n";
    let odd = [
        Raw::new(b"a", b"NATS/1.0\r\nMy Header: 1\r\n\r\n", "1"),
        Raw::new(b"a", b"NATS/1.0\r\nno colon\r\n\r\n", "2"),
        Raw::new(b"a", b"NATS/1.0\r\n: no name\r\n\r\n", "3"),
        Raw::new(b"a", b"NATS/1.0\r\nN\xc3: \xff\r\n\r\n", "4"),
        Raw::new(b"a", b"no version", "5"),
        Raw::new(b"a", b"x", "6"),
        Raw::new(b"a", b"NATS/1.0 99999 what\r\n\r\n", "7"),
        Raw::new(b"a\xff", plain, "8"),
        Raw::new(b"\xc3(.%.\x01\x0b", plain, "9"),
        Raw::new("\u{e9}.\u{1f600}\"\\".as_bytes(), plain, "not JSON"),
        // The server warns of wildcards in the subject of a message, and stores it.
        Raw::new(b"*.x", plain, "11"),
        Raw::new(b"a.>.x", plain, "12"),
        Raw::new(b">", plain, "13"),
        Raw::new(b"last", plain, "14"),
    ];
    assert_eq!(all_arrive(odd).await?, 14);
    Ok(())
}

#[tokio::test]
async fn whatever_bytes_the_server_stores_are_delivered() -> Result<()> {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes = |random: &mut fastrand::Rng, most: usize| -> Vec<u8> {
        let length = random.usize(0..=most);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    };
    let messages: Vec<Raw> = (0..400)
        .map(|_| {
            let mut subject = bytes(&mut random, 40);
            subject.push(b'x');
            subject.retain(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            let mut headers = bytes(&mut random, 60);
            if random.bool() {
                headers = [b"NATS/1.0\r\n", &*headers, b": ", &bytes(&mut random, 9), b"\r\n\r\n"]
                    .concat();
            }
            let (subject, payload) =
                ([PREFIX.as_bytes(), &subject].concat(), bytes(&mut random, 300));
            Raw { subject, headers, payload }
        })
        .collect();
    let stored = all_arrive(messages).await.with_context(|| format!("seed {seed}"))?;
    // Some subjects have an empty token, which no stream takes.
    assert!(stored > 200, "only {stored} were stored: this test proves little (seed {seed})");
    Ok(())
}
