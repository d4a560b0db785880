//! Reading commands: the fields that the commands of several protocols share.
//!
//! Fields are read one by one from the text that a first pass has found them in, so that an error names the field and
//! an answer carries the command's id. What must hold: nothing is held beyond the text itself but a bounded list, and
//! nesting costs no stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::v1::{CommandError, Id, MAX_CHANNELS, Resume};

/// Longest `id` or `timestamp`, as written in the command.
const MAX_SCALAR: usize = 64;

/// Most bytes of a client's own text in an error message.
const MAX_ECHO: usize = 64;

/// Longest epoch of a client that is looked at; ours have 13 to 30 characters.
const MAX_EPOCH: usize = 128;

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of a command that is a JSON object.
pub(crate) fn fields<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, CommandError<'a>> {
    // A sequence would be taken for the fields in order.
    if !text.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
    {
        return Err(CommandError::invalid(None, "a command is a JSON object with a \"type\""));
    }
    serde_json::from_str(text).map_err(|error| not_read(&error))
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

/// The command's id.
pub(crate) fn id(value: Option<&RawValue>) -> Result<Option<Id<'_>>, CommandError<'_>> {
    match value {
        Some(id) if !is_short_scalar(id) => {
            Err(CommandError::invalid(None, "\"id\" is a number or string of up to 64 bytes"))
        }
        id => Ok(id.map(Id::new)),
    }
}

/// A string; `None` for anything else.
pub(crate) fn text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value?.get()).ok().map(|text| text.0)
}

/// The command's type.
pub(crate) fn kind<'a>(
    id: Option<Id<'a>>,
    value: Option<&'a RawValue>,
) -> Result<Cow<'a, str>, CommandError<'a>> {
    text(value).ok_or_else(|| CommandError::invalid(id, "\"type\" is missing or not a string"))
}

/// A client's place in a stream.
pub(crate) fn resume<'a>(
    id: Option<Id<'a>>,
    value: Option<&'a RawValue>,
) -> Result<Option<Resume<'a>>, CommandError<'a>> {
    let Some(value) = value else { return Ok(None) };
    // A list would be taken for the fields in order.
    let object = value.get().starts_with('{');
    object
        .then(|| serde_json::from_str(value.get()).ok())
        .flatten()
        .filter(|resume: &Resume<'_>| resume.epoch.len() <= MAX_EPOCH)
        .map(Some)
        .ok_or_else(|| {
            let message =
                "\"resume\" is {\"epoch\":\"…\",\"offset\":n} with n a whole number from 0";
            CommandError::invalid(id, message)
        })
}

/// A whole number from 0.
pub(crate) fn number<'a>(
    id: Option<Id<'a>>,
    name: &str,
    value: Option<&'a RawValue>,
) -> Result<Option<u64>, CommandError<'a>> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get())
        .map(Some)
        .map_err(|_| CommandError::invalid(id, format!("\"{name}\" is a whole number from 0")))
}

/// What comes back in a pong.
pub(crate) fn timestamp<'a>(
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

fn is_short_scalar(value: &RawValue) -> bool {
    let json = value.get();
    json.len() <= MAX_SCALAR
        && json.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

/// True or false.
pub(crate) fn flag<'a>(
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

/// A list of at most [`MAX_CHANNELS`] strings; it must be there.
pub(crate) fn list<'a>(
    id: Option<Id<'a>>,
    name: &str,
    value: Option<&'a RawValue>,
) -> Result<Vec<Cow<'a, str>>, CommandError<'a>> {
    let wrong =
        || CommandError::invalid(id, format!("\"{name}\" is missing or not a list of strings"));
    let value = value.ok_or_else(wrong)?;
    let list: List<'_> = serde_json::from_str(value.get()).map_err(|_| wrong())?;
    if list.more {
        let message = format!("more than {MAX_CHANNELS} {name} in one command: send several");
        return Err(CommandError::new(id, "too_many_channels", message));
    }
    Ok(list.strings)
}

/// At most [`MAX_CHANNELS`] strings, and whether there were more.
struct List<'a> {
    strings: Vec<Cow<'a, str>>,
    more: bool,
}

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = List<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut strings = Vec::new();
                while strings.len() < MAX_CHANNELS {
                    match seq.next_element::<Text<'de>>()? {
                        Some(text) => strings.push(text.0),
                        None => return Ok(List { strings, more: false }),
                    }
                }
                let mut more = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    more = true;
                }
                Ok(List { strings, more })
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// The first bytes of a client's text, cut between characters.
pub(crate) fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ECHO)]
}
