//! Spans to an OTLP receiver over HTTP: for the operator's reconciliations and for the way of a message in the gateway.
//!
//! In: finished spans, from any thread. Out: batches in OTLP (protobuf) to one receiver. What must hold: nobody who hands a
//! span in ever waits, whatever the receiver does; what does not fit the queue is dropped and counted. Owns the exporter's
//! thread and its one connection.

mod client;
mod context;
mod exporter;
mod metrics;
mod pump;
mod resource;

pub use context::{Invalid, TraceContext, parse_traceparent};
pub use exporter::{Exporter, StartError};
pub use metrics::Metrics;
pub use opentelemetry;
pub use opentelemetry_sdk;
pub use pump::SpanSink;
pub use resource::{Identity, resource};
