//! Event streams: the frames of a session as server-sent events (WHATWG HTML).
//!
//! Every message is an event whose `id` is the cursor, so that a browser's EventSource resumes by itself. What must hold:
//! whoever resumes with an `id` misses nothing that came before it; so while last values are owed, every `id` says so.

use serde_json::json;
use wsgateway_proto::frame::{self, Opcode};

use super::push::Head;
use crate::encode::Delivery;

/// Where an event stream is. A few bytes: there is one in every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventStream {
    /// Last values were asked for and have not all been sent.
    owed: bool,
    /// They were asked for along with the channels, so that they come if something is gone.
    with_channels: bool,
    /// Commands that still catch up; the last one brings what is owed.
    behind: u8,
    /// The client has its acknowledgement.
    acknowledged: bool,
}

impl EventStream {
    /// An event stream that asks for last values or not, from a cursor or not, and `again` if it asks for them by a
    /// command of their own, too.
    pub(crate) fn new(snapshot: bool, resumes: bool, again: bool) -> Self {
        Self {
            owed: snapshot && (!resumes || again),
            with_channels: snapshot,
            behind: u8::from(snapshot || resumes) + u8::from(again),
            acknowledged: false,
        }
    }

    /// Appends the events of some whole frames, for a stream of this epoch.
    pub(crate) fn translate(&mut self, frames: &[u8], epoch: &str, out: &mut Vec<u8>) {
        for (opcode, payload) in frame::split(frames) {
            match opcode {
                Opcode::Text => self.push(payload, epoch, out),
                Opcode::Close => close(payload, out),
                _ => {}
            }
        }
    }

    /// Appends the event of a live message.
    pub(crate) fn message(self, message: &Delivery, epoch: &str, out: &mut Vec<u8>) {
        if let Some(gap) = message.gap_body() {
            out.append(&mut self::gap(gap));
        }
        self.id(epoch, message.offset, out);
        data(message.body(), out);
    }

    /// Appends a sign of life: the cursor, up to which everything has been sent. Without data it is no event, but
    /// browsers keep its id.
    pub(crate) fn heartbeat(self, epoch: &str, offset: u64, out: &mut Vec<u8>) {
        if self.acknowledged {
            self.id(epoch, offset, out);
            out.push(b'\n');
        } else {
            out.extend_from_slice(b":\n\n");
        }
    }

    fn push(&mut self, push: &[u8], epoch: &str, out: &mut Vec<u8>) {
        let Some(head) = Head::read(push) else { return };
        self.see(&head);
        // A last value is older than the cursor.
        let offset = head.offset.filter(|_| !head.snapshot);
        if head.kind == "subscription_ack" && std::mem::replace(&mut self.acknowledged, true) {
            return self.heartbeat(epoch, offset.unwrap_or_default(), out);
        }
        if let Some(after_ms) = head.after_ms {
            line("retry", after_ms.to_string().as_bytes(), out);
        }
        if let Some(offset) = offset {
            self.id(epoch, offset, out);
        }
        if head.kind != "message" {
            line("event", head.kind.as_bytes(), out);
        }
        data(push, out);
    }

    fn see(&mut self, head: &Head<'_>) {
        match &*head.kind {
            "subscription_ack" if head.recovered == Some(false) => self.owed |= self.with_channels,
            "live" => {
                self.behind = self.behind.saturating_sub(1);
                self.owed &= self.behind > 0;
            }
            _ => {}
        }
    }

    fn id(self, epoch: &str, offset: u64, out: &mut Vec<u8>) {
        let owed = if self.owed { "~" } else { "" };
        line("id", format!("{epoch}:{offset}{owed}").as_bytes(), out);
    }
}

/// Appends an event of a kind of its own.
pub(crate) fn event(kind: &str, json: &str, out: &mut Vec<u8>) {
    line("event", kind.as_bytes(), out);
    data(json.as_bytes(), out);
}

/// The event of a `gap`, which this is the JSON of.
pub(crate) fn gap(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    line("event", b"gap", &mut out);
    data(json, &mut out);
    out
}

fn close(payload: &[u8], out: &mut Vec<u8>) {
    let (code, reason) = payload.split_first_chunk().unwrap_or((&[0x03, 0xed], &[]));
    let (code, reason) = (u16::from_be_bytes(*code), String::from_utf8_lossy(reason));
    let close = json!({ "type": "close", "code": code, "reason": reason });
    event("close", &close.to_string(), out);
}

/// Ends an event. JSON may have line ends between its tokens; each line becomes one of the event's.
fn data(json: &[u8], out: &mut Vec<u8>) {
    for text in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        line("data", text, out);
    }
    out.push(b'\n');
}

fn line(field: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(stream: &mut EventStream, pushes: &[&str]) -> String {
        let (mut frames, mut out) = (Vec::new(), Vec::new());
        for push in pushes {
            frame::write(&mut frames, Opcode::Text, push.as_bytes());
        }
        stream.translate(&frames, "e", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_has_an_id_a_kind_and_every_line_of_its_data() {
        let mut stream = EventStream::new(false, false, false);
        let got = translated(
            &mut stream,
            &[
                "{\"type\":\"message\",\"offset\":7,\"data\":\n1}",
                r#"{"type":"gap","from":1}"#,
                r#"{"type":"reconnect","afterMs":9}"#,
            ],
        );
        assert_eq!(
            got,
            "id: e:7\ndata: {\"type\":\"message\",\"offset\":7,\"data\":\ndata: 1}\n\n\
             event: gap\ndata: {\"type\":\"gap\",\"from\":1}\n\n\
             retry: 9\nevent: reconnect\ndata: {\"type\":\"reconnect\",\"afterMs\":9}\n\n"
        );
    }

    #[test]
    fn ids_say_that_last_values_are_owed_until_all_of_them_have_been_sent() {
        let mut stream = EventStream::new(true, false, false);
        let message = r#"{"type":"message","offset":7}"#;
        assert!(translated(&mut stream, &[message]).starts_with("id: e:7~\n"));
        let value = r#"{"type":"message","offset":3,"snapshot":true}"#;
        assert!(translated(&mut stream, &[value]).starts_with("data: "), "older than the cursor");
        let live = translated(&mut stream, &[r#"{"type":"live","offset":7}"#, message]);
        assert!(live.ends_with("id: e:7\ndata: {\"type\":\"message\",\"offset\":7}\n\n"), "{live}");
    }

    #[test]
    fn who_resumes_is_owed_last_values_only_if_something_is_gone() {
        let ack = r#"{"type":"subscription_ack","recovered":false,"offset":9}"#;
        for (snapshot, id) in [(true, "id: e:9~\n"), (false, "id: e:9\n")] {
            let mut stream = EventStream::new(snapshot, true, false);
            assert!(translated(&mut stream, &[ack]).starts_with(id));
        }
    }

    #[test]
    fn a_heartbeat_is_the_cursor_once_there_is_one() {
        let (mut stream, mut out) = (EventStream::new(false, false, false), Vec::new());
        stream.heartbeat("e", 4, &mut out);
        translated(&mut stream, &[r#"{"type":"subscription_ack","offset":3}"#]);
        stream.heartbeat("e", 5, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), ":\n\nid: e:5\n\n");
    }

    #[test]
    fn a_close_frame_becomes_the_last_event() {
        let (mut frames, mut out) = (Vec::new(), Vec::new());
        frame::close(&mut frames, 1012, "restart");
        EventStream::new(false, false, false).translate(&frames, "e", &mut out);
        let json = r#"{"code":1012,"reason":"restart","type":"close"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("event: close\ndata: {json}\n\n"));
    }
}
