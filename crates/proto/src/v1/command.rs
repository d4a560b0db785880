//! What a client asks for.
//!
//! In: the text of one message. Out: a [`Command`] that borrows from it, or an error that names
//! the code to answer with. What must hold: no answer echoes more than 64 bytes of its input, the
//! list of channels is bounded while it is read, and nesting costs no stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use thiserror::Error;

/// Most channels in one command: as many as fit the default limit of 64 KiB, so that every one of them gets a verdict.
pub const MAX_CHANNELS: usize = 16_384;

/// Longest `id` or `timestamp`, as written in the command.
const MAX_SCALAR: usize = 64;

/// Most bytes of a client's own text in an error message.
const MAX_ECHO: usize = 64;

/// A command's own name for itself, echoed in its answer: a JSON number or string as written.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Id<'a>(&'a RawValue);

impl<'a> Id<'a> {
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
    /// `invalid_json`, `invalid_command`, `unknown_type`, `not_supported` or `too_many_channels`.
    pub code: &'static str,
    /// What to change, for the person who wrote the client.
    pub message: String,
}

impl<'a> CommandError<'a> {
    fn new(id: Option<Id<'a>>, code: &'static str, message: impl Into<String>) -> Self {
        Self { id, code, message: message.into() }
    }

    fn invalid(id: Option<Id<'a>>, message: impl Into<String>) -> Self {
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
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads one command.
///
/// # Errors
/// What to answer with [`super::error`].
pub fn parse(text: &str) -> Result<Command<'_>, CommandError<'_>> {
    // A sequence would be taken for the fields in order.
    if !text.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
    {
        return Err(CommandError::invalid(None, "a command is a JSON object with a \"type\""));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| not_read(&error))?;
    let id = match fields.id {
        None => None,
        Some(id) if is_short_scalar(id) => Some(Id(id)),
        Some(_) => {
            return Err(CommandError::invalid(
                None,
                "\"id\" is a number or string of up to 64 bytes",
            ));
        }
    };
    let kind = fields
        .kind
        .and_then(|kind| serde_json::from_str::<Text<'_>>(kind.get()).ok())
        .ok_or_else(|| CommandError::invalid(id, "\"type\" is missing or not a string"))?;
    match &*kind.0 {
        "subscribe" => Ok(Command::Subscribe {
            id,
            channels: channels(id, fields.channels)?,
            batch: flag(id, "batch", fields.batch)?,
            resume: resume(id, fields.resume)?,
            snapshot: flag(id, "snapshot", fields.snapshot)?.unwrap_or(false),
        }),
        "unsubscribe" => Ok(Command::Unsubscribe { id, channels: channels(id, fields.channels)? }),
        "replay" => {
            let channels = channels(id, fields.channels)?;
            let from = offset(id, "from", fields.from)?.ok_or_else(|| missing_from(id))?;
            let to = offset(id, "to", fields.to)?;
            if to.is_some_and(|to| to < from) {
                return Err(CommandError::invalid(id, "\"from\" is greater than \"to\""));
            }
            Ok(Command::Replay { id, channels, from, to })
        }
        "ping" => Ok(Command::Ping { timestamp: timestamp(id, fields.timestamp)? }),
        "heartbeat" => Ok(Command::Heartbeat { timestamp: timestamp(id, fields.timestamp)? }),
        known @ ("resume" | "snapshot") => Err(CommandError::invalid(
            id,
            format!("\"{known}\" is a field of subscribe, not a command"),
        )),
        "auth" => {
            Err(CommandError::new(id, "not_supported", "auth is not supported by this gateway"))
        }
        unknown => Err(CommandError::new(
            id,
            "unknown_type",
            format!(
                "unknown type {:?}: use subscribe, unsubscribe, replay, ping or heartbeat",
                head(unknown)
            ),
        )),
    }
}

fn not_read<'a>(error: &serde_json::Error) -> CommandError<'a> {
    match error.classify() {
        Category::Data => CommandError::invalid(None, "a field is there twice"),
        _ => CommandError::new(
            None,
            "invalid_json",
            format!("not JSON: see line {}, column {}", error.line(), error.column()),
        ),
    }
}

/// Longest epoch of a client that is looked at; ours have 13 to 30 characters.
const MAX_EPOCH: usize = 128;

fn resume<'a>(
    id: Option<Id<'a>>,
    value: Option<&'a RawValue>,
) -> Result<Option<Resume<'a>>, CommandError<'a>> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get())
        .ok()
        .filter(|resume: &Resume<'_>| resume.epoch.len() <= MAX_EPOCH)
        .map(Some)
        .ok_or_else(|| {
            let message =
                "\"resume\" is {\"epoch\":\"…\",\"offset\":n} with n a whole number from 0";
            CommandError::invalid(id, message)
        })
}

fn offset<'a>(
    id: Option<Id<'a>>,
    name: &str,
    value: Option<&'a RawValue>,
) -> Result<Option<u64>, CommandError<'a>> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get())
        .map(Some)
        .map_err(|_| CommandError::invalid(id, format!("\"{name}\" is a whole number from 0")))
}

fn missing_from(id: Option<Id<'_>>) -> CommandError<'_> {
    CommandError::invalid(id, "\"from\" is missing: the first offset to send again")
}

fn is_short_scalar(value: &RawValue) -> bool {
    let json = value.get();
    json.len() <= MAX_SCALAR
        && json.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

fn timestamp<'a>(
    id: Option<Id<'a>>,
    value: Option<&'a RawValue>,
) -> Result<Option<&'a RawValue>, CommandError<'a>> {
    match value {
        Some(value) if !is_short_scalar(value) => {
            Err(CommandError::invalid(id, "\"timestamp\" is a number or string of up to 64 bytes"))
        }
        value => Ok(value),
    }
}

fn flag<'a>(
    id: Option<Id<'a>>,
    name: &str,
    value: Option<&'a RawValue>,
) -> Result<Option<bool>, CommandError<'a>> {
    match value.map(RawValue::get) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(CommandError::invalid(id, format!("\"{name}\" is true or false"))),
    }
}

/// At most [`MAX_CHANNELS`] channels, and whether there were more.
struct Channels<'a> {
    list: Vec<Cow<'a, str>>,
    more: bool,
}

impl<'de> Deserialize<'de> for Channels<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Channels<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of channels")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while list.len() < MAX_CHANNELS {
                    match seq.next_element::<Text<'de>>()? {
                        Some(channel) => list.push(channel.0),
                        None => return Ok(Channels { list, more: false }),
                    }
                }
                let mut more = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    more = true;
                }
                Ok(Channels { list, more })
            }
        }
        deserializer.deserialize_seq(List)
    }
}

fn channels<'a>(
    id: Option<Id<'a>>,
    value: Option<&'a RawValue>,
) -> Result<Vec<Cow<'a, str>>, CommandError<'a>> {
    let wrong = || CommandError::invalid(id, "\"channels\" is missing or not a list of strings");
    let value = value.ok_or_else(wrong)?;
    let channels: Channels<'_> = serde_json::from_str(value.get()).map_err(|_| wrong())?;
    if channels.more {
        let message = format!("more than {MAX_CHANNELS} channels in one command: send several");
        return Err(CommandError::new(id, "too_many_channels", message));
    }
    Ok(channels.list)
}

/// The first bytes of a client's text, cut between characters.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ECHO)]
}

#[cfg(test)]
mod tests;
