//! What clients notice while a WsGateway scales, rolls, and loses pods and nodes on a real cluster.
//!
//! - [`crowd`]: thousands of clients of the loss meter, some of whom come and go, and the publishers.
//! - [`cluster`]: what a person does with `kubectl`, and what the cluster says of it.
//! - [`host`]: what is done on this machine.
//! - [`samples`]: connections of each pod, asked from the pods all the time.
//! - `squeeze`: a container that is short of CPU.
//! - [`event`]: what happens, one thing after the other, and when it is over.
//! - [`report`], [`plot`]: tables and a plot for the docs.
//!
//! In: a cluster with the operator, a NATS and a WsGateway, as `hack/scale` makes them. Out: [`report::Results`].

pub mod cluster;
pub mod crowd;
pub mod event;
pub mod host;
pub mod plot;
pub mod report;
pub mod run;
pub mod samples;
mod squeeze;
