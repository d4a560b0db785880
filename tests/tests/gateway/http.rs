//! Requests written by hand, so that wrong ones can be sent too.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rig::SOON;

/// An answer, with its head as text.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (head, body) =
            text.split_once("\r\n\r\n").with_context(|| format!("no head in {text:?}"))?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let mut answer = Self { status, head: head.to_owned(), body: body.to_owned() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = dechunked(body)?;
        }
        Ok(answer)
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {self:?}"))
    }
}

/// A chunked body put together; an error if its end is missing.
fn dechunked(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (length, behind) = rest.split_once("\r\n").context("a chunk without a length")?;
        let length = usize::from_str_radix(length, 16)?;
        body += behind.get(..length).context("a chunk that breaks off")?;
        rest = behind.get(length..).and_then(|rest| rest.strip_prefix("\r\n")).context("no end")?;
        if length == 0 {
            return Ok(body);
        }
    }
}

/// `GET path`.
pub(super) async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
        .await
}

/// `GET path` with these lines in its head, on a connection that only the gateway ends.
pub(super) async fn ask(address: SocketAddr, path: &str, headers: &str) -> Result<Answer> {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n")).await
}

/// Sends a request as it stands and reads the answer to its end.
pub(super) async fn request(address: SocketAddr, request: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await.context("no end of the answer")??;
    Answer::parse(&String::from_utf8_lossy(&bytes))
}

/// An upgrade request with headers of the caller's choice on top of the usual ones.
pub(super) fn upgrade_request(more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// The same with more headers.
pub(super) async fn upgrade_refused(address: SocketAddr, more: &str) -> Result<Answer> {
    let closing =
        upgrade_request(more).replace("Connection: Upgrade", "Connection: Upgrade, close");
    request(address, &closing).await
}

/// Asks for an upgrade that is expected to be refused, on a connection that ends with the answer.
pub(super) async fn refused_upgrade(address: SocketAddr) -> Result<Answer> {
    upgrade_refused(address, "").await
}
