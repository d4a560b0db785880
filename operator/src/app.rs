//! The program without its process: tests run the real thing in theirs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client};
use prometheus::Registry;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wsgateway_runtime::admin::{self, AdminError, AdminServer};
use wsgateway_runtime::readiness::{Gate, Readiness};

use crate::Options;
use crate::build::NetworkRules;
use crate::children::{self, Children, Writers};
use crate::context::Context;
use crate::controller::{self, Triggers};
use crate::disruptions::Ledger;
use crate::election::{self, Elector, Lead, NoElector, Waited};
use crate::events::Events;
use crate::fleet::{self, Pace, Pods};
use crate::identity::Identity;
use crate::inventory::{self, Follower, Inventory};
use crate::kinds::Kind;
use crate::metrics::{Meters, Metrics, Requests};
use crate::metrics_api::{MetricsApi, Registered};
use crate::rollout::Turns;
use crate::scope::Scope;
use crate::stream::Records;
use crate::wake::wakes;
use crate::{discovery, nats};

/// Reconciliations that still run after this long are abandoned: each of their steps may be repeated.
const LAST_WORK: Duration = Duration::from_secs(10);

/// A connection to the API server on which nothing has come for so long is dead: watches end a little earlier.
const SILENCE: Duration = Duration::from_secs(300);

/// Why the operator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cluster to talk to.
    #[error("cannot find a cluster: {0}; set KUBECONFIG, or run in a pod with a service account")]
    Cluster(Box<dyn std::error::Error + Send + Sync>),
    /// The admin port.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The port of the metrics for autoscalers.
    #[error("cannot listen on {address} for --metrics-api: {source}")]
    MetricsApi {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Two metrics of one name.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Options that exclude each other, or mean nothing.
    #[error("{0}")]
    Options(String),
}

/// How the operator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The Lease is lost: another operator may lead, so this one writes nothing any more. The process has to end; what it
    /// held in memory is of the time before.
    LeaseLost,
}

/// A client for the cluster that KUBECONFIG or the pod's service account names.
///
/// # Errors
/// When neither does.
pub async fn client() -> Result<Client, StartError> {
    // Another provider may be there already: then that one serves.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cluster = |error: Box<dyn std::error::Error + Send + Sync>| StartError::Cluster(error);
    let mut config = kube::Config::infer().await.map_err(|error| cluster(Box::new(error)))?;
    config.read_timeout = Some(SILENCE);
    Client::try_from(config).map_err(|error| cluster(Box::new(error)))
}

/// An operator that has its ports and has not begun.
pub struct App {
    registry: Registry,
    admin: AdminServer,
    triggers: Triggers,
    context: Arc<Context>,
    elector: Option<Elector>,
    beside: Beside,
    watching: Gate,
    metrics_api: Option<MetricsApi>,
}

/// What the tasks beside the controller are given.
struct Beside {
    scope: Scope,
    kinds: watch::Sender<BTreeSet<Kind>>,
    writers: Writers,
}

