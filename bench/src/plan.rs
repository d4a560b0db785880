//! What a client process is told to do, and what it tells in return: JSON in, JSON out.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::load::{Shape, Subscriptions};

/// Everything about one session of clients with one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The server, and the process whose CPU and memory are measured.
    pub server: SocketAddr,
    pub pid: u32,
    pub wire: Wire,
    pub feed: Feed,
    pub connections: usize,
    pub subscriptions: Subscriptions,
    /// Offer compression.
    pub deflate: bool,
    /// Ask for batch frames.
    pub batch: bool,
    /// Let sockets wake the clients, instead of looking every now and then.
    pub sleep: bool,
    pub phases: Vec<Phase>,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wire {
    /// `wsgateway.v1`: every message is held against the ledger.
    V1,
    /// `odin.v1`: every message has a number of its connection.
    Odin,
    /// A greeting, an acknowledgement of what was subscribed to, then every message is a payload.
    Plain,
    /// The NATS protocol in binary frames.
    Nats,
    /// Socket.IO 4 on its WebSocket transport.
    SocketIo,
}

/// The way into a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Feed {
    /// Lines on the floor's control connection.
    Floor(SocketAddr),
    /// A NATS server, from which the server reads.
    Nats(SocketAddr),
}

/// A part of a session that is measured by itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// So many messages at once, the next ones when every client has them all.
    Window { messages: u64, warmup: u64, window: u64, shape: Shape },
    /// A steady rate, whatever happens. With `stalled`, one client at a time stops reading: another every second.
    Paced { per_second: f64, seconds: f64, shape: Shape, stalled: bool },
    /// So many clients connect at once and say nothing.
    Arrive { clients: usize },
    /// So many clients connect at once, each with a cursor behind which it has missed so many messages.
    Resume { clients: usize, missed: u64, shape: Shape },
}

/// What came of a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub connected: Connected,
    pub phases: Vec<Measured>,
    /// Connections a second that others made meanwhile, if there was a storm.
    #[serde(default)]
    pub storm_per_second: f64,
}

/// What connecting cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Connected {
    /// CPU time of the server per connection (ns): handshake, session, subscriptions.
    pub cpu_ns: f64,
    /// Growth of the server's own memory per idle connection (bytes).
    pub user_bytes: f64,
    /// Growth of the kernel's slabs per socket, half of both ends (bytes).
    pub kernel_bytes: f64,
}

/// What one phase measured.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub messages: u64,
    pub deliveries: u64,
    /// CPU time of the server (ns).
    pub cpu_ns: u64,
    pub wall_ns: u64,
    /// Bytes that the clients received, as on the wire.
    pub bytes: u64,
    /// Publish to read (ns), of a paced phase.
    pub p50_ns: u64,
    pub p99_ns: u64,
    /// Most that the server's memory grew (bytes), of a paced phase.
    pub growth_bytes: u64,
    /// Clients closed by the server.
    pub closed: u64,
    /// The server did not keep up with the rate.
    pub behind: bool,
}
