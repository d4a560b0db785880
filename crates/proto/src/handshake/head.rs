//! The head of an HTTP/1.1 request, as far as it is a plain WebSocket upgrade.
//!
//! The fast way in: nearly every client sends the same few lines. What is plain is answered without an HTTP server;
//! everything else goes on to one, with the bytes read so far, and is judged there. So this never refuses anything.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Most header lines of a plain upgrade: browsers send about 15, proxies add some.
const MAX_LINES: usize = 48;

/// What [`super::check`] reads; the other lines are left out.
const READ: [HeaderName; 7] = [
    header::HOST,
    header::UPGRADE,
    header::CONNECTION,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// What a plain upgrade never has: a body, or an answer that is awaited before it.
const FOREIGN: [HeaderName; 3] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT];

/// What the first bytes of a connection are.
#[derive(Debug)]
pub enum Head<'a> {
    /// The beginning of a head: more bytes are needed.
    Partial,
    /// A plain upgrade.
    Upgrade(UpgradeRequest<'a>),
    /// Something else, or nothing that HTTP knows.
    NotPlain,
}

/// A request `GET target HTTP/1.1` with `Upgrade: websocket` and no body.
#[derive(Debug)]
pub struct UpgradeRequest<'a> {
    /// The path, without its query.
    pub path: &'a str,
    /// What is behind the `?`, if there is one.
    pub query: Option<&'a str>,
    /// The headers that [`super::check`] reads, for `GET` and HTTP/1.1.
    pub headers: HeaderMap,
    /// Length of the head: what follows are frames.
    pub consumed: usize,
}

/// Reads the head of a request of at most `limit` bytes.
///
/// The answer for a byte string never changes by bytes that follow, but for [`Head::Partial`]. Costs one pass over the
/// bytes each time it is called: call it when bytes have come.
pub fn read(bytes: &[u8], limit: usize) -> Head<'_> {
    const METHOD: &[u8] = b"GET /";
    let begun = bytes.len().min(METHOD.len());
    if bytes.get(..begun) != METHOD.get(..begun) {
        return Head::NotPlain;
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut request = httparse::Request::new(&mut lines);
    let consumed = match request.parse(bytes) {
        Ok(httparse::Status::Complete(consumed)) if consumed <= limit => consumed,
        Ok(httparse::Status::Partial) if bytes.len() < limit => return Head::Partial,
        Ok(_) | Err(_) => return Head::NotPlain,
    };
    match (request.version, request.path, headers(request.headers)) {
        (Some(1), Some(target), Some(headers)) => {
            let (path, query) = match target.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (target, None),
            };
            Head::Upgrade(UpgradeRequest { path, query, headers, consumed })
        }
        _ => Head::NotPlain,
    }
}

