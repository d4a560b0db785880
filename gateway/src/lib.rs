//! The gateway: one JetStream consumer in, every browser out.
//!
//! Data flows one way: [`source`] → [`encode`] → [`hub`] (shards) → sockets. The HTTP side ([`http`]) admits a client
//! and hands its raw socket to a shard, which owns it for life. [`app`] wires the stages and binds the ports.
//!
//! Threads: `http` (accept, upgrade), `source` (NATS, encode), `admin` (probes, metrics), and `shard-N` (the data
//! plane, one per CPU). State has one owner each: a connection and its subscriptions belong to one shard, the stream
//! position to the source, `prev` per channel to the encoder. What others see are counters and snapshots.

mod admission;
pub mod app;
mod auth;
mod budget;
pub mod cli;
mod clients;
mod conn;
mod counters;
mod disconnects;
pub mod echo;
mod encode;
mod epoch;
mod guard;
mod history;
mod http;
mod hub;
mod index;
mod limits;
mod metrics;
mod peer;
mod rate;
pub mod reload;
mod resources;
mod settle;
mod shed;
mod source;
mod statistics;
mod swap;
mod time;
mod tls;
mod trace;
mod users;

pub use budget::descriptors;
pub use source::memory::{MemoryPublisher, PublishError};
pub use source::redis::{RedisError, RedisPublisher, RedisTrouble, check_redis};
