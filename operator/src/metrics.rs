//! What the operator counts. Names of objects are labels of disruptions alone, where their number is bounded.

mod disruptions;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

pub(crate) use disruptions::Meters;

/// Counters of the operator; children of known labels exist from the start.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reconciles: IntCounterVec,
    seconds: Histogram,
    errors: IntCounterVec,
    objects: IntCounterVec,
    streams: IntCounterVec,
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
            .buckets(vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]),
        )?;
        registry.register(Box::new(seconds.clone()))?;
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
            streams: counter(
                "streams_total",
                "Changes of JetStream streams by action.",
                &["action"],
            )?,
        };
        for outcome in ["ok", "not_ready", "error"] {
            metrics.reconciles.with_label_values(&[outcome]);
        }
        for deed in
            [Deed::StreamCreated, Deed::StreamUpdated, Deed::StreamDeleted, Deed::StreamReleased]
        {
            metrics.streams.with_label_values(&[deed.action()]);
        }
        Ok(metrics)
    }

    pub(crate) fn reconciled(&self, outcome: &'static str, seconds: f64) {
        self.reconciles.with_label_values(&[outcome]).inc();
        self.seconds.observe(seconds);
    }

    pub(crate) fn problem(&self, stage: &'static str, reason: &'static str) {
        self.errors.with_label_values(&[stage, reason]).inc();
    }

    pub(crate) fn object(&self, kind: &str, deed: Deed) {
        self.objects.with_label_values(&[kind, deed.action()]).inc();
    }

    pub(crate) fn stream(&self, deed: Deed) {
        self.streams.with_label_values(&[deed.action()]).inc();
    }
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
