//! Who may come in: the verifier of the configuration that runs, and the keys that it verifies with.
//!
//! In: the configuration, and files with keys, which are read again and again. Out: a [`Guard`] that the client port and
//! the shards share, or none while nobody has to say who they are. What must hold: keys that cannot be read do not replace
//! those that could be, and nothing of a key is in a log.

mod files;
mod metrics;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use wsgateway_access::{Grant, Keys, RefusedToken, Verifier};
use wsgateway_config::GatewayConfig;
use wsgateway_proto::handshake::Token;

use crate::time::unix_ms_u64;
use files::KeyFiles;
use metrics::AuthMetrics;

/// How often files with keys are read.
const POLL: Duration = Duration::from_secs(2);

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
}

/// Verifies tokens, and counts what becomes of them.
#[derive(Debug)]
pub(crate) struct Guard {
    verifier: Verifier,
    pub metrics: AuthMetrics,
}

/// What runs while the configuration asks clients who they are.
#[derive(Debug)]
struct Running {
    guard: Arc<Guard>,
    files: KeyFiles,
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
        let authentication = Self { running: Arc::default(), metrics };
        authentication.configure(config);
        Ok(authentication)
    }

    /// Takes up a configuration. One with the same `auth` changes nothing, so that what was verified stays known.
    pub(crate) fn configure(&self, config: &GatewayConfig) {
        let mut running = self.lock();
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
        let guard = Arc::new(Guard { verifier, metrics });
        let mut fresh = Running { guard, files: KeyFiles::new(&auth.jwt.keys) };
        fresh.poll();
        *running = Some(fresh);
    }

    /// What verifies tokens, if clients have to show any.
    pub(crate) fn guard(&self) -> Option<Arc<Guard>> {
        self.lock().as_ref().map(|running| Arc::clone(&running.guard))
    }

    /// The keys of the moment, while clients have to show tokens.
    pub(crate) fn status(&self) -> Option<KeysStatus> {
        self.lock().as_ref().map(Running::status)
    }

    /// Reads the files with keys until cancelled.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + POLL, POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Some(running) = &mut *self.lock() {
                running.poll();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // Every change of it is complete before anything can panic.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// What clients without a token get, if they may come.
    pub(crate) fn anonymous(&self) -> Option<Arc<Grant>> {
        self.verifier.anonymous().cloned()
    }

    /// Whether there is any key.
    pub(crate) fn has_keys(&self) -> bool {
        self.verifier.has_keys()
    }

    /// What a token grants now.
    ///
    /// # Errors
    /// Why it grants nothing; that is not counted yet.
    pub(crate) fn verify(&self, token: &Token) -> Result<Arc<Grant>, RefusedToken> {
        let verified = self.verifier.verify(token.as_str(), unix_ms_u64())?;
        self.metrics.verified(&verified);
        Ok(verified.grant)
    }
}

impl Running {
    /// Reads the files, and verifies with what is in them.
    fn poll(&mut self) {
        if self.files.poll() {
            let keys = self.keys();
            tracing::info!(keys = keys.len(), "keys of tokens were read");
            self.guard.verifier.set_keys(keys);
        }
        self.guard.metrics.keys(Some(&self.status()));
    }

    fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        self.files.good().for_each(|good| keys.extend(good.clone()));
        keys
    }

    fn status(&self) -> KeysStatus {
        KeysStatus { keys: self.keys().len(), problems: self.files.problems() }
    }
}

#[cfg(test)]
mod tests;
