//! Controls: whatever of a running gateway acts on its live settings, and the one way to change them.
//!
//! A changed configuration is judged as a whole before anything of it is taken up: it can run, and only live fields
//! differ. Taking it up cannot fail. Nobody is disconnected for it, and no message waits for it longer than for any other.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use wsgateway_config::{ConfigError, GatewayConfig, SourceRate};
use wsgateway_runtime::{descriptors, logs};

use super::socket;
use crate::admission::Admission;
use crate::auth::Authentication;
use crate::budget::Budget;
use crate::encode::Rules;
use crate::guard::Levels;
use crate::history::{Bounds, History};
use crate::http::{Places, Site, Terms};
use crate::hub::Hub;
use crate::hub::shard::Settings;
use crate::hub::shard::handler::Handler;
use crate::limits::Limits;
use crate::metrics::PendingMetrics;
use crate::reload::{ConfigState, Given, ReloadMetrics};
use crate::time::unix_ms;
use crate::trace::Tracer;

/// Changes the settings that follow from a configuration, and says who acts on messages.
pub(crate) type Adapt = fn(Settings) -> (Settings, &'static dyn Handler);

/// Why a configuration was not taken up; what ran before goes on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It cannot run.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Fields differ that a running gateway cannot change.
    #[error("needs a new process, so that nothing of it was taken up: {}", .0.join(", "))]
    NeedsRestart(Vec<String>),
}

/// How the settings of shards follow from a configuration.
#[derive(Debug)]
pub(super) struct Recipe {
    pub adapt: Adapt,
    pub shards: usize,
    pub pod: String,
    /// Random number of this process.
    pub boot: u32,
    pub authentication: Authentication,
}

impl Recipe {
    pub(super) fn new(
        adapt: Adapt,
        shards: usize,
        pod: &str,
        authentication: &Authentication,
    ) -> Self {
        let (pod, authentication) = (pod.to_owned(), authentication.clone());
        Self { adapt, shards, pod, boot: fastrand::u32(..), authentication }
    }

    pub(super) fn settings(&self, config: &GatewayConfig) -> (Settings, &'static dyn Handler) {
        let mut settings = Settings::new(config, self.shards, &self.pod, self.boot);
        settings.guard = self.authentication.guard();
        settings.disconnects = self.authentication.disconnects();
        (self.adapt)(settings)
    }
}

/// What lets clients in: as many as are wanted and as there are file descriptors for.
#[derive(Debug)]
pub(super) struct Entrance {
    pub admission: Admission,
    pub places: Arc<Places>,
    /// Places of connections whose TLS handshake has not ended, where there is TLS.
    pub handshakes: Option<Arc<Places>>,
    pub limits: Limits,
    /// Of open files.
    limit: u64,
}

impl Entrance {
    pub(super) fn new(config: &GatewayConfig, registry: &Registry) -> prometheus::Result<Self> {
        let limit = descriptors::raise_limit();
        let (budget, fallbacks) = budget(config, limit);
        let metrics = PendingMetrics::register(registry)?;
        let metrics_tls = PendingMetrics::register_handshakes(registry)?;
        let keep_alive = config.listener.keep_alive.into();
        let (http, tls) = pending(config, &budget);
        let places = Places::new(http, keep_alive, metrics);
        let handshakes = (tls > 0).then(|| Places::new(tls, keep_alive, metrics_tls));
        let admission = Admission::new(budget.connections, fallbacks);
        let limits = Limits::new(&config.accepts);
        Ok(Self { admission, places, handshakes, limits, limit })
    }

    fn resize(&self, config: &GatewayConfig) {
        let (budget, fallbacks) = budget(config, self.limit);
        self.admission.resize(budget.connections, fallbacks);
        let (http, tls) = pending(config, &budget);
        let keep_alive = config.listener.keep_alive.into();
        self.places.resize(http, keep_alive);
        if let Some(handshakes) = &self.handshakes {
            handshakes.resize(tls, keep_alive);
        }
        self.limits.configure(&config.accepts);
    }
}

/// Places of pending connections for HTTP, and for TLS handshakes: a quarter where there are any. A handshake that waits
/// for its client holds ten times the memory of a request that does.
fn pending(config: &GatewayConfig, budget: &Budget) -> (usize, usize) {
    let tls = if config.listener.tls.is_some() { budget.pending / 4 } else { 0 };
    (budget.pending - tls, tls)
}

