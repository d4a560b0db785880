//! Who may come in: the verifier of the configuration that runs, and the keys that it verifies with.
//!
//! In: the configuration, and files with keys, which are read again and again. Out: a [`Guard`] that the client port and
//! the shards share, or none while nobody has to say who they are. What must hold: keys that cannot be read do not replace
//! those that could be, and nothing of a key is in a log.

mod fetch;
mod files;
mod metrics;
mod remote;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wsgateway_access::{Grant, Keys, RefusedToken, Verifier};
use wsgateway_config::{GatewayConfig, Jwks};
use wsgateway_proto::handshake::Token;

use crate::disconnects::{Banned, Disconnects};
use crate::swap::Swap;
use crate::time::unix_ms_u64;
use crate::users::{Policy, UserFull, UserPlace, Users};
use files::KeyFiles;
pub(crate) use metrics::AuthMetrics;
use remote::Remote;

/// How often files with keys are read.
const POLL: Duration = Duration::from_secs(2);

/// How often it is looked whether an issuer is to be asked.
const LOOK: Duration = Duration::from_secs(1);

/// Memory for verified tokens, a connection: a token of usual length and what it grants.
const CACHE_PER_CONNECTION: usize = 2 << 10;

/// Least and most of it altogether.
const LEAST_CACHE: usize = 1 << 20;
const MOST_CACHE: usize = 64 << 20;

/// The authentication of a gateway. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Authentication {
    running: Arc<Mutex<Option<Running>>>,
    metrics: AuthMetrics,
    users: Users,
    disconnects: Arc<Swap<Disconnects>>,
}

/// Verifies tokens, and counts what becomes of them and of their users.
#[derive(Debug)]
pub(crate) struct Guard {
    verifier: Verifier,
    pub metrics: AuthMetrics,
    users: Users,
    disconnects: Arc<Swap<Disconnects>>,
    /// Whether an issuer has not answered yet, which may know keys that nobody knows here.
    waits: AtomicBool,
    /// Rung for each token with a key that is not known.
    unknown: Notify,
}

/// What runs while the configuration asks clients who they are.
#[derive(Debug)]
struct Running {
    guard: Arc<Guard>,
    files: KeyFiles,
    remote: Option<Remote>,
}

/// The keys, for /status.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeysStatus {
    /// How many there are.
    pub keys: usize,
    /// Files, or the address, whose keys are not those that they say now, and why.
    pub problems: Vec<String>,
}

impl Authentication {
    /// Authentication as configured; files with keys are read before it returns.
    pub(crate) fn new(config: &GatewayConfig, registry: &Registry) -> prometheus::Result<Self> {
        let metrics = AuthMetrics::register(registry)?;
        let users = Users::new(0, Policy::RejectNew);
        let disconnects = Arc::new(Swap::new(Disconnects::default()));
        let authentication = Self { running: Arc::default(), metrics, users, disconnects };
        authentication.configure(config);
        Ok(authentication)
    }

    /// Takes up a configuration. One with the same `auth` changes nothing, so that what was verified stays known.
    pub(crate) fn configure(&self, config: &GatewayConfig) {
        let mut running = self.lock();
        let capacity = &config.capacity;
        let above = capacity.above_connections_per_user.into();
        self.users.set(capacity.connections_per_user, above);
        self.disconnects.set(Disconnects::new(&config.disconnects));
        self.metrics.disconnects(config.disconnects.len());
        let Some(auth) = &config.auth else {
            *running = None;
            return self.metrics.keys(None);
        };
        if running.as_ref().is_some_and(|running| running.guard.verifier.auth() == auth) {
            return;
        }
        let connections = config.capacity.connections as usize;
        let cache = (connections * CACHE_PER_CONNECTION).clamp(LEAST_CACHE, MOST_CACHE);
        let (verifier, metrics) = (Verifier::new(auth, cache), self.metrics.clone());
        let users = self.users.clone();
        let jwks = auth.jwt.jwks.as_ref();
        let waits = AtomicBool::new(jwks.is_some());
        let disconnects = Arc::clone(&self.disconnects);
        let unknown = Notify::new();
        let guard = Arc::new(Guard { verifier, metrics, users, disconnects, waits, unknown });
        let remote = jwks.map(|jwks| Remote::new(jwks, Instant::now()));
        let mut fresh = Running { guard, files: KeyFiles::new(&auth.jwt.keys), remote };
        fresh.poll();
        *running = Some(fresh);
    }

    /// The connections of users.
    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// Who is disconnected.
    pub(crate) fn disconnects(&self) -> Arc<Disconnects> {
        self.disconnects.get()
    }

    /// What verifies tokens, if clients have to show any.
    pub(crate) fn guard(&self) -> Option<Arc<Guard>> {
        self.lock().as_ref().map(|running| Arc::clone(&running.guard))
    }