/// The headers that are read, if they are those of an upgrade.
fn headers(lines: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let named = |line: &httparse::Header<'_>, name: &HeaderName| {
        line.name.eq_ignore_ascii_case(name.as_str())
    };
    let mut headers = HeaderMap::with_capacity(READ.len());
    for line in lines {
        if FOREIGN.iter().any(|name| named(line, name)) {
            return None;
        }
        if let Some(name) = READ.iter().find(|name| named(line, name)) {
            headers.append(name, HeaderValue::from_bytes(line.value).ok()?);
        }
    }
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    let is_websocket =
        upgrades.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    (is_websocket && upgrades.next().is_none()).then_some(headers)
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};
    use proptest::prelude::*;

    use super::super::check;
    use super::*;

    const LIMIT: usize = 4 << 10;

    const PLAIN: &str = "GET /ws?token=x HTTP/1.1\r\nHost: h\r\nuser-agent: x\r\nConnection: keep-alive, Upgrade\r\n\
                         upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         Sec-WebSocket-Protocol: other, wsgateway.v1\r\n\
                         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    fn upgrade(bytes: &[u8]) -> Option<UpgradeRequest<'_>> {
        match read(bytes, LIMIT) {
            Head::Upgrade(upgrade) => Some(upgrade),
            Head::Partial | Head::NotPlain => None,
        }
    }

    fn judge(headers: &HeaderMap) -> Result<super::super::Accepted, super::super::Refusal> {
        check(&Method::GET, Version::HTTP_11, headers, &["wsgateway.v1"], "wsgateway.v1", true)
    }

    #[test]
    fn a_plain_upgrade_has_what_the_check_needs_and_ends_before_the_first_frame() {
        let bytes = [PLAIN.as_bytes(), b"\x81\x80frame"].concat();
        let upgrade = upgrade(&bytes).unwrap();
        assert_eq!((upgrade.path, upgrade.query), ("/ws", Some("token=x")));
        assert_eq!(upgrade.consumed, PLAIN.len());
        let accepted = judge(&upgrade.headers).unwrap();
        assert_eq!(accepted.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(accepted.deflate && accepted.echo_protocol);
    }

    #[test]
    fn every_beginning_of_a_plain_upgrade_waits_for_more() {
        for length in 0..PLAIN.len() {
            let head = read(&PLAIN.as_bytes()[..length], LIMIT);
            assert!(matches!(head, Head::Partial), "{length}: {head:?}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_an_http_server() {
        let many = "x: y\r\n".repeat(MAX_LINES);
        let long = format!("x: {}\r\n", "y".repeat(LIMIT));
        for (from, to) in [
            ("GET", "POST"),
            ("GET", "get"),
            ("GET /", "GET http://h/"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("HTTP/1.1", "HTTP/2.0"),
            ("WebSocket", "h2c"),
            ("upgrade: WebSocket\r\n", ""),
            ("upgrade: WebSocket\r\n", "upgrade: websocket\r\nupgrade: websocket\r\n"),
            ("Host: h\r\n", "Host: h\r\nContent-Length: 0\r\n"),
            ("Host: h\r\n", "Host: h\r\nTransfer-Encoding: chunked\r\n"),
            ("Host: h\r\n", "Host: h\r\nExpect: 100-continue\r\n"),
            ("Host: h\r\n", "Host: h\r\n folded: x\r\n"),
            ("Host: h\r\n", "Host : h\r\n"),
            ("Host: h\r\n", "Host: \0\r\n"),
            ("Host: h\r\n", &many),
            ("Host: h\r\n", &long),
        ] {
            let text = PLAIN.replacen(from, to, 1);
            let head = read(text.as_bytes(), LIMIT);
            assert!(matches!(head, Head::NotPlain), "{to:?}: {head:?}");
        }
        assert!(matches!(read(b"\x16\x03\x01", LIMIT), Head::NotPlain));
    }

    #[test]
    fn a_head_without_end_is_given_up_at_the_limit() {
        let endless = format!("GET /ws HTTP/1.1\r\nx: {}", "y".repeat(LIMIT));
        assert!(matches!(read(&endless.as_bytes()[..LIMIT - 1], LIMIT), Head::Partial));
        assert!(matches!(read(&endless.as_bytes()[..LIMIT], LIMIT), Head::NotPlain));
    }

    /// All lines, as an HTTP server has them.
    fn all_headers(bytes: &[u8]) -> HeaderMap {
        let mut lines = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut lines);
        request.parse(bytes).unwrap();
        let mut headers = HeaderMap::new();
        for line in request.headers {
            let name = HeaderName::from_bytes(line.name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(line.value).unwrap());
        }
        headers
    }

    proptest! {
        #[test]
        fn a_plain_upgrade_is_judged_as_by_an_http_server(
            lines in prop::collection::vec((0..12_usize, 0..8_usize), 0..16),
        ) {
            const NAMES: [&str; 12] = [
                "Host", "upgrade", "UPGRADE", "Connection", "connection", "Sec-WebSocket-Version",
                "Sec-WebSocket-Key", "sec-websocket-key", "Sec-WebSocket-Protocol",
                "Sec-WebSocket-Extensions", "Cookie", "Sec-WebSocket-Protocols",
            ];
            const VALUES: [&str; 8] = [
                "websocket", "Upgrade", "13", "dGhlIHNhbXBsZSBub25jZQ==", "wsgateway.v1, x",
                "permessage-deflate", "", "h",
            ];
            let mut text = "GET /ws HTTP/1.1\r\n".to_owned();
            for (name, value) in lines {
                text += &format!("{}: {}\r\n", NAMES[name], VALUES[value]);
            }
            text += "\r\n";
            if let Some(upgrade) = upgrade(text.as_bytes()) {
                prop_assert_eq!(judge(&upgrade.headers), judge(&all_headers(text.as_bytes())));
            }
        }

        #[test]
        fn any_bytes_are_read_within_bounds_and_a_verdict_stays(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..600_usize) {
            let text = [&PLAIN.as_bytes()[..cut.min(PLAIN.len())], &bytes].concat();
            let longer = [&text[..], b"\r\n\r\nmore"].concat();
            match (read(&text, LIMIT), read(&longer, LIMIT)) {
                (Head::Upgrade(short), Head::Upgrade(long)) => prop_assert_eq!(short.consumed, long.consumed),
                (Head::Partial, _) | (Head::NotPlain, Head::NotPlain) => {}
                (short, long) => prop_assert!(false, "{:?} became {:?}", short, long),
            }
        }
    }
}
