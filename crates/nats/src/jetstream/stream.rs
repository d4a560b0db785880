//! What a stream says of itself.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// Messages in it.
    pub messages: u64,
    /// Subjects that have messages in it.
    pub subjects: u64,
    /// Servers that hold a copy of it.
    pub replicas: u64,
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
    num_replicas: u64,
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
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    num_subjects: u64,
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

/// Some of the subjects that have messages in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    /// Their names, in no order. Bytes that are not UTF-8 are replacement characters: JSON cannot say them.
    pub names: Vec<String>,
    /// How many there are in all.
    pub total: usize,
}

#[derive(Serialize)]
struct SubjectsRequest<'a> {
    subjects_filter: &'a str,
    offset: usize,
}

#[derive(Deserialize)]
struct RawSubjects {
    state: State,
    #[serde(default)]
    total: usize,
}

impl Subjects {
    /// The body of a request to [`super::Api::stream_info`] for the subjects that a filter matches, without the first
    /// `offset`. A server gives at most 100,000 at once.
    pub fn request(filter: &str, offset: usize) -> Vec<u8> {
        let request = SubjectsRequest { subjects_filter: filter, offset };
        // A string and a number: nothing that JSON cannot say.
        serde_json::to_vec(&request).unwrap_or_default()
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// When the server refuses, or answers something else.
    pub fn read(answer: &Message) -> Result<Self, AnswerError> {
        let RawSubjects { state, total } = read(answer)?;
        Ok(Self { names: state.subjects.unwrap_or_default().into_keys().collect(), total })
    }
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
            messages: state.messages,
            subjects: state.num_subjects,
            replicas: config.num_replicas.max(1),
            allow_direct: config.allow_direct,
            inactive_limit: (limit > 0).then(|| Duration::from_nanos(limit)),
        })
    }

    /// Whether every sequence between the first and the last has its message.
    pub fn is_whole(&self) -> bool {
        (self.last + 1).checked_sub(self.first) == Some(self.messages)
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
                "created":"2026-01-01T00:00:00Z","state":{"messages":2,"first_seq":3,"last_seq":9,"num_subjects":1}}"#,
        ))
        .unwrap();
        assert_eq!((info.messages, info.subjects, info.replicas), (2, 1, 1));
        assert!(!info.is_whole() && StreamInfo { messages: 7, ..info.clone() }.is_whole());
        assert_eq!((info.first, info.last, info.allow_direct), (3, 9, true));
        assert_eq!(info.inactive_limit, Some(Duration::from_secs(1)));
        let bare = r#"{"config":{},"created":"2026-01-01T00:00:00Z","state":{"first_seq":0,"last_seq":0}}"#;
        let bare = StreamInfo::read(&answer("", bare)).unwrap();
        assert_eq!((bare.allow_direct, bare.inactive_limit), (false, None));
    }

    #[test]
    fn subjects_come_with_their_number_and_none_is_an_empty_list() {
        let request = Subjects::request("a.>", 7);
        assert_eq!(&*request, br#"{"subjects_filter":"a.>","offset":7}"#);
        let some = r#"{"total":3,"offset":0,"limit":100000,"state":{"first_seq":1,"last_seq":2,"subjects":{"a.b":2}}}"#;
        let want = Subjects { names: vec!["a.b".to_owned()], total: 3 };
        assert_eq!(Subjects::read(&answer("", some)), Ok(want));
        let none = r#"{"state":{"first_seq":1,"last_seq":2}}"#;
        let want = Subjects { names: Vec::new(), total: 0 };
        assert_eq!(Subjects::read(&answer("", none)), Ok(want));
    }
}
