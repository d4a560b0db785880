//! `symbols.v1`: the protocol of a Redis gateway for trades, for its clients as they are.
//!
//! In: `{"action":"subscribe","symbols":[…]}`, or the values of a push. Out: a [`Command`], or complete server frames
//! appended to the caller's buffer, in that gateway's words. No state.

mod command;
mod push;

pub use command::{Command, parse};
pub use push::{Change, Changed, authenticated, error, pong, success, trade, trade_len};

/// The name of this protocol in `Sec-WebSocket-Protocol`.
pub const PROTOCOL: &str = "symbols.v1";
