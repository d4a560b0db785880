//! The program without its process: tests run the real thing in theirs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Client;
use kube::runtime::reflector::store::Writer;
use prometheus::Registry;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wsgateway_runtime::admin::{self, AdminError, AdminServer};
use wsgateway_runtime::readiness::{Gate, Readiness};

use crate::Options;
use crate::children::{self, Children};
use crate::context::Context;
use crate::controller::{self, Triggers};
use crate::events::Events;
use crate::fleet::{self, Pace, Pods};
use crate::inventory::{self, Follower, Inventory};
use crate::kinds::Kind;
use crate::metrics::Metrics;
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
    /// Two metrics of one name.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
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
    admin: AdminServer,
    triggers: Triggers,
    context: Arc<Context>,
    kinds: watch::Sender<BTreeSet<Kind>>,
    writers: Writers,
    watching: Gate,
}

/// What the watches of objects with a status write to.
struct Writers {
    deployments: Writer<Deployment>,
    autoscalers: Writer<HorizontalPodAutoscaler>,
}

/// Binds the admin port and sets up the watches.
///
/// # Errors
/// When the port is taken.
pub fn start(options: Options, client: Client) -> Result<App, StartError> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let readiness = Readiness::new();
    let watching = readiness.gate("watch");
    let admin = admin::serve(options.admin, registry, readiness, axum::Router::new())?;
    let (kinds, known) = watch::channel(BTreeSet::new());
    let (wake, wakes) = wakes();
    let triggers = controller::triggers(&client, &options, &known, wakes);
    let (deployments, deployment_writer) = children::pair();
    let (autoscalers, autoscaler_writer) = children::pair();
    let seconds = |seconds: NonZeroU32| Duration::from_secs(u64::from(seconds.get()));
    let pace = Pace {
        poll: seconds(options.poll_seconds),
        numbers: seconds(options.numbers_seconds),
    };
    let context = Arc::new(Context {
        events: Events::new(client.clone()),
        client,
        options,
        children: Children { deployments, autoscalers },
        metrics,
        gateways: triggers.gateways.clone(),
        inventory: Arc::new(Inventory::default()),
        pods: Arc::new(Pods::new(pace)),
        listed: OnceCell::new(),
        kinds: known,
        links: nats::Links::new(wake.clone()),
        wake,
        written: crate::apply::Written::default(),
        backoff: crate::backoff::Backoff::default(),
    });
    let writers = Writers { deployments: deployment_writer, autoscalers: autoscaler_writer };
    Ok(App { admin, triggers, context, kinds, writers, watching })
}

/// Watches and asks beside the controller, each in a task of its own, until the set is dropped.
fn beside(
    context: &Arc<Context>,
    kinds: watch::Sender<BTreeSet<Kind>>,
    writers: Writers,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (client, namespace) = (&context.client, &context.options.namespace);
    let follower = Follower {
        client: client.clone(),
        namespace: namespace.clone(),
        inventory: Arc::clone(&context.inventory),
        wake: context.wake.clone(),
    };
    let children = &context.children;
    tasks.spawn(inventory::deployments(
        follower.clone(),
        children.deployments.clone(),
        writers.deployments,
    ));
    tasks.spawn(inventory::autoscalers(
        follower.clone(),
        children.autoscalers.clone(),
        writers.autoscalers,
    ));
    for kind in Kind::BUILT_IN {
        if !matches!(kind, Kind::Deployment | Kind::HorizontalPodAutoscaler) {
            tasks.spawn(inventory::follow(follower.clone(), kind));
        }
    }
    tasks.spawn(inventory::optional(follower, context.kinds.clone()));
    let every = Duration::from_secs(u64::from(context.options.discovery_seconds.get()));
    tasks.spawn(discovery::keep_looking(client.clone(), every, kinds));
    let (pods, wake) = (Arc::clone(&context.pods), context.wake.clone());
    tasks.spawn(fleet::watch(client.clone(), namespace.clone(), pods, wake));
    tasks.spawn(fleet::poll(Arc::clone(&context.pods), context.wake.clone()));
    tasks
}

impl App {
    /// Bound address of /metrics, /livez and /readyz.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Reconciles until `stop` is cancelled: unready at once, running reconciliations end, the rest is dropped.
    pub async fn run(self, stop: CancellationToken) {
        let Self { admin, triggers, context, kinds, writers, watching } = self;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            namespace = context.options.namespace,
            gateway_image = context.options.gateway_image,
            cluster = context.options.cluster,
            "operator starts"
        );
        let tasks = beside(&context, kinds, writers);
        let mut listed = triggers.listed.clone();
        let ready_stop = stop.clone();
        let ready = tokio::spawn(async move {
            // Closes again when dropped.
            if listed.wait_for(|listed| *listed).await.is_ok() {
                watching.open();
                tracing::info!("watching");
                ready_stop.cancelled().await;
            }
        });
        let forced = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_WORK).await;
        };
        tokio::select! {
            () = controller::run(triggers, context, stop.clone()) => {}
            () = forced => tracing::warn!("reconciliations did not end in time"),
        }
        drop(tasks);
        ready.abort();
        drop(admin);
        tracing::info!("operator stopped");
    }
}

/// Starts, and runs until stopped.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    options: Options,
    client: Client,
    stop: CancellationToken,
) -> Result<(), StartError> {
    start(options, client)?.run(stop).await;
    Ok(())
}