/// Binds the admin port and sets up the watches.
///
/// # Errors
/// When the port is taken, or the options mean nothing.
pub fn start(options: Options, client: Client) -> Result<App, StartError> {
    let scope =
        Scope::new(&options.namespaces).map_err(|error| StartError::Options(error.to_string()))?;
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let ledger = Ledger::new(Meters::new(&registry)?);
    let client = Requests::new(&registry)?.around(client);
    let readiness = Readiness::new();
    let watching = readiness.gate("watch");
    let home = home(&options, &client);
    let (elector, lead) = if options.election.leader_elect {
        // The Lease is what gives the right to write: it is written without the fence.
        let leases = Api::namespaced(client.clone(), &home);
        let reached = readiness.gate("lease");
        let leading = metrics.leader().clone();
        let (elector, lead) = Elector::new(leases, &options.election, leading, reached)?;
        (Some(elector), lead)
    } else {
        metrics.leader().set(1);
        (None, Lead::alone())
    };
    let (plain, client) = (client.clone(), election::fenced(client, lead.clone()));
    let (registered, known_registered) = watch::channel(Registered::default());
    let ((kinds, known), (wake, wakes)) = (watch::channel(BTreeSet::new()), wakes());
    let triggers = controller::triggers(&client, &options, &scope, &known, (wakes, &metrics));
    let (children, writers) = children::empty();
    let turns = Turns::new(options.rollouts_at_once.get().into(), turns_settle(&options));
    let pods = Arc::new(Pods::new(pace(&options)));
    let fared = metrics.by_gateway(&registry, &pods, &triggers.gateways)?;
    let admin = admin::serve(options.admin, registry.clone(), readiness, axum::Router::new())?;
    let context = Arc::new(Context {
        events: Events::new(client.clone()),
        links: nats::Links::new(wake.clone()),
        records: Records::default(),
        wake,
        identity: Identity::new(options.cluster.as_deref()),
        client,
        lead,
        network: network_rules(&options, home.clone()),
        children,
        metrics,
        gateways: triggers.gateways.clone(),
        inventory: Arc::new(Inventory::default()),
        pods,
        registered: known_registered,
        listed: OnceCell::new(),
        kinds: known,
        written: crate::apply::Written::default(),
        configs: crate::configs::Looks::default(),
        spread: crate::live::Spread::default(),
        disconnects: crate::disconnects::Reported::default(),
        backoff: crate::backoff::Backoff::default(),
        turns,
        ledger,
        fared,
        options,
    });
    let address = context.options.metrics_api.metrics_api_address;
    let metrics_api = MetricsApi::bind(&context, plain, home, registered)
        .map_err(|source| StartError::MetricsApi { address, source })?;
    let beside = Beside { scope, kinds, writers };
    Ok(App { registry, admin, triggers, context, elector, beside, watching, metrics_api })
}

fn seconds(seconds: NonZeroU32) -> Duration {
    Duration::from_secs(u64::from(seconds.get()))
}

/// By then all WsGateways that wait have asked.
fn turns_settle(options: &Options) -> Duration {
    (2 * seconds(options.resync_seconds)).min(Duration::from_secs(30))
}

fn pace(options: &Options) -> Pace {
    Pace { poll: seconds(options.poll_seconds), numbers: seconds(options.numbers_seconds) }
}

/// Watches and asks beside the controller, each in a task of its own, until the set is dropped.
fn beside(context: &Arc<Context>, given: Beside) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let follower = Follower {
        client: context.client.clone(),
        scope: given.scope.clone(),
        inventory: Arc::clone(&context.inventory),
        wake: context.wake.clone(),
        watches: context.metrics.watches().clone(),
    };
    let Children { deployments, autoscalers, .. } = context.children.clone();
    let writers = given.writers;
    tasks.spawn(inventory::deployments(follower.clone(), deployments, writers.deployments));
    tasks.spawn(inventory::autoscalers(follower.clone(), autoscalers, writers.autoscalers));
    for kind in Kind::BUILT_IN {
        if !matches!(kind, Kind::Deployment | Kind::HorizontalPodAutoscaler) {
            tasks.spawn(inventory::follow(follower.clone(), kind));
        }
    }
    tasks.spawn(inventory::optional(follower, writers.scaled_objects, context.kinds.clone()));
    let client = context.client.clone();
    let every = seconds(context.options.discovery_seconds);
    tasks.spawn(discovery::keep_looking(client.clone(), every, given.kinds));
    let (pods, wake) = (Arc::clone(&context.pods), context.wake.clone());
    let watches = context.metrics.watches().clone();
    if matches!(given.scope, Scope::Cluster) {
        let (pods, wake, watches) = (Arc::clone(&pods), wake.clone(), watches.clone());
        tasks.spawn(fleet::watch_nodes(client.clone(), pods, wake, watches));
    }
    tasks.spawn(fleet::watch(client, given.scope, (pods, wake, watches)));
    tasks.spawn(ask_pods(Arc::clone(context)));
    tasks
}

