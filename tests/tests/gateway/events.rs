//! A client of event streams.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rig::{Rig, SOON};

/// An open event stream.
pub(super) struct Events {
    lines: BufReader<TcpStream>,
    /// Status line and headers.
    pub head: String,
}

/// An event, or what of one came without data.
#[derive(Debug, Default)]
pub(super) struct Event {
    pub id: String,
    pub kind: String,
    pub retry: String,
    pub data: String,
}

impl Event {
    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.data).with_context(|| format!("not JSON: {self:?}"))
    }
}

impl Events {
    pub(super) async fn open(rig: &Rig, query: &str, headers: &str) -> Result<Self> {
        Self::open_at(rig.client_addr, query, headers).await
    }

    pub(super) async fn open_at(address: SocketAddr, query: &str, headers: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /sse?{query} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut events = Self { lines: BufReader::new(stream), head: String::new() };
        loop {
            let line = events.line().await?;
            if line.is_empty() {
                break;
            }
            events.head += &line;
            events.head.push('\n');
        }
        ensure!(events.head.starts_with("HTTP/1.1 200"), "{}", events.head);
        Ok(events)
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read =
            timeout(SOON, self.lines.read_line(&mut line)).await.context("no line came")??;
        ensure!(read > 0, "the stream ended");
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Result<Event> {
        loop {
            let block = self.block().await?;
            if !block.data.is_empty() {
                return Ok(block);
            }
        }
    }

    /// The next fields up to an empty line; chunk lengths between the lines of a chunked body are passed over.
    pub(super) async fn block(&mut self) -> Result<Event> {
        let mut event = Event::default();
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", kind)) => event.kind = kind.to_owned(),
                Some(("retry", after)) => event.retry = after.to_owned(),
                Some(("data", data)) => event.data += data,
                _ if line.is_empty() && (!event.data.is_empty() || !event.id.is_empty()) => {
                    return Ok(event);
                }
                _ => {}
            }
        }
    }

    pub(super) async fn expect(&mut self, kind: &str) -> Result<Event> {
        let event = self.next().await?;
        ensure!(event.kind == kind, "expected {kind:?}, got {event:?}");
        Ok(event)
    }
}
