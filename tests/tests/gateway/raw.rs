//! A client made of bytes: it can break every rule.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
pub(super) use harness::{frame, head};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::upgrade_request;
use super::rig::SOON;

/// First byte of a final text frame.
pub(super) const TEXT: u8 = 0x81;

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub opcode: u8,
    /// Whether the payload is deflate data.
    pub compressed: bool,
    pub payload: Vec<u8>,
}

/// An upgraded connection.
pub(super) struct Raw {
    stream: TcpStream,
    /// Head of the answer to the upgrade.
    pub head: String,
}

impl Raw {
    /// Upgrades and reads the greeting.
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_with(address, &[]).await
    }

    /// Sends bytes right behind the upgrade request, in the same segment.
    pub(super) async fn connect_with(address: SocketAddr, early: &[u8]) -> Result<Self> {
        Self::greeted(Self::upgrade(address, "", early).await?).await
    }

    /// Adds header lines to the upgrade request.
    pub(super) async fn connect_asking(address: SocketAddr, headers: &str) -> Result<Self> {
        Self::greeted(Self::upgrade(address, headers, &[]).await?).await
    }

    async fn greeted(mut raw: Self) -> Result<Self> {
        let hello = raw.json().await?;
        ensure!(hello["type"] == "connection:established", "greeting {hello}");
        Ok(raw)
    }

    /// Upgrades, and reads nothing behind the answer.
    pub(super) async fn upgrade(address: SocketAddr, headers: &str, early: &[u8]) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&[upgrade_request(headers).as_bytes(), early].concat()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(SOON, stream.read_u8()).await.context("no answer to the upgrade")??);
        }
        let head = String::from_utf8_lossy(&head);
        ensure!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
        // The answer to the key of RFC 6455, section 1.3.
        ensure!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "wrong accept key: {head}");
        Ok(Self { stream, head: head.into_owned() })
    }

    /// Writes bytes; a server that hangs up in between is not this function's business.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// Writes one byte per segment.
    pub(super) async fn write_slowly(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write(std::slice::from_ref(byte)).await;
            // Let the byte leave before the next one is written.
            tokio::task::yield_now().await;
        }
    }

    /// Ends the sending half.
    pub(super) async fn finish(&mut self) -> Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// The next frame, or None at the end of the stream.
    pub(super) async fn frame(&mut self) -> Result<Option<Frame>> {
        timeout(SOON, self.read_frame()).await.context("no frame arrived")?
    }

    async fn read_frame(&mut self) -> Result<Option<Frame>> {
        let Ok(first) = self.stream.read_u8().await else { return Ok(None) };
        ensure!(first & 0x80 != 0, "a fragment, which the gateway never sends");
        let length = match self.stream.read_u8().await? {
            length @ 0..=125 => u64::from(length),
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            _ => bail!("a masked frame from the server"),
        };
        let mut payload = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut payload).await?;
        Ok(Some(Frame { opcode: first & 0x0f, compressed: first & 0x40 != 0, payload }))
    }

    /// The next frame, which must be JSON text.
    pub(super) async fn json(&mut self) -> Result<Value> {
        let frame = self.frame().await?.context("the connection ended")?;
        ensure!(frame.opcode == 1, "not a text frame: {frame:?}");
        Ok(serde_json::from_slice(&frame.payload)?)
    }

    /// Reads to the end: the code of the close frame, if there was one.
    pub(super) async fn close_code(&mut self) -> Result<Option<u16>> {
        let mut code = None;
        while let Some(frame) = self.frame().await? {
            ensure!(code.is_none(), "{frame:?} after the close frame");
            if let (8, Some(bytes)) = (frame.opcode, frame.payload.first_chunk()) {
                code = Some(u16::from_be_bytes(*bytes));
            }
        }
        Ok(code)
    }
}
