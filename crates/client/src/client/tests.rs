use std::sync::mpsc;

use super::*;
use crate::testing::{LONG, Peer, serve};

fn connect(script: impl Fn(usize, Peer) + Send + Sync + Clone + 'static) -> Client {
    Client::connect(serve(script), &ClientOptions::default()).unwrap()
}

fn echo(_: usize, mut peer: Peer) {
    peer.upgrade();
    loop {
        match peer.next() {
            Received::Text(text) => peer.frame(Opcode::Text, text.as_bytes()),
            Received::Binary(bytes) => peer.frame(Opcode::Binary, &bytes),
            Received::Ping(bytes) => peer.frame(Opcode::Pong, &bytes),
            Received::Close(code, _) => peer.push(|out| frame::close(out, code, "bye")),
            Received::Pong(_) => {}
            Received::End => return,
        }
    }
}

#[test]
fn what_is_said_is_heard_and_answered() {
    let mut client = connect(echo);
    client.send_text("hello").unwrap();
    assert_eq!(client.next_event(LONG).unwrap(), Received::Text("hello".into()));
    client.send_frame(Opcode::Binary, &[0, 255]).unwrap();
    assert_eq!(client.next_event(LONG).unwrap(), Received::Binary(vec![0, 255]));
    client.send_frame(Opcode::Ping, b"?").unwrap();
    assert_eq!(client.next_event(LONG).unwrap(), Received::Pong(b"?".into()));
    client.send_text("{\"type\":\"a\"}").unwrap();
    client.send_text("{\"type\":\"b\",\"x\":1}").unwrap();
    assert_eq!(client.next_of_type("b", LONG).unwrap()["x"], 1);
    assert_eq!(client.close(1000, LONG).unwrap(), (1000, "bye".into()));
}

#[test]
fn large_messages_come_whole() {
    let mut client = connect(echo);
    let text = "é".repeat(100_000);
    client.send_text(&text).unwrap();
    assert_eq!(client.next_text(LONG).unwrap(), text);
}

