//! Pushes other than data: each appends one complete server text frame.

use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::value::RawValue;

use super::command::Id;
use crate::frame::{self, Opcode};

/// The limits that a client is told when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Subscriptions of one connection.
    pub subscriptions: u32,
    /// Largest command in bytes.
    pub command_bytes: u32,
    /// Commands a second, in the long run.
    pub commands_per_second: u32,
    /// Bytes that may wait for one connection before it is closed with 4008.
    pub outbox_bytes: u32,
}

/// The first push of every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello<'a> {
    /// Names this connection in logs.
    pub connection_id: &'a str,
    /// The gateway that holds it.
    pub pod: &'a str,
    /// Changes when the stream is another one; offsets compare only within an epoch.
    pub epoch: &'a str,
    /// A ping comes after this long a silence.
    pub heartbeat_ms: u64,
    /// What this connection may do.
    pub limits: Limits,
    /// The gateway's clock, Unix ms.
    pub ts: i64,
    /// Who the client is, if its token says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// When the connection ends unless the client shows another token (Unix ms).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// What the client is subscribed to without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribed: Option<&'a [&'a str]>,
    /// Everything after it on those channels will come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Header space kept before a body is written: enough for any body below 64 KiB.
const HEADER_SPACE: usize = 4;

/// Appends one whole text frame: an object with this type, then the fields of `body`, which is a struct.
pub(crate) fn push(out: &mut Vec<u8>, kind: &'static str, body: impl Serialize) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_SPACE]);
    let object = out.len();
    for part in ["{\"type\":\"", kind, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
    let fields = out.len();
    let written = serde_json::to_writer(&mut *out, &body);
    match (written, out.get(fields..)) {
        (Ok(()), Some(b"{}")) => drop(out.remove(fields)),
        (Ok(()), Some([b'{', ..])) => {
            if let Some(brace) = out.get_mut(fields) {
                *brace = b',';
            }
        }
        // Writing strings and numbers to memory cannot fail; a broken frame must not leave though.
        _ => return out.truncate(start),
    }
    let header = frame::header(Opcode::Text, out.len() - object);
    out.splice(start..object, header.iter().copied());
}

/// `connection:established`: greets a new connection.
pub fn established(out: &mut Vec<u8>, hello: &Hello<'_>) {
    push(out, "connection:established", hello);
}

/// `token_expiring`: the connection ends at a time (Unix ms), unless the client shows another token before.
pub fn token_expiring(out: &mut Vec<u8>, expires_at: u64) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        expires_at: u64,
    }
    push(out, "token_expiring", Body { expires_at });
}

/// `auth_ack`: the token counts from now on, until a time (Unix ms) if it ends. `set`: what the client is subscribed to
/// without asking since then, and the offset after which all of it comes.
pub fn auth_ack(
    out: &mut Vec<u8>,
    id: Option<Id<'_>>,
    expires_at: Option<u64>,
    set: (&[&str], u64),
) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Id<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subscribed: Option<&'a [&'a str]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
    }
    let (subscribed, offset) = set;
    let has_some = !subscribed.is_empty();
    let (subscribed, offset) = (has_some.then_some(subscribed), has_some.then_some(offset));
    push(out, "auth_ack", Body { id, expires_at, subscribed, offset });
}

/// `unsubscribed`: these channels do not come any more, and why; nobody has asked for it.
pub fn unsubscribed(out: &mut Vec<u8>, channels: &[&str], reason: &str) {
    #[derive(Serialize)]
    struct Body<'a> {
        channels: &'a [&'a str],
        reason: &'a str,
    }
    push(out, "unsubscribed", Body { channels, reason });
}

/// Rejections listed in one acknowledgement: more of them say nothing new, and each is ten times as long as what the
/// client wrote for it.
pub const MAX_REJECTIONS: usize = 128;

/// What became of a subscribe command.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    /// The command's own name.
    pub id: Option<Id<'a>>,
    /// Channels that are subscribed now.
    pub subscribed: &'a [&'a str],
    /// Channels that are not, and why: the first of them, at least [`MAX_REJECTIONS`] if there are so many.
    pub rejected: &'a [(&'a str, &'static str)],
    /// How many are not.
    pub rejected_count: usize,
    /// Subscriptions that the connection has now.
    pub count: usize,
    /// On a resume: whether nothing is missing between the client's cursor and what follows.
    pub recovered: Option<bool>,
    /// Everything after it on the channels in `subscribed` will come.
    pub offset: u64,
}

