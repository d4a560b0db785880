//! What a client of the earlier systems asks for, in each of its spellings.
//!
//! In: the text of one message. Out: a [`Command`] that borrows from it, or what to answer. The bounds are those of
//! [`crate::v1::parse`].

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::handshake::Token;
use crate::template::Template;
use crate::v1::{CommandError, Id, Resume};
use crate::{channel, read};

/// One command of a client.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// Send what comes on these channels.
    Subscribe {
        /// To be echoed in the answer.
        id: Option<Id<'a>>,
        /// As sent: see [`Name::channel`].
        names: Vec<Name<'a>>,
        /// Go on where the client was; not known to earlier clients.
        resume: Option<Resume<'a>>,
        /// First the last value of every channel; not known to earlier clients.
        snapshot: bool,
    },
    /// Stop sending what comes on these channels.
    Unsubscribe {
        /// To be echoed in the answer.
        id: Option<Id<'a>>,
        /// As sent: see [`Name::channel`].
        names: Vec<Name<'a>>,
    },
    /// Send the messages with these sequences of this connection again.
    Replay {
        /// To be echoed in the answer.
        id: Option<Id<'a>>,
        /// The first sequence.
        from: u64,
        /// The last sequence; `None` is the newest one there is.
        to: Option<u64>,
    },
    /// Another token, for the time after the one before; not known to earlier clients.
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

/// What a client calls a channel, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A channel, with or without the gateway's prefix.
    Channel(Cow<'a, str>),
    /// A token: all channels that a template makes of it.
    Token(Cow<'a, str>),
}

impl Name<'_> {
    /// As the client wrote it.
    pub fn asked(&self) -> &str {
        match self {
            Self::Channel(name) | Self::Token(name) => name,
        }
    }

    /// The channel or pattern meant: earlier clients name whole subjects, so `strip_prefix` is taken off where it is.
    ///
    /// # Errors
    /// The code to reject it with: it is no channel, or no token.
    pub fn channel(
        &self,
        strip_prefix: &str,
        tokens: &Template,
    ) -> Result<Cow<'_, str>, &'static str> {
        match self {
            Self::Token(token) => tokens.fill(token).map(Cow::Owned).ok_or("invalid_token"),
            Self::Channel(name) => {
                let rest = name.strip_prefix(strip_prefix).filter(|rest| !rest.is_empty());
                let channel = rest.unwrap_or(name);
                channel::validate(channel).map_err(channel::ChannelError::code)?;
                Ok(Cow::Borrowed(channel))
            }
        }
    }
}

/// The fields that some command has, in the command itself or in its `data`.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    channels: Option<&'a RawValue>,
    #[serde(borrow)]
    tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    resume: Option<&'a RawValue>,
    #[serde(borrow)]
    snapshot: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    from_seq: Option<&'a RawValue>,
    #[serde(borrow)]
    to_seq: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// What the command says: what is missing in it is taken from `data`, if that is an object.
    fn read(text: &'a str) -> Result<Self, CommandError<'a>> {
        let fields: Self = read::fields(text)?;
        let Some(data) = fields.data.filter(|data| data.get().starts_with('{')) else {
            return Ok(fields);
        };
        let data: Self = read::fields(data.get())?;
        Ok(Self {
            channels: fields.channels.or(data.channels),
            tokens: fields.tokens.or(data.tokens),
            token: fields.token.or(data.token),
            resume: fields.resume.or(data.resume),
            snapshot: fields.snapshot.or(data.snapshot),
            from: fields.from.or(data.from),
            to: fields.to.or(data.to),
            from_seq: fields.from_seq.or(data.from_seq),
            to_seq: fields.to_seq.or(data.to_seq),
            timestamp: fields.timestamp.or(data.timestamp),
            ..fields
        })
    }

    /// Channels, tokens, or both.
    fn names(&self, id: Option<Id<'a>>) -> Result<Vec<Name<'a>>, CommandError<'a>> {
        let mut names = Vec::new();
        if self.channels.is_some() || self.tokens.is_none() {
            let channels = read::list(id, "channels", self.channels)?;
            names.extend(channels.into_iter().map(Name::Channel));
        }
        if self.tokens.is_some() {
            let tokens = read::list(id, "tokens", self.tokens)?;
            names.extend(tokens.into_iter().map(Name::Token));
        }
        Ok(names)
    }

    fn replay(&self, id: Option<Id<'a>>) -> Result<Command<'a>, CommandError<'a>> {
        let from = read::number(id, "from", self.from.or(self.from_seq))?;
        let to = read::number(id, "to", self.to.or(self.to_seq))?;
        let message = "\"from\" is missing: the first sequence to send again";
        let from = from.ok_or_else(|| CommandError::invalid(id, message))?;
        if to.is_some_and(|to| to < from) {
            return Err(CommandError::invalid(id, "\"from\" is greater than \"to\""));
        }
        Ok(Command::Replay { id, from, to })
    }
}

/// Reads one command.
///
/// # Errors
/// What to answer with [`crate::v1::error`].
pub fn parse(text: &str) -> Result<Command<'_>, CommandError<'_>> {
    let fields = Fields::read(text)?;
    let id = read::id(fields.id)?;
    match &*read::kind(id, fields.kind)? {
        "subscribe" => Ok(Command::Subscribe {
            id,
            names: fields.names(id)?,
            resume: read::resume(id, fields.resume)?,
            snapshot: read::flag(id, "snapshot", fields.snapshot)?.unwrap_or(false),
        }),
        "unsubscribe" => Ok(Command::Unsubscribe { id, names: fields.names(id)? }),
        "replay" => fields.replay(id),
        "auth" => match read::text(fields.token) {
            Some(token) => Ok(Command::Auth { id, token: Token::new(&token) }),
            None => Err(CommandError::invalid(id, "\"token\" is missing or not a string")),
        },
        "ping" => Ok(Command::Ping { timestamp: read::timestamp(id, fields.timestamp)? }),
        "heartbeat" => Ok(Command::Heartbeat { timestamp: read::timestamp(id, fields.timestamp)? }),
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

#[cfg(test)]
mod tests;
