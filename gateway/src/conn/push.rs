//! The fields of a push that decide how it is passed on to a client that gets no frames.

use std::borrow::Cow;

use serde::Deserialize;

/// What every push may say of itself. Fields that only one kind of push has are read by whoever needs them.
#[derive(Debug, Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub epoch: Option<Cow<'a, str>>,
    pub offset: Option<u64>,
    #[serde(default)]
    pub snapshot: bool,
    pub recovered: Option<bool>,
    #[serde(rename = "afterMs")]
    pub after_ms: Option<u64>,
}

impl<'a> Head<'a> {
    /// Reads it from a push; `None` if that is no JSON object with a type.
    pub(crate) fn read(push: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(push).ok()
    }
}
