//! A client of long-polls that keeps its connection.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rig::SOON;

/// An HTTP connection.
pub(super) struct Poller {
    stream: BufReader<TcpStream>,
    /// Head of the last answer, in small letters.
    pub head: String,
}

impl Poller {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(address).await?), head: String::new() })
    }

    /// Sends a request for this path, with more lines in its head.
    pub(super) async fn ask(&mut self, path: &str, headers: &str) -> Result<()> {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n")).await
    }

    pub(super) async fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.get_mut().write_all(text.as_bytes()).await?)
    }

    /// Asks, and reads the answer.
    pub(super) async fn poll(&mut self, query: &str) -> Result<Value> {
        self.ask(&format!("/poll?{query}"), "").await?;
        self.answer().await
    }

    /// The cursor of this moment.
    pub(super) async fn begin(&mut self, channels: &str) -> Result<String> {
        cursor(&self.poll(&format!("channels={channels}")).await?)
    }

    /// The next answer, of known length or in chunks.
    pub(super) async fn answer(&mut self) -> Result<Value> {
        timeout(SOON, self.read_answer()).await.context("no answer")?
    }

    async fn read_answer(&mut self) -> Result<Value> {
        self.head.clear();
        while !self.head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut self.head).await?;
            ensure!(read > 0, "the connection ended behind {:?}", self.head);
        }
        self.head.make_ascii_lowercase();
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = Vec::new();
        match length.map(str::parse).transpose()? {
            Some(length) => {
                body.resize(length, 0);
                self.stream.read_exact(&mut body).await?;
            }
            None => while self.chunk(&mut body).await? {},
        }
        Ok(serde_json::from_slice(&body)?)
    }

    async fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim_end(), 16).context("no chunk")?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).await?;
        body.extend_from_slice(&chunk[..length]);
        Ok(length > 0)
    }

    /// Everything up to the end of the connection.
    pub(super) async fn until_closed(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        timeout(SOON, self.stream.read_to_end(&mut bytes)).await.context("no end")??;
        Ok(String::from_utf8(bytes)?)
    }

    /// Whether the last answer says that the connection ends with it.
    pub(super) fn is_last(&self) -> bool {
        self.head.contains("connection: close\r\n")
    }
}

/// The cursor of an answer.
pub(super) fn cursor(answer: &Value) -> Result<String> {
    Ok(answer["cursor"].as_str().with_context(|| format!("no cursor: {answer}"))?.to_owned())
}
