//! Load for a WebSocket gateway, and for other WebSocket servers: what `wsgw load` is made of.
//!
//! The core is pure: a [`plan`] and its schedule, an [`account`] of sequences for each client, [`latency`] percentiles,
//! [`threshold`]s, the [`run`] that sums up what workers say, and the [`report`]. The shell is [`worker`]: one swarm of
//! connections on one thread, which takes a plan and orders and answers with [`snapshot`]s.
//!
//! What must hold: time is a parameter of the core; whatever a server sends is bounded in memory; a message is late by the
//! moment at which it was due, not by the moment at which a publisher that was held up got round to it.

pub mod account;
pub mod address;
pub mod book;
pub mod bounds;
mod charts;
pub mod clock;
mod dialect;
pub mod latency;
pub mod outcomes;
pub mod path;
pub mod payload;
pub mod plan;
pub mod report;
pub mod run;
pub mod simulate;
pub mod snapshot;
pub mod svg;
pub mod threshold;
pub mod tls;
pub mod worker;
