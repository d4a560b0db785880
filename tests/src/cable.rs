//! A cable to a server on loopback that a test can cut: from then on nothing is forwarded and nothing is said of it.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards a port of its own to a server while it is whole.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Cable {
    /// A whole cable to a server.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, state.clone()));
            }
        });
        Ok(Self { address, whole })
    }

    /// Where its near end is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections stay open, new ones too, and nothing gets through.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// New connections get through again. Those from before are reset: what was on its way in them is lost.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, server: SocketAddr, mut whole: watch::Receiver<bool>) {
    if *whole.borrow_and_update() {
        let Ok(mut far) = TcpStream::connect(server).await else { return };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
            _ = whole.wait_for(|whole| !whole) => {}
        }
        // Both ends stay open, with what they have not read.
        drop(whole.wait_for(|whole| *whole).await);
        return;
    }
    drop(whole.wait_for(|whole| *whole).await);
}
