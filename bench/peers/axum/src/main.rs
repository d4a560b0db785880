//! axum's WebSocket and one `tokio::sync::broadcast` channel: a task per connection, which sends what it receives.
//!
//! The text is shared (`Utf8Bytes`), not copied per connection; TCP_NODELAY is set, as with every peer. axum's
//! buffers are at their defaults.

use std::error::Error;

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use axum::serve::ListenerExt;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, error::RecvError};

/// Messages that a connection may lag behind before it misses some.
const CAPACITY: usize = 1_024;

const GREETING: &str = r#"{"type":"connection:established"}"#;
const ACKNOWLEDGEMENT: &str = r#"{"type":"subscription_ack"}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sender, _) = broadcast::channel::<Utf8Bytes>(CAPACITY);
    let nats = async_nats::connect(std::env::var("NATS_URL")?).await?;
    let mut messages = nats.subscribe("bench.price").await?;
    nats.flush().await?;
    let publisher = sender.clone();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            if let Ok(text) = Utf8Bytes::try_from(message.payload) {
                // An error means that nobody is connected.
                publisher.send(text).ok();
            }
        }
    });
    let upgrade = move |upgrade: WebSocketUpgrade| {
        let receiver = sender.subscribe();
        async move { upgrade.on_upgrade(move |socket| serve(socket, receiver)) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, Router::new().route("/ws", any(upgrade))).await?)
}

async fn serve(socket: WebSocket, mut messages: broadcast::Receiver<Utf8Bytes>) {
    let (mut sink, mut stream) = socket.split();
    if sink.send(Message::Text(GREETING.into())).await.is_err() {
        return;
    }
    loop {
        let sent = tokio::select! {
            message = messages.recv() => match message {
                Ok(text) => sink.send(Message::Text(text)).await,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            // Pings are answered while reading. Everybody gets everything: what a client subscribes to is not read.
            received = stream.next() => match received {
                Some(Ok(Message::Text(_))) => sink.send(Message::Text(ACKNOWLEDGEMENT.into())).await,
                Some(Ok(_)) => continue,
                _ => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}
