//! Triggers: which change in the cluster wakes which WsGateway.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Config, Controller};
use kube::runtime::reflector::Store;
use kube::runtime::{Predicate as _, PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Client, Resource as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wsgateway_crds::WsGateway;

use crate::Options;
use crate::backoff::WatchBackoff;
use crate::children::{self, pair};
use crate::context::Context;
use crate::kinds::Kind;
use crate::reconcile::{after_error, reconcile};
use crate::wake::Wakes;

/// Changes that come in a burst (a Deployment's status while pods start) are one look.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// A controller before it runs, and what its watch knows.
pub(crate) struct Triggers {
    controller: Controller<DeserializeGuard<WsGateway>>,
    /// True from the end of the first list of WsGateways.
    pub(crate) listed: watch::Receiver<bool>,
    pub(crate) gateways: Store<DeserializeGuard<WsGateway>>,
}

/// Sets up the watch of WsGateways, and takes in those that are woken. Nothing is asked before [`run`].
pub(crate) fn triggers(
    client: &Client,
    options: &Options,
    kinds: &watch::Receiver<BTreeSet<Kind>>,
    wakes: Wakes,
) -> Triggers {
    let namespace = options.namespace.as_str();
    let (gateways, writer) = pair::<DeserializeGuard<WsGateway>>();
    // The status is ours: its changes wake nobody. One unreadable object must not blind us for the others.
    let changes =
        predicates::generation.combine(predicates::finalizers).combine(predicates::annotations);
    let (tell, listed) = watch::channel(false);
    let main = watcher(children::api(client, namespace), watcher::Config::default())
        .backoff(WatchBackoff::default())
        .modify(|gateway: &mut DeserializeGuard<WsGateway>| {
            gateway.meta_mut().managed_fields = None
        })
        .reflect(writer)
        // The store's `wait_until_ready` wakes only the one that asked last, and the controller asks, too.
        .inspect(move |event| {
            if matches!(event, Ok(watcher::Event::InitDone)) {
                tell.send_replace(true);
            }
        })
        .applied_objects()
        .predicate_filter(changes, PredicateConfig::default())
        .filter_map(children::good);
    let config = Config::default().concurrency(options.concurrency.get()).debounce(DEBOUNCE);
    let controller = Controller::for_stream(main, gateways.clone())
        .with_config(config)
        // A kind came or went.
        .reconcile_all_on(changes_of(kinds.clone()))
        .reconcile_on(wakes.into_stream());
    Triggers { controller, listed, gateways }
}

fn changes_of<T: Send + Sync + 'static>(
    watched: watch::Receiver<T>,
) -> impl Stream<Item = ()> + Send + 'static {
    stream::unfold(watched, |mut watched| async move {
        watched.changed().await.ok()?;
        Some(((), watched))
    })
    .boxed()
}

/// Runs until stopped, then lets running reconciliations end.
pub(crate) fn run(
    triggers: Triggers,
    context: Arc<Context>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    triggers
        .controller
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, after_error, context)
        .for_each(|result| {
            if let Err(error) = result {
                // Those of reconciliations are logged where they are counted.
                tracing::debug!(%error, "controller");
            }
            std::future::ready(())
        })
        .boxed()
}
