//! Servers of a few lines, whose connections behave one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Between two segments of a slow server.
const PACE: Duration = Duration::from_millis(20);

/// The other side of a connection.
pub(super) struct Peer {
    socket: WebSocketStream<TcpStream>,
}

/// How a connection behaves.
pub(super) type Behaviour = Arc<dyn Fn(Peer) -> BoxFuture<'static, ()> + Send + Sync>;

pub(super) fn behaviour<F>(run: impl Fn(Peer) -> F + Send + Sync + 'static) -> Behaviour
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |peer| Box::pin(run(peer)))
}

pub(super) fn message(n: i64) -> Value {
    json!({ "type": "message", "channel": "a", "offset": n, "prev": n - 1, "ts": 1, "data": { "n": n } })
}

impl Peer {
    pub(super) async fn send(&mut self, frame: Value) {
        self.text(frame.to_string()).await;
    }

    /// A client that has gone is noticed when it is read from.
    pub(super) async fn text(&mut self, text: impl Into<String>) {
        let _ = self.socket.send(Message::text(text.into())).await;
    }

    pub(super) async fn greet(&mut self) {
        let greeting = json!({ "type": "connection:established", "epoch": "e", "pod": "p" });
        self.send(greeting).await;
    }

    /// The next command; null when the client has gone.
    pub(super) async fn command(&mut self) -> Value {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(_)) => {}
                _ => return Value::Null,
            }
        }
    }

    /// Takes a subscribe and answers it; returns the command.
    pub(super) async fn acknowledge(&mut self, offset: i64) -> Value {
        let command = self.command().await;
        let mut answer = json!({
            "type": "subscription_ack", "id": command["id"], "subscribed": command["channels"], "offset": offset,
        });
        if command.get("resume").is_some() {
            answer["recovered"] = true.into();
        }
        self.send(answer).await;
        command
    }

    pub(super) async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = self.socket.close(Some(frame)).await;
    }

    /// Until the client has gone, and answers nothing.
    pub(super) async fn wait(mut self) {
        while !self.command().await.is_null() {}
    }

    /// Until the client has gone, and shows that the line is alive.
    pub(super) async fn stay(mut self) {
        while !self.command().await.is_null() {
            self.text(r#"{"type":"pong"}"#).await;
        }
    }
}

/// Greets, acknowledges, and sends the first message.
pub(super) fn good() -> Behaviour {
    behaviour(async |mut peer: Peer| {
        peer.greet().await;
        peer.acknowledge(0).await;
        peer.send(message(1)).await;
        peer.stay().await;
    })
}

#[expect(clippy::result_large_err, reason = "the callback's type")]
fn with_protocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let name = HeaderValue::from_static("wsgateway.v1");
    response.headers_mut().insert("sec-websocket-protocol", name);
    Ok(response)
}

/// A server whose connections behave one after the other; the last one for good.
pub(super) async fn serve(behaviours: Vec<Behaviour>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let count = AtomicUsize::new(0);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let n = count.fetch_add(1, Ordering::Relaxed).min(behaviours.len() - 1);
            let behaviour = Arc::clone(&behaviours[n]);
            tokio::spawn(async move {
                if let Ok(socket) = accept_hdr_async(socket, with_protocol).await {
                    behaviour(Peer { socket }).await;
                }
            });
        }
    });
    url
}

/// A server that answers every connection with these bytes, and may then hang.
pub(super) async fn answer(bytes: &'static [u8], hang: bool) -> String {
    segments(vec![bytes], hang).await
}

/// A server that answers every connection with these bytes, a segment each, and may then hang.
pub(super) async fn segments(parts: Vec<&'static [u8]>, hang: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let parts = parts.clone();
            tokio::spawn(async move {
                socket.set_nodelay(true).unwrap();
                let mut request = vec![0; 4096];
                let _ = socket.read(&mut request).await;
                for part in parts {
                    let _ = socket.write_all(part).await;
                    // A slow server: the client reads one segment before the next one is sent.
                    tokio::time::sleep(PACE).await;
                }
                while hang && socket.read(&mut request).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    url
}
