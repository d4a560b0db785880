//! Any text as a command of an earlier system's protocol, and the answer to it; any payload looked at.

use serde::de::IgnoredAny;
use wsgateway_proto::channel::{self, Kind};
use wsgateway_proto::handshake::Token;
use wsgateway_proto::odin::{self, Command, Name};
use wsgateway_proto::symbols::{self, Change, Changed};
use wsgateway_proto::template::Template;
use wsgateway_proto::{frame, v1};

/// Longest answer to one mistake: 64 bytes of the client's own text, six times that when escaped, and our words.
const LONGEST_ERROR: usize = 64 + 6 * 64 + 256;

const PREFIX: &str = "odin.token.";

/// The data is the text of a command, in either protocol, and a payload.
///
/// It must be read or refused; names must become channels or be rejected; an answer must be JSON, and an error must not
/// grow with what was sent.
pub fn dialects(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    odin_command(&text);
    symbols_command(&text);
    payload(data);
}

fn odin_command(text: &str) {
    let mut out = Vec::new();
    match odin::parse(text) {
        Ok(Command::Subscribe { names, .. } | Command::Unsubscribe { names, .. }) => {
            assert!(names.len() <= 2 * v1::MAX_CHANNELS);
            let Some(tokens) = Template::new("{token}.>", "token") else {
                unreachable!("a template")
            };
            for name in &names {
                let Ok(channel) = name.channel(PREFIX, &tokens) else { continue };
                let kind = channel::validate(&channel);
                match name {
                    Name::Channel(asked) => assert!(kind.is_ok() && asked.ends_with(&*channel)),
                    Name::Token(token) => {
                        assert_eq!(
                            (kind, tokens.name(&channel)),
                            (Ok(Kind::Wildcard), Some(&**token))
                        );
                    }
                }
            }
        }
        Ok(Command::Replay { from, to, .. }) => assert!(to.is_none_or(|to| from <= to)),
        Ok(Command::Auth { token, .. }) => is_secret(&token, text),
        Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
            odin::pong(&mut out, timestamp, 0);
            is_json(&out);
        }
        Err(error) => {
            v1::error(&mut out, error.id, error.code, &error.message);
            assert!(out.len() <= LONGEST_ERROR, "{} bytes", out.len());
            is_json(&out);
        }
    }
}

fn symbols_command(text: &str) {
    let mut out = Vec::new();
    match symbols::parse(text) {
        Ok(symbols::Command::Ping) => {}
        Ok(symbols::Command::Auth(token)) => is_secret(&token, text),
        Ok(symbols::Command::Subscribe(symbols) | symbols::Command::Unsubscribe(symbols)) => {
            assert!((1..=v1::MAX_CHANNELS).contains(&symbols.len()));
            let Some(template) = Template::new("t.{symbol}", "symbol") else {
                unreachable!("a template")
            };
            let symbols: Vec<&str> = symbols.iter().map(AsRef::as_ref).collect();
            for symbol in &symbols {
                if let Some(channel) = template.fill(symbol) {
                    assert_eq!(channel::validate(&channel), Ok(Kind::Exact));
                    assert_eq!(template.name(&channel), Some(*symbol));
                }
            }
            let changed =
                Changed { change: Change::Subscribed, symbols: &symbols, current: &symbols };
            symbols::success(&mut out, &changed, 0);
            is_json(&out);
        }
        Err(message) => {
            symbols::error(&mut out, &message, 0);
            assert!(out.len() <= LONGEST_ERROR, "{} bytes", out.len());
            is_json(&out);
        }
    }
}

/// A token is part of its command, and is not shown.
fn is_secret(token: &Token, text: &str) {
    assert!(token.as_str().len() <= text.len() && format!("{token:?}") == "Token");
}

fn payload(data: &[u8]) {
    let kind = odin::message_type(data);
    let nonce = odin::nonce(data);
    if kind.is_some() || nonce.is_some() {
        assert!(is_json_text(data), "a type or a nonce of what is no JSON");
    }
    assert!(nonce.is_none_or(|nonce| (1..=odin::MAX_NONCE).contains(&nonce.len())));
}

fn is_json(out: &[u8]) {
    let body = frame::payload(out);
    assert_eq!(frame::header(frame::Opcode::Text, body.len()).len() + body.len(), out.len());
    assert!(is_json_text(body), "an answer is JSON");
}

/// By the grammar alone: a number may be as large and an array as deep as its publisher likes. `serde_json::Value`
/// has limits for both.
fn is_json_text(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}
