//! Streams that are created, adopted, observed and released on a real nats-server, of the version that NATS_SERVER names
//! or the pinned one: see hack/nats-matrix.

#[path = "streams/access.rs"]
mod access;
#[path = "streams/backup.rs"]
mod backup;
#[path = "streams/cluster.rs"]
mod cluster;
#[path = "streams/epoch.rs"]
mod epoch;
#[path = "streams/kinds.rs"]
mod kinds;
#[path = "streams/life.rs"]
mod life;
