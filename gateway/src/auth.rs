//! Who may come in: the verifier of the configuration that runs, and the keys that it verifies with.
//!
//! In: the configuration, and files with keys, which are read again and again. Out: a [`Verifier`] that the client port and
//! the shards share, or none while nobody has to say who they are. What must hold: keys that cannot be read do not replace
//! those that could be, and nothing of a key is in a log.

mod files;
mod metrics;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use wsgateway_access::{Keys, Verifier};
use wsgateway_config::GatewayConfig;

use files::KeyFiles;
pub(crate) use metrics::AuthMetrics;

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
    pub metrics: AuthMetrics,
}

/// What runs while the configuration asks clients who they are.
#[derive(Debug)]
struct Running {
    verifier: Arc<Verifier>,
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
        if running.as_ref().is_some_and(|running| running.verifier.auth() == auth) {
            return;
        }
        let connections = config.capacity.connections as usize;
        let cache = (connections * CACHE_PER_CONNECTION).clamp(LEAST_CACHE, MOST_CACHE);
        let verifier = Arc::new(Verifier::new(auth, cache));
        let mut fresh = Running { verifier, files: KeyFiles::new(&auth.jwt.keys) };
        fresh.poll(&self.metrics);
        *running = Some(fresh);
    }

    /// What verifies tokens, if clients have to show any.
    pub(crate) fn verifier(&self) -> Option<Arc<Verifier>> {
        self.lock().as_ref().map(|running| Arc::clone(&running.verifier))
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
                running.poll(&self.metrics);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // Every change of it is complete before anything can panic.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Reads the files, and verifies with what is in them.
    fn poll(&mut self, metrics: &AuthMetrics) {
        if self.files.poll() {
            let keys = self.keys();
            tracing::info!(keys = keys.len(), "keys of tokens were read");
            self.verifier.set_keys(keys);
        }
        metrics.keys(Some(&self.status()));
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
