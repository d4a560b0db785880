//! Pushes, in the words of the gateway that clients know.

use serde::{Serialize, Serializer};

use crate::frame::{self, Opcode};
use crate::v1;

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Symbols were subscribed.
    Subscribed,
    /// Symbols were unsubscribed.
    Unsubscribed,
}

/// What a command did, and what is subscribed now.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// What it did.
    pub change: Change,
    /// The symbols it did it to.
    pub symbols: &'a [&'a str],
    /// Everything that is subscribed now.
    pub current: &'a [&'a str],
}

/// `success`: answers a subscribe or unsubscribe.
pub fn success(out: &mut Vec<u8>, changed: &Changed<'_>, timestamp: i64) {
    #[derive(Serialize)]
    struct Body<'a> {
        message: String,
        data: Data<'a>,
        timestamp: i64,
    }
    let (word, count) = match changed.change {
        Change::Subscribed => ("subscribed to", changed.symbols.len()),
        Change::Unsubscribed => ("unsubscribed from", changed.symbols.len()),
    };
    let message = format!("Successfully {word} {count} symbol(s)");
    v1::push(out, "success", Body { message, data: Data(changed), timestamp });
}

/// `success`: answers a token, with its end (Unix ms) if it has one.
pub fn authenticated(out: &mut Vec<u8>, expires_at: Option<u64>, timestamp: i64) {
    #[derive(Serialize)]
    struct Body {
        message: &'static str,
        data: End,
        timestamp: i64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct End {
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
    }
    let message = "Successfully authenticated";
    v1::push(out, "success", Body { message, data: End { expires_at }, timestamp });
}

struct Data<'a>(&'a Changed<'a>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let Changed { change, symbols, current } = self.0;
        let mut data = serializer.serialize_struct("Data", 2)?;
        match change {
            Change::Subscribed => data.serialize_field("subscribed", symbols)?,
            Change::Unsubscribed => data.serialize_field("unsubscribed", symbols)?,
        }
        data.serialize_field("currentSubscriptions", current)?;
        data.end()
    }
}

/// `error`: a command was not carried out, or something is to be known.
pub fn error(out: &mut Vec<u8>, message: &str, timestamp: i64) {
    #[derive(Serialize)]
    struct Body<'a> {
        message: &'a str,
        timestamp: i64,
    }
    v1::push(out, "error", Body { message, timestamp });
}

/// `pong`: answers a ping.
pub fn pong(out: &mut Vec<u8>, timestamp: i64) {
    #[derive(Serialize)]
    struct Body {
        timestamp: i64,
    }
    v1::push(out, "pong", Body { timestamp });
}

const TRADE: &[u8] = b"{\"type\":\"trade\",";
const TIMESTAMP: &[u8] = b",\"timestamp\":";

/// The rest of a message's object without its closing brace.
fn inside(tail: &[u8]) -> &[u8] {
    tail.strip_suffix(b"}").unwrap_or(tail)
}

fn trade_body_len(tail: &[u8], timestamp: &str) -> usize {
    TRADE.len() + inside(tail).len() + TIMESTAMP.len() + timestamp.len() + 1
}

/// Bytes of the frame that [`trade`] appends.
pub fn trade_len(tail: &[u8], timestamp: i64) -> usize {
    let mut digits = itoa::Buffer::new();
    let body = trade_body_len(tail, digits.format(timestamp));
    frame::header(Opcode::Text, body).len() + body
}

/// Appends one whole server frame: `{"type":"trade","data":…,"timestamp":…}`. `tail` is the rest of the object from
/// `"data":` (or what stands before it) to the closing brace, as in the `wsgateway.v1` frame.
pub fn trade(out: &mut Vec<u8>, tail: &[u8], timestamp: i64) {
    let mut digits = itoa::Buffer::new();
    let timestamp = digits.format(timestamp);
    let header = frame::header(Opcode::Text, trade_body_len(tail, timestamp));
    for part in [&*header, TRADE, inside(tail), TIMESTAMP, timestamp.as_bytes(), b"}"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrote(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        let body = frame::payload(&out);
        let mut plain = Vec::new();
        frame::write(&mut plain, Opcode::Text, body);
        assert_eq!(plain, out, "one frame and nothing else");
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn pushes_are_those_of_the_earlier_gateway() {
        let both = ["AAPL", "GOOGL"];
        let added = Changed { change: Change::Subscribed, symbols: &both, current: &both };
        let gone = Changed { change: Change::Unsubscribed, symbols: &["A\"B"], current: &[] };
        for (got, want) in [
            (
                wrote(|out| success(out, &added, 1_234_567_890)),
                r#"{"type":"success","message":"Successfully subscribed to 2 symbol(s)","data":{"subscribed":["AAPL","GOOGL"],"currentSubscriptions":["AAPL","GOOGL"]},"timestamp":1234567890}"#,
            ),
            (
                wrote(|out| success(out, &gone, 7)),
                r#"{"type":"success","message":"Successfully unsubscribed from 1 symbol(s)","data":{"unsubscribed":["A\"B"],"currentSubscriptions":[]},"timestamp":7}"#,
            ),
            (
                wrote(|out| error(out, "Cannot subscribe", 7)),
                r#"{"type":"error","message":"Cannot subscribe","timestamp":7}"#,
            ),
            (wrote(|out| pong(out, 7)), r#"{"type":"pong","timestamp":7}"#),
            (
                wrote(|out| trade(out, br#""data":{"symbol":"AAPL","price":150.25}}"#, 7)),
                r#"{"type":"trade","data":{"symbol":"AAPL","price":150.25},"timestamp":7}"#,
            ),
            (
                wrote(|out| trade(out, br#""encoding":"base64","data":"/w=="}"#, -7)),
                r#"{"type":"trade","encoding":"base64","data":"/w==","timestamp":-7}"#,
            ),
        ] {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_trade_of_any_length_has_the_right_header() {
        for length in [0, 70, 80, 90, 100, 65_400, 65_500, 65_536, 200_000] {
            let tail = format!(r#""data":"{}"}}"#, "x".repeat(length));
            let mut out = Vec::new();
            trade(&mut out, tail.as_bytes(), 1);
            assert_eq!(out.len(), trade_len(tail.as_bytes(), 1));
            assert!(wrote(|out| trade(out, tail.as_bytes(), 1)).contains(&tail[..tail.len() - 1]));
        }
    }
}
