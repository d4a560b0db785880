//! One way to connect: returns at once, retries for ever, with a bounded and jittered delay.
//!
//! Credentials and certificates are read anew for each attempt, and a [`Renewal`] makes an attempt when they change.

pub(crate) mod failure;
mod renewal;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{AuthError, Client, ConnectOptions, Event, Server};

use crate::access::{Loaded, MaterialError};
use crate::{Access, Material, Tls};

pub use failure::{Failure, FailureKind};
pub use renewal::Renewal;

use failure::Told;

/// Longest pause between two attempts: a restarted server is found again within about this time.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// First pause; it doubles with each failed attempt.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// A dead connection without a TCP reset is noticed after two unanswered pings.
const PING: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a request, such as stream info.
const REQUEST: Duration = Duration::from_secs(5);

/// End of the message of a refusal whose cause we can see ourselves.
pub const EXPIRED: &str = "; its JWT has expired: have a new one made";

/// A connection is impossible, whatever the state of the servers.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The list of servers itself is wrong.
    #[error("cannot use the NATS servers {servers:?}: {source}; write them as nats://host:port")]
    Servers {
        /// The list.
        servers: Vec<String>,
        /// What the library says.
        source: async_nats::ConnectError,
    },
    /// An address in it cannot be read.
    #[error("cannot use the NATS servers {servers:?}: {source}; write them as nats://host:port")]
    Address {
        /// The list.
        servers: Vec<String>,
        /// What is wrong.
        source: std::io::Error,
    },
    /// Values that will not change by themselves, as files may, cannot be used.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A certificate and a key that TLS cannot use.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl ConnectError {
    /// Static reason, for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Servers { .. } | Self::Address { .. } => "ServersInvalid",
            Self::Material(_) | Self::Tls(_) => FailureKind::Credentials.reason(),
        }
    }
}

/// What there is to know of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is up.
    Connected,
    /// It was lost; another one is being made.
    Lost,
    /// An attempt failed; the next one follows by itself.
    Failed(Failure),
    /// The server is about to stop; the connection moves to another one, or comes back.
    LameDuck,
    /// A complaint of the server or of the client library, such as a permission that is missing.
    Complaint(String),
}

/// A connection that is being made, or is up.
#[derive(Debug)]
pub struct Connection {
    /// Requests wait for the connection, up to their own time-out.
    pub client: Client,
    /// To be run beside it where its credentials may change.
    pub renewal: Renewal,
}

/// Starts connecting and returns at once.
///
/// `name` shows up in the server's connection list. `on_notice` is told of everything that happens; it must not block.
///
/// # Errors
/// When no attempt can ever succeed. A server that is down, and a file that is missing, are tried again for ever.
pub async fn connect(
    access: &Access,
    name: &str,
    on_notice: impl Fn(Notice) + Send + Sync + 'static,
) -> Result<Connection, ConnectError> {
    connect_while(access, name, || true, on_notice).await
}

/// The same, until `is_wanted` says no: it is asked before each attempt, and then no other one follows. A client that is
/// dropped does not end attempts by itself.
///
/// # Errors
/// As [`connect`].
pub async fn connect_while(
    access: &Access,
    name: &str,
    is_wanted: impl Fn() -> bool + Send + Sync + 'static,
    on_notice: impl Fn(Notice) + Send + Sync + 'static,
) -> Result<Connection, ConnectError> {
    // Another provider may be there already: then that one serves.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let attempts = Attempts::new(access, Arc::new(on_notice));
    let options = authenticating(&attempts)
        .name(name)
        .retry_on_initial_connect()
        .connection_timeout(REQUEST)
        .request_timeout(Some(REQUEST))
        .ping_interval(PING)
        .reconnect_delay_callback(|attempts| delay(attempts, fastrand::f64()));
    let options = match &access.tls {
        Some(tls) => trusting(options, access, tls)?,
        None => options,
    };
    let options = if access.handshake_first { options.tls_first() } else { options };
    let options = match &access.inbox_prefix {
        Some(prefix) => options.custom_inbox_prefix(prefix),
        None => options,
    };
    let (watching, telling) = (attempts.clone(), attempts.clone());
    let is_wanted = Arc::new(is_wanted);
    let client = options
        .reconnect_to_server_callback(move |pool, _info| {
            let (attempts, is_wanted) = (watching.clone(), Arc::clone(&is_wanted));
            async move {
                if !is_wanted() {
                    // The library tries for ever; this ends its task, and nothing else.
                    std::panic::resume_unwind(Box::new(Unwanted));
                }
                attempts.begin(pool).await;
                // The library's own choice of a server.
                None
            }
        })
        .event_callback(move |event| {
            let attempts = telling.clone();
            async move { attempts.tell(event).await }
        })
        .connect(&access.servers)
        .await
        .map_err(|source| ConnectError::Servers { servers: access.servers.clone(), source })?;
    let renewal = Renewal::new(attempts, client.clone());
    Ok(Connection { client, renewal })
}

/// Why the task of a connection has ended.
struct Unwanted;

