//! `odin.v1`: the protocol of the systems that this gateway replaces, for their clients as they are.
//!
//! In: the text of a command in any of the three spellings that were in use, or the values of a push. Out: a
//! [`Command`], or complete server frames appended to the caller's buffer. No state: the sequence of a connection is
//! its owner's. What is the same as in [`crate::v1`] (errors, gaps, acknowledgements, replay ends) is taken from there.

mod command;
mod data;
mod payload;
mod push;

pub use command::{Command, Name, parse};
pub use data::{DEFAULT_TYPE, DELETED_TYPE, Head, PRIORITY, flat, frame, frame_len, head};
pub use payload::{MAX_NONCE, message_type, nonce};
pub use push::{established, pong};

/// The name of this protocol in `Sec-WebSocket-Protocol`.
pub const PROTOCOL: &str = "odin.v1";
