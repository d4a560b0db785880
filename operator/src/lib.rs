//! The operator: watches WsGateways and makes the world as they say.
//!
//! ```text
//! watch ─ dereference ─ validate ─ stream ─ build ─ apply ─ status
//! ```
//!
//! Of several operators one leads (`election.rs`); of several classes each has its own WsGateways (`class.rs`).
//!
//! In: WsGateways, the Secrets they name and the objects made for them, a NATS server, the gateways' admin ports. Out: a
//! stream, the objects of the gateway, a status that tells the truth. `reconcile.rs` reads top to bottom as the stages, each
//! a file; `build/` has a file per object. Next to the controller, tasks of their own keep the `inventory` of objects and the
//! `fleet` of pods, ask each pod what it does, and wake the WsGateways of which something changed. Judgement (validate,
//! build, the status, the stream's plan) is pure; the rest is a thin shell. State lives in Kubernetes and NATS: whatever is
//! kept here (connections, stores of the watches, what was applied) may be lost at any time.

mod apply;
mod backoff;
mod build;
mod children;
mod class;
mod cli;
mod configs;
mod context;
mod controller;
mod dereference;
mod dialing;
mod disconnects;
mod discovery;
mod disruptions;
mod election;
mod error;
mod events;
mod evictions;
mod finalize;
mod fleet;
mod halt;
mod handover;
mod identity;
mod inventory;
mod kinds;
mod live;
mod metrics;
mod metrics_api;
mod moves;
mod nats;
mod reconcile;
mod report;
mod rollout;
mod scope;
mod secrets;
mod self_test;
mod shallow;
mod standstill;
mod status;
mod stream;
mod text;
mod traces;
mod unchanged;
mod uninstall;
mod wake;
mod watches;

pub mod app;

pub use build::template_hash;
pub use cli::{
    Cli, Command, ElectionOptions, MetricsApiOptions, NetworkOptions, Options, SelfTestOptions,
    TracingOptions, UninstallOptions,
};
pub use self_test::{SelfTestError, self_test};
pub use traces::{Traces, TracesSampler};
pub use uninstall::{UninstallError, uninstall};

/// Who writes the fields that we apply.
pub const FIELD_MANAGER: &str = "wsgateway-operator";
/// Keeps a WsGateway whose stream is to be deleted until that is done.
pub const FINALIZER: &str = "wsgateway.dev/stream";
/// Annotation with value `true`: delete the WsGateway without waiting for NATS.
pub const FORCE_DELETE: &str = "wsgateway.dev/force-delete";
/// Annotation with the owner of a stream, as its mark names it: the stream is to belong to this WsGateway instead.
pub const TAKE_OVER: &str = "wsgateway.dev/take-over-from";
/// Annotation with any value, such as the time: when it changes, everything is applied anew at once.
pub const RECONCILE_AT: &str = "wsgateway.dev/reconcile-at";
