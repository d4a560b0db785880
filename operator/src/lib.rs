//! The operator: watches WsGateways and makes the world as they say.
//!
//! ```text
//! watch ─ dereference ─ validate ─ stream ─ build ─ apply ─ status
//! ```
//!
//! In: WsGateways, the Secrets they name and the objects made for them, a NATS server, the gateways' admin ports. Out: a stream, the objects
//! of the gateway, a status that tells the truth. `reconcile.rs` reads top to bottom as the stages, each a file; `build/`
//! has a file per object. Next to the controller, tasks of their own keep the `inventory` of objects and the `fleet` of
//! pods, ask each pod what it does, and wake the WsGateways of which something changed. Judgement (validate, build, the status, the stream's plan) is pure; the rest is a thin shell.
//! State lives in Kubernetes and NATS: whatever is kept here (connections, stores of the watches, what was applied) may
//! be lost at any time.

mod apply;
mod backoff;
mod build;
mod children;
mod cli;
mod context;
mod controller;
mod dereference;
mod discovery;
mod error;
mod events;
mod finalize;
mod fleet;
mod inventory;
mod kinds;
mod metrics;
mod nats;
mod reconcile;
mod report;
mod secrets;
mod standstill;
mod status;
mod stream;
mod text;
mod wake;

pub mod app;

pub use cli::{Cli, Command, Options};

/// Who writes the fields that we apply.
pub const FIELD_MANAGER: &str = "wsgateway-operator";
/// Keeps a WsGateway until its stream is taken care of.
pub const FINALIZER: &str = "wsgateway.dev/stream";
/// Annotation with value `true`: delete the WsGateway without waiting for NATS.
pub const FORCE_DELETE: &str = "wsgateway.dev/force-delete";
/// Annotation with any value, such as the time: when it changes, everything is applied anew at once.
pub const RECONCILE_AT: &str = "wsgateway.dev/reconcile-at";
