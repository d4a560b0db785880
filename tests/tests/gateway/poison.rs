//! Whatever bytes nats-server stores are delivered, by every way, and never cost the reader its connection.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::Nats;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::Client;
use super::rig::{PREFIX, Rig, SOON, STREAM, config, nats_with_stream};

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

/// A publisher that says exactly what it is told.
pub(super) struct RawPublisher {
    socket: TcpStream,
    heard: Vec<u8>,
}

impl RawPublisher {
    pub(super) async fn connect(nats: &Nats) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", nats.port())).await?;
        let mut publisher = Self { socket, heard: Vec::new() };
        let hello =
            b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB raw 1\r\n";
        publisher.socket.write_all(hello).await?;
        Ok(publisher)
    }

    /// Publishes, and returns the sequence that the stream gave it; `None` if the server did not take it.
    pub(super) async fn publish(&mut self, raw: &Raw) -> Result<Option<u64>> {
        let total = raw.headers.len() + raw.payload.len();
        let numbers = format!(" raw {} {total}\r\n", raw.headers.len());
        let parts: [&[u8]; 7] =
            [b"HPUB ", &raw.subject, numbers.as_bytes(), &raw.headers, &raw.payload, b"\r\n", b""];
        self.heard.clear();
        self.socket.write_all(&parts.concat()).await?;
        loop {
            let text = String::from_utf8_lossy(&self.heard).into_owned();
            if let Some(sequence) = text.split("\"seq\":").nth(1) {
                let digits: String = sequence.chars().take_while(char::is_ascii_digit).collect();
                if text.ends_with("\r\n") {
                    return Ok(Some(digits.parse()?));
                }
            }
            if text.contains("NATS/1.0 503") || text.contains("\"error\"") || text.contains("-ERR")
            {
                println!("the server did not take {raw:?}: {text:?}");
                return Ok(None);
            }
            let mut bytes = [0; 4096];
            let count = tokio::time::timeout(SOON, self.socket.read(&mut bytes)).await??;
            ensure!(count > 0, "the server hung up on {raw:?}: {text}");
            self.heard.extend_from_slice(&bytes[..count]);
        }
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

async fn last_sequence(rig: &Rig) -> Result<u64> {
    Ok(rig.jetstream.get_stream(STREAM).await?.cached_info().state.last_sequence)
}

/// They arrive live, and when they are looked up in the stream, on one connection to NATS each.
async fn all_arrive(messages: impl IntoIterator<Item = Raw>) -> Result<usize> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    config.history.messages = 1;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    let mut publisher = RawPublisher::connect(&rig.nats).await?;
    let mut stored = Vec::new();
    for raw in messages {
        match publisher.publish(&raw).await? {
            Some(sequence) => {
                stored.push(raw);
                let heard = String::from_utf8_lossy(&publisher.heard);
                let count = stored.len();
                ensure!(sequence == count as u64, "{sequence}, {count} were stored: {heard}");
            }
            // The stream itself knows best.
            None if last_sequence(&rig).await? > stored.len() as u64 => stored.push(raw),
            None => {}
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
        Raw::new(b"last", plain, "11"),
    ];
    assert_eq!(all_arrive(odd).await?, 11);
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
