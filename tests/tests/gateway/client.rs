//! A client of another implementation: tokio-tungstenite, and JSON values.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::rig::SOON;

/// A connection that has been greeted.
pub(super) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// The `connection:established` push.
    pub hello: Value,
}

impl Client {
    /// Connects to `/ws` and reads the greeting.
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_over(TcpStream::connect(address).await?).await
    }

    /// The same over a TCP connection with options of the test's own.
    pub(super) async fn connect_over(stream: TcpStream) -> Result<Self> {
        let mut client = Self::open(stream, "/ws", Some("wsgateway.v1")).await?;
        client.hello = client.next().await?;
        ensure!(client.hello["type"] == "connection:established", "greeting {}", client.hello);
        Ok(client)
    }

    /// Connects on a path and in a protocol, if any; reads nothing.
    pub(super) async fn open(
        stream: TcpStream,
        path: &str,
        protocol: Option<&'static str>,
    ) -> Result<Self> {
        stream.set_nodelay(true)?;
        let url = format!("ws://{}{path}", stream.peer_addr()?);
        let mut request = url.into_client_request()?;
        if let Some(name) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(name));
        }
        let (socket, response) = timeout(SOON, client_async(request, stream)).await??;
        ensure!(response.status() == 101, "status {}", response.status());
        let agreed = response.headers().get("sec-websocket-protocol");
        ensure!(agreed.map(HeaderValue::as_bytes) == protocol.map(str::as_bytes), "{agreed:?}");
        Ok(Self { socket, hello: Value::Null })
    }

    /// The stream's epoch as the greeting told it.
    pub(super) fn epoch(&self) -> &str {
        self.hello["epoch"].as_str().unwrap_or_default()
    }

    /// Sends a command.
    pub(super) async fn send(&mut self, command: &Value) -> Result<()> {
        self.send_text(&command.to_string()).await
    }

    /// Sends commands in one write.
    pub(super) async fn send_at_once(&mut self, commands: &[Value]) -> Result<()> {
        for command in commands {
            self.socket.feed(Message::text(command.to_string())).await?;
        }
        Ok(self.socket.flush().await?)
    }

    /// Sends a text.
    pub(super) async fn send_text(&mut self, text: &str) -> Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Subscribes and returns the acknowledgement, which must be the next push.
    pub(super) async fn subscribe(&mut self, channels: &[&str]) -> Result<Value> {
        self.send(&json!({ "type": "subscribe", "id": 1, "channels": channels })).await?;
        let ack = self.next().await?;
        ensure!(ack["type"] == "subscription_ack", "not an acknowledgement: {ack}");
        Ok(ack)
    }

    /// The text of the next text message.
    pub(super) async fn text(&mut self) -> Result<String> {
        // Pings are no sign of what is waited for.
        let end = Instant::now() + SOON;
        loop {
            let message = timeout_at(end, self.socket.next()).await.context("nothing arrived")?;
            match message.context("the connection ended")?? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(Some(close)) => {
                    bail!("closed with {}: {}", u16::from(close.code), close.reason)
                }
                Message::Close(None) => bail!("closed without a code"),
                _ => {} // pings are answered by the library
            }
        }
    }

    /// The next push.
    pub(super) async fn next(&mut self) -> Result<Value> {
        let text = self.text().await?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// The next push, which must be of a type; the ends of replays are passed over, unless they are asked for.
    pub(super) async fn expect(&mut self, kind: &str) -> Result<Value> {
        let mut push = self.next().await?;
        while push["type"] == "live" && kind != "live" {
            push = self.next().await?;
        }
        ensure!(push["type"] == kind, "expected {kind}, got {push}");
        Ok(push)
    }

    /// Messages up to and including the first one on `channel`, which is left out.
    pub(super) async fn messages_until(&mut self, channel: &str) -> Result<Vec<Value>> {
        let mut messages = Vec::new();
        loop {
            let message = self.expect("message").await?;
            if message["channel"] == channel {
                return Ok(messages);
            }
            messages.push(message);
        }
    }

    /// Everything up to the close frame, and its code.
    pub(super) async fn until_closed(&mut self) -> Result<(Vec<Value>, u16)> {
        let (mut pushes, end) = (Vec::new(), Instant::now() + SOON);
        loop {
            // Pings are no sign of the end.
            let message = timeout_at(end, self.socket.next()).await;
            let message = message.with_context(|| format!("not closed after {pushes:?}"))?;
            match message.context("the connection ended without a close frame")?? {
                Message::Text(text) => pushes.push(serde_json::from_str(&text)?),
                Message::Close(close) => {
                    return Ok((
                        pushes,
                        close.context("a close frame without a code")?.code.into(),
                    ));
                }
                _ => {}
            }
        }
    }

    /// Closes with 1000 and reads the answer's code.
    pub(super) async fn close(mut self) -> Result<u16> {
        use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        let bye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.close(Some(bye)).await?;
        Ok(self.until_closed().await?.1)
    }
}

/// What a message says, as one comparable value: offset, channel, prev, data.
pub(super) fn essence(message: &Value) -> (u64, String, u64, Value) {
    let number = |field: &str| message[field].as_u64().unwrap_or(u64::MAX);
    let channel = message["channel"].as_str().unwrap_or_default().to_owned();
    (number("offset"), channel, number("prev"), message["data"].clone())
}
