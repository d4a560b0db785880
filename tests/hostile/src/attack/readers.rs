//! Clients that ask for everything and read next to nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use harness::frame;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::commands::{epoch, whole};
use super::socket::{Socket, TEXT};

/// How long a client holds out without reading; by then it should have been closed.
const HOLD: Duration = Duration::from_secs(20);

async fn asked(shared: &Arc<Shared>) -> io::Result<Socket> {
    let mut socket = Socket::upgrade(shared, "", true).await?;
    let epoch = epoch(&mut socket).await?;
    socket.send(&frame(TEXT, whole(&epoch).to_string())).await?;
    Ok(socket)
}

pub(super) async fn never(shared: &Arc<Shared>) -> io::Result<()> {
    let socket = asked(shared).await?;
    sleep(HOLD).await;
    // Now reads how it ended, if it has.
    timeout(Duration::from_secs(1), socket.drain()).await.unwrap_or(Ok(()))
}

pub(super) async fn drip(shared: &Arc<Shared>) -> io::Result<()> {
    let mut socket = asked(shared).await?;
    loop {
        socket.stream.read_u8().await?;
        sleep(Duration::from_secs(1)).await;
    }
}
