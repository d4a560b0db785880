//! What became of spans.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Counters of spans, by what became of them.
#[derive(Clone, Debug)]
pub struct Metrics {
    spans: IntCounterVec,
    pub(crate) exported: IntCounter,
    pub(crate) failed: IntCounter,
    pub(crate) dropped: IntCounter,
}

impl Metrics {
    /// Registers [`Metrics::new`].
    ///
    /// # Errors
    /// When the registry has a metric of that name.
    pub fn register(registry: &Registry, prefix: &str) -> prometheus::Result<Self> {
        let metrics = Self::new(prefix)?;
        metrics.register_with(registry)?;
        Ok(metrics)
    }

    /// Registers these.
    ///
    /// # Errors
    /// When the registry has a metric of that name.
    pub fn register_with(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.spans.clone()))
    }

    /// `<prefix>_trace_spans_total` with the outcomes `exported`, `failed` (the receiver was unavailable or
    /// refused them) and `dropped` (the queue was full).
    ///
    /// # Errors
    /// When the prefix cannot begin a name.
    pub fn new(prefix: &str) -> prometheus::Result<Self> {
        let options = Opts::new(
            format!("{prefix}_trace_spans_total"),
            "Spans by outcome: exported, failed (the receiver did not take them), dropped (the queue was full)",
        );
        let spans = IntCounterVec::new(options, &["outcome"])?;
        let outcome = |name: &str| spans.with_label_values(&[name]);
        Ok(Self {
            exported: outcome("exported"),
            failed: outcome("failed"),
            dropped: outcome("dropped"),
            spans,
        })
    }
}
