//! The test harness: real servers on loopback, started for a test and gone after it.
//!
//! - [`Nats`]: a nats-server with JetStream; [`NatsCluster`]: several that are one; [`NatsOperator`] and [`Authority`]
//!   make the credentials and certificates of one that asks for them, [`MountedSecret`] the files that a pod has of them;
//!   [`RawPublisher`] sends it what no library lets through.
//! - [`keeper`]: a stream that is created and kept as the operator does it.
//! - [`Redis`]: a redis-server that keeps nothing.
//! - [`ControlPlane`]: etcd, kube-apiserver and kube-controller-manager, with a small PKI of its own.
//! - [`Cable`]: a connection to one of them that a test can cut.
//! - [`Chromium`]: a headless browser, driven over its debugging protocol.
//! - [`WsgwDev`]: our own `wsgw dev`, as a newcomer runs it.
//! - [`OnTerminal`]: any of them on a terminal, as a person sees it.
//! - [`Exposition`]: what a program answers at /metrics, held against docs/metrics.json and shown to promtool.
//! - [`LogBook`]: the documented log events, held against real lines.
//! - [`frame`], [`head`]: WebSocket frames made by hand.
//! - [`OtlpReceiver`]: a receiver of spans that answers as a test wants; [`Jaeger`]: the real one.
//! - [`publish_results`]: a measurement's table in the docs.
//! - [`wait_until`]: how a test waits for something. No test sleeps.
//!
//! In: the binaries that `hack/tools` finds or builds. Out: addresses, clients and files in a scratch
//! folder. Whoever holds the value owns the server: dropping it ends the server. What no `Drop` reaches
//! (a value in a `static`, a killed test process) is ended by the [`guardian`], a shell that outlives the
//! test process by the moment it needs.
//!
//! Must hold: nothing is skipped. A missing binary is an error that says what to run.

mod binary;
mod cable;
mod chromium;
mod control_plane;
mod exposition;
mod frames;
mod guardian;
mod jaeger;
pub mod keeper;
mod log_book;
mod merge;
mod mounted;
mod nats;
mod otlp;
mod ports;
mod redis;
mod results;
mod scratch;
mod terminal;
mod tools;
mod wait;
mod wsgw;

pub use binary::built_beside;
pub use cable::Cable;
pub use chromium::{Chromium, Page, Viewport};
pub use control_plane::{AuditEvent, ControlPlane, Identity};
pub use exposition::Exposition;
pub use frames::{frame, head};
pub use guardian::{Guarded, Signal};
pub use jaeger::{Jaeger, show_trace};
pub use log_book::LogBook;
pub use merge::merge;
pub use mounted::MountedSecret;
pub use nats::{
    ApiProxy, Authority, Certified, Nats, NatsCluster, NatsOperator, PublishAnswer, RawPublisher,
};
pub use otlp::{OtlpAnswer, OtlpReceiver, ReceivedSpan};
pub use ports::free_port;
pub use redis::Redis;
pub use results::{publish_results, publish_results_of};
pub use scratch::{Scratch, copy_folder};
pub use terminal::{OnTerminal, Shown};
pub use tools::{redis_server, repository, tool};
pub use wait::{wait_until, wait_until_some};
pub use wsgw::{Ended, WsgwDev, wsgw};

/// Chooses the process's TLS implementation. Every client of the harness calls it; a second call does nothing.
pub fn init_tls() {
    // An error means that somebody installed one already, which is what is wanted.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
