//! A NATS client made of bytes: it publishes what no library lets through.
//!
//! In: messages with any subject and any header block. Out: JetStream's acknowledgements, by the number that their reply
//! subject carries.

use std::io;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest line or payload that is read (bytes): nothing that comes to this client is longer.
const MOST: usize = 1 << 20;

/// A connection that hears the acknowledgements of what it publishes.
#[derive(Debug)]
pub struct Raw {
    stream: BufReader<TcpStream>,
    inbox: String,
    out: Vec<u8>,
}

/// JetStream's answer to a message.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    error: Option<serde_json::Value>,
}

impl Raw {
    /// Connects to `nats://HOST:PORT` and subscribes to its own inbox.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn connect(url: &str) -> Result<Self> {
        let address = url.trim_start_matches("nats://");
        let stream = TcpStream::connect(address).await.context("cannot connect to NATS")?;
        stream.set_nodelay(true)?;
        let inbox = format!("_INBOX.raw{:016x}", fastrand::u64(..));
        let mut raw = Self { stream: BufReader::new(stream), inbox, out: Vec::new() };
        raw.out.extend_from_slice(
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":false}\r\n",
        );
        let subscribe = format!("SUB {}.* 1\r\n", raw.inbox);
        raw.out.extend_from_slice(subscribe.as_bytes());
        raw.flush().await?;
        Ok(raw)
    }

    /// Adds a message to what is sent by the next [`Raw::flush`]. `headers` is the whole block as it stands on the wire,
    /// ended by an empty line.
    pub fn add(&mut self, subject: &[u8], number: usize, headers: &[u8], payload: &[u8]) {
        let sizes = (headers.len(), headers.len() + payload.len());
        self.out.extend_from_slice(b"HPUB ");
        self.out.extend_from_slice(subject);
        let rest = format!(" {}.{number} {} {}\r\n", self.inbox, sizes.0, sizes.1);
        self.out.extend_from_slice(rest.as_bytes());
        self.out.extend_from_slice(headers);
        self.out.extend_from_slice(payload);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends what was added.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.stream.get_mut().write_all(&out).await
    }

    /// Waits for the next acknowledgement: the number of its message, and the offset.
    ///
    /// # Errors
    /// When the connection is over, or JetStream refuses a message.
    pub async fn acknowledgement(&mut self) -> Result<(usize, u64)> {
        loop {
            let line = self.line().await?;
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("MSG") => {
                    let subject = words.next().unwrap_or_default().to_owned();
                    let size = words.next_back().and_then(|size| size.parse().ok()).unwrap_or(0);
                    let payload = self.payload(size).await?;
                    return answer(&subject, &payload);
                }
                Some("PING") => self.stream.get_mut().write_all(b"PONG\r\n").await?,
                Some("-ERR") => bail!("NATS refuses: {line}"),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MOST as u64);
        let count = limited.read_until(b'\n', &mut line).await?;
        anyhow::ensure!(count > 0, "NATS has closed the connection");
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn payload(&mut self, size: usize) -> Result<Vec<u8>> {
        anyhow::ensure!(size <= MOST, "an answer of {size} bytes");
        let mut payload = vec![0; size + 2];
        self.stream.read_exact(&mut payload).await?;
        payload.truncate(size);
        Ok(payload)
    }
}

fn answer(subject: &str, payload: &[u8]) -> Result<(usize, u64)> {
    let number = subject.rsplit('.').next().and_then(|number| number.parse().ok());
    let number = number.with_context(|| format!("an answer to {subject}"))?;
    let text = String::from_utf8_lossy(payload);
    let answer: Answer =
        serde_json::from_slice(payload).with_context(|| format!("unreadable answer {text}"))?;
    anyhow::ensure!(answer.error.is_none() && answer.seq > 0, "JetStream refuses: {text}");
    Ok((number, answer.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_number_in_its_subject_and_the_offset_in_its_payload() {
        let ack = br#"{"stream":"LOSS","seq":7,"duplicate":true}"#;
        assert_eq!(answer("_INBOX.raw0.42", ack).unwrap(), (42, 7));
        assert!(answer("_INBOX.raw0.x", ack).is_err());
        let refusal = br#"{"error":{"code":503,"description":"no"},"stream":"LOSS","seq":0}"#;
        assert!(answer("_INBOX.raw0.1", refusal).is_err());
        assert!(answer("_INBOX.raw0.1", b"").is_err());
    }
}
