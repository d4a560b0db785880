//! Connections to NATS, shared by all WsGateways that name the same servers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, ClientError, Event, ServerError};
use tokio::sync::watch;
use wsgateway_nats::ConnectError;

/// A connection that no WsGateway has used for this long is closed.
const IDLE: Duration = Duration::from_secs(600);

/// A connection and the last trouble that the server reported on it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Link {
    /// What the server complained about since it last connected: permissions, credentials, an address without a server.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Connections by their list of servers.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Counts connections that came up: whoever waits for NATS looks again then.
    connected: watch::Sender<u64>,
    links: tokio::sync::Mutex<HashMap<Vec<String>, (Link, Instant)>>,
}

impl Links {
    /// Changes whenever a connection comes up.
    pub(crate) fn connected(&self) -> watch::Receiver<u64> {
        self.connected.subscribe()
    }

    /// The connection to these servers, made at the first call. It may not be up yet.
    pub(crate) async fn get(&self, servers: &[String], now: Instant) -> Result<Link, ConnectError> {
        let mut links = self.links.lock().await;
        links.retain(|_, (_, used)| now.saturating_duration_since(*used) < IDLE);
        if let Some((link, used)) = links.get_mut(servers) {
            *used = now;
            return Ok(link.clone());
        }
        let trouble = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&trouble);
        let connected = self.connected.clone();
        let client = wsgateway_nats::connect(servers, "wsgateway-operator", move |event| {
            let mut trouble = noted.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::Connected => {
                    tracing::info!("connected to NATS");
                    *trouble = None;
                    connected.send_modify(|times| *times = times.wrapping_add(1));
                }
                Event::Disconnected => tracing::warn!("disconnected from NATS"),
                Event::ServerError(ServerError::Other(text))
                | Event::ClientError(ClientError::Other(text)) => {
                    tracing::debug!(%text, "NATS reports trouble");
                    *trouble = Some(text);
                }
                Event::ServerError(error) => *trouble = Some(error.to_string()),
                _ => {}
            }
        })
        .await?;
        let link = Link { client, trouble };
        links.insert(servers.to_vec(), (link.clone(), now));
        Ok(link)
    }
}
