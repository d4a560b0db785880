//! A client of an earlier system: no subprotocol, JSON in text frames; and GET, for their health checks.

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::SOON;

pub(super) struct Earlier(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Earlier {
    /// `page` is the URL of the page with a slash at its end.
    pub(super) async fn connect(page: &str, path_and_query: &str) -> Result<Self> {
        let url = format!("{}{path_and_query}", page.replace("http://", "ws://"));
        Ok(Self(timeout(SOON, connect_async(url)).await.context("no upgrade")??.0))
    }

    pub(super) async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// The next text.
    pub(super) async fn next(&mut self) -> Result<Value> {
        loop {
            let frame = timeout(SOON, self.0.next()).await.context("nothing arrived")?;
            match frame.context("the connection ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(close) => bail!("closed: {close:?}"),
                _ => {} // pings are answered by the library
            }
        }
    }

    /// Closes with 1000, and returns the answer's code.
    pub(super) async fn close(mut self) -> Result<u16> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "Test complete".into() };
        self.0.close(Some(frame)).await?;
        loop {
            let frame = timeout(SOON, self.0.next()).await.context("no close frame")?;
            if let Message::Close(close) = frame.context("ended without a close frame")?? {
                return Ok(close.context("a close frame without a code")?.code.into());
            }
        }
    }
}

/// The JSON that a plain GET gets.
pub(super) async fn get(page: &str, path: &str) -> Result<Value> {
    let host = page.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.context("no answer")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    serde_json::from_str(body).with_context(|| format!("not JSON: {head}\n{body}"))
}
