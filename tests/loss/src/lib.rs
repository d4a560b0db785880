//! The loss meter: what clients lose, get twice or out of order while gateways, NATS and the network fail.
//!
//! Publishers number the messages of every channel; clients with mixed interests connect through a balancer to three
//! real gateway processes, which read from a real nats-server or a cluster of three. One fault after the other is
//! inflicted, and after each the publishers rest until every client is up to date: then the [`ledger`] strikes the
//! balance, which must be nothing lost, nothing twice, nothing out of order.
//!
//! - pure: [`interest`] (who hears what), [`book`] (what was published), [`ledger`] (what came), [`report`]
//! - around them: [`meter`] (the shared state, with time), [`publisher`], [`poison`], [`clients`],
//!   [`balancer`], [`pods`], [`servers`], put together by [`world`], troubled by [`fault`], driven by [`run`]

pub mod balancer;
pub mod book;
pub mod clients;
pub mod fault;
pub mod interest;
pub mod ledger;
pub mod meter;
pub mod pods;
pub mod poison;
pub mod publisher;
pub mod report;
pub mod run;
pub mod servers;
pub mod world;
