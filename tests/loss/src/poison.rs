//! Poison: messages that NATS stores and that a reader may stumble over. Numbered and acknowledged like all others.
//!
//! Each kind has channels of its own. A subject that is no text must reach clients as a channel all the same: with the
//! odd bytes percent-encoded, as the gateway names Redis channels. [`canonical`] is that name; a control character may
//! also come as it is.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{PublishAnswer, RawPublisher};
use tokio::time::{Instant, sleep_until, timeout};

use crate::meter::Shared;
use crate::publisher::PREFIX;

/// Channels of each kind, and thus its messages in flight.
const CHANNELS: usize = 20;

/// Messages a second of all kinds together.
const RATE: u32 = 1_000;

/// Longest wait for the acknowledgements of one round before it is sent again.
const ACK: Duration = Duration::from_secs(5);

/// Attempts of one round.
const ATTEMPTS: usize = 5;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A header with a space in its name
    Space,
    /// A header line without a colon
    Colonless,
    /// A status line, as idle consumers and flow control have it
    Status,
    /// A header block of another protocol
    Unversioned,
    /// Header values that are not UTF-8, empty, or without a name
    Value,
    /// A subject that is not UTF-8
    Bytes,
    /// A subject with control characters
    Control,
}

impl Kind {
    /// All of them.
    pub fn all() -> &'static [Self] {
        clap::ValueEnum::value_variants()
    }

    /// First token of its subjects.
    fn token(self) -> &'static [u8] {
        match self {
            Self::Space => b"space",
            Self::Colonless => b"colonless",
            Self::Status => b"status",
            Self::Unversioned => b"unversioned",
            Self::Value => b"value",
            Self::Bytes => b"bytes\xff",
            Self::Control => b"control\x01\x7f",
        }
    }

    /// Its header block before the id; the id and the empty line follow.
    fn headers(self) -> &'static [u8] {
        match self {
            Self::Space => b"NATS/1.0\r\nMy Header: 1\r\n",
            Self::Colonless => b"NATS/1.0\r\nthere is no colon here\r\n",
            Self::Status => b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n",
            Self::Unversioned => b"HTTP/1.1 200 OK\r\n",
            Self::Value => b"NATS/1.0\r\nX: \xff\xfe\x01\r\nX:\r\n:\r\n",
            Self::Bytes | Self::Control => b"NATS/1.0\r\n",
        }
    }
}

/// The names of all channels of these kinds, as clients should get them.
pub fn channels(kinds: &[Kind]) -> Vec<String> {
    lines(kinds).iter().map(|line| encoded(&line.subject)).collect()
}

/// A channel of poison, and how far it is.
#[derive(Clone, Debug)]
struct Line {
    kind: Kind,
    /// Without the prefix.
    subject: Vec<u8>,
    number: u32,
}

fn lines(kinds: &[Kind]) -> Vec<Line> {
    let of_kind = |kind: &Kind| {
        let kind = *kind;
        (0..CHANNELS).map(move |number| {
            let subject = [kind.token(), format!(".s{number:02}").as_bytes()].concat();
            Line { kind, subject, number: 0 }
        })
    };
    kinds.iter().flat_map(of_kind).collect()
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
    lines: Vec<Line>,
    meter: Shared,
    run: u32,
}

impl Poison {
    /// A publisher of these kinds, whose channels are numbered from `first` on.
    pub fn new(kinds: &[Kind], servers: Vec<String>, first: u16, meter: &Shared) -> Self {
        let (lines, run) = (lines(kinds), fastrand::u32(..));
        Self { servers, first, lines, meter: meter.clone(), run }
    }

    /// Publishes until told to stop, and until everything is acknowledged.
    ///
    /// # Errors
    /// When NATS does not store a message.
    pub async fn publish_until(&mut self, stop: &AtomicBool) -> Result<()> {
        let round = Duration::from_secs(1) * self.lines.len() as u32 / RATE;
        let mut raw = None;
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.lines.iter_mut().for_each(|line| line.number += 1);
            self.round(&mut raw).await?;
            due = (due + round).max(Instant::now());
            sleep_until(due).await;
        }
        Ok(())
    }

    /// One message on each channel, until each is acknowledged.
    async fn round(&mut self, raw: &mut Option<RawPublisher>) -> Result<()> {
        let mut open: Vec<usize> = (0..self.lines.len()).collect();
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
        slot: &mut Option<RawPublisher>,
        attempt: usize,
        open: &mut Vec<usize>,
    ) -> Result<()> {
        let raw = match slot {
            Some(raw) => raw,
            None => {
                let url = &self.servers[attempt % self.servers.len()];
                slot.insert(RawPublisher::connect(url).await?)
            }
        };
        for at in open.iter() {
            let Line { kind, subject, number } = &self.lines[*at];
            let id = format!("Nats-Msg-Id: poison-{:08x}-{at}-{number}\r\n\r\n", self.run);
            let headers = [kind.headers(), id.as_bytes()].concat();
            let payload = format!("{{\"n\":{number}}}");
            let subject = [PREFIX.as_bytes(), subject].concat();
            raw.add(&subject, *at, &headers, payload.as_bytes());
        }
        raw.flush().await?;
        while !open.is_empty() {
            let (line, answer) = raw.answer().await?;
            let offset = match answer {
                PublishAnswer::Stored(offset) => offset,
                PublishAnswer::Refused(why) => bail!("JetStream refuses: {why}"),
                // The server has just started: [`ACK`] is the pause before the next attempt.
                PublishAnswer::NoStream => continue,
            };
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
        let channels = channels(Kind::all());
        assert_eq!(channels.len(), Kind::all().len() * CHANNELS);
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
