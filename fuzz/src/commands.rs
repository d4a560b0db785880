//! Any text as a command, and the answer to it.

use serde_json::Value;
use wsgateway_proto::channel;
use wsgateway_proto::frame;
use wsgateway_proto::v1::{self, Command, Id};

/// An answer to a command that names one mistake: an id of 64 bytes, 64 bytes of the client's own
/// text (six times that when escaped), and our words.
const LONGEST_ERROR: usize = 64 + 6 * 64 + 256;

/// The data is the text of a command.
///
/// It must be read or refused; an answer must be JSON, and must not grow with what was sent.
pub fn commands(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut out = Vec::new();
    match v1::parse(&text) {
        Ok(Command::Subscribe { id, channels, batch: _ }) => {
            let (good, bad) = sort(&channels);
            v1::subscription_ack(&mut out, id, &good, &bad, good.len(), u64::MAX);
            let answer = json(&out);
            assert_eq!(answer["subscribed"].as_array().map(Vec::len), Some(good.len()));
            check_id(&answer, id);
        }
        Ok(Command::Unsubscribe { id, channels }) => {
            let (good, _) = sort(&channels);
            v1::unsubscription_ack(&mut out, id, &good, 0);
            check_id(&json(&out), id);
        }
        Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
            v1::pong(&mut out, timestamp, 0);
            assert!(out.len() <= LONGEST_ERROR);
            assert_eq!(json(&out)["type"], "pong");
        }
        Err(error) => {
            v1::error(&mut out, error.id, error.code, &error.message);
            assert!(out.len() <= LONGEST_ERROR, "{} bytes", out.len());
            let answer = json(&out);
            assert_eq!(answer["code"], error.code);
            check_id(&answer, error.id);
        }
    }
}

/// Channels as the gateway takes them: the good ones, and the others with their codes.
fn sort<'a>(
    channels: &'a [std::borrow::Cow<'a, str>],
) -> (Vec<&'a str>, Vec<(&'a str, &'static str)>) {
    assert!(channels.len() <= v1::MAX_CHANNELS);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for channel in channels {
        match channel::validate(channel) {
            Ok(channel::Kind::Exact) => {
                assert!(channel::matches(channel, channel), "{channel:?}");
                good.push(&**channel);
            }
            Ok(channel::Kind::Wildcard) => good.push(&**channel),
            Err(error) => bad.push((&**channel, error.code())),
        }
    }
    (good, bad)
}

fn json(out: &[u8]) -> Value {
    let body = frame::payload(out);
    assert_eq!(frame::header(frame::Opcode::Text, body.len()).len() + body.len(), out.len());
    serde_json::from_slice(body).unwrap_or_else(|error| {
        unreachable!("an answer is JSON: {error}: {}", String::from_utf8_lossy(body))
    })
}

fn check_id(answer: &Value, id: Option<Id<'_>>) {
    assert_eq!(answer.get("id").is_some(), id.is_some(), "{answer}");
    assert!(id.is_none_or(|id| id.as_json().len() <= 64));
}
