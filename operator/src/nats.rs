//! Connections to NATS, shared by all WsGateways that reach the same servers in the same way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use wsgateway_nats::{Access, ConnectError, Failure, Notice};

use crate::wake::{Name, Wake};

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

/// Who asked for a connection, and when.
type Users = Arc<Mutex<HashMap<Name, Instant>>>;

/// A connection, and whose it is.
#[derive(Debug)]
struct Shared {
    link: Link,
    users: Users,
}

/// Connections by the way to make them.
#[derive(Debug)]
pub(crate) struct Links {
    /// A connection that comes up wakes those who use it, and nobody else.
    wake: Wake,
    links: tokio::sync::Mutex<HashMap<Access, Shared>>,
}

impl Links {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { wake, links: tokio::sync::Mutex::default() }
    }

    /// The connection made this way, at the first call; it may not be up yet. A connection that `user` had another way,
    /// with the credentials before these, say, ends with its last user.
    pub(crate) async fn get(
        &self,
        user: &Name,
        access: &Access,
        now: Instant,
    ) -> Result<Link, ConnectError> {
        let mut links = self.links.lock().await;
        links.retain(|way, shared| {
            let mut users = locked(&shared.users);
            users.retain(|one, asked| {
                (one != user || way == access) && now.saturating_duration_since(*asked) < IDLE
            });
            !users.is_empty()
        });
        if let Some(shared) = links.get_mut(access) {
            locked(&shared.users).insert(user.clone(), now);
            return Ok(shared.link.clone());
        }
        let trouble = Arc::<Mutex<Trouble>>::default();
        let users: Users = Arc::new(Mutex::new([(user.clone(), now)].into()));
        let (noted, waiting, wake) = (Arc::clone(&trouble), Arc::clone(&users), self.wake.clone());
        let connection = wsgateway_nats::connect(access, "wsgateway-operator", move |notice| {
            if notice == Notice::Connected {
                locked(&waiting).keys().for_each(|user| wake.wake(user.clone()));
            }
            note(notice, &mut noted.lock().unwrap_or_else(PoisonError::into_inner));
        });
        // Values do not change: another Secret makes another connection, so there is nothing to renew.
        let link = Link { client: connection.await?.client, trouble };
        links.insert(access.clone(), Shared { link: link.clone(), users });
        Ok(link)
    }
}

fn locked(users: &Users) -> MutexGuard<'_, HashMap<Name, Instant>> {
    // Valid after any panic: each change is one operation.
    users.lock().unwrap_or_else(PoisonError::into_inner)
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
