//! What follows from the end of a connection, or from none (pure).

use std::time::Duration;

use serde::Deserialize;
use wsgateway_proto::handshake::ClientHandshakeError;

use crate::token::words::printable;
use crate::wire::socket::SocketError;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Connect again, not before so long.
    Again { why: String, after: Duration },
    /// The gateway does not want us, and will not.
    Refused(String),
}

/// The body of a refusal.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Body {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

impl Body {
    /// Of a gateway's refusal; `None` for the page of something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let body: Self = serde_json::from_str(text).ok()?;
        (!body.code.is_empty()).then_some(body)
    }
}

/// Longest pause that a gateway's word leads to.
const LONGEST: Duration = Duration::from_secs(60);

/// After a close frame, or a connection without one (1006).
pub(crate) fn after_close(code: u16, reason: &str, can_renew: bool) -> Next {
    let why = match code {
        1006 => "the connection was lost".to_owned(),
        code if reason.is_empty() => format!("closed with {code}"),
        code => format!("closed with {code}, {}", printable(reason)),
    };
    let refused = |hint: &str| Next::Refused(format!("{why}: {hint}"));
    match code {
        1000 => refused("the gateway has nothing more to say"),
        1002 | 1003 | 1007 | 1009 => refused("it did not understand us: is it another version?"),
        4004 if !can_renew => refused("the token has expired: get a new one, best in --token-file"),
        4010 => refused("the user has too many connections: close another one"),
        4013 => refused("the user or the token is banned (wsgw disconnect)"),
        4009 => Next::Again { why, after: Duration::from_secs(5) },
        1013 => Next::Again { why, after: Duration::from_secs(1) },
        _ => Next::Again { why, after: Duration::ZERO },
    }
}

/// After an upgrade that failed.
pub(crate) fn after_upgrade(error: &SocketError) -> Next {
    let SocketError::Handshake(ClientHandshakeError::Refused {
        status,
        retry_after,
        body_head,
        ..
    }) = error
    else {
        return match error {
            SocketError::Handshake(error) => Next::Refused(format!(
                "{error}: something between here and the gateway does not pass WebSocket on; wsgw doctor says more"
            )),
            error => Next::Again { why: error.to_string(), after: Duration::ZERO },
        };
    };
    let body = Body::parse(body_head);
    let said = match &body {
        Some(body) => format!("{} ({}: {})", status.as_u16(), body.code, body.message),
        None => format!("{status}, and not as a gateway does"),
    };
    let said = printable(&said);
    let asked = body.and_then(|body| body.retry_after_ms).map(Duration::from_millis);
    let asked = asked.or(retry_after.map(Duration::from_secs)).unwrap_or_default();
    match status.as_u16() {
        429 | 502..=504 => {
            Next::Again { why: format!("the answer is {said}"), after: asked.min(LONGEST) }
        }
        401 => Next::Refused(format!(
            "the answer is {said}: give a good token with --token-file; wsgw token verify explains one"
        )),
        404 | 426 | 200..=299 => Next::Refused(format!(
            "the answer is {said}: is the path that of spec.listener.path? wsgw doctor says more"
        )),
        _ => Next::Refused(format!("the answer is {said}")),
    }
}

/// The pause before an attempt: doubling to a quarter of a minute, and spread, so that many clients do not come at once.
pub(crate) fn pause(failures: u32, jitter: f64) -> Duration {
    let full = Duration::from_millis(250 << failures.min(6)).min(Duration::from_secs(15));
    full.mul_f64(0.5 + 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_comes_back_after_what_passes_and_stays_away_after_what_does_not() {
        for code in [1001, 1005, 1006, 1008, 1011, 1012, 1013, 4008, 4009, 4011, 4012] {
            assert!(matches!(after_close(code, "", false), Next::Again { .. }), "{code}");
        }
        for code in [1000, 1002, 1003, 1007, 1009, 4004, 4010, 4013] {
            assert!(matches!(after_close(code, "", false), Next::Refused(_)), "{code}");
        }
        assert!(matches!(after_close(4004, "", true), Next::Again { .. }));
    }

    #[test]
    fn a_refusal_is_told_apart_from_the_page_of_a_proxy() {
        let refused = |status: u16, body: &str| {
            let status = http::StatusCode::from_u16(status).unwrap();
            let body_head = body.to_owned();
            after_upgrade(&SocketError::Handshake(ClientHandshakeError::Refused {
                status,
                retry_after: None,
                content_length: None,
                body_head,
            }))
        };
        let Next::Again { after, .. } =
            refused(503, r#"{"code":"draining","message":"","retryAfterMs":700}"#)
        else {
            panic!("503 passes")
        };
        assert_eq!(after, Duration::from_millis(700));
        for (status, body, words) in [
            (401, r#"{"code":"token_expired","message":"m"}"#, "token_expired: m"),
            (200, "<html>", "not as a gateway does"),
            (404, "", "spec.listener.path"),
        ] {
            let Next::Refused(text) = refused(status, body) else { panic!("{status} stays") };
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert!(pause(0, 1.0) <= Duration::from_millis(250));
        assert!(pause(u32::MAX, 1.0) <= Duration::from_secs(15));
    }
}
