//! Renews a connection when the files behind it change: a rotated Secret, a certificate made anew.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;

use super::Attempts;
use crate::Material;

/// The kubelet takes up to a minute to bring a changed Secret, so this adds nothing that anybody notices. Content is
/// compared: the kubelet swaps links, which tells a watcher of files nothing useful.
const LOOK: Duration = Duration::from_secs(2);

/// Keeps a connection at what its files say.
#[derive(Debug)]
#[must_use = "run it beside the connection, where its credentials may change"]
pub struct Renewal {
    attempts: Attempts,
    client: Client,
}

impl Renewal {
    pub(super) fn new(attempts: Attempts, client: Client) -> Self {
        Self { attempts, client }
    }

    /// Runs until dropped. A connection that is up is made anew when what it was made with has changed and can be used;
    /// what cannot be used is told in the log, and the connection goes on as long as the server lets it.
    pub async fn run(self) -> Infallible {
        if !self.attempts.access.materials().any(|one| matches!(one, Material::File(_))) {
            return std::future::pending().await;
        }
        let mut complained = None;
        loop {
            tokio::time::sleep(LOOK).await;
            if self.client.connection_state() != State::Connected {
                // The next attempt reads everything anyway.
                continue;
            }
            match self.attempts.load().await {
                Ok(loaded) => {
                    complained = None;
                    self.renew(loaded.fingerprint).await;
                }
                Err(error) => {
                    let error = error.to_string();
                    if complained.as_ref() != Some(&error) {
                        tracing::warn!(
                            error,
                            "changed NATS credentials cannot be used: the connection goes on with the former ones"
                        );
                        complained = Some(error);
                    }
                }
            }
        }
    }

    async fn renew(&self, found: u64) {
        // Swapped, so that one change makes one new connection even if that takes longer than a look.
        if self.attempts.used.swap(found, Ordering::Relaxed) == found {
            return;
        }
        tracing::info!("NATS credentials have changed: connecting anew");
        if self.client.force_reconnect().await.is_err() {
            tracing::debug!("the connection has ended");
        }
    }
}
