//! The operator on a real API server with real controllers, and a real nats-server.
//!
//! Each test has a namespace, a NATS and an operator of its own, which looks at that namespace only. There is no node:
//! pods are objects whose status a test sets where it matters.

#[path = "operator/world.rs"]
mod world;

#[path = "operator/conditions.rs"]
mod conditions;
#[path = "operator/end.rs"]
mod end;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/inventory.rs"]
mod inventory;
#[path = "operator/live.rs"]
mod live;
#[path = "operator/load.rs"]
mod load;
#[path = "operator/objects.rs"]
mod objects;
#[path = "operator/pods.rs"]
mod pods;
#[path = "operator/proxy.rs"]
mod proxy;
#[path = "operator/redis.rs"]
mod redis;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/rest.rs"]
mod rest;
#[path = "operator/scale.rs"]
mod scale;
#[path = "operator/schema.rs"]
mod schema;
#[path = "operator/secrets.rs"]
mod secrets;
#[path = "operator/standstill.rs"]
mod standstill;
#[path = "operator/stream.rs"]
mod stream;
#[path = "operator/trouble.rs"]
mod trouble;
