//! A WebSocket client of our own, for tests, benchmarks and load: it counts what arrives.
//!
//! [`Swarm`] holds thousands of connections on one thread and keeps a [`ledger`] for each: what
//! came twice, late or not at all, told from the `offset` and `prev` of every message. [`Client`]
//! is one blocking connection for a test that says and hears one thing at a time. Both speak
//! through the client role of `wsgateway_proto`, without an async runtime.
//!
//! What must hold: an idle connection owns no buffer; the counting costs less than the reading,
//! so that the figures are the server's; nothing a server sends grows a connection without bound.

pub mod client;
pub mod counters;
pub mod envelope;
pub mod ledger;
pub mod machine;
pub mod swarm;

pub use client::{Client, ClientError, ClientOptions, Received};
pub use counters::{Counters, bounded};
pub use swarm::{
    Acknowledgement, Dialect, Gap, Heard, Latency, Observer, PER_SOURCE, Reconnect, Swarm,
    SwarmError, SwarmOptions, Tally, Unit, loopback_sources,
};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A `Sec-WebSocket-Key`: 16 random bytes in base64.
fn handshake_key() -> String {
    STANDARD.encode(fastrand::u128(..).to_ne_bytes())
}

/// A mask key. Predictable to whoever knows the generator, which is right for a measuring tool.
fn mask_key() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}

/// A request with further header lines before the empty line that ends its head.
fn with_headers(mut request: Vec<u8>, headers: &[(String, String)]) -> Vec<u8> {
    request.truncate(request.len().saturating_sub(2));
    for (name, value) in headers {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request
}

#[cfg(test)]
mod testing;
