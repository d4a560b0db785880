//! The operator on a real API server with real controllers, and a real nats-server.
//!
//! Each test has a namespace, a NATS and an operator of its own, which looks at that namespace only; where two operators
//! meet they are told apart by their users, in the API server's audit log. There is no node:
//! pods are objects whose status a test sets where it matters.

#[path = "operator/world.rs"]
mod world;

#[path = "operator/auth.rs"]
mod auth;
#[path = "operator/autoscale.rs"]
mod autoscale;
#[path = "operator/class.rs"]
mod class;
#[path = "operator/conditions.rs"]
mod conditions;
#[path = "operator/crowd.rs"]
mod crowd;
#[path = "operator/defaults.rs"]
mod defaults;
#[path = "operator/deletion.rs"]
mod deletion;
#[path = "operator/disconnects.rs"]
mod disconnects;
#[path = "operator/drift.rs"]
mod drift;
#[path = "operator/end.rs"]
mod end;
#[path = "operator/evictions.rs"]
mod evictions;
#[path = "operator/expose.rs"]
mod expose;
#[path = "operator/faults.rs"]
mod faults;
#[path = "operator/files.rs"]
mod files;
#[path = "operator/halts.rs"]
mod halts;
#[path = "operator/inventory.rs"]
mod inventory;
#[path = "operator/keda.rs"]
mod keda;
#[path = "operator/leader.rs"]
mod leader;
#[path = "operator/liars.rs"]
mod liars;
#[path = "operator/live.rs"]
mod live;
#[path = "operator/load.rs"]
mod load;
#[path = "operator/logs.rs"]
mod logs;
#[path = "operator/metrics.rs"]
mod metrics;
#[path = "operator/moves.rs"]
mod moves;
#[path = "operator/namespaces.rs"]
mod namespaces;
#[path = "operator/network.rs"]
mod network;
#[path = "operator/objects.rs"]
mod objects;
#[path = "operator/ownership.rs"]
mod ownership;
#[path = "operator/people.rs"]
mod people;
#[path = "operator/pods.rs"]
mod pods;
#[path = "operator/proxy.rs"]
mod proxy;
#[path = "operator/redis.rs"]
mod redis;
#[path = "operator/reload.rs"]
mod reload;
#[path = "operator/rest.rs"]
mod rest;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/rollout.rs"]
mod rollout;
#[path = "operator/scale.rs"]
mod scale;
#[path = "operator/schema.rs"]
mod schema;
#[path = "operator/secrets.rs"]
mod secrets;
#[path = "operator/self_test.rs"]
mod self_test;
#[path = "operator/standstill.rs"]
mod standstill;
#[path = "operator/stream.rs"]
mod stream;
#[path = "operator/thousands.rs"]
mod thousands;
#[path = "operator/tls.rs"]
mod tls;
#[path = "operator/traces.rs"]
mod traces;
#[path = "operator/trouble.rs"]
mod trouble;
#[path = "operator/uninstall.rs"]
mod uninstall;
