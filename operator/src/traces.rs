//! Traces of reconciliations: one span for each, with its stages below it, sent to an OTLP receiver.
//!
//! Stages are spans of the `tracing` crate with a target of their own, which nobody takes up unless an endpoint is given:
//! then they cost one branch each, and no log shows them at any time.

use std::convert::Infallible;
use std::time::Duration;

use clap::ValueEnum;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};
use wsgateway_config::{BadEndpoint, OtlpEndpoint};
use wsgateway_runtime::logs::SPANS;
use wsgateway_traces::opentelemetry::trace::TracerProvider as _;
use wsgateway_traces::opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use wsgateway_traces::{Exporter, Identity, Metrics, StartError, resource};

use crate::cli::TracingOptions;
use crate::error::Error;

/// Time that spans get to leave when the process stops.
const FLUSH: Duration = Duration::from_secs(2);

/// A span of a reconciliation.
macro_rules! span {
    ($name:literal $(, $($fields:tt)+)?) => {
        tracing::info_span!(
            target: wsgateway_runtime::logs::SPANS,
            $name,
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
            $($($fields)+)?
        )
    };
}
pub(crate) use span;

/// Records in a span that what it stands for has failed.
pub(crate) fn failed(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", format!("{}: {}", error.reason, error.message));
}

/// Does a step in a span of its own, which says so if it fails.
pub(crate) async fn step<T>(
    span: Span,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    work.instrument(span.clone()).await.inspect_err(|error| failed(&span, error))
}

/// Which reconciliations are traced: the names of OpenTelemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum TracesSampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// So many of a hundred, given as a ratio.
    #[value(name = "traceidratio")]
    TraceIdRatio,
    /// All: a reconciliation has no parent.
    #[default]
    #[value(name = "parentbased_always_on")]
    ParentBasedAlwaysOn,
    /// None.
    #[value(name = "parentbased_always_off")]
    ParentBasedAlwaysOff,
    /// The same as traceidratio.
    #[value(name = "parentbased_traceidratio")]
    ParentBasedTraceIdRatio,
}

impl TracesSampler {
    fn sampler(self, ratio: f64) -> Sampler {
        let based = |sampler| Sampler::ParentBased(Box::new(sampler));
        match self {
            Self::AlwaysOn => Sampler::AlwaysOn,
            Self::AlwaysOff => Sampler::AlwaysOff,
            Self::TraceIdRatio => Sampler::TraceIdRatioBased(ratio),
            Self::ParentBasedAlwaysOn => based(Sampler::AlwaysOn),
            Self::ParentBasedAlwaysOff => based(Sampler::AlwaysOff),
            Self::ParentBasedTraceIdRatio => based(Sampler::TraceIdRatioBased(ratio)),
        }
    }
}

/// Traces of this process; they end with [`Traces::shutdown`].
#[derive(Debug)]
pub struct Traces {
    exporter: Exporter,
    provider: SdkTracerProvider,
    metrics: Metrics,
}

impl Traces {
    /// Starts to export, if there is an endpoint.
    ///
    /// # Errors
    /// When the exporter cannot start.
    pub fn start(options: &TracingOptions, pod: &str) -> Result<Option<Self>, StartError> {
        let endpoint = options.endpoint().map_err(|error| {
            StartError::Settings(format!("--otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT {error}"))
        })?;
        let Some(endpoint) = endpoint else { return Ok(None) };
        let metrics = Metrics::new("wsgateway_operator")
            .map_err(|error| StartError::Settings(error.to_string()))?;
        let identity = Identity {
            service: "wsgateway-operator",
            instance: pod.to_owned(),
            attributes: Vec::new(),
        };
        let exporter = Exporter::start(endpoint, &resource(&identity), metrics.clone())?;
        let provider = SdkTracerProvider::builder()
            .with_span_processor(exporter.sink())
            .with_sampler(options.traces_sampler.sampler(options.traces_sampler_arg))
            .build();
        Ok(Some(Self { exporter, provider, metrics }))
    }

    /// What makes spans of the process's reconciliations, for its subscriber.
    pub fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let layer = OpenTelemetryLayer::new(self.provider.tracer("wsgateway"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false);
        layer.with_filter(filter_fn(|metadata| metadata.target() == SPANS)).boxed()
    }

    /// Shows what became of the spans in a registry.
    ///
    /// # Errors
    /// When it has such a metric.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        self.metrics.register_with(registry)
    }

    /// Has the last spans exported, as far as that takes no longer than two seconds.
    pub fn shutdown(self) {
        self.exporter.shutdown(FLUSH);
    }
}

/// Reads an endpoint of the command line; empty for none.
pub(crate) fn endpoint(
    text: &str,
) -> Result<Result<Option<OtlpEndpoint>, BadEndpoint>, Infallible> {
    if text.is_empty() {
        return Ok(Ok(None));
    }
    Ok(OtlpEndpoint::parse(text).map(Some))
}

/// Reads a ratio of the command line; empty for 1.
pub(crate) fn ratio(text: &str) -> Result<f64, &'static str> {
    const WANTED: &str = "write a ratio from 0 to 1, such as 0.1";
    if text.is_empty() {
        return Ok(1.0);
    }
    let ratio: f64 = text.parse().map_err(|_| WANTED)?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err(WANTED) }
}
