//! Servers that compress: as agreed, without having agreed, too much, and rubbish.

use flate2::{Compress, Compression, FlushCompress};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::peer::{good, message, serve};
use super::recorder::{Recorder, SOON, builder};

const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const RSV1_TEXT: u8 = 0xc1;

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() / 64 + 4096);
    let mut stream = Compress::new(Compression::new(6), false);
    stream.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

/// A frame of any length, in its longest form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 127][..], &(payload.len() as u64).to_be_bytes(), payload].concat()
}

fn greeting() -> Vec<u8> {
    let greeting = json!({ "type": "connection:established", "epoch": "e", "pod": "p" });
    frame(RSV1_TEXT, &deflated(greeting.to_string().as_bytes()))
}

/// A server that answers an upgrade with these extensions and then sends these bytes. The first frame comes with the answer.
async fn compressing(extensions: &'static str, bytes: Vec<u8>) -> String {
    watched(extensions, bytes).await.0
}

/// The same, and whether each client that comes offers compression.
async fn watched(extensions: &'static str, bytes: Vec<u8>) -> (String, Receiver<bool>) {
    let (seen, offers) = channel(64);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = socket.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let accept = derive_accept_key(key.unwrap().as_bytes());
            let offers = request.to_ascii_lowercase().contains("sec-websocket-extensions: ");
            let _ = seen.send(offers).await;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Protocol: wsgateway.v1\r\nSec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
            );
            let _ = socket.write_all(&[answer.as_bytes(), &bytes].concat()).await;
            let mut rest = [0; 4096];
            while socket.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        }
    });
    (url, offers)
}

fn extensions(value: &str) -> &'static str {
    format!("Sec-WebSocket-Extensions: {value}\r\n").leak()
}

/// What the client says of such a server, before it goes on with a good one.
async fn told(extensions: &'static str, bytes: Vec<u8>, compression: bool) -> String {
    let urls = [compressing(extensions, bytes).await, serve(vec![good()]).await];
    let mut r = Recorder::new(builder(&urls).compression(compression));
    r.received(1).await;
    r.reasons()[0].to_owned()
}

#[tokio::test]
async fn compressed_messages_are_read_and_plain_ones_between_them() {
    let ack = json!({ "type": "subscription_ack", "id": 1, "subscribed": ["a"], "offset": 0 })
        .to_string();
    let mut bytes = [greeting(), frame(0x81, ack.as_bytes())].concat();
    for n in 1..=300 {
        let text = message(n).to_string();
        let packed = deflated(text.as_bytes());
        bytes.extend(match n % 3 {
            0 => frame(0x81, text.as_bytes()),
            1 => frame(RSV1_TEXT, &packed),
            _ => [frame(0x41, &packed[..9]), frame(0x89, b"ping"), frame(0x80, &packed[9..])]
                .concat(),
        });
    }
    let url = compressing(extensions(AGREED), bytes).await;
    let mut r = Recorder::new(builder(&[url]).compression(true));
    r.received(300).await;
    assert_eq!(r.offsets(), (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_inflates_without_end_ends_the_client_as_one_that_is_too_big() {
    let bomb = deflated(&vec![b' '; (16 << 20) + 1]);
    assert!(bomb.len() < 64 << 10);
    let bytes = [greeting(), frame(RSV1_TEXT, &bomb)].concat();
    let url = compressing(extensions(AGREED), bytes).await;
    let mut r = Recorder::new(builder(&[url]).compression(true));
    r.refused(1009).await;
    assert!(r.reasons()[0].contains("a compressed message of more than 16777216 bytes"));
}

#[tokio::test]
async fn rubbish_that_says_to_be_compressed_ends_the_connection() {
    let bytes = [greeting(), frame(RSV1_TEXT, b"{\"type\":\"pong\"}")].concat();
    let told = told(extensions(AGREED), bytes, true).await;
    assert_eq!(told, "a compressed message that cannot be inflated");
}

#[tokio::test]
async fn what_breaks_compression_on_the_way_is_got_around_without_it() {
    let rubbish = [greeting(), frame(RSV1_TEXT, b"no deflate")].concat();
    for (answer, bytes) in [(AGREED, rubbish), ("permessage-deflate", greeting())] {
        let (url, mut offers) = watched(extensions(answer), bytes).await;
        let _r = Recorder::new(builder(&[url]).compression(true));
        for expected in [true, false, false] {
            let next = timeout(SOON, offers.recv()).await;
            assert_eq!(next.expect("another attempt"), Some(expected), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_server_that_compresses_without_having_agreed_is_left() {
    for compression in [true, false] {
        let told = told("", greeting(), compression).await;
        assert!(told.to_lowercase().contains("reserved bits"), "{told}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_offer_is_no_upgrade() {
    for (answer, compression) in [
        (AGREED, false),
        ("permessage-deflate", true),
        ("permessage-deflate; server_no_context_takeover; client_max_window_bits=10", true),
        ("x-other", true),
    ] {
        let told = told(extensions(answer), greeting(), compression).await;
        assert!(told.contains("Sec-WebSocket-Extensions"), "{answer}: {told}");
    }
}
