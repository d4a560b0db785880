//! The JetStream API as the gateway uses it: subjects and bodies of requests, and what their answers say.
//!
//! Pure: a [`crate::link::Link`] carries the bytes. Answers are read leniently: fields that are not needed do not matter.

mod consumer;
mod stored;
mod stream;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use consumer::{ConsumerConfig, ConsumerInfo};
pub use stored::{Direct, Stored};
pub use stream::{StreamInfo, Subjects};

use crate::wire::Message;

/// Subjects of the API, behind a prefix: `$JS.API`, or another one for a JetStream domain or an import.
#[derive(Clone, Debug)]
pub struct Api {
    prefix: String,
}

impl Api {
    /// The API behind a prefix such as `$JS.API` or `$JS.hub.API`.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Where to ask about a stream: [`StreamInfo`], [`Subjects`].
    pub fn stream_info(&self, stream: &str) -> String {
        format!("{}.STREAM.INFO.{stream}", self.prefix)
    }

    /// Where to ask the stream's leader for a message: [`Stored::from_leader`].
    pub fn message(&self, stream: &str) -> String {
        format!("{}.STREAM.MSG.GET.{stream}", self.prefix)
    }

    /// Where to ask any replica for messages: [`Stored::from_direct`].
    pub fn direct(&self, stream: &str) -> String {
        format!("{}.DIRECT.GET.{stream}", self.prefix)
    }

    /// Where to create a consumer: [`ConsumerConfig::body`], [`ConsumerInfo`].
    pub fn create_consumer(&self, stream: &str, name: &str) -> String {
        format!("{}.CONSUMER.CREATE.{stream}.{name}", self.prefix)
    }

    /// Where to ask a consumer for messages: [`ConsumerConfig::pull`].
    pub fn next_messages(&self, stream: &str, name: &str) -> String {
        format!("{}.CONSUMER.MSG.NEXT.{stream}.{name}", self.prefix)
    }

    /// Where to delete a consumer.
    pub fn delete_consumer(&self, stream: &str, name: &str) -> String {
        format!("{}.CONSUMER.DELETE.{stream}.{name}", self.prefix)
    }
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nobody listens: JetStream is off, or not for this account or domain.
    #[error(
        "JetStream not enabled for this account or domain: enable it there, or check spec.nats.domain and apiPrefix"
    )]
    NoResponders,
    /// The server's refusal.
    #[error("{description} (error {code})")]
    Refused {
        /// nats-server's own error number, such as 10059 for a stream that does not exist.
        code: u32,
        /// Its words.
        description: String,
    },
    /// Something else than an answer of this API.
    #[error("an answer that cannot be read: {0}")]
    Malformed(String),
}

/// nats-server's error numbers that mean something here.
pub mod codes {
    /// There is no such stream.
    pub const STREAM_NOT_FOUND: u32 = 10_059;
    /// There is no such consumer.
    pub const CONSUMER_NOT_FOUND: u32 = 10_014;
    /// There is no such message.
    pub const NO_MESSAGE_FOUND: u32 = 10_037;
    /// The stream or the account has as many consumers as it may.
    pub const MAXIMUM_CONSUMERS: u32 = 10_026;
    /// JetStream is not enabled for the account.
    pub const NOT_ENABLED_FOR_ACCOUNT: u32 = 10_039;
    /// A work queue delivers to those who acknowledge.
    pub const WORK_QUEUE_NEEDS_ACKS: u32 = 10_098;
    /// A work queue has one consumer for a subject.
    pub const WORK_QUEUE_TAKEN: u32 = 10_099;
    /// The same, with filters.
    pub const WORK_QUEUE_NOT_UNIQUE: u32 = 10_100;
    /// A work queue's consumer begins at its beginning.
    pub const WORK_QUEUE_DELIVERS_ALL: u32 = 10_101;
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Envelope {
    error: Option<Failure>,
}

/// Reads the JSON of an answer.
fn read<T: DeserializeOwned>(answer: &Message) -> Result<T, AnswerError> {
    if answer.payload.is_empty() && answer.headers().status() == Some(503) {
        return Err(AnswerError::NoResponders);
    }
    let malformed = |error: serde_json::Error| AnswerError::Malformed(error.to_string());
    let envelope: Envelope = serde_json::from_slice(&answer.payload).map_err(malformed)?;
    match envelope.error {
        Some(Failure { err_code, description }) => {
            Err(AnswerError::Refused { code: err_code, description })
        }
        None => serde_json::from_slice(&answer.payload).map_err(malformed),
    }
}

/// Whether an answer says that it was done.
///
/// # Errors
/// When it says something else.
pub fn done(answer: &Message) -> Result<(), AnswerError> {
    read::<serde::de::IgnoredAny>(answer).map(drop)
}

#[cfg(test)]
pub(crate) fn answer(headers: &str, payload: &str) -> Message {
    Message {
        subject: "_INBOX.x".into(),
        sid: 1,
        reply: None,
        header_block: bytes::Bytes::copy_from_slice(headers.as_bytes()),
        payload: bytes::Bytes::copy_from_slice(payload.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_number_and_silence_as_what_it_is() {
        let refused = r#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
        let error = done(&answer("", refused)).unwrap_err();
        assert_eq!(error.to_string(), "stream not found (error 10059)");
        let nobody = done(&answer("NATS/1.0 503\r\n\r\n", "")).unwrap_err();
        assert_eq!(nobody, AnswerError::NoResponders);
        assert!(matches!(done(&answer("", "x")), Err(AnswerError::Malformed(_))));
        assert_eq!(done(&answer("", r#"{"success":true}"#)), Ok(()));
    }
}
