//! Connections to NATS, shared by all WsGateways that reach the same servers in the same way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use tokio::sync::watch;
use wsgateway_nats::{Access, ConnectError, Failure, Notice};

/// A connection that a WsGateway has not asked for in this time is none of its any more.
const IDLE: Duration = Duration::from_secs(600);

/// A connection and the last trouble on it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    trouble: Arc<Mutex<Trouble>>,
}

/// What there is to say about a connection since it last came up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// Why there is none.
    pub(crate) failure: Option<Failure>,
    /// What the server complained about, such as a missing permission.
    pub(crate) complaint: Option<String>,
}

impl Link {
    /// What happened since the connection last came up.
    pub(crate) fn trouble(&self) -> Trouble {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A connection, and who asked for it when.
#[derive(Debug)]
struct Shared {
    link: Link,
    users: HashMap<String, Instant>,
}

/// Connections by the way to make them.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Counts connections that came up: whoever waits for NATS looks again then.
    connected: watch::Sender<u64>,
    links: tokio::sync::Mutex<HashMap<Access, Shared>>,
}

impl Links {
    /// Changes whenever a connection comes up.
    pub(crate) fn connected(&self) -> watch::Receiver<u64> {
        self.connected.subscribe()
    }

    /// The connection made this way, at the first call; it may not be up yet. A connection that `user` had another way,
    /// with the credentials before these, say, ends with its last user.
    pub(crate) async fn get(
        &self,
        user: &str,
        access: &Access,
        now: Instant,
    ) -> Result<Link, ConnectError> {
        let mut links = self.links.lock().await;
        links.retain(|way, shared| {
            let users = &mut shared.users;
            users.retain(|one, asked| {
                (one != user || way == access) && now.saturating_duration_since(*asked) < IDLE
            });
            !users.is_empty()
        });
        if let Some(shared) = links.get_mut(access) {
            shared.users.insert(user.to_owned(), now);
            return Ok(shared.link.clone());
        }
        let trouble = Arc::<Mutex<Trouble>>::default();
        let (noted, connected) = (Arc::clone(&trouble), self.connected.clone());
        let connection = wsgateway_nats::connect(access, "wsgateway-operator", move |notice| {
            if notice == Notice::Connected {
                connected.send_modify(|times| *times = times.wrapping_add(1));
            }
            note(notice, &mut noted.lock().unwrap_or_else(PoisonError::into_inner));
        });
        // Values do not change: another Secret makes another connection, so there is nothing to renew.
        let link = Link { client: connection.await?.client, trouble };
        let users = [(user.to_owned(), now)].into();
        links.insert(access.clone(), Shared { link: link.clone(), users });
        Ok(link)
    }
}

fn note(notice: Notice, trouble: &mut Trouble) {
    match notice {
        Notice::Connected => {
            tracing::info!("connected to NATS");
            *trouble = Trouble::default();
        }
        Notice::Lost => tracing::warn!("disconnected from NATS"),
        Notice::LameDuck => tracing::info!("NATS is about to stop"),
        Notice::Failed(failure) => {
            if trouble.failure.as_ref() != Some(&failure) {
                tracing::warn!(reason = failure.kind.reason(), failure.message, "NATS");
            }
            trouble.failure = Some(failure);
        }
        Notice::Complaint(complaint) => {
            tracing::debug!(complaint, "NATS complains");
            trouble.complaint = Some(complaint);
        }
    }
}
