//! Attacks by frames: half, broken, too many, too large.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use harness::{frame, head};
use tokio::time::sleep;

use super::Shared;
use super::socket::{Socket, TEXT};

/// Bytes of the largest command that the gateway takes by default.
const LIMIT: usize = 64 << 10;

/// What a bomb unfolds to (bytes); compressed it is below the limit.
const BOMB: usize = 60 << 20;

pub(super) async fn half_frame(shared: &Arc<Shared>) -> io::Result<()> {
    let mut socket = Socket::upgrade(shared, "", false).await?;
    let mut bytes = frame(TEXT, vec![b' '; LIMIT]);
    bytes.pop();
    socket.send(&bytes).await?;
    socket.drain().await
}

pub(super) async fn half_command(shared: &Arc<Shared>) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    let begin = format!("{{\"type\":\"subscribe\",\"channels\":[\"{}", "x".repeat(60_000));
    writer.send(&frame(0x01, begin)).await?;
    loop {
        sleep(Duration::from_secs(1)).await;
        writer.send(&frame(0x00, "x")).await?;
    }
}

pub(super) async fn byte_at_a_time(shared: &Arc<Shared>) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    let command = frame(TEXT, r#"{"type":"subscribe","channels":["slow.a","slow.*","slow.b"]}"#);
    loop {
        for byte in &command {
            writer.send(&[*byte]).await?;
            sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(super) async fn empty_fragments(shared: &Arc<Shared>) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    writer.send(&frame(0x01, "")).await?;
    let many = frame(0x00, "").repeat(500);
    loop {
        writer.send(&many).await?;
    }
}

/// Control frames, as fast as the socket takes them.
pub(super) async fn flood(shared: &Arc<Shared>, first: u8, payload: usize) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    let many = frame(first, vec![b'x'; payload]).repeat(200);
    loop {
        writer.send(&many).await?;
    }
}

pub(super) async fn bad_utf8(shared: &Arc<Shared>) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    let mut text = vec![b' '; LIMIT - 1];
    text.push(0xff);
    writer.send(&frame(TEXT, text)).await?;
    writer.ended().await;
    Ok(())
}

pub(super) async fn oversized(shared: &Arc<Shared>) -> io::Result<()> {
    let mut writer = Socket::upgrade(shared, "", false).await?.split();
    writer.send(&head(TEXT, 1 << 20)).await?;
    let part = vec![b'x'; LIMIT];
    for _ in 0..16 {
        writer.send(&part).await?;
    }
    writer.ended().await;
    Ok(())
}

pub(super) async fn bomb(shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    static SPACES: LazyLock<Vec<u8>> = LazyLock::new(|| deflated(BOMB).unwrap_or_default());
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut writer = Socket::upgrade(shared, offer, false).await?.split();
    let bytes = match number % 3 {
        0 | 1 => SPACES.clone(),
        // Not deflate at all.
        _ => (0..LIMIT - 1).map(|_| fastrand::u8(..)).collect(),
    };
    // Final text frame with RSV1.
    writer.send(&frame(0xc1, bytes)).await?;
    writer.ended().await;
    Ok(())
}

/// So many spaces, compressed.
fn deflated(bytes: usize) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let part = vec![b' '; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&part)?;
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_bomb_is_small_enough_to_be_taken() {
        assert!((1_000..super::LIMIT).contains(&super::deflated(super::BOMB).unwrap().len()));
    }
}