/// The budget, and how many of its connections may be event streams and long-polls.
fn budget(config: &GatewayConfig, limit: u64) -> (Budget, u32) {
    let (listener, capacity) = (&config.listener, &config.capacity);
    let has_fallbacks = listener.event_source || listener.long_poll;
    let fallbacks = if has_fallbacks { capacity.fallbacks() } else { 0 };
    let budget = Budget::new(limit, capacity.connections);
    budget.report(limit, capacity.connections);
    (budget, budget.share(fallbacks, capacity.connections))
}

/// How much the history keeps.
pub(super) fn bounds(config: &GatewayConfig) -> Bounds {
    let kept = &config.history;
    Bounds {
        messages: usize::try_from(kept.messages).unwrap_or(usize::MAX),
        bytes: usize::try_from(kept.bytes).unwrap_or(usize::MAX),
        age_ms: i64::try_from(kept.age.0).unwrap_or(i64::MAX),
    }
}

/// What steers the source.
#[derive(Debug)]
pub(super) struct Steer {
    /// How it encodes.
    pub rules: Rules,
    /// How much it takes from the stream.
    pub rates: watch::Sender<SourceRate>,
}

/// Everything that a changed configuration reaches.
#[derive(Debug)]
pub(super) struct Reached {
    pub recipe: Recipe,
    pub hub: Hub,
    pub entrance: Entrance,
    pub history: History,
    pub steer: Steer,
    pub site: Arc<Site>,
    /// The client port: connections inherit its options.
    pub port: TcpListener,
    pub metrics: ReloadMetrics,
    pub tracer: Tracer,
}

/// The controls of a gateway.
#[derive(Debug)]
pub(super) struct Controls {
    running: Mutex<GatewayConfig>,
    reached: Reached,
}

impl Controls {
    /// Of a gateway that runs with this configuration.
    pub(super) fn new(config: GatewayConfig, reached: Reached) -> Self {
        reached.metrics.applied(false, &reached.site.config.get());
        Self { running: Mutex::new(config), reached }
    }

    /// Takes up a configuration, or nothing of it. Returns the fields that changed.
    pub(super) fn reload(&self, given: Given) -> Result<Vec<String>, ReloadError> {
        // Held to the end, so that two changes cannot mix.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        given.config.check()?;
        let change = running.change_to(&given.config)?;
        if !change.restart.is_empty() {
            return Err(ReloadError::NeedsRestart(change.restart));
        }
        if !change.live.is_empty() {
            self.reached.apply(&given.config);
        }
        if running.tracing != given.config.tracing {
            self.reached.tracer.apply(&given.config, &self.reached.recipe.pod);
        }
        if running.log != given.config.log {
            logs::set_level(given.config.log.level.name());
        }
        let state = ConfigState::of(&given);
        self.reached.metrics.applied(!change.live.is_empty(), &state);
        self.reached.site.config.set(state);
        *running = given.config;
        Ok(change.live)
    }

    /// The time over which so many connections are handed over.
    pub(super) fn drain(&self, connections: u64) -> Duration {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.drain.window_for(connections).into()
    }

    /// Reports why the files are not what runs.
    pub(super) fn refuse(&self, problem: &str) {
        self.reached.metrics.refused();
        let site = &self.reached.site;
        site.config.set(site.config.get().with_problem(problem));
    }
}

impl Reached {
    /// Has each part act on the live settings of a configuration that can run.
    fn apply(&self, config: &GatewayConfig) {
        // Before those who use it.
        self.recipe.authentication.configure(config);
        self.entrance.resize(config);
        self.hub.configure(self.recipe.settings(config).0);
        let Steer { rules, rates } = &self.steer;
        rules.replace(&config.channels.rules);
        // Only a change ends what the source waits for.
        rates.send_if_modified(|rate| {
            std::mem::replace(rate, config.source_rate) != config.source_rate
        });
        self.site.terms.set(Terms::new(config, self.recipe.authentication.guard()));
        self.site.guards.set(Levels::of(&config.capacity));
        if let Err(error) = socket::set_patience(&self.port, socket::patience(config)) {
            tracing::warn!(%error, "new connections have the kernel's timeout of before");
        }
        // Last, since much may have to be dropped.
        self.history.set_bounds(bounds(config), unix_ms());
    }
}
