//! Attacks before an upgrade, or without one.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::Shared;
use super::socket::Socket;

/// Requests sent at once on one connection.
const PIPELINE: usize = 8;

/// Bytes of channels in a query.
const QUERY: usize = 6_000;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: hostile\r\n\r\n")
}

pub(super) async fn silent(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    Socket::connect(shared, number, false).await?.drain().await
}

pub(super) async fn half_head(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let mut writer = Socket::connect(shared, number, false).await?.split();
    writer.send(b"GET /ws HTTP/1.1\r\nHost: hostile\r\nX-Slow: ").await?;
    loop {
        writer.send(b"x").await?;
        sleep(Duration::from_secs(1)).await;
    }
}

pub(super) async fn keep_alive(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let mut socket = Socket::connect(shared, number, false).await?;
    socket.send(get("/health").as_bytes()).await?;
    socket.drain().await
}

/// Half of them are gone with a FIN, the others with a RST.
pub(super) async fn storm(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let socket = Socket::upgrade(shared, "", false).await?;
    if number.is_multiple_of(2) {
        SockRef::from(&socket.stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

pub(super) async fn hammer(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let mut writer = Socket::connect(shared, number, false).await?.split();
    let requests = ["/health", "/stats", "/"].map(get).concat().repeat(PIPELINE);
    loop {
        // The answers that are not read yet bound how many there are.
        writer.send(requests.as_bytes()).await?;
    }
}

pub(super) async fn event_stream(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let mut socket = Socket::connect(shared, number, true).await?;
    let mut channels = "%3E".to_owned();
    while channels.len() < QUERY {
        channels += &format!(",hoard.{number}.{}", fastrand::u32(..));
    }
    socket.send(get(&format!("/sse?channels={channels}&snapshot=true")).as_bytes()).await?;
    if socket.head().await? != 200 {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    loop {
        let mut bytes = [0; 64];
        if socket.stream.read(&mut bytes).await? == 0 {
            return Ok(());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

pub(super) async fn long_poll(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    let mut socket = Socket::connect(shared, number, false).await?;
    let path = format!("/poll?channels=hoard.{number}");
    socket.send(get(&path).as_bytes()).await?;
    if socket.head().await? != 200 {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    let mut bytes = vec![0; 16 << 10];
    let count = socket.stream.read(&mut bytes).await?;
    let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned();
    let cursor = text.split("\"cursor\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let cursor = cursor.ok_or(ErrorKind::InvalidData)?;
    socket.send(get(&format!("{path}&cursor={cursor}&wait=55")).as_bytes()).await?;
    socket.drain().await
}
