//! Any text as a command, and the answer to it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
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
        Ok(Command::Subscribe { id, channels, resume, .. }) => {
            let (good, bad) = sort(&channels);
            let ack = v1::Ack {
                id,
                subscribed: &good,
                rejected: &bad,
                rejected_count: bad.len(),
                count: good.len(),
                recovered: resume.map(|resume| resume.offset > 0),
                offset: u64::MAX,
            };
            v1::subscription_ack(&mut out, &ack);
            let answer = json(&out);
            let subscribed: Vec<Cow<'_, str>> = field(&answer, "subscribed");
            assert_eq!(subscribed, good);
            check_id(&answer, id);
        }
        Ok(Command::Unsubscribe { id, channels }) => {
            let (good, _) = sort(&channels);
            v1::unsubscription_ack(&mut out, id, &good, 0);
            check_id(&json(&out), id);
        }
        Ok(Command::Replay { id, channels, from, to }) => {
            sort(&channels);
            assert!(to.is_none_or(|to| from <= to));
            v1::replay_complete(
                &mut out,
                id.map(|id| id.keep()).as_ref().map(v1::KeptId::id),
                from,
                from,
                0,
            );
            check_id(&json(&out), id);
        }
        Ok(Command::Auth { id, token }) => {
            v1::auth_ack(&mut out, id, Some(1), (&[], 0));
            check_id(&json(&out), id);
            assert!(token.as_str().len() <= text.len() && format!("{token:?}") == "Token");
        }
        Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
            v1::pong(&mut out, timestamp, 0, 0);
            assert!(out.len() <= LONGEST_ERROR);
            assert_eq!(field::<&str>(&json(&out), "type"), "pong");
        }
        Err(error) => {
            v1::error(&mut out, error.id, error.code, &error.message);
            assert!(out.len() <= LONGEST_ERROR, "{} bytes", out.len());
            let answer = json(&out);
            assert_eq!(field::<&str>(&answer, "code"), error.code);
            check_id(&answer, error.id);
        }
    }
}

/// Channels as the gateway takes them: the good ones, and the others with their codes.
fn sort<'a>(channels: &'a [Cow<'a, str>]) -> (Vec<&'a str>, Vec<(&'a str, &'static str)>) {
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

/// An answer's fields, each as it is written: an id may be a number that no type of ours holds.
type Answer<'a> = BTreeMap<&'a str, &'a RawValue>;

fn json(out: &[u8]) -> Answer<'_> {
    let body = frame::payload(out);
    assert_eq!(frame::header(frame::Opcode::Text, body.len()).len() + body.len(), out.len());
    serde_json::from_slice(body).unwrap_or_else(|error| {
        unreachable!("an answer is JSON: {error}: {}", String::from_utf8_lossy(body))
    })
}

fn field<'a, T: serde::Deserialize<'a>>(answer: &Answer<'a>, name: &str) -> T {
    let value = answer.get(name).map_or("nothing", |value| value.get());
    serde_json::from_str(value)
        .unwrap_or_else(|error| unreachable!("{name} is as documented: {error}: {value}"))
}

fn check_id(answer: &Answer<'_>, id: Option<Id<'_>>) {
    assert!(id.is_none_or(|id| id.as_json().len() <= 64));
    assert_eq!(answer.get("id").map(|id| id.get()), id.map(|id| id.as_json()), "the id comes back");
}
