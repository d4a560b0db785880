//! Pushes that differ from those of `wsgateway.v1`.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::v1::{self, Hello};

/// `connection:established`: greets a new connection, with the fields of `wsgateway.v1` and those that every message of
/// the earlier system had (`timestamp`, `nonce`) or that its clients knew themselves by (`clientId`).
pub fn established(out: &mut Vec<u8>, hello: &Hello<'_>) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        client_id: &'a str,
        nonce: &'a str,
        timestamp: i64,
        #[serde(flatten)]
        hello: &'a Hello<'a>,
    }
    let id = hello.connection_id;
    let body = Body { client_id: id, nonce: id, timestamp: hello.ts, hello };
    v1::push(out, "connection:established", body);
}

/// `pong`: answers a `ping` or `heartbeat` with the client's timestamp, or the gateway's clock when it sent none, and
/// with the gateway's clock. `originalTimestamp` is where clients of the first servers look for their own.
pub fn pong(out: &mut Vec<u8>, timestamp: Option<&RawValue>, ts: i64) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a, T> {
        timestamp: T,
        #[serde(skip_serializing_if = "Option::is_none")]
        original_timestamp: Option<&'a RawValue>,
        ts: i64,
    }
    let original_timestamp = timestamp;
    match timestamp {
        Some(timestamp) => v1::push(out, "pong", Body { timestamp, original_timestamp, ts }),
        None => v1::push(out, "pong", Body { timestamp: ts, original_timestamp, ts }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;
    use crate::v1::Limits;

    fn wrote(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(frame::payload(&out).to_vec()).unwrap()
    }

    #[test]
    fn pushes_are_as_documented() {
        let limits =
            Limits { subscriptions: 1, command_bytes: 2, commands_per_second: 3, outbox_bytes: 4 };
        let hello = Hello {
            connection_id: "c",
            pod: "p",
            epoch: "e",
            heartbeat_ms: 5,
            limits,
            ts: 6,
            user: None,
            expires_at: None,
            subscribed: None,
            offset: None,
        };
        let time: &RawValue = serde_json::from_str("12.50").unwrap();
        for (got, want) in [
            (
                wrote(|out| established(out, &hello)),
                r#"{"type":"connection:established","clientId":"c","nonce":"c","timestamp":6,"connectionId":"c","pod":"p","epoch":"e","heartbeatMs":5,"limits":{"subscriptions":1,"commandBytes":2,"commandsPerSecond":3,"outboxBytes":4},"ts":6}"#,
            ),
            (
                wrote(|out| pong(out, Some(time), 7)),
                r#"{"type":"pong","timestamp":12.50,"originalTimestamp":12.50,"ts":7}"#,
            ),
            (wrote(|out| pong(out, None, 7)), r#"{"type":"pong","timestamp":7,"ts":7}"#),
        ] {
            assert_eq!(got, want);
        }
    }
}