#[test]
fn frames_that_come_with_the_handshake_are_heard() {
    let mut client = connect(|_, mut peer| {
        let mut answer = Vec::new();
        let key = peer.request()["sec-websocket-key"].to_str().unwrap().to_owned();
        let accept = handshake::accept_key(&key);
        answer.extend_from_slice(
            format!(
                "HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        );
        frame::write(&mut answer, Opcode::Text, b"early");
        peer.raw(&answer);
        peer.until_end();
    });
    assert_eq!(client.next_text(LONG).unwrap(), "early");
}

#[test]
fn headers_and_protocol_reach_the_server() {
    let (sent, seen) = mpsc::channel();
    let addr = serve(move |_, mut peer| sent.send(peer.upgrade()).unwrap());
    let options = ClientOptions {
        protocol: Some("wsgateway.v1".into()),
        headers: vec![("Origin".into(), "https://example.com".into())],
        ..ClientOptions::default()
    };
    Client::connect(addr, &options).unwrap();
    let headers = seen.recv().unwrap();
    assert_eq!(headers["origin"], "https://example.com");
    assert_eq!(headers["sec-websocket-protocol"], "wsgateway.v1");
    assert_eq!(headers["host"], addr.to_string());
}

#[test]
fn a_refusal_tells_its_status_and_the_body_that_follows_its_head() {
    let addr = serve(|_, mut peer| {
        peer.request();
        peer.raw(b"HTTP/1.1 503 Full\r\nRetry-After: 3\r\nContent-Length: 15\r\n\r\n");
        peer.raw(b"{\"code\":");
        peer.raw(b"\"full\"}");
        peer.until_end();
    });
    let error = Client::connect(addr, &ClientOptions::default()).unwrap_err();
    assert_eq!(error.refused_status(), Some(503));
    match error {
        ClientError::Handshake(ClientHandshakeError::Refused {
            retry_after, body_head, ..
        }) => {
            assert_eq!((retry_after, &*body_head), (Some(3), "{\"code\":\"full\"}"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn pings_are_answered_unless_that_is_switched_off() {
    let script = |_, mut peer: Peer| {
        peer.upgrade();
        peer.frame(Opcode::Ping, b"1");
        peer.frame(Opcode::Text, b"after");
        match peer.next() {
            Received::Pong(payload) => peer.frame(Opcode::Text, &payload),
            other => peer.frame(Opcode::Text, format!("{other:?}").as_bytes()),
        }
        peer.until_end();
    };
    let addr = serve(script);
    let mut client = Client::connect(addr, &ClientOptions::default()).unwrap();
    assert_eq!(client.next_event(LONG).unwrap(), Received::Ping(b"1".into()));
    assert_eq!(client.next_text(LONG).unwrap(), "after");
    assert_eq!(client.next_text(LONG).unwrap(), "1");

    let silent = ClientOptions { answer_pings: false, ..ClientOptions::default() };
    let mut client = Client::connect(addr, &silent).unwrap();
    assert_eq!(client.next_text(LONG).unwrap(), "after");
    client.send_text("instead").unwrap();
    assert_eq!(client.next_text(LONG).unwrap(), "Text(\"instead\")");
}

#[test]
fn waiting_ends_at_the_deadline_or_with_the_connection() {
    let mut client = connect(echo);
    let error = client.next_event(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, ClientError::Deadline(_)), "{error}");
    client.send_text("still here").unwrap();
    assert_eq!(client.next_text(LONG).unwrap(), "still here");

    let mut client = connect(|_, mut peer| {
        peer.upgrade();
        peer.push(|out| frame::close(out, 1012, "drain"));
        peer.until_end();
    });
    assert_eq!(client.wait_closed(LONG).unwrap(), (1012, "drain".into()));

    let mut client = connect(|_, mut peer| {
        peer.upgrade();
    });
    assert_eq!(client.wait_closed(LONG).unwrap().0, 1006);
}

#[test]
fn a_server_that_breaks_the_protocol_is_an_error() {
    let mut client = connect(|_, mut peer| {
        peer.upgrade();
        peer.raw(b"\xFFnonsense");
        peer.until_end();
    });
    let error = client.next_event(LONG).unwrap_err();
    assert!(matches!(error, ClientError::Violation(_)), "{error}");
}

/// A server that answers an upgrade with this line of extensions, and then sends these bytes.
fn compressing(extensions: &'static str, bytes: Vec<u8>) -> SocketAddr {
    serve(move |_, mut peer| {
        let key = peer.request()["sec-websocket-key"].to_str().unwrap().to_owned();
        let accept = handshake::accept_key(&key);
        peer.raw(
            format!(
                "HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
            )
            .as_bytes(),
        );
        peer.raw(&bytes);
        peer.until_end();
    })
}

const AGREED: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";

#[test]
fn compressed_messages_are_inflated_within_the_limit() {
    let mut deflater = wsgateway_proto::deflate::Deflater::new();
    let (mut bytes, text) = (Vec::new(), "price ".repeat(1_000));
    assert!(deflater.message(text.as_bytes(), &mut bytes));
    frame::write(&mut bytes, Opcode::Text, b"plain");
    assert!(deflater.message(&[b' '; 20_001], &mut bytes));
    let addr = compressing(AGREED, bytes);
    let options = ClientOptions { deflate: true, message_bytes: 20_000, ..Default::default() };
    let mut client = Client::connect(addr, &options).unwrap();
    assert_eq!(client.next_text(LONG).unwrap(), text);
    assert_eq!(client.next_text(LONG).unwrap(), "plain");
    let error = client.next_event(LONG).unwrap_err();
    assert!(matches!(&error, ClientError::Violation(v) if v.close_code == 1009), "{error}");
}

#[test]
fn compression_that_is_rubbish_or_was_not_agreed_on_is_an_error() {
    let options = ClientOptions { deflate: true, ..Default::default() };
    for (extensions, code) in [(AGREED, 1007), ("", 1002)] {
        let addr = compressing(extensions, b"\xc1\x03\xff\xff\xff".to_vec());
        let mut client = Client::connect(addr, &options).unwrap();
        let error = client.next_event(LONG).unwrap_err();
        assert!(matches!(&error, ClientError::Violation(v) if v.close_code == code), "{error}");
    }
    let unasked = Client::connect(compressing(AGREED, Vec::new()), &ClientOptions::default());
    assert!(matches!(unasked, Err(ClientError::Handshake(_))));
}
