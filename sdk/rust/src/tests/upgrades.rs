//! Upgrades whose answers come in pieces, break off, or never end.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::backoff::{End, code};
use crate::upgrade::{MAX_BODY, MAX_HEAD, upgrade};

const BANNED: &str =
    "HTTP/1.1 403 Forbidden\r\nContent-Length: 31\r\n\r\n{\"code\":\"banned\",\"message\":\"m\"}";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A server's answer, of which each read returns one segment; then it ends, or hangs.
struct Answer {
    segments: VecDeque<Vec<u8>>,
    hangs: bool,
    read: usize,
}

impl AsyncRead for Answer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut segment) = self.segments.pop_front() else {
            return if self.hangs { Poll::Pending } else { Poll::Ready(Ok(())) };
        };
        let rest = segment.split_off(segment.len().min(buffer.remaining()));
        if !rest.is_empty() {
            self.segments.push_front(rest);
        }
        self.read += segment.len();
        buffer.put_slice(&segment);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Answer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Answer {
    fn new(segments: impl IntoIterator<Item = impl AsRef<[u8]>>, hangs: bool) -> Self {
        let segments = segments.into_iter().map(|segment| segment.as_ref().to_vec());
        Self { segments: segments.collect(), hangs, read: 0 }
    }

    /// What an upgrade that gets this answer ends with, if it does.
    async fn end(&mut self) -> Option<End> {
        let mut request = "ws://a/ws".into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-key", HeaderValue::from_static(KEY));
        let give_up = Instant::now() + Duration::from_millis(200);
        upgrade(self, request, give_up).await.err()
    }
}

async fn code_of(segments: impl IntoIterator<Item = impl AsRef<[u8]>>, hangs: bool) -> u16 {
    Answer::new(segments, hangs).end().await.unwrap().code
}

#[tokio::test]
async fn a_ban_is_a_ban_wherever_its_answer_is_cut() {
    for cut in 1..BANNED.len() {
        let (first, second) = BANNED.split_at(cut);
        assert_eq!(code_of([first, second], true).await, code::BANNED, "{cut}");
    }
    let bytes = BANNED.as_bytes().chunks(1);
    assert_eq!(code_of(bytes, true).await, code::BANNED);
}

#[tokio::test]
async fn each_refusal_in_single_bytes_is_what_it_is_in_one_piece() {
    for (head, body, want, wait) in [
        ("401 Unauthorized", r#"{"code":"token_expired"}"#, code::UNAUTHORIZED, None),
        ("403 Forbidden", r#"{"code":"origin_not_allowed"}"#, code::NOT_ALLOWED, None),
        ("403 Forbidden\r\nRetry-After: 9", r#"{"code":"banned"}"#, code::OVERLOADED, Some(9_000)),
        (
            "503 Unavailable\r\nRetry-After: 7",
            r#"{"code":"draining"}"#,
            code::OVERLOADED,
            Some(7_000),
        ),
        ("429 Too Many", r#"{"code":"a","retryAfterMs":120}"#, code::OVERLOADED, Some(120)),
        ("503 Unavailable\r\nRetry-After: 7", "", code::OVERLOADED, Some(7_000)),
    ] {
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let end = Answer::new(answer.as_bytes().chunks(1), true).end().await.unwrap();
        assert_eq!((end.code, end.advised), (want, wait.map(Duration::from_millis)), "{answer}");
    }
}

#[tokio::test]
async fn a_body_in_chunks_or_up_to_the_end_of_the_connection_is_read_as_well() {
    let chunked = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n\
        9;x=y\r\n{\"code\":\"\r\n8\r\nbanned\"}\r\n0\r\n\r\n";
    assert_eq!(code_of([chunked], true).await, code::BANNED);
    assert_eq!(code_of(chunked.as_bytes().chunks(1), true).await, code::BANNED);
    let unsaid = "HTTP/1.1 403 Forbidden\r\n\r\n{\"code\":\"banned\"}";
    assert_eq!(code_of(unsaid.as_bytes().chunks(1), false).await, code::BANNED);
}

#[tokio::test]
async fn a_body_that_never_comes_leaves_the_status_and_the_headers() {
    let head = "HTTP/1.1 503 Unavailable\r\nRetry-After: 7\r\nContent-Length: 31\r\n\r\n{";
    for hangs in [true, false] {
        let end = Answer::new([head], hangs).end().await.unwrap();
        assert_eq!((end.code, end.advised), (code::OVERLOADED, Some(Duration::from_secs(7))));
    }
    let lies = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(code_of([lies], true).await, code::NOT_ALLOWED);
}

#[tokio::test]
async fn a_head_or_a_body_without_end_is_read_to_its_bound_alone() {
    let endless = |start: &'static str| {
        std::iter::once(start.as_bytes().to_vec()).chain(vec![vec![b'a'; 1024]; 1024])
    };
    let mut head = Answer::new(endless("HTTP/1.1 403 Forbidden\r\nA: "), true);
    assert_eq!(head.end().await.unwrap().code, code::ABNORMAL);
    assert!(head.read <= 2 * MAX_HEAD, "{}", head.read);
    for length in ["Content-Length: 99999999999999999999", "Content-Length: 1048576", "A: b"] {
        let start = format!("HTTP/1.1 401 No\r\n{length}\r\n\r\n").leak();
        let mut body = Answer::new(endless(start), true);
        assert_eq!(body.end().await.unwrap().code, code::UNAUTHORIZED);
        assert!(body.read <= 3 * MAX_BODY, "{}", body.read);
    }
}

#[tokio::test]
async fn an_upgrade_that_was_not_asked_for_is_none() {
    let accept = derive_accept_key(KEY.as_bytes());
    let good = format!(
        "HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: wsgateway.v1\r\n\r\n"
    );
    assert_eq!(Answer::new(good.as_bytes().chunks(1), true).end().await, None);
    for (from, to, what) in [
        ("Upgrade: W", "A: W", "Upgrade"),
        ("keep-alive, Upgrade", "keep-alive", "Connection"),
        (&*accept, "bm9uZQ==", "Sec-WebSocket-Accept"),
        ("wsgateway.v1", "odin.v1", "Sec-WebSocket-Protocol"),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "Extensions"),
    ] {
        let end = Answer::new([good.replace(from, to)], true).end().await.unwrap();
        assert_eq!(end.code, code::ABNORMAL);
        assert!(end.reason.contains(what), "{}", end.reason);
    }
}