    /// The keys of the moment, while clients have to show tokens.
    pub(crate) fn status(&self) -> Option<KeysStatus> {
        self.lock().as_ref().map(Running::status)
    }

    /// Reads the files with keys, and asks for those at an address, until cancelled.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        let both = async { tokio::join!(self.watch_files(), self.watch_address()) };
        stop.run_until_cancelled(both).await;
    }

    async fn watch_files(&self) {
        loop {
            tokio::time::sleep(POLL).await;
            if let Some(running) = &mut *self.lock() {
                running.poll();
            }
        }
    }

    /// Apart from the files, which must not wait for an issuer.
    async fn watch_address(&self) {
        loop {
            // Held by nobody while an answer is awaited.
            let due = self.lock().as_mut().and_then(Running::begin);
            if let Some((guard, jwks)) = due {
                let answer = fetch::fetch(&jwks).await;
                if let Some(running) = &mut *self.lock()
                    && Arc::ptr_eq(&running.guard, &guard)
                {
                    running.end(answer);
                }
            }
            let guard = self.guard();
            let unknown = async {
                match &guard {
                    Some(guard) => guard.unknown.notified().await,
                    None => std::future::pending().await,
                }
            };
            let wait = tokio::time::timeout(LOOK, unknown).await;
            if wait.is_ok()
                && let Some(Running { remote: Some(remote), .. }) = &mut *self.lock()
            {
                remote.want(Instant::now());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // Every change of it is complete before anything can panic.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// The name of the cookie that may hold a token.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.verifier.auth().jwt.cookie.as_deref()
    }

    /// What clients without a token get, if they may come.
    pub(crate) fn anonymous(&self) -> Option<Arc<Grant>> {
        self.verifier.anonymous().cloned()
    }

    /// Whether a token that is refused may be good: its key may not be here yet.
    pub(crate) fn may_know_later(&self, refused: RefusedToken) -> bool {
        refused == RefusedToken::UnknownKey
            && (self.waits.load(Ordering::Relaxed) || !self.verifier.has_keys())
    }

    /// Counts a connection for the user of a grant, if it has one and there is a limit.
    ///
    /// # Errors
    /// The user has as many as may be.
    pub(crate) fn count(&self, grant: &Grant) -> Result<Option<UserPlace>, UserFull> {
        grant.user.as_deref().map_or(Ok(None), |user| self.users.enter(user))
    }

    /// Whether the holder of a grant is kept out now.
    pub(crate) fn ban(&self, grant: &Grant) -> Option<Banned> {
        self.disconnects.with(|disconnects| disconnects.ban(grant, unix_ms_u64()))
    }

    /// What a token grants now.
    ///
    /// # Errors
    /// Why it grants nothing; that is not counted yet.
    pub(crate) fn verify(&self, token: &Token) -> Result<Arc<Grant>, RefusedToken> {
        let verified =
            self.verifier.verify(token.as_str(), unix_ms_u64()).inspect_err(|refused| {
                if *refused == RefusedToken::UnknownKey {
                    self.unknown.notify_one();
                }
            })?;
        self.metrics.verified(&verified);
        Ok(verified.grant)
    }
}

impl Running {
    /// Reads the files, and verifies with what is in them.
    fn poll(&mut self) {
        let changed = self.files.poll();
        self.take_up(changed);
    }

    /// What to ask an issuer now, if it is time.
    fn begin(&mut self) -> Option<(Arc<Guard>, Jwks)> {
        let remote = self.remote.as_mut()?;
        remote.begin(Instant::now()).then(|| (Arc::clone(&self.guard), remote.jwks.clone()))
    }

    /// Takes an issuer's answer.
    fn end(&mut self, answer: Result<Vec<u8>, String>) {
        self.guard.metrics.fetched(answer.is_ok());
        let Some(remote) = &mut self.remote else { return };
        let changed = remote.end(answer, Instant::now());
        self.guard.waits.store(remote.good().is_none(), Ordering::Relaxed);
        self.take_up(changed);
    }

    fn take_up(&self, changed: bool) {
        if changed {
            let keys = self.keys();
            tracing::info!(keys = keys.len(), "keys of tokens were read");
            self.guard.verifier.set_keys(keys);
        }
        self.guard.metrics.keys(Some(&self.status()));
    }

    fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        let published = self.remote.as_ref().and_then(Remote::good);
        self.files.good().chain(published).for_each(|good| keys.extend(good.clone()));
        keys
    }

    fn status(&self) -> KeysStatus {
        let mut problems = self.files.problems();
        problems.extend(self.remote.as_ref().and_then(Remote::problem));
        KeysStatus { keys: self.keys().len(), problems }
    }
}

#[cfg(test)]
mod tests;
