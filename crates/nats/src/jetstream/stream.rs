//! What a stream says of itself.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use super::{AnswerError, read};
use crate::wire::Message;

/// A stream, as far as its readers care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its identity, see [`crate::epoch`].
    pub epoch: String,
    /// First sequence still there; `last` + 1 in an empty stream.
    pub first: u64,
    /// Last sequence ever given.
    pub last: u64,
    /// Whether any replica may be asked for single messages.
    pub allow_direct: bool,
    /// Longest that a consumer without a listener may be kept, if that is limited.
    pub inactive_limit: Option<Duration>,
}

#[derive(Deserialize)]
struct Raw {
    config: Config,
    created: String,
    state: State,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    allow_direct: bool,
    consumer_limits: Option<Limits>,
    metadata: Option<HashMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    /// Nanoseconds; 0: no limit.
    inactive_threshold: u64,
}

#[derive(Deserialize)]
struct State {
    first_seq: u64,
    last_seq: u64,
}

impl StreamInfo {
    /// Reads the answer of [`super::Api::stream_info`].
    ///
    /// # Errors
    /// When the server refuses, or answers something else.
    pub fn read(answer: &Message) -> Result<Self, AnswerError> {
        let Raw { config, created, state } = read(answer)?;
        let created = async_nats::datetime::parse_rfc3339(&created)
            .map_err(|error| AnswerError::Malformed(format!("created {created}: {error}")))?;
        let limit = config.consumer_limits.unwrap_or_default().inactive_threshold;
        Ok(Self {
            epoch: crate::epoch(&config.metadata.unwrap_or_default(), created),
            first: state.first_seq,
            last: state.last_seq,
            allow_direct: config.allow_direct,
            inactive_limit: (limit > 0).then(|| Duration::from_nanos(limit)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;

    #[test]
    fn a_stream_is_read_and_what_is_absent_is_not_there() {
        let info = StreamInfo::read(&answer(
            "",
            r#"{"type":"x","config":{"name":"A","allow_direct":true,"metadata":{"k":"v"},"consumer_limits":{"inactive_threshold":1000000000}},
                "created":"2026-01-01T00:00:00Z","state":{"messages":2,"first_seq":3,"last_seq":9}}"#,
        ))
        .unwrap();
        assert_eq!((info.first, info.last, info.allow_direct), (3, 9, true));
        assert_eq!(info.inactive_limit, Some(Duration::from_secs(1)));
        let bare = r#"{"config":{},"created":"2026-01-01T00:00:00Z","state":{"first_seq":0,"last_seq":0}}"#;
        let bare = StreamInfo::read(&answer("", bare)).unwrap();
        assert_eq!((bare.allow_direct, bare.inactive_limit), (false, None));
    }
}