fn notice(event: Event) -> Option<Notice> {
    match event {
        Event::Connected => Some(Notice::Connected),
        Event::Disconnected => Some(Notice::Lost),
        Event::LameDuckMode => Some(Notice::LameDuck),
        Event::ServerError(error) => {
            let text = error.to_string();
            Some(Notice::Complaint(text.strip_prefix("nats: ").unwrap_or(&text).to_owned()))
        }
        Event::SlowConsumer(_) => Some(Notice::Complaint(event.to_string())),
        // Of a failed attempt it holds the kind alone; `Attempts` knows the cause.
        Event::ClientError(_) | Event::Draining | Event::Closed => None,
    }
}

fn authenticating(attempts: &Attempts) -> ConnectOptions {
    if attempts.access.auth.is_none() {
        return ConnectOptions::new();
    }
    let attempts = attempts.clone();
    ConnectOptions::with_auth_callback(move |nonce| {
        let attempts = attempts.clone();
        async move {
            let loaded = attempts.load().await.map_err(AuthError::new)?;
            attempts.used.store(loaded.fingerprint, Ordering::Relaxed);
            let proof = loaded.proof.ok_or_else(|| AuthError::new("there are no credentials"))?;
            proof.answer(&nonce).map(Into::into).map_err(AuthError::new)
        }
    })
}

/// Files are left to the library, which reads them for each attempt; values cannot change.
fn trusting(
    options: ConnectOptions,
    access: &Access,
    tls: &Tls,
) -> Result<ConnectOptions, ConnectError> {
    // The addresses that a cluster tells of are numbers, which its certificates need not know.
    let mut options = options.require_tls(true).ignore_discovered_servers();
    let values = [tls.ca.as_ref(), tls.client.as_ref().map(|(certificate, _)| certificate)];
    if values.into_iter().flatten().any(|one| matches!(one, Material::Value { .. })) {
        return Ok(options.tls_client_config(access.load()?.certificates.into_config()?));
    }
    if let Some(Material::File(ca)) = &tls.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((Material::File(certificate), Material::File(key))) = &tls.client {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// What is done around each attempt.
#[derive(Clone)]
struct Attempts {
    access: Arc<Access>,
    on_notice: Arc<dyn Fn(Notice) + Send + Sync>,
    told: Arc<Mutex<Told>>,
    /// Fingerprint of what the last attempt was made with; 0 when that is not known.
    used: Arc<AtomicU64>,
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempts").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Attempts {
    fn new(access: &Access, on_notice: Arc<dyn Fn(Notice) + Send + Sync>) -> Self {
        Self {
            access: Arc::new(access.clone()),
            on_notice,
            told: Arc::default(),
            used: Arc::default(),
        }
    }

    /// Before an attempt: tells why the last one failed, or why this one will.
    async fn begin(&self, pool: Vec<Server>) {
        let failure = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.newest(&pool, &self.access)
        };
        let failure = match self.load().await {
            Err(error) => Some(Failure {
                kind: FailureKind::Credentials,
                message: format!("cannot connect to NATS: {error}"),
            }),
            Ok(loaded) => {
                self.used.store(loaded.fingerprint, Ordering::Relaxed);
                failure.map(|failure| explained(failure, loaded.has_expired()))
            }
        };
        if let Some(failure) = failure {
            (self.on_notice)(Notice::Failed(failure));
        }
    }

    async fn tell(&self, event: Event) {
        let connected = event == Event::Connected;
        if let Some(notice) = notice(event) {
            (self.on_notice)(notice);
        }
        if connected && !self.load().await.is_ok_and(|now| now.fingerprint == self.used()) {
            // The library may have read certificates before or after they changed: only another connection is sure.
            self.used.store(0, Ordering::Relaxed);
        }
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Off this thread: a file system may hang.
    async fn load(&self) -> Result<Loaded, LoadError> {
        if self.access.auth.is_none() && self.access.tls.is_none() {
            return Ok(self.access.load()?);
        }
        let access = Arc::clone(&self.access);
        Ok(tokio::task::spawn_blocking(move || access.load()).await??)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error("reading the credentials was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// A refusal whose cause we can see ourselves: whether the JWT has `expired`.
pub(crate) fn explained(mut failure: Failure, expired: bool) -> Failure {
    if failure.kind == FailureKind::Authorization && expired {
        failure.message.push_str(EXPIRED);
    }
    failure
}

/// The pause before an attempt (1 = the first): doubling, bounded, and spread over its upper half by `jitter` (0 to 1),
/// so that the pods of a fleet do not knock at once.
pub(crate) fn delay(attempts: usize, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    if attempts <= 1 {
        return FIRST_DELAY.mul_f64(jitter);
    }
    let full = FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY);
    full.mul_f64(0.5 + 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stay_bounded() {
        assert_eq!(delay(1, 0.0), Duration::ZERO);
        assert_eq!(delay(2, 1.0), Duration::from_millis(100));
        assert_eq!(delay(3, 0.0), Duration::from_millis(100));
        for attempts in [10, 64, usize::MAX] {
            assert_eq!(delay(attempts, 1.0), LONGEST_DELAY);
            assert_eq!(delay(attempts, 0.0), LONGEST_DELAY / 2);
        }
    }
}
