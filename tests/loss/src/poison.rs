//! Poison: messages that NATS stores and that a reader may stumble over. Numbered and acknowledged like all others.
//!
//! Each kind has channels of its own. A subject that is no text must reach clients as a channel all the same: with the
//! odd bytes percent-encoded, as the gateway names Redis channels. [`canonical`] is that name; a control character may
//! also come as it is.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep_until, timeout};

use crate::meter::Shared;
use crate::publisher::PREFIX;
use crate::raw::Raw;

/// Channels of each kind, and thus its messages in flight.
const CHANNELS: usize = 20;

/// Messages a second of all kinds together.
const RATE: u32 = 1_000;

/// Longest wait for the acknowledgements of one round before it is sent again.
const ACK: Duration = Duration::from_secs(5);

/// Attempts of one round.
const ATTEMPTS: usize = 5;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// First token of its subjects.
    token: &'static [u8],
    /// Its header block before the id; the id and the empty line follow.
    headers: &'static [u8],
}

const KINDS: [Kind; 7] = [
    Kind { token: b"space", headers: b"NATS/1.0\r\nMy Header: 1\r\n" },
    Kind { token: b"colonless", headers: b"NATS/1.0\r\nthere is no colon here\r\n" },
    // What flow control and idle consumers look like.
    Kind { token: b"status", headers: b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n" },
    Kind { token: b"unversioned", headers: b"HTTP/1.1 200 OK\r\n" },
    Kind { token: b"value", headers: b"NATS/1.0\r\nX: \xff\xfe\x01\r\nX:\r\n:\r\n" },
    Kind { token: b"bytes\xff", headers: b"NATS/1.0\r\n" },
    Kind { token: b"control\x01\x7f", headers: b"NATS/1.0\r\n" },
];

/// The names of all channels of poison, as clients should get them.
pub fn channels() -> Vec<String> {
    let subjects = (0..KINDS.len() * CHANNELS).map(tokens);
    subjects.map(|tokens| encoded(&tokens)).collect()
}

/// The subject of a channel of poison, without the prefix.
fn tokens(line: usize) -> Vec<u8> {
    let suffix = format!(".s{:02}", line % CHANNELS);
    [KINDS[line / CHANNELS].token, suffix.as_bytes()].concat()
}

/// A channel's name in the form that [`channels`] has, from what a client got: as it stands in JSON, or read from there.
pub fn canonical(channel: &str) -> String {
    let text: Option<String> = serde_json::from_str(&format!("\"{channel}\"")).ok();
    encoded(text.as_deref().unwrap_or(channel).as_bytes())
}

/// Percent-encodes control characters and what is no UTF-8.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() {
                true => encode(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                false => text.push(c),
            }
        }
        encode(&mut text, chunk.invalid());
    }
    text
}

fn encode(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

/// The publisher of poison. Its numbers go on from one fault to the next.
#[derive(Debug)]
pub struct Poison {
    servers: Vec<String>,
    /// The number of its first channel.
    first: u16,
    numbers: Vec<u32>,
    meter: Shared,
    run: u32,
}

impl Poison {
    /// A publisher whose channels are numbered from `first` on.
    pub fn new(servers: Vec<String>, first: u16, meter: &Shared) -> Self {
        let numbers = vec![0; KINDS.len() * CHANNELS];
        Self { servers, first, numbers, meter: meter.clone(), run: fastrand::u32(..) }
    }

    /// Publishes until told to stop, and until everything is acknowledged.
    ///
    /// # Errors
    /// When NATS does not store a message.
    pub async fn publish_until(&mut self, stop: &AtomicBool) -> Result<()> {
        let round = Duration::from_secs(1) * self.numbers.len() as u32 / RATE;
        let mut raw = None;
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.numbers.iter_mut().for_each(|number| *number += 1);
            self.round(&mut raw).await?;
            due = (due + round).max(Instant::now());
            sleep_until(due).await;
        }
        Ok(())
    }

    /// One message on each channel, until each is acknowledged.
    async fn round(&mut self, raw: &mut Option<Raw>) -> Result<()> {
        let mut open: Vec<usize> = (0..self.numbers.len()).collect();
        let mut why = None;
        for attempt in 0..ATTEMPTS {
            match timeout(ACK, self.attempt(raw, attempt, &mut open)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => why = Some(error),
                Err(_) => {}
            }
            // The next attempt begins on a connection of its own.
            *raw = None;
        }
        match why {
            Some(why) => Err(why).context("poison is not stored"),
            None => bail!("poison is not acknowledged"),
        }
    }

    async fn attempt(
        &mut self,
        slot: &mut Option<Raw>,
        attempt: usize,
        open: &mut Vec<usize>,
    ) -> Result<()> {
        let raw = match slot {
            Some(raw) => raw,
            None => {
                let url = &self.servers[attempt % self.servers.len()];
                slot.insert(Raw::connect(url).await?)
            }
        };
        for line in open.iter() {
            let number = self.numbers[*line];
            let id = format!("Nats-Msg-Id: poison-{:08x}-{line}-{number}\r\n\r\n", self.run);
            let headers = [KINDS[line / CHANNELS].headers, id.as_bytes()].concat();
            let payload = format!("{{\"n\":{number}}}");
            let subject = [PREFIX.as_bytes(), &tokens(*line)].concat();
            raw.add(&subject, *line, &headers, payload.as_bytes());
        }
        raw.flush().await?;
        while !open.is_empty() {
            let (line, offset) = raw.acknowledgement().await?;
            if let Some(at) = open.iter().position(|each| *each == line) {
                open.swap_remove(at);
                self.meter.lock().published(self.first + line as u16, offset);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_bytes_of_a_subject_are_percent_encoded_in_its_channel() {
        let channels = channels();
        assert_eq!(channels.len(), KINDS.len() * CHANNELS);
        assert!(channels.contains(&"space.s00".to_owned()), "{channels:?}");
        assert!(channels.contains(&"bytes%FF.s19".to_owned()), "{channels:?}");
        assert!(channels.contains(&"control%01%7F.s07".to_owned()), "{channels:?}");
    }

    #[test]
    fn a_control_character_is_understood_encoded_escaped_or_as_it_is() {
        for text in ["a%01.b", "a\\u0001.b", "a\u{1}.b"] {
            assert_eq!(canonical(text), "a%01.b", "{text:?}");
        }
        assert_eq!(canonical("g00.s01"), "g00.s01");
    }
}