/// Asks the pods while this process leads: a candidate need not know what they do, unless it answers autoscalers.
async fn ask_pods(context: Arc<Context>) {
    if !context.options.metrics_api.metrics_api && context.lead.wait().await == Waited::InVain {
        return;
    }
    let (pods, wake) = (Arc::clone(&context.pods), context.wake.clone());
    fleet::poll(pods, move |name| context.keeps(name), wake).await;
}

/// The operator's own namespace.
pub(crate) fn home(options: &Options, client: &Client) -> String {
    let given = options.election.own_namespace.clone().filter(|name| !name.is_empty());
    given.unwrap_or_else(|| client.default_namespace().to_owned())
}

fn network_rules(options: &Options, operator_namespace: String) -> Option<NetworkRules> {
    let monitoring = options.network.monitoring_namespaces.iter().cloned().collect();
    options.network.network_policies.then_some(NetworkRules { operator_namespace, monitoring })
}

impl From<NoElector> for StartError {
    fn from(error: NoElector) -> Self {
        let NoElector::Timing(error) = error;
        Self::Options(error.to_string())
    }
}

impl App {
    /// Bound address of /metrics, /livez and /readyz.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// What /metrics shows.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Bound address of the metrics for autoscalers, if they are served.
    pub fn metrics_api_address(&self) -> Option<SocketAddr> {
        self.metrics_api.as_ref().map(MetricsApi::address)
    }

    /// Keeps its watches running, and reconciles while it leads, until `stop` is cancelled: unready at once, running
    /// reconciliations end, the rest is dropped, then the Lease is released. Ends earlier when the Lease is lost, with
    /// everything dropped where it stands.
    pub async fn run(self, stop: CancellationToken) -> Ended {
        let Self {
            admin, triggers, context, elector, beside: given, watching, metrics_api, ..
        } = self;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            namespaces = context.options.namespaces.join(","),
            class = context.options.class,
            gateway_image = context.options.gateway_image,
            cluster = context.options.cluster.as_deref(),
            defaults = !context.options.defaults.is_empty(),
            "operator starts"
        );
        let mut tasks = beside(&context, given);
        if let Some(api) = metrics_api {
            tasks.spawn(api.run());
        }
        let looks = Arc::clone(&context);
        let ready = tokio::spawn(ready_when(triggers.listed.clone(), watching, stop.clone()));
        // The Lease is kept until the last reconciliation has ended.
        let resign = CancellationToken::new();
        let mut candidacy = tokio::spawn(candidacy(elector, resign.clone()));
        let work = async {
            tokio::select! {
                () = controller::run(triggers, context, stop.clone()) => {}
                () = too_late(&stop) => tracing::warn!("reconciliations did not end in time"),
            }
        };
        let ended = tokio::select! {
            biased;
            // Only a Lease that is lost ends it before it is told to resign.
            _ = &mut candidacy => Ended::LeaseLost,
            () = work => Ended::Stopped,
        };
        looks.records.end_looks().await;
        if ended == Ended::Stopped {
            resign.cancel();
            // Bounded by the time-out of a request.
            drop(candidacy.await);
        }
        drop(tasks);
        ready.abort();
        drop(admin);
        tracing::info!("operator stopped");
        ended
    }
}

/// Opens the gate once everything is listed, and closes it when told to stop.
async fn ready_when(mut listed: watch::Receiver<bool>, gate: Gate, stop: CancellationToken) {
    if listed.wait_for(|listed| *listed).await.is_ok() {
        gate.open();
        tracing::info!("watching");
        // Closes again when dropped.
        stop.cancelled().await;
    }
}

async fn too_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_WORK).await;
}

/// Without an elector it ends when it is told to, as with one.
async fn candidacy(elector: Option<Elector>, resign: CancellationToken) {
    match elector {
        Some(elector) => elector.run(resign).await,
        None => resign.cancelled().await,
    }
}

/// Starts, and runs until stopped or until the Lease is lost.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    options: Options,
    client: Client,
    stop: CancellationToken,
) -> Result<Ended, StartError> {
    Ok(start(options, client)?.run(stop).await)
}
