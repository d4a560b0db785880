//! Event streams (server-sent events) as the transport of `wsgateway.v1`: the request, and the pushes in the answer.

use wsgateway_proto::handshake::ClientHandshakeError;

/// The head of an answer.
const MAX_HEAD: usize = 16 << 10;

/// The request for a stream of these channels, from a cursor on.
pub(super) fn request(
    (host, path): (&str, &str),
    channels: &[String],
    cursor: Option<(&str, u64)>,
) -> Vec<u8> {
    let query = if path.contains('?') { '&' } else { '?' };
    let names: Vec<String> = channels.iter().map(|name| escaped(name)).collect();
    let mut request = format!(
        "GET {path}{query}channels={} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n",
        names.join(",")
    );
    if let Some((epoch, offset)) = cursor {
        request += &format!("Last-Event-ID: {epoch}:{offset}\r\n");
    }
    (request + "\r\n").into_bytes()
}

/// As a value of a query takes it.
pub(super) fn escaped(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The stream begins after so many bytes.
    Open(usize),
    /// Another status than 200.
    Status(u16),
}

/// Reads the head of an answer; `None` while it is incomplete.
pub(super) fn answer(head: &[u8]) -> Result<Option<Answer>, ClientHandshakeError> {
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
        return match head.len() >= MAX_HEAD {
            true => Err(ClientHandshakeError::NotHttp("the head is too long")),
            false => Ok(None),
        };
    };
    let text = String::from_utf8_lossy(head.get(..end).unwrap_or_default());
    let mut words = text.split(' ');
    let http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    match words.next().and_then(|status| status.parse().ok()).filter(|_| http) {
        Some(200) => Ok(Some(Answer::Open(end + 4))),
        Some(status) => Ok(Some(Answer::Status(status))),
        None => Err(ClientHandshakeError::NotHttp("the head cannot be read")),
    }
}

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Whether it is the last word of the server.
    pub(super) is_close: bool,
    /// A push.
    pub(super) data: String,
}

/// Takes the next whole event out of what came; `None` while there is none. What carries no data is passed over.
pub(super) fn next(rest: &[u8], position: &mut usize) -> Option<Event> {
    loop {
        let from = rest.get(*position..)?;
        let end = from.windows(2).position(|two| two == b"\n\n")?;
        *position += end + 2;
        let text = String::from_utf8_lossy(from.get(..end).unwrap_or_default());
        let mut event = Event { is_close: false, data: String::new() };
        for line in text.lines() {
            if let Some(data) = line.strip_prefix("data:") {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
            event.is_close |= line == "event: close";
        }
        if !event.data.is_empty() {
            return Some(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_its_channels_and_cursor() {
        let channels = ["a.>".to_owned(), "ü".to_owned()];
        let text = request(("h:1", "/sse"), &channels, Some(("e", 7)));
        let expected = "GET /sse?channels=a.%3E,%C3%BC HTTP/1.1\r\nHost: h:1\r\nAccept: text/event-stream\r\n\
                        Last-Event-ID: e:7\r\n\r\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        let text = request(("h", "/sse?x=1"), &channels[..1], None);
        assert!(text.starts_with(b"GET /sse?x=1&channels=a.%3E HTTP/1.1\r\n"));
    }

    #[test]
    fn an_answer_is_a_stream_a_refusal_or_no_http() {
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nx").unwrap(), Some(Answer::Open(25)));
        assert_eq!(answer(b"HTTP/1.1 503 No\r\n\r\n").unwrap(), Some(Answer::Status(503)));
        for bad in [&b"\r\n\r\n"[..], b"SSH 200\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", &[b'a'; MAX_HEAD]]
        {
            assert!(answer(bad).is_err());
        }
    }

    #[test]
    fn events_are_taken_one_after_the_other_whole() {
        let text = b"retry: 5\n\n: x\n\nid: e:1\ndata: {\"a\":\ndata: 1}\n\nevent: close\ndata: {}\n\ndata: ha";
        let mut position = 0;
        let first = next(text, &mut position).unwrap();
        assert_eq!((first.data.as_str(), first.is_close), ("{\"a\":\n1}", false));
        assert!(next(text, &mut position).unwrap().is_close);
        assert_eq!(next(text, &mut position), None);
        assert_eq!(&text[position..], b"data: ha");
    }
}
