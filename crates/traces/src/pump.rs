//! The queue in front of the exporter, and the loop that empties it.

use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, watch};

use crate::Metrics;

/// Spans that wait: a few hundred kilobytes. What comes when it is full is dropped.
pub(crate) const QUEUE: usize = 2_048;

/// Spans in one request.
const BATCH: usize = 512;

/// How long a span waits for others: it is history when it is looked at.
const LINGER: Duration = Duration::from_secs(1);

/// Time between two lines in the log while the receiver fails.
const REMIND: Duration = Duration::from_secs(60);

/// Longest error in the log, in bytes: it may repeat what the receiver answered.
const LONGEST_ERROR: usize = 256;

/// The entrance of an exporter: takes spans from any thread and never waits. Clones lead to the same queue.
#[derive(Clone, Debug)]
pub struct SpanSink {
    queue: mpsc::Sender<SpanData>,
    metrics: Metrics,
}

impl SpanSink {
    pub(crate) fn new(metrics: Metrics) -> (Self, mpsc::Receiver<SpanData>) {
        let (queue, spans) = mpsc::channel(QUEUE);
        (Self { queue, metrics }, spans)
    }

    /// Hands a finished span in; without room it is dropped and counted.
    pub fn send(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.metrics.dropped.inc();
        }
    }
}

/// What a tracer of the SDK calls with each of its spans.
impl SpanProcessor for SpanSink {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.send(span);
        }
    }

    /// The exporter's owner ends it, and waits for it no longer than it wants to.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Exports batches until told to stop, then once what is in the queue.
pub(crate) async fn run(
    exporter: &impl SpanExporter,
    mut spans: mpsc::Receiver<SpanData>,
    mut stop: watch::Receiver<bool>,
    metrics: &Metrics,
) {
    let mut health = Health::default();
    let mut batch = Vec::new();
    loop {
        let is_first = tokio::select! {
            biased;
            count = spans.recv_many(&mut batch, BATCH) => count > 0,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        if !is_first {
            break; // nobody can send any more
        }
        gather(&mut spans, &mut batch, &mut stop).await;
        send(exporter, &mut batch, &mut health, metrics).await;
        if *stop.borrow() && spans.is_empty() {
            break;
        }
    }
}

/// Waits a moment for more of a batch.
async fn gather(
    spans: &mut mpsc::Receiver<SpanData>,
    batch: &mut Vec<SpanData>,
    stop: &mut watch::Receiver<bool>,
) {
    let linger = tokio::time::sleep(LINGER);
    tokio::pin!(linger);
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        tokio::select! {
            biased;
            count = spans.recv_many(batch, room) => if count == 0 { return },
            () = &mut linger => return,
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn send(
    exporter: &impl SpanExporter,
    batch: &mut Vec<SpanData>,
    health: &mut Health,
    metrics: &Metrics,
) {
    let count = batch.len() as u64;
    let outcome = exporter.export(std::mem::take(batch)).await;
    match outcome {
        Ok(()) => {
            metrics.exported.inc_by(count);
            if health.succeeded() {
                tracing::info!("the receiver takes spans again");
            }
        }
        Err(error) => {
            metrics.failed.inc_by(count);
            if health.failed(Instant::now()) {
                let error = error.to_string();
                let error = &error[..error.floor_char_boundary(LONGEST_ERROR)];
                tracing::warn!(error, spans = count, "spans could not be exported");
            }
        }
    }
}

/// Which outcomes are worth a line in the log.
#[derive(Debug, Default)]
struct Health {
    /// When a failure was logged last, while the receiver fails.
    reported: Option<Instant>,
}

impl Health {
    /// Whether that ends a failure.
    fn succeeded(&mut self) -> bool {
        self.reported.take().is_some()
    }

    /// Whether to report it.
    fn failed(&mut self, now: Instant) -> bool {
        let due = self.reported.is_none_or(|then| now.saturating_duration_since(then) >= REMIND);
        if due {
            self.reported = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_fails_is_reported_once_a_minute_and_its_return_once() {
        let (mut health, start) = (Health::default(), Instant::now());
        assert!(!health.succeeded());
        assert!(health.failed(start));
        assert!(!health.failed(start + REMIND / 2));
        assert!(health.failed(start + REMIND));
        assert!(health.succeeded() && !health.succeeded());
    }
}
