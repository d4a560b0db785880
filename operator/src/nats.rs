//! Connections to NATS, shared by all WsGateways that reach the same servers in the same way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::connection::State;
use wsgateway_nats::{Access, ConnectError, Failure, Notice, connect_while};

use crate::wake::{Name, Wake};

/// A connection that a WsGateway has not asked for in this time is none of its any more.
const IDLE: Duration = Duration::from_secs(600);
/// Where JetStream reports what happens to streams. Not everybody may listen there.
pub(crate) const ADVISORIES: &str = "$JS.EVENT.ADVISORY";

/// A connection and what is known about it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    known: Arc<Mutex<Known>>,
    /// With the last of these nobody uses the connection any more, and no further attempt is made.
    _wanted: Arc<Wanted>,
}

#[derive(Debug)]
struct Wanted;

/// What is known about a connection.
#[derive(Debug, Default)]
struct Known {
    trouble: Trouble,
    /// How often it has come up.
    ups: u64,
    /// Whether the server refused to let us hear JetStream's advisories since then.
    deaf: bool,
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
        lock(&self.known).trouble.clone()
    }

    /// Which connection this is, one after the other: what happened between two of them was not heard. `None` while there
    /// is none.
    pub(crate) fn up(&self) -> Option<u64> {
        self.is_up().then(|| lock(&self.known).ups)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Whether the server refuses to tell about streams.
    pub(crate) fn is_deaf(&self) -> bool {
        lock(&self.known).deaf
    }

    /// Whether both are the same connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.known, &other.known)
    }
}

/// The WsGateways that use a connection, and when each last asked for it.
type Users = Arc<Mutex<HashMap<Name, Instant>>>;

#[derive(Debug)]
struct Shared {
    link: Link,
    users: Users,
}

/// Connections by the way to make them.
#[derive(Debug)]
pub(crate) struct Links {
    wake: Wake,
    links: tokio::sync::Mutex<HashMap<Access, Shared>>,
}

impl Links {
    /// `wake` hears of those whose connection came up.
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
            let mut users = lock(&shared.users);
            users.retain(|one, asked| {
                (one != user || way == access) && now.saturating_duration_since(*asked) < IDLE
            });
            !users.is_empty()
        });
        if let Some(shared) = links.get(access) {
            lock(&shared.users).insert(user.clone(), now);
            return Ok(shared.link.clone());
        }
        let known = Arc::<Mutex<Known>>::default();
        let users: Users = Arc::new(Mutex::new([(user.clone(), now)].into()));
        let (noted, waiting, wake) = (Arc::clone(&known), Arc::clone(&users), self.wake.clone());
        let wanted = Arc::new(Wanted);
        let used = Arc::downgrade(&wanted);
        let is_wanted = move || used.strong_count() > 0;
        let told = move |notice| {
            let connected = notice == Notice::Connected;
            note(notice, &mut lock(&noted));
            if connected {
                // Only those who use it: one NATS that comes back is nothing to the others.
                lock(&waiting).keys().for_each(|user| wake.wake(user.clone()));
            }
        };
        let connection = connect_while(access, "wsgateway-operator", is_wanted, told);
        // Values do not change: another Secret makes another connection, so there is nothing to renew.
        let link = Link { client: connection.await?.client, known, _wanted: wanted };
        links.insert(access.clone(), Shared { link: link.clone(), users });
        Ok(link)
    }

    /// Forgets a WsGateway: connections that nobody else uses end.
    pub(crate) async fn leave(&self, user: &Name) {
        let mut links = self.links.lock().await;
        links.retain(|_, shared| {
            let mut users = lock(&shared.users);
            users.remove(user);
            !users.is_empty()
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(notice: Notice, known: &mut Known) {
    match notice {
        Notice::Connected => {
            tracing::info!("connected to NATS");
            *known = Known { ups: known.ups.wrapping_add(1), ..Known::default() };
        }
        Notice::Lost => tracing::warn!("disconnected from NATS"),
        Notice::LameDuck => tracing::info!("NATS is about to stop"),
        Notice::Failed(failure) => {
            if known.trouble.failure.as_ref() != Some(&failure) {
                tracing::warn!(reason = failure.kind.reason(), error = failure.message, "NATS");
            }
            known.trouble.failure = Some(failure);
        }
        // Not needed: streams are looked at more often then.
        Notice::Complaint(complaint) if complaint.to_ascii_uppercase().contains(ADVISORIES) => {
            tracing::debug!(complaint, "NATS does not tell what happens to streams");
            known.deaf = true;
        }
        Notice::Complaint(complaint) => {
            tracing::debug!(complaint, "NATS complains");
            known.trouble.complaint = Some(complaint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_advisory_is_no_complaint_and_is_forgotten_with_the_connection() {
        let mut known = Known::default();
        note(Notice::Connected, &mut known);
        let refused =
            format!("Permissions Violation for Subscription to \"{ADVISORIES}.STREAM.*.A\"");
        note(Notice::Complaint(refused), &mut known);
        assert!(known.deaf && known.trouble.complaint.is_none(), "{known:?}");
        note(Notice::Connected, &mut known);
        assert_eq!((known.ups, known.deaf), (2, false));
    }
}
