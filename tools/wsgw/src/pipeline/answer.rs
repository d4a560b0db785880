//! What the answer to a message says.

use async_nats::StatusCode;
use async_nats::jetstream;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What the stream has done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it, perhaps since an earlier attempt.
    Stored { is_duplicate: bool },
    /// Nobody listens to the subject: there is no stream, or it has no leader now.
    NoStream,
    /// It is not stored, and why.
    Refused(String),
}

/// An acknowledgement of JetStream, or its error.
#[derive(Deserialize)]
struct Body {
    error: Option<jetstream::Error>,
    stream: Option<IgnoredAny>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
}

impl Answer {
    /// Reads the status and the payload of an answer.
    pub(super) fn read(status: Option<StatusCode>, payload: &[u8]) -> Self {
        if status == Some(StatusCode::NO_RESPONDERS) {
            return Self::NoStream;
        }
        match serde_json::from_slice::<Body>(payload) {
            Ok(Body { error: Some(error), .. }) => Self::refused(&error),
            Ok(Body { stream: Some(_), seq: Some(_), duplicate, .. }) => {
                Self::Stored { is_duplicate: duplicate }
            }
            Ok(_) => Self::refused(&"the answer is no acknowledgement"),
            Err(error) => Self::refused(&error),
        }
    }

    fn refused(why: &dyn std::fmt::Display) -> Self {
        Self::Refused(format!("publish failed: {why}"))
    }
}

/// The number of the attempt that an answer belongs to: the last token of its subject.
pub(super) fn number(subject: &str, inbox: &str) -> Option<u64> {
    subject.strip_prefix(inbox)?.strip_prefix('.')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_a_message_is_stored() {
        let stored = |is_duplicate| Answer::Stored { is_duplicate };
        let refused = |why: &str| Answer::Refused(format!("publish failed: {why}"));
        for (payload, expected) in [
            (r#"{"stream":"M","seq":7}"#, stored(false)),
            (r#"{"stream":"M\"x","domain":"hub","seq":7,"duplicate":true}"#, stored(true)),
            (
                r#"{"error":{"code":503,"err_code":10023,"description":"insufficient resources"},"stream":"M","seq":0}"#,
                refused("insufficient resources (code 503, error code 10023)"),
            ),
            (r#"{"error":{"code":400}}"#, refused("unknown (code 400, error code 0)")),
            (r#"{"stream":"M"}"#, refused("the answer is no acknowledgement")),
            ("{}", refused("the answer is no acknowledgement")),
        ] {
            assert_eq!(Answer::read(None, payload.as_bytes()), expected, "{payload}");
        }
        for payload in ["", "+OK", "[]", r#"{"seq":-1}"#, "\u{0}"] {
            let answer = Answer::read(None, payload.as_bytes());
            assert!(matches!(answer, Answer::Refused(_)), "{payload}: {answer:?}");
        }
        assert_eq!(Answer::read(Some(StatusCode::NO_RESPONDERS), b""), Answer::NoStream);
    }

    #[test]
    fn the_last_token_of_a_subject_is_the_number() {
        for (subject, expected) in [
            ("_INBOX.abc.1", Some(1)),
            ("_INBOX.abc.18446744073709551615", Some(u64::MAX)),
            ("_INBOX.abc.18446744073709551616", None),
            ("_INBOX.abc.", None),
            ("_INBOX.abc", None),
            ("_INBOX.abcd.1", None),
            ("_INBOX.abc.1.2", None),
            ("_INBOX.abc.-1", None),
            ("", None),
        ] {
            assert_eq!(number(subject, "_INBOX.abc"), expected, "{subject}");
        }
    }
}