/// `subscription_ack`. Of many rejections the first [`MAX_REJECTIONS`] are listed, and `rejectedCount` says how many
/// there are.
pub fn subscription_ack(out: &mut Vec<u8>, ack: &Ack<'_>) {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Id<'a>>,
        subscribed: &'a [&'a str],
        #[serde(serialize_with = "rejections")]
        rejected: &'a [(&'a str, &'static str)],
        #[serde(rename = "rejectedCount", skip_serializing_if = "Option::is_none")]
        rejected_count: Option<usize>,
        count: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        recovered: Option<bool>,
        offset: u64,
    }
    let Ack { id, subscribed, rejected, rejected_count, count, recovered, offset } = *ack;
    let listed = rejected.get(..MAX_REJECTIONS).unwrap_or(rejected);
    let rejected_count = (listed.len() < rejected_count).then_some(rejected_count);
    let body = Body { id, subscribed, rejected: listed, rejected_count, count, recovered, offset };
    push(out, "subscription_ack", body);
}

/// `live`: everything up to `offset` that a subscribe command with this id had to bring has been sent, and its channels
/// come live.
pub fn live(out: &mut Vec<u8>, id: Option<Id<'_>>, offset: u64) {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Id<'a>>,
        offset: u64,
    }
    push(out, "live", Body { id, offset });
}

/// `replay_complete`: the `count` messages of these channels from `from` to `to` have been sent.
pub fn replay_complete(out: &mut Vec<u8>, id: Option<Id<'_>>, from: u64, to: u64, count: u64) {
    push(out, "replay_complete", Replayed { id, from, to, count });
}

/// `replay_incomplete`: the offsets from `from` to `to`, both included, are gone; `count` messages have been sent.
pub fn replay_incomplete(out: &mut Vec<u8>, id: Option<Id<'_>>, from: u64, to: u64, count: u64) {
    push(out, "replay_incomplete", Replayed { id, from, to, count });
}

#[derive(Serialize)]
struct Replayed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Id<'a>>,
    from: u64,
    to: u64,
    count: u64,
}

fn rejections<S: Serializer>(
    rejected: &[(&str, &'static str)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Rejection<'a> {
        channel: &'a str,
        code: &'static str,
    }
    let mut list = serializer.serialize_seq(Some(rejected.len()))?;
    for (channel, code) in rejected {
        list.serialize_element(&Rejection { channel, code })?;
    }
    list.end()
}

/// `unsubscription_ack`: the channels that were subscribed and no longer are.
pub fn unsubscription_ack(
    out: &mut Vec<u8>,
    id: Option<Id<'_>>,
    unsubscribed: &[&str],
    count: usize,
) {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Id<'a>>,
        unsubscribed: &'a [&'a str],
        count: usize,
    }
    push(out, "unsubscription_ack", Body { id, unsubscribed, count });
}

/// `pong`: answers a `ping` or `heartbeat` with the client's timestamp and the gateway's clock. Everything up to `offset`
/// on the channels of the connection has been sent.
pub fn pong(out: &mut Vec<u8>, timestamp: Option<&RawValue>, ts: i64, offset: u64) {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        timestamp: Option<&'a RawValue>,
        ts: i64,
        offset: u64,
    }
    push(out, "pong", Body { timestamp, ts, offset });
}

/// `reconnect`: come back after `after_ms`, the close follows.
pub fn reconnect(out: &mut Vec<u8>, after_ms: u64, reason: &str) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        after_ms: u64,
        reason: &'a str,
    }
    push(out, "reconnect", Body { after_ms, reason });
}

/// `gap`: the offsets `from` to `to`, both included, of a channel or pattern will not come.
pub fn gap(out: &mut Vec<u8>, channel: &str, from: u64, to: u64, reason: &str) {
    #[derive(Serialize)]
    struct Body<'a> {
        channel: &'a str,
        from: u64,
        to: u64,
        reason: &'a str,
    }
    push(out, "gap", Body { channel, from, to, reason });
}

