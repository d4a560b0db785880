mod extensions;

use proptest::prelude::*;

use http::header::{self, HeaderName, HeaderValue};

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const OFFER: ClientOffer<'_> = ClientOffer { key: KEY, protocol: Some("odin.v1"), deflate: true };
const OFFERED: &[&str] = &["wsgateway.v1", "odin.v1"];

fn good() -> HeaderMap {
    [
        (header::HOST, "example.com"),
        (header::CONNECTION, "keep-alive, Upgrade"),
        (header::UPGRADE, "WebSocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, KEY),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .into_iter()
    .collect()
}

fn checked(headers: &HeaderMap) -> Result<Accepted, Refusal> {
    check(&Method::GET, Version::HTTP_11, headers, OFFERED, "wsgateway.v1", true)
}

#[test]
fn the_example_of_rfc_6455_section_1_3_is_accepted() {
    assert_eq!(accept_key(KEY), ACCEPT);
    let accepted = checked(&good()).unwrap();
    assert_eq!(accepted.accept, ACCEPT);
    assert_eq!((accepted.protocol, accepted.echo_protocol), ("wsgateway.v1", false));
}

#[test]
fn each_missing_or_wrong_header_is_named() {
    for (name, value, want) in [
        (header::HOST, None, Refusal::BadHost),
        (header::UPGRADE, None, Refusal::NotUpgrade),
        (header::UPGRADE, Some("h2c"), Refusal::NotUpgrade),
        (header::CONNECTION, None, Refusal::NotUpgrade),
        (header::CONNECTION, Some("close"), Refusal::NotUpgrade),
        (header::SEC_WEBSOCKET_VERSION, None, Refusal::BadVersion),
        (header::SEC_WEBSOCKET_VERSION, Some("8"), Refusal::BadVersion),
        (header::SEC_WEBSOCKET_VERSION, Some("13, 8"), Refusal::BadVersion),
        (header::SEC_WEBSOCKET_KEY, None, Refusal::BadKey),
        (header::SEC_WEBSOCKET_KEY, Some(""), Refusal::BadKey),
        (header::SEC_WEBSOCKET_KEY, Some("dGhlIHNhbXBsZQ=="), Refusal::BadKey),
        (header::SEC_WEBSOCKET_KEY, Some("dGhlIHNhbXBsZSBub25jZSEh"), Refusal::BadKey),
        (header::SEC_WEBSOCKET_KEY, Some("dGhlIHNhbXBsZSBub25jZ!=="), Refusal::BadKey),
        (header::SEC_WEBSOCKET_PROTOCOL, Some("graphql-ws"), Refusal::NoCommonProtocol),
    ] {
        let mut headers = good();
        headers.remove(&name);
        if let Some(value) = value {
            headers.insert(&name, HeaderValue::from_static(value));
        }
        assert_eq!(checked(&headers), Err(want), "{name}: {value:?}");
    }
    let mut headers = good();
    headers.append(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
    assert_eq!(checked(&headers), Err(Refusal::BadKey), "two keys");
    headers.append(header::HOST, HeaderValue::from_static("another.example"));
    assert_eq!(checked(&headers), Err(Refusal::BadHost), "two hosts");
}

#[test]
fn the_method_and_the_http_version_are_checked() {
    let check =
        |method: Method, version| check(&method, version, &good(), OFFERED, "odin.v1", true);
    assert_eq!(check(Method::POST, Version::HTTP_11), Err(Refusal::NotGet));
    assert_eq!(check(Method::GET, Version::HTTP_10), Err(Refusal::NotHttp11));
    assert_eq!(check(Method::GET, Version::HTTP_2), Err(Refusal::NotHttp11));
}

#[test]
fn the_first_protocol_that_both_know_is_taken() {
    for (lines, want) in [
        (&[][..], ("wsgateway.v1", false)),
        (&["odin.v1"], ("odin.v1", true)),
        (&["unknown, odin.v1 ,wsgateway.v1"], ("odin.v1", true)),
        (&["unknown", "wsgateway.v1"], ("wsgateway.v1", true)),
        (&["bearer.abc, odin.v1"], ("odin.v1", true)),
        (&["bearer.abc"], ("wsgateway.v1", false)),
        (&[" ,"], ("wsgateway.v1", false)),
    ] {
        let mut headers = good();
        for line in lines {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(line));
        }
        let accepted = checked(&headers).unwrap();
        assert_eq!((accepted.protocol, accepted.echo_protocol), want, "{lines:?}");
    }
}

#[test]
fn a_refusal_has_its_status_and_headers() {
    for (refusal, status, header) in [
        (Refusal::NotGet, 405, Some(("allow", "GET"))),
        (Refusal::NotHttp11, 400, None),
        (Refusal::NotUpgrade, 426, Some(("upgrade", "websocket"))),
        (Refusal::BadVersion, 426, Some(("sec-websocket-version", "13"))),
        (Refusal::BadHost, 400, None),
        (Refusal::BadKey, 400, None),
        (Refusal::NoCommonProtocol, 400, None),
        (Refusal::BadExtensions, 400, None),
    ] {
        assert_eq!(refusal.status(), status, "{refusal:?}");
        match header {
            Some(header) => assert!(refusal.headers().contains(&header), "{refusal:?}"),
            None => assert!(refusal.headers().is_empty(), "{refusal:?}"),
        }
    }
}

#[test]
fn what_the_client_asks_is_what_the_server_accepts() {
    let request = client_request("localhost:80", "/ws?a=b", &OFFER);
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut headers);
    assert_eq!(parsed.parse(&request), Ok(httparse::Status::Complete(request.len())));
    assert_eq!((parsed.method, parsed.path), (Some("GET"), Some("/ws?a=b")));
    let headers: HeaderMap = parsed
        .headers
        .iter()
        .map(|h| (h.name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(h.value).unwrap()))
        .collect();
    assert_eq!(headers[header::HOST], "localhost:80");
    let accepted = checked(&headers).unwrap();
    assert_eq!((accepted.protocol, accepted.deflate), ("odin.v1", true));
}

const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\n";

fn response(more: &str) -> Result<Option<Upgraded>, ClientHandshakeError> {
    let head = format!("{SWITCHING}sec-websocket-accept: {ACCEPT}\r\n{more}\r\n");
    client_response(head.as_bytes(), &OFFER)
}

#[test]
fn a_response_is_awaited_then_accepted_or_refused() {
    let good = format!("{SWITCHING}sec-websocket-accept: {ACCEPT}\r\n\r\n");
    for cut in 0..good.len() {
        assert_eq!(client_response(&good.as_bytes()[..cut], &OFFER), Ok(None), "{cut} bytes");
    }
    let with_frames = format!("{good}\u{1}frames");
    let upgraded = Upgraded { head_bytes: good.len(), deflate: false };
    assert_eq!(client_response(with_frames.as_bytes(), &OFFER), Ok(Some(upgraded)));
    assert_eq!(
        client_response(good.as_bytes(), &ClientOffer { key: "another key", ..OFFER }),
        Err(ClientHandshakeError::BadAccept)
    );
    for (head, missing) in [
        ("", "upgrade"),
        ("upgrade: h2c\r\nconnection: upgrade\r\n", "upgrade"),
        ("upgrade: websocket\r\n", "connection"),
        ("upgrade: websocket\r\nconnection: close\r\n", "connection"),
    ] {
        let head = format!("HTTP/1.1 101 OK\r\n{head}sec-websocket-accept: {ACCEPT}\r\n\r\n");
        let refused = client_response(head.as_bytes(), &OFFER);
        assert_eq!(refused, Err(ClientHandshakeError::NotUpgraded(missing)), "{head}");
    }
    let without = format!("{SWITCHING}\r\n");
    let refused = client_response(without.as_bytes(), &OFFER);
    assert_eq!(refused, Err(ClientHandshakeError::BadAccept));
    let full = format!(
        "HTTP/1.1 503 Full\r\nRetry-After: 7\r\nContent-Length: 600\r\n\r\n{}",
        "x".repeat(600)
    );
    assert_eq!(
        client_response(full.as_bytes(), &OFFER),
        Err(ClientHandshakeError::Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: Some(7),
            content_length: Some(600),
            body_head: "x".repeat(512),
        })
    );
    for bad in [&b"SSH-2.0-OpenSSH\r\n"[..], b"HTTP/1.1 999999\r\n\r\n", &[0; 20]] {
        let error = client_response(bad, &OFFER).unwrap_err();
        assert!(matches!(error, ClientHandshakeError::NotHttp(_)), "{error}");
    }
    let endless = format!("HTTP/1.1 101 OK\r\na: {}", "x".repeat(MAX_RESPONSE_HEAD));
    assert!(client_response(endless.as_bytes(), &OFFER).is_err());
}

#[test]
fn a_client_takes_nothing_that_it_did_not_offer() {
    let protocol = Err(ClientHandshakeError::NotOffered("Sec-WebSocket-Protocol"));
    for (line, want) in [
        ("", Ok(())),
        ("sec-websocket-protocol: odin.v1\r\n", Ok(())),
        ("sec-websocket-protocol: wsgateway.v1\r\n", protocol.clone()),
        ("sec-websocket-protocol: odin.v1, odin.v1\r\n", protocol.clone()),
        ("sec-websocket-protocol: odin.v1\r\nsec-websocket-protocol: odin.v1\r\n", protocol),
    ] {
        assert_eq!(response(line).map(|_| ()), want, "{line}");
    }
}

proptest! {
    #[test]
    fn any_response_is_read_or_refused(bytes: Vec<u8>) {
        let framed = [b"HTTP/1.1 ", &bytes[..], b"\r\n\r\n"].concat();
        let _ = client_response(&bytes, &OFFER);
        let _ = client_response(&framed, &OFFER);
    }
}
