//! A publisher made of bytes: it sends what no library lets through.
//!
//! In: messages with any subject and any header block. Out: JetStream's answer to each, by the number that its reply
//! subject carries.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Longest line or message that is read (bytes): nothing that is sent to this client is longer.
const MOST: usize = 1 << 20;

/// What the server says of a subject with an empty token or a wildcard before it treats the message like any other:
/// it is a warning, and the answer to the message still follows.
const WARNING: &str = "'Invalid Publish Subject'";

/// JetStream's answer to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishAnswer {
    /// It is stored at this sequence.
    Stored(u64),
    /// The stream does not take it; the text says why.
    Refused(String),
    /// No stream listens to its subject.
    NoStream,
}

/// A connection that publishes and reads the answers.
#[derive(Debug)]
pub struct RawPublisher {
    stream: BufReader<TcpStream>,
    inbox: String,
    out: Vec<u8>,
    /// Messages of [`RawPublisher::publish`].
    published: usize,
}

#[derive(Debug, Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<serde_json::Value>,
}

impl RawPublisher {
    /// Connects to `nats://HOST:PORT` and subscribes to its own inbox.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        // With the process id, unique among the publishers of a server.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let address = url.trim_start_matches("nats://");
        let stream = TcpStream::connect(address).await.context("cannot connect to NATS")?;
        stream.set_nodelay(true)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let inbox = format!("_INBOX.raw{}-{number}", std::process::id());
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}}\r\n\
             SUB {inbox}.* 1\r\n"
        );
        let mut raw = Self { stream: BufReader::new(stream), inbox, out: Vec::new(), published: 0 };
        raw.out.extend_from_slice(hello.as_bytes());
        raw.flush().await?;
        Ok(raw)
    }

    /// Adds a message to what the next [`RawPublisher::flush`] sends. `headers` is the whole block as it is on the wire,
    /// its empty line included.
    pub fn add(&mut self, subject: &[u8], number: usize, headers: &[u8], payload: &[u8]) {
        let reply = format!("{}.{number}", self.inbox);
        self.add_with_reply(subject, &reply, headers, payload);
    }

    fn add_with_reply(&mut self, subject: &[u8], reply: &str, headers: &[u8], payload: &[u8]) {
        let numbers = format!(" {reply} {} {}\r\n", headers.len(), headers.len() + payload.len());
        let parts: [&[u8]; 6] = [b"HPUB ", subject, numbers.as_bytes(), headers, payload, b"\r\n"];
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
    }

    /// Sends what was added.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.stream.get_mut().write_all(&out).await
    }

    /// The next answer, and the number of its message.
    ///
    /// # Errors
    /// When the connection has ended, or the server complains of anything but a subject.
    pub async fn answer(&mut self) -> Result<(usize, PublishAnswer)> {
        loop {
            if let Reply::Message { subject, headers, payload } = self.read().await? {
                return answer(&subject, &headers, &payload);
            }
        }
    }

    /// Publishes a message and waits for the answer to it.
    ///
    /// # Errors
    /// When the connection has ended, or the server complains of anything but the subject.
    pub async fn publish(
        &mut self,
        subject: &[u8],
        headers: &[u8],
        payload: &[u8],
    ) -> Result<PublishAnswer> {
        self.published += 1;
        self.add(subject, self.published, headers, payload);
        self.flush().await?;
        let (number, answer) = self.answer().await?;
        ensure!(number == self.published, "message {number} was answered twice");
        Ok(answer)
    }

    /// Publishes a message that asks for no answer, or for one at `reply`, and waits until the server has read it.
    ///
    /// # Errors
    /// When the connection has ended, or the server complains of anything but the subject.
    pub async fn send(
        &mut self,
        subject: &str,
        reply: &str,
        headers: &[u8],
        payload: &[u8],
    ) -> Result<()> {
        self.add_with_reply(subject.as_bytes(), reply, headers, payload);
        self.out.extend_from_slice(b"PING\r\n");
        self.flush().await?;
        while self.read().await? != Reply::Pong {}
        Ok(())
    }

    async fn read(&mut self) -> Result<Reply> {
        loop {
            let line = self.line().await?;
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("PONG") => return Ok(Reply::Pong),
                Some("PING") => self.stream.get_mut().write_all(b"PONG\r\n").await?,
                Some("-ERR") if !line.ends_with(WARNING) => bail!("NATS complains: {line}"),
                Some(kind @ ("MSG" | "HMSG")) => {
                    let subject = words.next().unwrap_or_default().to_owned();
                    let mut size = || words.next_back().and_then(|size| size.parse().ok());
                    let total: usize = size().with_context(|| format!("no size in {line:?}"))?;
                    let head = if kind == "HMSG" { size().unwrap_or(0) } else { 0 };
                    ensure!(head <= total && total <= MOST, "sizes that cannot be: {line:?}");
                    let mut headers = vec![0; total + 2];
                    self.stream.read_exact(&mut headers).await?;
                    headers.truncate(total);
                    let payload = headers.split_off(head);
                    return Ok(Reply::Message { subject, headers, payload });
                }
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MOST as u64);
        let count = limited.read_until(b'\n', &mut line).await?;
        ensure!(count > 0, "NATS has closed the connection");
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Message { subject: String, headers: Vec<u8>, payload: Vec<u8> },
    Pong,
}

