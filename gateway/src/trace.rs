//! Traces: the way of a message through this process, for messages whose publishers ask for it.
//!
//! In: the headers of messages, and the moments at which a traced one is read, encoded and first written. Out: spans to an
//! exporter that never makes anybody wait. Owns the exporter and the bound on traces in a second. What must hold: while no
//! endpoint is configured, a message costs one branch and no header is looked at.

mod spans;
mod traced;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use wsgateway_config::{GatewayConfig, OtlpEndpoint, Tracing};
use wsgateway_nats::wire::Headers;
use wsgateway_traces::opentelemetry::KeyValue;
use wsgateway_traces::{Exporter, Identity, Metrics, SpanSink, parse_traceparent, resource};

use crate::swap::Swap;
pub(crate) use spans::{Received, Trace};
pub(crate) use traced::Traced;

/// Time that spans get to leave when the process stops.
const FLUSH: Duration = Duration::from_secs(2);

/// The header as W3C writes it, and as libraries do that capitalise names.
const NAMES: [&str; 2] = ["traceparent", "Traceparent"];

/// Decides which messages are traced. Clones decide together.
#[derive(Clone, Debug)]
pub(crate) struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    on: AtomicBool,
    active: Swap<Option<Arc<Active>>>,
    exporter: Mutex<Option<Exporter>>,
    spans: Metrics,
    contexts: Contexts,
}

/// What a traced message needs to know of the receiver.
#[derive(Debug)]
struct Active {
    sink: SpanSink,
    limit: Limit,
}

/// Messages with a trace context, by what became of it.
#[derive(Debug)]
struct Contexts {
    traced: IntCounter,
    limited: IntCounter,
    unsampled: IntCounter,
    invalid: IntCounter,
}

/// So many in a second.
#[derive(Debug)]
struct Limit {
    most: u32,
    began: Instant,
    /// The second of the last one, and how many it has had.
    now: Mutex<(u64, u32)>,
}

impl Limit {
    fn new(most: u32, began: Instant) -> Self {
        Self { most, began, now: Mutex::default() }
    }

    fn admits(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.began).as_secs();
        let mut state = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *state;
        if *last != second {
            (*last, *count) = (second, 0);
        }
        let admits = *count < self.most;
        *count += u32::from(admits);
        admits
    }
}

impl Contexts {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new(
            "wsgateway_trace_contexts_total",
            "Messages with a traceparent header while tracing is on, by outcome: traced, limited (more than maxPerSecond), \
             unsampled (the publisher records no trace), invalid",
        );
        let counter = IntCounterVec::new(options, &["outcome"])?;
        registry.register(Box::new(counter.clone()))?;
        let outcome = |name: &str| counter.with_label_values(&[name]);
        Ok(Self {
            traced: outcome("traced"),
            limited: outcome("limited"),
            unsampled: outcome("unsampled"),
            invalid: outcome("invalid"),
        })
    }
}

impl Tracer {
    /// A tracer of a gateway that starts.
    ///
    /// # Errors
    /// When the registry has metrics of its names.
    pub(crate) fn start(
        config: &GatewayConfig,
        pod: &str,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let tracer = Self::register(registry)?;
        tracer.apply(config, pod);
        Ok(tracer)
    }

    /// A tracer that is off.
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self(Arc::new(Inner {
            on: AtomicBool::new(false),
            active: Swap::new(None),
            exporter: Mutex::new(None),
            spans: Metrics::register(registry, "wsgateway")?,
            contexts: Contexts::register(registry)?,
        })))
    }

    /// Takes up a configuration. Spans of before go to the receiver of before, as far as it takes them.
    pub(crate) fn apply(&self, config: &GatewayConfig, pod: &str) {
        let exporter = self.exporter(&config.tracing, &config.name, pod);
        let active = exporter.as_ref().map(|exporter| {
            let limit = Limit::new(config.tracing.max_per_second, Instant::now());
            Arc::new(Active { sink: exporter.sink(), limit })
        });
        self.0.on.store(active.is_some(), Ordering::Relaxed);
        self.0.active.set(active);
        *self.0.exporter.lock().unwrap_or_else(PoisonError::into_inner) = exporter;
    }

    /// Messages matter more than their traces: without an exporter the gateway runs on.
    fn exporter(&self, tracing: &Tracing, name: &str, pod: &str) -> Option<Exporter> {
        // The configuration has been checked.
        let endpoint = OtlpEndpoint::parse(tracing.endpoint.as_deref()?).ok()?;
        let identity = Identity {
            service: "wsgateway-gateway",
            instance: pod.to_owned(),
            attributes: vec![KeyValue::new("wsgateway.name", name.to_owned())],
        };
        match Exporter::start(&endpoint, &resource(&identity), self.0.spans.clone()) {
            Ok(exporter) => {
                tracing::info!(%endpoint, "messages with a sampled traceparent are traced");
                Some(exporter)
            }
            Err(error) => {
                tracing::error!(%error, "messages are not traced");
                None
            }
        }
    }

    /// Has the last spans exported, as far as that takes no longer than [`FLUSH`].
    pub(crate) fn stop(&self) {
        self.0.on.store(false, Ordering::Relaxed);
        self.0.active.set(None);
        let exporter = self.0.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter {
            exporter.shutdown(FLUSH);
        }
    }

    /// What a message that has just been read is traced by; `None` for nearly every message.
    pub(crate) fn begin(&self, headers: Headers<'_>) -> Option<Box<Received>> {
        if !self.0.on.load(Ordering::Relaxed) {
            return None;
        }
        self.read(headers)
    }

    #[cold]
    fn read(&self, headers: Headers<'_>) -> Option<Box<Received>> {
        let value = NAMES.iter().find_map(|name| headers.last(name))?;
        let Inner { active, contexts, .. } = &*self.0;
        let Ok(context) = parse_traceparent(value) else {
            contexts.invalid.inc();
            return None;
        };
        if !context.sampled {
            contexts.unsampled.inc();
            return None;
        }
        let active = active.with(|active| active.clone())?;
        if !active.limit.admits(Instant::now()) {
            contexts.limited.inc();
            return None;
        }
        contexts.traced.inc();
        Some(Box::new(Received::new(active, context, SystemTime::now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_traces_and_no_more() {
        let start = Instant::now();
        let limit = Limit::new(2, start);
        let admitted = |ms| limit.admits(start + Duration::from_millis(ms));
        assert_eq!([0, 1, 2, 999].map(admitted), [true, true, false, false]);
        assert_eq!([1_000, 1_500, 1_600].map(admitted), [true, true, false]);
        assert!(admitted(60_000));
    }

    #[test]
    fn no_header_is_read_while_tracing_is_off() {
        let registry = Registry::new();
        let tracer = Tracer::register(&registry).unwrap();
        let block = b"NATS/1.0\r\ntraceparent: garbage\r\n\r\n";
        assert!(tracer.begin(Headers::new(block)).is_none());
        assert_eq!(tracer.0.contexts.invalid.get(), 0);
    }
}
