//! An exporter on a thread of its own.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use opentelemetry_otlp::{RetryPolicy, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::watch;
use wsgateway_config::OtlpEndpoint;

use crate::Metrics;
use crate::client::{Sender, TIMEOUT};
use crate::pump::{self, SpanSink};

/// Why an exporter did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gave no thread.
    #[error("cannot start the exporter of spans: {0}")]
    Thread(#[from] std::io::Error),
    /// TLS.
    #[error("cannot set up TLS for the receiver of spans: {0}")]
    Tls(#[from] rustls::Error),
    /// What the standard variables of the environment say.
    #[error("cannot set up the exporter of spans: {0}")]
    Settings(String),
}

/// An exporter that runs. Dropped, it exports what is in the queue, and nobody waits for that.
#[derive(Debug)]
pub struct Exporter {
    sink: SpanSink,
    stop: watch::Sender<bool>,
    /// Disconnected when the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl Exporter {
    /// Starts to export to a receiver. The standard variables `OTEL_EXPORTER_OTLP_HEADERS` and
    /// `OTEL_EXPORTER_OTLP_TRACES_HEADERS` give headers of its requests.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(
        endpoint: &OtlpEndpoint,
        resource: &Resource,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .with_endpoint(endpoint.traces())
            .with_timeout(TIMEOUT)
            // What cannot be sent now is lost: the queue behind it would be lost otherwise.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| StartError::Settings(error.to_string()))?;
        exporter.set_resource(resource);
        let (stop, told) = watch::channel(false);
        let (alive, ended) = mpsc::channel();
        let (sink, spans) = SpanSink::new(metrics.clone());
        thread::Builder::new().name("traces".to_owned()).spawn(move || {
            let _alive: mpsc::Sender<()> = alive;
            // Made here, since it must not be dropped where others are at work.
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(pump::run(&exporter, spans, told, &metrics)),
                Err(error) => tracing::error!(%error, "no spans are exported"),
            }
        })?;
        Ok(Self { sink, stop, ended })
    }

    /// Where spans are handed in.
    pub fn sink(&self) -> SpanSink {
        self.sink.clone()
    }

    /// Has what is in the queue exported, and waits for that for at most `patience`.
    pub fn shutdown(self, patience: Duration) {
        self.stop.send_replace(true);
        // It says nothing: it ends.
        let _ended = self.ended.recv_timeout(patience);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
