//! What the operator counts. Names of objects are labels of what is told by WsGateway alone, where their number is bounded.

mod disruptions;
mod gateways;
mod queue;
mod requests;

use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use wsgateway_crds::WsGateway;
use wsgateway_runtime::build_info;
use wsgateway_runtime::process::ProcessCollector;

use crate::fleet::Pods;
use crate::kinds::Kind;
pub(crate) use disruptions::Meters;
use gateways::GatewayCollector;
pub(crate) use gateways::{Found, Gateways};
pub(crate) use queue::Queue;
pub(crate) use requests::Requests;

/// WsGateways with series of their own.
const MOST: usize = 1_000;

/// Upper bounds of times (s).
const SECONDS: [f64; 7] = [0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Counters of the operator; children of known labels exist from the start.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reconciles: IntCounterVec,
    seconds: Histogram,
    errors: IntCounterVec,
    objects: IntCounterVec,
    streams: IntCounterVec,
    watches: Watches,
    certificates: Certificates,
    leader: IntGauge,
    queue: Arc<Queue>,
}

/// Watches that failed, by kind. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Watches(IntCounterVec);

impl Watches {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new(
            "wsgateway_operator_watch_interruptions_total",
            "Watches that failed and were begun anew, by kind.",
        );
        let counter = IntCounterVec::new(options, &["kind"])?;
        registry.register(Box::new(counter.clone()))?;
        let kinds = Kind::BUILT_IN.into_iter().chain(Kind::OPTIONAL).map(Kind::as_str);
        for kind in kinds.chain(["WsGateway", "Pod", "Node"]) {
            counter.with_label_values(&[kind]);
        }
        Ok(Self(counter))
    }

    /// Counts and logs a failure; the watch comes back by itself.
    pub(crate) fn interrupted(&self, kind: &str, error: &watcher::Error) {
        self.count(kind);
        tracing::warn!(%error, kind, "a watch is interrupted");
    }

    /// Counts a failure that has been logged before.
    pub(crate) fn count(&self, kind: &str) {
        self.0.with_label_values(&[kind]).inc();
    }
}

/// When the operator's own certificates expire. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(IntGaugeVec);

impl Certificates {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new(
            "wsgateway_operator_certificate_expiry_timestamp_seconds",
            "When the certificate expires that this operator serves, in Unix time.",
        );
        let gauge = IntGaugeVec::new(options, &["certificate"])?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(Self(gauge))
    }

    /// Notes when the certificate of the metrics for autoscalers expires (Unix time, s).
    pub(crate) fn of_metrics_api(&self, expires: i64) {
        self.0.with_label_values(&["metrics_api"]).set(expires);
    }
}

/// What happened to an object or a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Applied,
    Pruned,
    StreamCreated,
    StreamUpdated,
    StreamDeleted,
    StreamReleased,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter =
                IntCounterVec::new(Opts::new(format!("wsgateway_operator_{name}"), help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let seconds = Histogram::with_opts(
            HistogramOpts::new(
                "wsgateway_operator_reconcile_duration_seconds",
                "Time of one reconciliation.",
            )
            .buckets(SECONDS.to_vec()),
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("wsgateway_operator_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        of_process(registry)?;
        let metrics = Self {
            reconciles: counter(
                "reconciles_total",
                "Reconciliations by outcome: ok, not_ready, error.",
                &["outcome"],
            )?,
            seconds,
            errors: counter("errors_total", "Problems by stage and reason.", &["stage", "reason"])?,
            objects: counter(
                "objects_total",
                "Writes of Kubernetes objects by kind and action.",
                &["kind", "action"],
            )?,
            streams: counter("streams_total", "Changes of JetStream streams.", &["action"])?,
            watches: Watches::new(registry)?,
            certificates: Certificates::new(registry)?,
            leader: gauge("leader", "1 while this process holds the Lease, or needs none.")?,
            queue: Arc::new(Queue::new(gauge(
                "reconciles_running",
                "Reconciliations that run now.",
            )?)),
        };
        for outcome in ["ok", "not_ready", "error"] {
            metrics.reconciles.with_label_values(&[outcome]);
        }
        for kind in Kind::BUILT_IN.into_iter().chain(Kind::OPTIONAL) {
            for deed in [Deed::Applied, Deed::Pruned] {
                metrics.objects.with_label_values(&[kind.as_str(), deed.action()]);
            }
        }
        for deed in
            [Deed::StreamCreated, Deed::StreamUpdated, Deed::StreamDeleted, Deed::StreamReleased]
        {
            metrics.streams.with_label_values(&[deed.action()]);
        }
        Ok(metrics)
    }

    /// Registers what is read of each WsGateway when a scrape asks, and returns where reconciliations enter what they find.
    pub(crate) fn by_gateway(
        &self,
        registry: &Registry,
        pods: &Arc<Pods>,
        all: &Store<DeserializeGuard<WsGateway>>,
    ) -> Result<Arc<Gateways>, prometheus::Error> {
        let (known, leader) = (Arc::<Gateways>::default(), self.leader.clone());
        let shared = (Arc::clone(&known), Arc::clone(&self.queue));
        let leads = Box::new(move || leader.get() == 1);
        let collector = GatewayCollector::new(shared, Arc::clone(pods), all.clone(), leads)?;
        registry.register(Box::new(collector))?;
        Ok(known)
    }

    pub(crate) fn reconciled(&self, outcome: &'static str, seconds: f64) {
        self.reconciles.with_label_values(&[outcome]).inc();
        self.seconds.observe(seconds);
    }

    pub(crate) fn problem(&self, stage: &'static str, reason: &'static str) {
        self.errors.with_label_values(&[stage, reason]).inc();
    }

    /// 1 while this process leads.
    pub(crate) fn leader(&self) -> &IntGauge {
        &self.leader
    }

    pub(crate) fn watches(&self) -> &Watches {
        &self.watches
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub(crate) fn object(&self, kind: &str, deed: Deed) {
        self.objects.with_label_values(&[kind, deed.action()]).inc();
    }

    pub(crate) fn stream(&self, deed: Deed) {
        self.streams.with_label_values(&[deed.action()]).inc();
    }
}

/// Registers which build this is, and what its process uses.
fn of_process(registry: &Registry) -> Result<(), prometheus::Error> {
    let name = "wsgateway_operator_build_info";
    build_info::register(registry, name, env!("CARGO_PKG_VERSION"))?;
    registry.register(Box::new(ProcessCollector::new()?))
}

impl Deed {
    fn action(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Pruned => "pruned",
            Self::StreamCreated => "created",
            Self::StreamUpdated => "updated",
            Self::StreamDeleted => "deleted",
            Self::StreamReleased => "released",
        }
    }
}
