use super::*;
use crate::doctor::report::Verdict;

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, body: body.to_owned(), ..Answer::default() }
}

#[test]
fn a_plain_answer_says_who_answers_and_what_is_wrong_there() {
    for (status, body, verdict, words) in [
        (426, r#"{"code":"upgrade_required","message":"m"}"#, Verdict::Ok, "a gateway answers"),
        (401, r#"{"code":"token_missing","message":"m"}"#, Verdict::Ok, "asks for a token"),
        (503, r#"{"code":"not_ready","message":"m"}"#, Verdict::Warn, "not_ready"),
        (404, r#"{"code":"not_found","message":"m"}"#, Verdict::Fail, "not_found"),
        (404, "<html>", Verdict::Fail, "not a gateway's"),
        (200, "<html>nginx", Verdict::Fail, "not a gateway's"),
        (200, "<title>wsgateway</title>", Verdict::Ok, "its page"),
        (502, "", Verdict::Fail, "502"),
        (308, "", Verdict::Fail, "redirect"),
    ] {
        let check = plain(&answer(status, body));
        assert_eq!(check.verdict, verdict, "{status} {body}: {check:?}");
        assert!(check.found.contains(words), "{check:?}");
    }
}

#[test]
fn an_upgrade_that_a_proxy_swallows_is_told_apart_from_a_token_that_is_refused() {
    let of = |status: u16, body: &str| {
        no_upgrade(&SocketError::Handshake(ClientHandshakeError::Refused {
            status: http::StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            content_length: None,
            body_head: body.to_owned(),
        }))
    };
    for (status, body, step, words) in [
        (200, "<html>", "upgrade", "200 instead of 101"),
        (426, r#"{"code":"upgrade_required"}"#, "upgrade", "without its header Upgrade"),
        (401, r#"{"code":"token_expired","message":"old"}"#, "token", "token_expired: old"),
        (403, r#"{"code":"banned"}"#, "token", "banned"),
        (503, r#"{"code":"full"}"#, "upgrade", "full"),
    ] {
        let check = of(status, body);
        assert_eq!((check.verdict, check.step), (Verdict::Fail, step));
        assert!(check.found.contains(words) && check.hint.is_some(), "{check:?}");
    }
}

#[test]
fn a_certificate_warns_before_it_expires_and_names_what_is_wrong() {
    const DAY: u64 = 86_400_000;
    assert_eq!(certificate("TLS 1.3", Some(90 * DAY), 0).verdict, Verdict::Ok);
    assert_eq!(certificate("TLS 1.3", Some(3 * DAY), 0).verdict, Verdict::Warn);
    for (why, words) in [
        (CertificateError::Expired, "has expired"),
        (CertificateError::NotValidForName, "other names"),
        (CertificateError::UnknownIssuer, "--ca"),
    ] {
        let check = no_tls("it fails", Some(&rustls::Error::InvalidCertificate(why)));
        assert!(check.hint.is_some_and(|hint| hint.contains(words)), "{words}");
    }
}

#[test]
fn a_clock_is_judged_by_what_it_does_to_tokens() {
    for (theirs, slack, verdict) in [
        (100_000, 0, Verdict::Ok),
        (101_900, 0, Verdict::Ok),
        (105_000, 0, Verdict::Warn),
        (105_000, 4_000, Verdict::Ok),
        (60_000, 0, Verdict::Fail),
        (900_000, 0, Verdict::Fail),
    ] {
        assert_eq!(clock(theirs, 100_000, slack).verdict, verdict, "{theirs}");
    }
    assert!(clock(900_000, 100_000, 0).found.contains("13 min 20 s behind"));
}

#[test]
fn a_date_of_an_answer_says_what_is_wrong_with_a_clock() {
    let at = |head: &str| date(&Answer::parsed(head), 784_111_777_000).map(|check| check.verdict);
    let good = "HTTP/1.1 401 x\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
    assert_eq!(at(good), Some(Verdict::Ok));
    assert_eq!(at(&good.replace("08:49:37", "08:39:37")), Some(Verdict::Fail));
    assert_eq!(
        (at("HTTP/1.1 401 x\r\nDate: soon\r\n\r\n"), at("HTTP/1.1 401 x\r\n\r\n")),
        (None, None)
    );
}

#[test]
fn events_that_come_late_were_gathered_by_a_proxy() {
    let stream = |first_byte| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        Answer { first_byte, ..Answer::parsed(head) }
    };
    assert_eq!(events(&stream(Some(Duration::ZERO))).verdict, Verdict::Ok);
    assert_eq!(events(&stream(Some(Duration::from_secs(3)))).verdict, Verdict::Warn);
    assert_eq!(events(&stream(None)).verdict, Verdict::Warn);
    assert_eq!(events(&answer(404, "")).verdict, Verdict::Warn);
}

#[test]
fn an_idle_connection_names_who_closed_it() {
    let second = Duration::from_secs(60);
    assert_eq!(idle(second, None).verdict, Verdict::Ok);
    assert!(idle(second, Some((second, None))).found.contains("after 60 s, without a word"));
    assert!(idle(second, Some((second, Some(4011)))).found.contains("pings were not answered"));
    assert_eq!(idle(second, Some((second, Some(1012)))).verdict, Verdict::Warn);
}
