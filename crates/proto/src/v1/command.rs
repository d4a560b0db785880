//! What a client asks for.
//!
//! In: the text of one message. Out: a [`Command`] that borrows from it, or an error that names
//! the code to answer with. What must hold: no answer echoes more than 64 bytes of its input, the
//! list of channels is bounded while it is read, and nesting costs no stack.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::handshake::Token;
use crate::read;

/// Most channels in one command: as many as fit the default limit of 64 KiB, so that every one of them gets a verdict.
pub const MAX_CHANNELS: usize = 16_384;

/// A command's own name for itself, echoed in its answer: a JSON number or string as written.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Id<'a>(&'a RawValue);

impl<'a> Id<'a> {
    pub(crate) fn new(json: &'a RawValue) -> Self {
        Self(json)
    }

    /// The JSON as the client wrote it, at most 64 bytes.
    pub fn as_json(&self) -> &'a str {
        self.0.get()
    }

    /// A copy that outlives the command.
    pub fn keep(&self) -> KeptId {
        KeptId(self.0.to_owned())
    }
}

/// An [`Id`] kept for an answer that comes later.
#[derive(Clone, Debug)]
pub struct KeptId(Box<RawValue>);

impl KeptId {
    /// The id, for the answer.
    pub fn id(&self) -> Id<'_> {
        Id(&self.0)
    }
}

/// One command of a client.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// Send what comes on these channels.
    Subscribe {
        /// To be echoed in the answer.
        id: Option<Id<'a>>,
        /// As sent: not yet checked by [`crate::channel::validate`].
        channels: Vec<Cow<'a, str>>,
        /// Several messages may come in one frame of type `batch`; `None` leaves it as it is.
        batch: Option<bool>,
        /// Go on where the client was, on this gateway or another one of the same stream.
        resume: Option<Resume<'a>>,
        /// First the last value of every channel.
        snapshot: bool,
    },
    /// Stop sending what comes on these channels.
    Unsubscribe {
        /// To be echoed in the answer.
        id: Option<Id<'a>>,
        /// As sent: not yet checked by [`crate::channel::validate`].
        channels: Vec<Cow<'a, str>>,
    },
    /// Send again what came on these channels in a range of offsets; no subscription is needed or made.
    Replay {
        /// To be echoed in the answer.
        id: Option<Id<'a>>,
        /// As sent: not yet checked by [`crate::channel::validate`].
        channels: Vec<Cow<'a, str>>,
        /// The first offset.
        from: u64,
        /// The last offset; `None` is the newest one there is.
        to: Option<u64>,
    },
    /// Show who the client is, again: its token ends soon.
    Auth {
        /// To be echoed in the answer.
        id: Option<Id<'a>>,
        /// As sent: not yet verified.
        token: Token,
    },
    /// Asks for a pong.
    Ping {
        /// A number or short string, to be echoed in the answer.
        timestamp: Option<&'a RawValue>,
    },
    /// Asks for a pong.
    Heartbeat {
        /// A number or short string, to be echoed in the answer.
        timestamp: Option<&'a RawValue>,
    },
}

/// A client's place in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Resume<'a> {
    /// The stream's life that the offset belongs to, as the greeting told it.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// Everything up to here has arrived.
    pub offset: u64,
}

/// Why a command is not carried out, ready to be answered.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct CommandError<'a> {
    /// The command's id, if it had a good one.
    pub id: Option<Id<'a>>,
    /// `invalid_json`, `invalid_command`, `unknown_type` or `too_many_channels`.
    pub code: &'static str,
    /// What to change, for the person who wrote the client.
    pub message: String,
}

impl<'a> CommandError<'a> {
    pub(crate) fn new(id: Option<Id<'a>>, code: &'static str, message: impl Into<String>) -> Self {
        Self { id, code, message: message.into() }
    }

    pub(crate) fn invalid(id: Option<Id<'a>>, message: impl Into<String>) -> Self {
        Self::new(id, "invalid_command", message)
    }
}

/// The fields that some command has, unread: most commands have two of them.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    channels: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    resume: Option<&'a RawValue>,
    #[serde(borrow)]
    snapshot: Option<&'a RawValue>,
    #[serde(borrow)]
    batch: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
}

/// Reads one command.
///
/// # Errors
/// What to answer with [`super::error`].
pub fn parse(text: &str) -> Result<Command<'_>, CommandError<'_>> {
    let fields: Fields<'_> = read::fields(text)?;
    let id = read::id(fields.id)?;
    match &*read::kind(id, fields.kind)? {
        "subscribe" => Ok(Command::Subscribe {
            id,
            channels: read::list(id, "channels", fields.channels)?,
            batch: read::flag(id, "batch", fields.batch)?,
            resume: read::resume(id, fields.resume)?,
            snapshot: read::flag(id, "snapshot", fields.snapshot)?.unwrap_or(false),
        }),
        "unsubscribe" => {
            Ok(Command::Unsubscribe { id, channels: read::list(id, "channels", fields.channels)? })
        }
        "replay" => {
            let channels = read::list(id, "channels", fields.channels)?;
            let from = read::number(id, "from", fields.from)?.ok_or_else(|| missing_from(id))?;
            let to = read::number(id, "to", fields.to)?;
            if to.is_some_and(|to| to < from) {
                return Err(CommandError::invalid(id, "\"from\" is greater than \"to\""));
            }
            Ok(Command::Replay { id, channels, from, to })
        }
        "ping" => Ok(Command::Ping { timestamp: read::timestamp(id, fields.timestamp)? }),
        "heartbeat" => Ok(Command::Heartbeat { timestamp: read::timestamp(id, fields.timestamp)? }),
        known @ ("resume" | "snapshot") => Err(CommandError::invalid(
            id,
            format!("\"{known}\" is a field of subscribe, not a command"),
        )),
        "auth" => match read::text(fields.token) {
            Some(token) => Ok(Command::Auth { id, token: Token::new(&token) }),
            None => Err(CommandError::invalid(id, "\"token\" is missing or not a string")),
        },
        unknown => Err(CommandError::new(
            id,
            "unknown_type",
            format!(
                "unknown type {:?}: use subscribe, unsubscribe, replay, auth, ping or heartbeat",
                read::head(unknown)
            ),
        )),
    }
}

fn missing_from(id: Option<Id<'_>>) -> CommandError<'_> {
    CommandError::invalid(id, "\"from\" is missing: the first offset to send again")
}

#[cfg(test)]
mod tests;
