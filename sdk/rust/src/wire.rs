//! Frames: what a gateway sends, and what the client sends.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::event::{Cursor, Message, Rejected};

/// Any frame that a gateway sends; which fields count depends on `kind`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Push {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: i64,

    pub epoch: String,
    pub connection_id: String,
    pub pod: String,
    pub limits: Limits,

    pub channel: String,
    pub offset: Option<i64>,
    pub prev: i64,
    pub ts: i64,
    #[serde(deserialize_with = "whole")]
    pub data: Option<Box<RawValue>>,
    pub encoding: String,
    pub snapshot: bool,
    pub deleted: String,

    pub subscribed: Vec<String>,
    pub channels: Vec<String>,
    pub rejected: Vec<Rejected>,
    pub recovered: Option<bool>,
    pub messages: Vec<Box<RawValue>>,

    pub from: Option<i64>,
    pub to: Option<i64>,
    pub reason: String,
    pub after_ms: i64,
    pub expires_at: i64,
    pub code: String,
    pub message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Limits {
    pub command_bytes: usize,
    pub commands_per_second: f64,
}

/// The payload `null` is a value, too.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

impl Push {
    /// The push's offset, when it has one.
    pub(crate) fn offset(&self) -> Option<i64> {
        self.offset.filter(|offset| *offset >= 0)
    }

    /// The message as users get it. A deletion has no data, whatever else it holds.
    pub(crate) fn decoded(&self) -> Result<Message, &'static str> {
        let (false, Some(offset)) = (self.channel.is_empty(), self.offset()) else {
            return Err("a message without channel or offset");
        };
        let binary = self.deleted.is_empty() && self.encoding == "base64";
        let raw = self.data.as_ref().map_or("", |data| data.get());
        let data = if !self.deleted.is_empty() {
            Bytes::new()
        } else if binary {
            let text = serde_json::from_str::<String>(raw);
            let text = text.map_err(|_| "a message whose base64 is no text")?;
            BASE64_STANDARD.decode(text).map_err(|_| "a message whose base64 is broken")?.into()
        } else {
            Bytes::copy_from_slice(raw.as_bytes())
        };
        Ok(Message {
            channel: self.channel.clone(),
            offset,
            prev: self.prev.max(0),
            time: unix_ms(self.ts),
            data,
            binary,
            snapshot: self.snapshot,
            deleted: (!self.deleted.is_empty()).then(|| self.deleted.clone()),
        })
    }
}

/// A time that no server can make overflow.
pub(crate) fn unix_ms(ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The pushes of a frame; those of a batch one by one, up to the first that is broken.
pub(crate) fn parse(frame: &[u8]) -> (Vec<Push>, Option<&'static str>) {
    let push = match object(frame) {
        Some(push) if push.kind == "batch" => push,
        Some(push) => return (vec![push], None),
        None => return (Vec::new(), Some("a frame that is not as the protocol has it")),
    };
    let mut pushes = Vec::with_capacity(push.messages.len());
    for text in &push.messages {
        match object(text.get().as_bytes()) {
            Some(message) => pushes.push(message),
            None => {
                return (pushes, Some("a message of a batch that is not as the protocol has it"));
            }
        }
    }
    (pushes, None)
}

/// A push; serde would take the fields from an array, too.
fn object(text: &[u8]) -> Option<Push> {
    let is_object = text.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(text).ok()).flatten()
}

/// Any frame that the client sends. No `Debug`: one of them holds the token.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Command {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub id: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub batch: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub snapshot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Cursor>,
    #[serde(skip_serializing_if = "is_zero")]
    pub timestamp: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}
