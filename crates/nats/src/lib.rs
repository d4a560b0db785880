//! NATS as gateway, operator and `wsgw` use it: connecting, and planning and applying a stream.
//!
//! In: server addresses, a [`wsgateway_config::StreamConfig`]. Out: a client that reconnects by itself, a stream that
//! is as declared, or an error that knows its static reason and whether a retry can help. Judgement ([`plan`]) is
//! pure; [`shell`] does the talking. State lives in NATS alone.

mod connect;
mod epoch;

pub use connect::{ConnectError, connect};
pub use epoch::epoch;
