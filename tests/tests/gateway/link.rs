//! A cable between gateway and NATS that a test can cut.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards a port of its own to a server while it is whole.
pub(super) struct Link {
    pub address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Link {
    /// A whole link to a port of loopback.
    pub(super) async fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, port, state.clone()));
            }
        });
        Ok(Self { address, whole })
    }

    /// For the configuration of a gateway.
    pub(super) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Ends every connection and lets no new one through.
    pub(super) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub(super) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn forward(mut near: TcpStream, port: u16, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
