//! Attacks by commands that are right.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use harness::frame;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::Shared;
use super::socket::{Socket, TEXT};

/// Between two commands: nearly as fast as the gateway allows by default (10 a second).
const PACE: Duration = Duration::from_millis(110);

/// Subscriptions of one connection, as many as the gateway allows by default.
const MOST: usize = 128;

/// Tokens of the deepest pattern that fits into the longest name.
pub(crate) const DEPTH: usize = 127;

/// The longest name (bytes).
const LONGEST: usize = 255;

/// Channels of one character in a command of nearly 64 KiB.
const CROWD: usize = 16_200;

fn command(value: &Value) -> Vec<u8> {
    frame(TEXT, value.to_string())
}

fn subscribe(channels: &[String]) -> Vec<u8> {
    command(&json!({ "type": "subscribe", "channels": channels }))
}

fn unsubscribe(channels: &[String]) -> Vec<u8> {
    command(&json!({ "type": "unsubscribe", "channels": channels }))
}

/// Subscribes and unsubscribes other channels all the time.
async fn in_turn(
    shared: &Arc<Shared>,
    mut channels: impl FnMut() -> Vec<String>,
) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    loop {
        let names = channels();
        writer.send(&subscribe(&names)).await?;
        sleep(PACE).await;
        writer.send(&unsubscribe(&names)).await?;
        sleep(PACE).await;
    }
}

pub(super) async fn deep_patterns(shared: &Arc<Shared>) -> io::Result<()> {
    let pattern = || {
        let token = |_| if fastrand::bool() { "*" } else { "a" };
        (0..DEPTH).map(token).collect::<Vec<_>>().join(".")
    };
    in_turn(shared, || (0..MOST).map(|_| pattern()).collect()).await
}

pub(super) async fn long_names(shared: &Arc<Shared>) -> io::Result<()> {
    let name = || format!("{:0>width$x}", fastrand::u128(..), width = LONGEST);
    in_turn(shared, || (0..MOST).map(|_| name()).collect()).await
}

pub(super) async fn churn(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let mut round = 0_u64;
    in_turn(shared, || {
        round += 1;
        (0..MOST).map(|each| format!("churn.{number}.{each}.{}", round % 7)).collect()
    })
    .await
}

pub(super) async fn crowded(shared: &Arc<Shared>) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    let names = |_| char::from(fastrand::u8(b'a'..=b'z')).to_string();
    let channels: Vec<String> = (0..CROWD).map(names).collect();
    let bytes = subscribe(&channels);
    loop {
        writer.send(&bytes).await?;
        sleep(PACE).await;
    }
}

/// The whole stream, each time as soon as the last time is over.
pub(super) async fn replays(shared: &Arc<Shared>) -> io::Result<()> {
    let mut socket = Socket::upgrade(shared, "", false).await?;
    let epoch = epoch(&mut socket).await?;
    let ask = command(&whole(&epoch));
    again(socket, &ask).await
}

pub(super) async fn snapshots(shared: &Arc<Shared>) -> io::Result<()> {
    let socket = Socket::upgrade(shared, "", false).await?;
    again(socket, &command(&json!({ "type": "subscribe", "channels": [">"], "snapshot": true })))
        .await
}

/// A subscription to everything, from the first message on.
pub(super) fn whole(epoch: &str) -> Value {
    json!({ "type": "subscribe", "channels": [">"], "resume": { "epoch": epoch, "offset": 1 } })
}

/// The name of the stream, from the greeting.
pub(super) async fn epoch(socket: &mut Socket) -> io::Result<String> {
    let greeting = until(socket, b"\"epoch\":\"").await?;
    let mut epoch = greeting.rsplit("\"epoch\":\"").next().unwrap_or_default().to_owned();
    while !epoch.ends_with('"') {
        epoch.push(char::from(socket.stream.read_u8().await?));
    }
    epoch.pop();
    Ok(epoch)
}

/// Asks, reads until everything has come, and asks again.
async fn again(mut socket: Socket, ask: &[u8]) -> io::Result<()> {
    loop {
        socket.send(ask).await?;
        skip_until(&mut socket, b"\"type\":\"live\"").await?;
        socket.send(&unsubscribe(&[">".to_owned()])).await?;
        sleep(PACE).await;
    }
}

/// Reads byte by byte up to and with some text that comes soon.
async fn until(socket: &mut Socket, text: &[u8]) -> io::Result<String> {
    let mut heard = Vec::new();
    while !heard.ends_with(text) {
        if heard.len() > 4 << 10 {
            return Err(ErrorKind::InvalidData.into());
        }
        heard.push(socket.stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// Reads in large pieces until some text has come.
async fn skip_until(socket: &mut Socket, text: &[u8]) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    let mut kept = 0;
    loop {
        let count = match socket.stream.read(bytes.get_mut(kept..).unwrap_or_default()).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => kept + count,
        };
        let heard = bytes.get(..count).unwrap_or_default();
        if heard.windows(text.len()).any(|window| window == text) {
            return Ok(());
        }
        // The text may be cut by the end of a piece.
        kept = (text.len() - 1).min(count);
        bytes.copy_within(count - kept..count, 0);
    }
}
