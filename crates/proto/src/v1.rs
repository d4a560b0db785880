//! `wsgateway.v1`: JSON text frames, commands from clients and pushes to them.
//!
//! In: the text of a command, or the values of a push. Out: a [`Command`], or one complete server
//! frame appended to the caller's buffer. No state. Commands borrow from their text; an answer
//! never grows beyond what was asked.

mod batch;
mod command;
mod message;
mod push;

pub use batch::{BATCH_HEAD, BATCH_TAIL, batch, batch_len};
pub use command::{Command, CommandError, Id, KeptId, MAX_CHANNELS, Resume, parse};
pub use message::{Message, message, message_parts, snapshot};
pub use push::{
    Ack, Hello, Limits, MAX_REJECTIONS, auth_ack, error, established, gap, live, pong, reconnect,
    replay_complete, replay_incomplete, subscription_ack, token_expiring, unsubscribed,
    unsubscription_ack,
};

pub(crate) use push::push;

/// The name of this protocol in `Sec-WebSocket-Protocol`.
pub const PROTOCOL: &str = "wsgateway.v1";