fn answer(subject: &str, headers: &[u8], payload: &[u8]) -> Result<(usize, PublishAnswer)> {
    let number = subject.rsplit('.').next().and_then(|number| number.parse().ok());
    let number = number.with_context(|| format!("an answer to {subject}"))?;
    if headers.starts_with(b"NATS/1.0 503") {
        return Ok((number, PublishAnswer::NoStream));
    }
    let text = String::from_utf8_lossy(payload);
    let ack: Ack =
        serde_json::from_slice(payload).with_context(|| format!("unreadable answer {text}"))?;
    let answer = match ack {
        Ack { error: None, seq: 1.. } => PublishAnswer::Stored(ack.seq),
        _ => PublishAnswer::Refused(text.into_owned()),
    };
    Ok((number, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nats;

    #[test]
    fn an_answer_is_the_number_in_its_subject_and_the_sequence_in_its_payload() {
        let ack = br#"{"stream":"LOSS","seq":7,"duplicate":true}"#;
        let stored = answer("_INBOX.raw0.42", b"", ack).unwrap();
        assert_eq!(stored, (42, PublishAnswer::Stored(7)));
        assert!(answer("_INBOX.raw0.x", b"", ack).is_err());
        let refusal = br#"{"error":{"code":503,"description":"no"},"stream":"LOSS","seq":0}"#;
        let (_, refused) = answer("_INBOX.raw0.1", b"", refusal).unwrap();
        assert!(matches!(refused, PublishAnswer::Refused(text) if text.contains("\"no\"")));
        let nobody = answer("_INBOX.raw0.1", b"NATS/1.0 503\r\n\r\n", b"").unwrap();
        assert_eq!(nobody, (1, PublishAnswer::NoStream));
        assert!(answer("_INBOX.raw0.1", b"", b"").is_err());
    }

    #[tokio::test]
    async fn a_warning_of_a_subject_is_not_the_answer_to_its_message() -> Result<()> {
        let nats = Nats::start().await?;
        let jetstream = async_nats::jetstream::new(nats.client().await?);
        let subjects = vec!["p.>".to_owned()];
        let config = async_nats::jetstream::stream::Config {
            name: "P".to_owned(),
            subjects,
            ..Default::default()
        };
        jetstream.create_stream(config).await?;
        let mut publisher = RawPublisher::connect(&nats.url()).await?;
        // The server warns of all of these, stores some, and answers each once.
        let (stored, none) = (PublishAnswer::Stored, PublishAnswer::NoStream);
        for (subject, expected) in [
            (&b"p.*.a"[..], stored(1)),
            (b"p..a", none.clone()),
            (b"p.>", stored(2)),
            (b"p.>.a", stored(3)),
            (b"q", none),
            (b"p.a", stored(4)),
        ] {
            let answer = publisher.publish(subject, b"NATS/1.0\r\n\r\n", b"1").await?;
            assert_eq!(answer, expected, "{}", subject.escape_ascii());
        }
        Ok(())
    }
}
