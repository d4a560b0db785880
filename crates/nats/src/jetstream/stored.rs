//! Single messages of a stream, as a replica or its leader gives them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::{AnswerError, read};
use crate::wire::{Headers, Message};

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its subject: any bytes but white space.
    pub subject: Bytes,
    /// Its sequence.
    pub sequence: u64,
    /// When it was stored (Unix ms).
    pub timestamp: i64,
    /// The publisher's header block; of a direct get with the server's own lines behind.
    pub header_block: Bytes,
    /// The publisher's payload.
    pub payload: Bytes,
}

/// What one answer to a direct get is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direct {
    /// A message; whether others of the batch may follow.
    Message(Stored, bool),
    /// The end of a batch, or nothing from there on.
    End,
    /// The stream does not allow direct gets.
    NotAllowed,
}

#[derive(Deserialize)]
struct Answer {
    message: Raw,
}

#[derive(Deserialize)]
struct Raw {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

impl Stored {
    /// Reads an answer of [`super::Api::direct`].
    ///
    /// # Errors
    /// When it is none.
    pub fn from_direct(answer: &Message) -> Result<Direct, AnswerError> {
        let malformed = |what: &str| AnswerError::Malformed(what.to_owned());
        let headers = answer.headers();
        // A message has its number from the server. Its status, if any, is the publisher's, and says nothing.
        let Some(sequence) = headers.last("Nats-Sequence") else {
            return match headers.status() {
                Some(503) => Ok(Direct::NotAllowed),
                Some(_) => Ok(Direct::End),
                None => Err(malformed("a message without Nats-Sequence")),
            };
        };
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
        let subject = headers.last("Nats-Subject").ok_or_else(|| malformed("no Nats-Subject"))?;
        let sequence = text(sequence).and_then(|digits| digits.parse().ok());
        let stored = headers.last("Nats-Time-Stamp").and_then(text);
        Ok(Direct::Message(
            Self {
                subject: answer.header_block.slice_ref(subject),
                sequence: sequence.ok_or_else(|| malformed("no number in Nats-Sequence"))?,
                timestamp: stored
                    .and_then(|stored| milliseconds(&stored))
                    .ok_or_else(|| malformed("no time in Nats-Time-Stamp"))?,
                header_block: answer.header_block.clone(),
                payload: answer.payload.clone(),
            },
            // Servers before 2.11 know no batches and give one message.
            headers.last("Nats-Num-Pending").is_some(),
        ))
    }

    /// Reads an answer of [`super::Api::message`]; `None` when there is no such message.
    ///
    /// # Errors
    /// When the server refuses, or answers something else. A subject that is not UTF-8 comes from the leader with
    /// replacement characters: JSON cannot say it.
    pub fn from_leader(answer: &Message) -> Result<Option<Self>, AnswerError> {
        let raw = match read::<Answer>(answer) {
            Ok(Answer { message }) => message,
            Err(AnswerError::Refused { code: super::codes::NO_MESSAGE_FOUND, .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let decode = |text: &str| {
            let bytes = STANDARD.decode(text);
            bytes.map(Bytes::from).map_err(|error| AnswerError::Malformed(error.to_string()))
        };
        Ok(Some(Self {
            subject: raw.subject.into(),
            sequence: raw.seq,
            timestamp: milliseconds(&raw.time)
                .ok_or_else(|| AnswerError::Malformed("no time in it".to_owned()))?,
            header_block: decode(&raw.hdrs)?,
            payload: decode(&raw.data)?,
        }))
    }

    /// The headers.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(&self.header_block)
    }
}

fn milliseconds(rfc3339: &str) -> Option<i64> {
    let time = async_nats::datetime::parse_rfc3339(rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::super::answer;
    use super::*;

    const OWN: &str = "Nats-Stream: S\r\nNats-Subject: a.b\r\nNats-Sequence: 7\r\n\
        Nats-Time-Stamp: 2026-11-21T10:00:00.123456789Z\r\n";

    fn direct(headers: &str) -> Direct {
        Stored::from_direct(&answer(headers, "hi")).unwrap()
    }

    #[test]
    fn a_message_is_known_by_the_servers_lines_whatever_the_publisher_wrote_before_them() {
        for (publishers, batch) in [
            ("NATS/1.0\r\n", false),
            ("NATS/1.0 204 EOB\r\nNats-Sequence: 1\r\n", false),
            ("\x01x", true),
        ] {
            let pending = if batch { "Nats-Num-Pending: 3\r\n" } else { "" };
            let Direct::Message(message, more) = direct(&format!("{publishers}{OWN}{pending}\r\n"))
            else {
                panic!("{publishers}")
            };
            assert_eq!((&*message.subject, message.sequence), (&b"a.b"[..], 7), "{publishers}");
            assert_eq!((message.timestamp, more), (1_795_255_200_123, batch));
        }
    }

    #[test]
    fn ends_and_refusals_are_told_apart() {
        assert_eq!(direct("NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n"), Direct::End);
        assert_eq!(direct("NATS/1.0 404 Message Not Found\r\n\r\n"), Direct::End);
        assert_eq!(direct("NATS/1.0 503\r\n\r\n"), Direct::NotAllowed);
        assert!(Stored::from_direct(&answer("", "hi")).is_err());
    }

    #[test]
    fn the_leader_answers_in_json() {
        let found =
            r#"{"message":{"subject":"a","seq":7,"data":"aGk=","time":"2026-11-21T10:00:00Z"}}"#;
        let found = Stored::from_leader(&answer("", found)).unwrap().unwrap();
        assert_eq!(
            (&*found.payload, found.sequence, found.headers().status()),
            (&b"hi"[..], 7, None)
        );
        let none = r#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
        assert_eq!(Stored::from_leader(&answer("", none)), Ok(None));
    }
}