/// `error`: a command was not carried out.
pub fn error(out: &mut Vec<u8>, id: Option<Id<'_>>, code: &str, message: &str) {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Id<'a>>,
        code: &'a str,
        message: &'a str,
    }
    push(out, "error", Body { id, code, message });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Decoder, Event, Limits as DecoderLimits};
    use crate::frame::Role;
    use crate::v1::{Command, parse};

    /// The text of the one frame in `out`.
    fn text(out: &mut [u8]) -> String {
        let limits = DecoderLimits { message_bytes: 1 << 20, fragments: 1, deflate: false };
        let (mut decoder, mut pos) = (Decoder::new(Role::Client), 0);
        let text = match decoder.next(out, &mut pos, &limits) {
            Ok(Some(Event::Text(text))) => text.to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(pos, out.len(), "exactly one frame");
        text
    }

    fn wrote(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"before".to_vec();
        push(&mut out);
        assert_eq!(&out[..6], b"before");
        text(&mut out[6..])
    }

    fn hello() -> Hello<'static> {
        let limits =
            Limits { subscriptions: 1, command_bytes: 2, commands_per_second: 3, outbox_bytes: 4 };
        Hello {
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
        }
    }

    const PONG: &str = r#"{"type":"pong","timestamp":12.50,"ts":7,"offset":0}"#;

    #[test]
    fn every_push_is_one_frame_of_the_documented_json() {
        let Ok(Command::Subscribe { id, .. }) =
            parse(r#"{"type":"subscribe","id":"a\"1","channels":[]}"#)
        else {
            panic!("a good command")
        };
        let time = serde_json::from_str::<&RawValue>("12.50").ok();
        let hello = hello();
        let rejected = [("\"", "invalid")];
        let ack = |recovered| Ack {
            id,
            subscribed: &["a"],
            rejected: &rejected,
            rejected_count: 1,
            count: 1,
            recovered,
            offset: 9,
        };
        for (got, want) in [
            (
                wrote(|out| established(out, &hello)),
                r#"{"type":"connection:established","connectionId":"c","pod":"p","epoch":"e","heartbeatMs":5,"limits":{"subscriptions":1,"commandBytes":2,"commandsPerSecond":3,"outboxBytes":4},"ts":6}"#,
            ),
            (
                wrote(|out| subscription_ack(out, &ack(None))),
                r#"{"type":"subscription_ack","id":"a\"1","subscribed":["a"],"rejected":[{"channel":"\"","code":"invalid"}],"count":1,"offset":9}"#,
            ),
            (
                wrote(|out| subscription_ack(out, &ack(Some(true)))),
                r#"{"type":"subscription_ack","id":"a\"1","subscribed":["a"],"rejected":[{"channel":"\"","code":"invalid"}],"count":1,"recovered":true,"offset":9}"#,
            ),
            (
                wrote(|out| replay_complete(out, id, 3, 9, 2)),
                r#"{"type":"replay_complete","id":"a\"1","from":3,"to":9,"count":2}"#,
            ),
            (
                wrote(|out| replay_incomplete(out, None, 3, 9, 0)),
                r#"{"type":"replay_incomplete","from":3,"to":9,"count":0}"#,
            ),
            (
                wrote(|out| unsubscription_ack(out, None, &[], 0)),
                r#"{"type":"unsubscription_ack","unsubscribed":[],"count":0}"#,
            ),
            (wrote(|out| pong(out, time, 7, 0)), PONG),
            (
                wrote(|out| reconnect(out, 250, "drain")),
                r#"{"type":"reconnect","afterMs":250,"reason":"drain"}"#,
            ),
            (
                wrote(|out| gap(out, ">", 3, 5, "retention")),
                r#"{"type":"gap","channel":">","from":3,"to":5,"reason":"retention"}"#,
            ),
            (
                wrote(|out| error(out, id, "unknown_type", "no")),
                r#"{"type":"error","id":"a\"1","code":"unknown_type","message":"no"}"#,
            ),
        ] {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn pushes_of_tokens_are_the_documented_json() {
        let Ok(Command::Auth { id, .. }) = parse(r#"{"type":"auth","id":"a\"1","token":"t"}"#)
        else {
            panic!("a good command")
        };
        let hello = Hello {
            user: Some("u"),
            expires_at: Some(7),
            subscribed: Some(&["a"]),
            offset: Some(8),
            ..hello()
        };
        let greeting = wrote(|out| established(out, &hello));
        let known = r#""ts":6,"user":"u","expiresAt":7,"subscribed":["a"],"offset":8}"#;
        assert!(greeting.ends_with(known), "{greeting}");
        for (got, want) in [
            (wrote(|out| token_expiring(out, 7)), r#"{"type":"token_expiring","expiresAt":7}"#),
            (
                wrote(|out| auth_ack(out, id, Some(7), (&["a"], 9))),
                r#"{"type":"auth_ack","id":"a\"1","expiresAt":7,"subscribed":["a"],"offset":9}"#,
            ),
            (wrote(|out| auth_ack(out, None, None, (&[], 9))), r#"{"type":"auth_ack"}"#),
            (
                wrote(|out| unsubscribed(out, &["a", "b.*"], "not_allowed")),
                r#"{"type":"unsubscribed","channels":["a","b.*"],"reason":"not_allowed"}"#,
            ),
        ] {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_push_of_any_length_has_the_right_header() {
        for len in [0, 60, 100, 126, 1_000, 65_000, 65_536, 200_000] {
            let reason = "x".repeat(len);
            assert!(wrote(|out| reconnect(out, 1, &reason)).contains(&reason), "{len}");
        }
    }
}
