//! The head of a clean upgrade request, read from the bytes of a socket.
//!
//! Clean is what every WebSocket client sends: a GET without a body whose head is here whole. Everything else is for an
//! HTTP server, which gets the bytes as they came.

use http::{Method, Version};

use super::{Accepted, Fields, SeveralTokens, Token, check, token};

/// Longest head that is looked at (bytes): cookies and a token fit.
pub const MAX_HEAD: usize = 8 << 10;

/// Header lines of a clean request. Browsers send about fifteen, proxies a few more.
const MAX_LINES: usize = 48;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// The beginning of a head: read on.
    Partial,
    /// Something for an HTTP server.
    Other,
    /// A clean upgrade request.
    Upgrade {
        /// Path without the query.
        path: &'a str,
        /// What follows the question mark.
        query: Option<&'a str>,
        /// What the client shows to say who it is.
        token: Result<Option<Token>, SeveralTokens>,
        /// What was agreed on.
        accepted: Accepted,
        /// Bytes of the head; what follows is the client's first frames.
        len: usize,
    },
}

/// Header lines as they were read.
struct Lines<'a, 'b>(&'a [httparse::Header<'b>]);

impl Fields for Lines<'_, '_> {
    fn lines(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        let named = move |line: &&httparse::Header<'_>| line.name.eq_ignore_ascii_case(name);
        self.0.iter().filter(named).map(|line| line.value)
    }
}

/// Looks at the first bytes of a connection. The other arguments are those of [`check`].
pub fn head<'a>(
    bytes: &'a [u8],
    offered: &[&'static str],
    default: &'static str,
    deflate_allowed: bool,
) -> Head<'a> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut request = httparse::Request::new(&mut lines);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Head::Partial,
        _ => return Head::Other,
    };
    let (Some("GET"), Some(target), Some(1)) = (request.method, request.path, request.version)
    else {
        return Head::Other;
    };
    let fields = Lines(request.headers);
    let has_body = ["content-length", "transfer-encoding", "expect"]
        .into_iter()
        .any(|name| fields.lines(name).next().is_some());
    if has_body || !target.starts_with('/') {
        return Head::Other;
    }
    let checked = check(&Method::GET, Version::HTTP_11, &fields, offered, default, deflate_allowed);
    let Ok(accepted) = checked else { return Head::Other };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Head::Upgrade { path, query, token: token(&fields, query), accepted, len }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "GET /ws?x=1 HTTP/1.1\r\nHost: h\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\r\n";

    fn read(bytes: &[u8]) -> Head<'_> {
        head(bytes, &["b"], "b", true)
    }

    #[test]
    fn a_clean_request_is_read_and_answered_however_it_is_cut() {
        let bytes = [CLEAN.as_bytes(), b"\x81frame"].concat();
        for end in 0..CLEAN.len() {
            assert_eq!(read(&bytes[..end]), Head::Partial, "{end} bytes");
        }
        let Head::Upgrade { path, query, accepted, len, token } = read(&bytes) else { panic!() };
        assert_eq!((path, query, len, token), ("/ws", Some("x=1"), CLEAN.len(), Ok(None)));
        assert_eq!(
            String::from_utf8(accepted.response()).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\n\r\n"
        );
    }

    #[test]
    fn whatever_is_not_clean_is_for_an_http_server() {
        for (from, to) in [
            ("GET", "POST"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("/ws", "http://h/ws"),
            ("Host: h", "Host: h\r\nContent-Length: 0"),
            ("Host: h", "Host: h\r\nTransfer-Encoding: chunked"),
            ("Host: h", "Host: h\r\nHost: i"),
            ("Host: h", "Host : h"),
            ("WebSocket", "h2c"),
            ("13", "8"),
            ("a, b", "a"),
            ("dGhl", "x"),
        ] {
            assert_eq!(read(CLEAN.replacen(from, to, 1).as_bytes()), Head::Other, "{to}");
        }
        assert_eq!(read(b"\x16\x03\x01"), Head::Other, "TLS");
        let long = CLEAN.replacen("x=1", &"x".repeat(MAX_HEAD), 1);
        assert_eq!(read(&long.as_bytes()[..MAX_HEAD]), Head::Other);
    }
}
