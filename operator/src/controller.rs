//! Triggers: which change in the cluster wakes which WsGateway, of which only those of our class are kept, and only while
//! this process leads.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::Store;
use kube::runtime::{Predicate as _, PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Client, Resource as _, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wsgateway_crds::WsGateway;

use crate::Options;
use crate::children::{self, held, pair};
use crate::class;
use crate::context::Context;
use crate::election::Waited;
use crate::error::Error;
use crate::kinds::Kind;
use crate::metrics::Metrics;
use crate::reconcile::{after_error, reconcile};
use crate::scope::Scope;
use crate::wake::{Name, Wakes};

/// Changes that come in a burst (a Deployment's status while pods start) are one look.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Deleted WsGateways that are looked after at the same time.
const FAREWELLS: usize = 8;

/// A controller before it runs, and what its watch knows.
pub(crate) struct Triggers {
    controller: Controller<DeserializeGuard<WsGateway>>,
    /// WsGateways that were deleted, by UID and name.
    deleted: mpsc::UnboundedReceiver<(String, Name)>,
    /// True from the end of the first list of WsGateways.
    pub(crate) listed: watch::Receiver<bool>,
    pub(crate) gateways: Store<DeserializeGuard<WsGateway>>,
}

/// Sets up the watch of WsGateways, and takes in those that are woken. Nothing is asked before [`run`].
pub(crate) fn triggers(
    client: &Client,
    options: &Options,
    scope: &Scope,
    kinds: &watch::Receiver<BTreeSet<Kind>>,
    (wakes, metrics): (Wakes, &Metrics),
) -> Triggers {
    let (gateways, writer) = pair::<DeserializeGuard<WsGateway>>();
    // The status is ours: its changes wake nobody. One unreadable object must not blind us for the others.
    let changes =
        predicates::generation.combine(predicates::finalizers).combine(predicates::annotations);
    let (tell, listed) = watch::channel(false);
    let (ended, deleted) = mpsc::unbounded_channel();
    let (watches, queue) = (metrics.watches().clone(), metrics.queue());
    let (changed, woken, all) = (Arc::clone(queue), Arc::clone(queue), Arc::clone(queue));
    let main = scope.apis(client);
    let main = children::events(main, &watcher::Config::default(), held(gateways.clone()))
        .modify(|gateway: &mut DeserializeGuard<WsGateway>| {
            gateway.meta_mut().managed_fields = None
        })
        .reflect(writer)
        // The store's `wait_until_ready` wakes only the one that asked last, and the controller asks, too.
        .inspect(move |event| {
            match event {
                Ok(watcher::Event::InitDone) => {
                    tell.send_replace(true);
                }
                // Nobody waits for us where there is no finalizer.
                Ok(watcher::Event::Delete(gateway)) => {
                    drop(ended.send((gateway.uid().unwrap_or_default(), named(gateway))));
                }
                _ => {}
            }
        })
        .applied_objects()
        .predicate_filter(changes, PredicateConfig::default())
        .filter_map(move |item| children::good(item, &watches))
        .inspect(move |gateway| {
            if let Ok(gateway) = gateway {
                changed.wait(named(gateway));
            }
        });
    let config = Config::default().concurrency(options.concurrency.get()).debounce(DEBOUNCE);
    let known = gateways.clone();
    let controller = Controller::for_stream(main, gateways.clone())
        .with_config(config)
        // A kind came or went.
        .reconcile_all_on(changes_of(kinds.clone()).inspect(move |()| {
            known.state().iter().for_each(|gateway| all.wait(named(gateway)));
        }))
        .reconcile_on(wakes.into_stream().inspect(move |found| {
            woken.wait(Name::new(found.namespace.as_deref().unwrap_or_default(), &found.name));
        }));
    Triggers { controller, deleted, listed, gateways }
}

fn named(gateway: &DeserializeGuard<WsGateway>) -> Name {
    Name::new(&gateway.namespace().unwrap_or_default(), &gateway.name_any())
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

/// Looks after what deleted WsGateways leave behind, for as long as the process runs.
async fn farewells(deleted: mpsc::UnboundedReceiver<(String, Name)>, context: Arc<Context>) {
    let deleted =
        stream::unfold(
            deleted,
            |mut deleted| async move { Some((deleted.recv().await?, deleted)) },
        );
    let farewell = |(uid, name): (String, Name)| {
        let context = Arc::clone(&context);
        async move { crate::stream::farewell(&uid, &name, &context).await }
    };
    deleted.for_each_concurrent(FAREWELLS, farewell).await;
    // The watch has ended; the controller ends by itself.
    std::future::pending().await
}

/// Runs until stopped, then lets running reconciliations end.
pub(crate) fn run(
    triggers: Triggers,
    context: Arc<Context>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let stopping = stop.clone();
    let farewells = farewells(triggers.deleted, Arc::clone(&context));
    let reconciliations = triggers
        .controller
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(move |gateway, context| keep(gateway, context, stopping.clone()), after_error, context)
        .for_each(|result| {
            if let Err(error) = result {
                // Those of reconciliations are logged where they are counted.
                tracing::debug!(%error, "controller");
            }
            std::future::ready(())
        });
    async move {
        tokio::select! {
            () = reconciliations => {}
            () = farewells => {}
        }
    }
    .boxed()
}

/// Reconciles a WsGateway of our class, once this process leads. Until then the watches go on and a few reconciliations
/// wait here.
async fn keep(
    gateway: Arc<DeserializeGuard<WsGateway>>,
    context: Arc<Context>,
    stop: CancellationToken,
) -> Result<Action, Error> {
    let waited = tokio::select! {
        waited = context.lead.wait() => waited,
        () = stop.cancelled() => Waited::InVain,
    };
    match waited {
        Waited::No => {}
        // The WsGateway may have changed since.
        Waited::Yes => return Ok(Action::requeue(Duration::ZERO)),
        Waited::InVain => return Ok(Action::await_change()),
    }
    let (uid, name) = (gateway.uid().unwrap_or_default(), named(&gateway));
    let _running = context.metrics.queue().begin(&name);
    // One that cannot be read has no class that we know of.
    if let Ok(readable) = &gateway.0
        && !class::keeps(&context.options.class, readable)
    {
        // It may have been ours.
        context.records.end_look(&uid).await;
        context.forget(&name);
        context.links.leave(&name).await;
        return Ok(Action::await_change());
    }
    let result = reconcile(gateway, Arc::clone(&context)).await;
    if !context.is_there(&uid, &name) {
        // Deleted meanwhile: what was begun since is ended, too.
        crate::stream::farewell(&uid, &name, &context).await;
    }
    result
}
