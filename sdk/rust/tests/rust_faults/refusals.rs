//! Servers that do not let the client in.

use std::time::Duration;

use super::peer::{Peer, answer, behaviour, good, segments, serve};
use super::recorder::{Recorder, builder};
use wsgateway::{BuildError, Client};

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 48\r\n\r\n\
    {\"code\":\"full\",\"message\":\"m\",\"retryAfterMs\":120}";
const BANNED: &[u8] =
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 31\r\n\r\n{\"code\":\"banned\",\"message\":\"m\"}";
const UNAUTHORIZED: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 24\r\n\r\n{\"code\":\"token_invalid\"}";
const ELSEWHERE: &[u8] =
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_gateway_that_is_full_is_left_alone_for_as_long_as_it_says_and_the_next_one_is_asked() {
    let mut r = Recorder::of(&[answer(FULL, false).await, serve(vec![good()]).await]);
    r.received(1).await;
    let closed = r.closed().next().unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (1013, "HTTP 503 full"));
    assert!(closed.retry_in >= Some(Duration::from_millis(120)));
}

#[tokio::test]
async fn a_ban_ends_the_client() {
    Recorder::of(&[answer(BANNED, false).await]).refused(4013).await;
}

#[tokio::test]
async fn a_ban_ends_the_client_wherever_the_segments_of_its_answer_end() {
    for cut in [4, 30, BANNED.len() - 31, BANNED.len() - 20, BANNED.len() - 1] {
        let (head, rest) = BANNED.split_at(cut);
        Recorder::of(&[segments(vec![head, rest], true).await]).refused(4013).await;
    }
}

#[tokio::test]
async fn advice_in_segments_is_followed() {
    let parts = FULL.chunks(9).collect();
    let mut r = Recorder::of(&[segments(parts, true).await, serve(vec![good()]).await]);
    r.received(1).await;
    let closed = r.closed().next().unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (1013, "HTTP 503 full"));
    assert!(closed.retry_in >= Some(Duration::from_millis(120)));
}

#[tokio::test]
async fn a_refusal_whose_body_never_comes_is_still_a_refusal() {
    let parts = vec![&UNAUTHORIZED[..UNAUTHORIZED.len() - 9]];
    let urls = [segments(parts, true).await];
    let builder = builder(&urls).connect_timeout(Duration::from_secs(2)).fixed_token("t");
    Recorder::new(builder).refused(4001).await;
}

#[tokio::test]
async fn a_refused_token_that_cannot_change_ends_the_client_and_is_in_no_text() {
    let token = "secret-of-a-user";
    let mut r = Recorder::new(builder(&[answer(UNAUTHORIZED, false).await]).fixed_token(token));
    r.refused(4001).await;
    let text = format!("{:?} {:?} {:?}", r.events, r.client, r.client.closed().await);
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_function_that_fails_is_called_again_and_its_error_is_in_no_text() {
    let calls = std::sync::atomic::AtomicU32::new(0);
    let token = move || {
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        async move { if first { Err("secret") } else { Ok("token".to_owned()) } }
    };
    let mut r = Recorder::new(builder(&[serve(vec![good()]).await]).token(token));
    r.received(1).await;
    let text = format!("{:?}", r.events);
    assert!(text.contains("token_unavailable") && !text.contains("secret"), "{text}");
    assert_eq!(r.reasons(), ["no token"]);
}

#[tokio::test]
async fn what_speaks_no_http_what_redirects_and_what_is_not_there_are_attempts_like_any_other() {
    let urls = [
        answer(b"\x00\xff rubbish \r\n\r\n", false).await,
        answer(ELSEWHERE, false).await,
        "ws://127.0.0.1:1/secret?token=abc".to_owned(),
        serve(vec![good()]).await,
    ];
    let mut r = Recorder::of(&urls);
    r.received(1).await;
    assert_eq!((r.reasons().len(), r.reasons()[1]), (3, "HTTP 302"));
    assert!(!format!("{:?}", r.events).contains("abc"));
}

#[tokio::test]
async fn a_server_that_hangs_before_the_upgrade_or_before_the_greeting_is_given_up() {
    let urls = [answer(b"", true).await, serve(vec![behaviour(Peer::wait)]).await];
    let mut r = Recorder::new(builder(&urls).connect_timeout(Duration::from_millis(300)));
    for reason in ["not connected in time", "not greeted in time"] {
        r.until(reason, |r| r.reasons().contains(&reason)).await;
    }
}

#[test]
fn what_cannot_work_is_an_error_when_it_is_built() {
    for url in ["", "http://a/ws", "ws:///ws", "ws://ann:pw@a/ws", "a b"] {
        assert_eq!(Client::builder(url).build().unwrap_err(), BuildError::Url, "{url}");
    }
    let client = Client::builder("wss://a/ws");
    assert_eq!(client.authorities("no PEM").build().unwrap_err(), BuildError::Authority);
    assert_eq!(Client::builder("ws://a/ws").connect().unwrap_err(), BuildError::NoRuntime);
}
