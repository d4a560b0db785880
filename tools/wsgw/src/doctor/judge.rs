//! Judgements (pure): what was seen on the way to a gateway, what it means, and what to do.

use std::time::Duration;

use rustls::CertificateError;
use serde_json::Value;
use wsgateway_proto::handshake::ClientHandshakeError;

use super::http::Answer;
use super::report::Check;
use crate::sub::Body;
use crate::token::words::{ago, at, span};
use crate::wire::socket::SocketError;

/// From then on somebody should know that a certificate is not renewed.
const EXPIRES_SOON_MS: u64 = 14 * 86_400_000;
/// A clock that differs by more is wrong; less is the way of the bytes.
const SKEW_MS: u64 = 2_000;
/// What a gateway allows the clocks of issuers by default (spec.auth.jwt.leeway).
const LEEWAY_MS: u64 = 30_000;
/// An event that comes later was held back: a gateway sends the first one at once.
const BUFFERED: Duration = Duration::from_secs(2);

const PATH: &str = "the path is that of spec.listener.path, /ws by default";
const PROXY_UPGRADE: &str = "have each proxy on the way pass WebSocket on: nginx needs proxy_http_version 1.1 and the headers \
    Upgrade and Connection, HTTP load balancers a setting for WebSocket; docs/ingress.md has examples";

/// A certificate that is accepted.
pub(super) fn certificate(version: &str, not_after_ms: Option<u64>, now_ms: u64) -> Check {
    let Some(end) = not_after_ms else { return Check::ok("tls", version) };
    let found = format!(
        "{version}; the certificate is accepted, and expires {}, {}",
        ago(end, now_ms),
        at(end)
    );
    if end.saturating_sub(now_ms) < EXPIRES_SOON_MS {
        return Check::warn(
            "tls",
            found,
            "renew it: a renewal that happens by itself seems to have failed",
        );
    }
    Check::ok("tls", found)
}

/// A handshake that failed.
pub(super) fn no_tls(said: &str, error: Option<&rustls::Error>) -> Check {
    use CertificateError::*;
    let hint = match error {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            Expired | ExpiredContext { .. } => {
                "the certificate has expired: renew it, and have the server read it"
            }
            NotValidYet | NotValidYetContext { .. } => {
                "the certificate is not valid yet: is the clock of this machine right?"
            }
            NotValidForName | NotValidForNameContext { .. } => {
                "the certificate is for other names: use one of them, or get one for this name"
            }
            UnknownIssuer => {
                "nobody here knows who issued it: has the server its whole chain? For an authority of your own give --ca"
            }
            _ => "have the server show another certificate",
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            "the port does not speak TLS: write http:// or ws://, or use the port that does"
        }
        _ => {
            "does the port speak TLS? A proxy may want another host name (SNI), or a newer TLS than it has"
        }
    };
    Check::fail("tls", said, hint)
}

/// The answer to a plain request for the WebSocket's path.
pub(super) fn plain(answer: &Answer) -> Check {
    let status = answer.status;
    if let Some(body) = Body::parse(&answer.body) {
        return of_gateway(status, &body);
    }
    let found = format!("the answer is {status}, and not a gateway's");
    match status {
        200..=299 if answer.body.contains("wsgateway") => {
            Check::ok("http", "a gateway answers with its page")
        }
        200..=299 => Check::fail(
            "http",
            found,
            "something else serves this path: correct the path, or the route of the proxy",
        ),
        300..=399 => {
            let to = answer.header("location").unwrap_or("nowhere");
            // What stands behind may be a token.
            let to = to.split('?').next().unwrap_or_default();
            let found = format!("the answer is a redirect ({status}) to {to}");
            Check::fail(
                "http",
                found,
                "use that address: clients do not follow redirects with WebSocket",
            )
        }
        401 | 403 => Check::fail(
            "http",
            found,
            "a proxy asks for a login of its own: exempt this path from it",
        ),
        404 => Check::fail(
            "http",
            found,
            "the proxy has no route for this host and path: see the Ingress or HTTPRoute",
        ),
        502..=504 => Check::fail(
            "http",
            found,
            "the proxy reaches no gateway behind it: are pods ready (kubectl wsgw status), and are Service and port right?",
        ),
        _ => Check::fail("http", found, "look into the log of the proxy"),
    }
}

/// What a gateway answers itself.
fn of_gateway(status: u16, body: &Body) -> Check {
    let found = format!("a gateway answers: {status} {}, {}", body.code, body.message);
    match body.code.as_str() {
        "upgrade_required" => Check::ok("http", "a gateway answers"),
        // Judged with the upgrade, which has the token.
        "token_missing" | "banned" => Check::ok("http", "a gateway answers, and asks for a token"),
        "not_ready" | "full" | "draining" | "overloaded" => {
            Check::warn("http", found, "kubectl wsgw status says what is under way")
        }
        "not_found" => Check::fail("http", found, PATH),
        "host_not_allowed" => Check::fail(
            "http",
            found,
            "add the host to spec.listener.allowedHosts, or have the proxy keep it",
        ),
        "tls_required" => Check::fail("http", found, "write https:// or wss://"),
        "proxy_header" => Check::fail(
            "http",
            found,
            "connect through the load balancer that writes the PROXY header",
        ),
        _ => Check::warn("http", found, "docs/protocol.md has every code"),
    }
}

/// The answer of /health.
pub(super) fn health(answer: &Answer) -> Check {
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let all = |name: &str| {
        let list = body.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
    };
    match body.get("status").and_then(Value::as_str) {
        Some("healthy") => Check::ok("health", "healthy"),
        Some("degraded") => Check::warn(
            "health",
            format!("degraded: {}", all("warnings")),
            "kubectl wsgw status says more",
        ),
        Some(_) => Check::fail(
            "health",
            format!("unhealthy: {}", all("errors")),
            "kubectl wsgw status says more",
        ),
        None => {
            Check::ok("health", "not shown here (spec.listener.statusPages, or the proxy's routes)")
        }
    }
}

/// An upgrade that failed. The step says whether it is the way or the token.
pub(super) fn no_upgrade(error: &SocketError) -> Check {
    const STEP: &str = "upgrade";
    let fail = |hint: &str| Check::fail(STEP, error.to_string(), hint);
    match error {
        SocketError::Late(_) => fail(
            "something holds the answer back: a proxy that inspects or buffers, or one that waits for a body",
        ),
        SocketError::Ended => {
            fail("something ends upgrades: a firewall, or a proxy that does not know WebSocket")
        }
        SocketError::Io(_) => fail("something ends the connection: look into the log of the proxy"),
        SocketError::Violation(_) => {
            fail("something changes bytes on the way: leave out proxies one by one")
        }
        SocketError::Handshake(ClientHandshakeError::Refused { status, body_head, .. }) => {
            refused(status.as_u16(), body_head)
        }
        SocketError::Handshake(ClientHandshakeError::BadAccept) => {
            fail("a cache or something that is no gateway answers: have it pass this path on")
        }
        SocketError::Handshake(_) => fail(PROXY_UPGRADE),
    }
}

fn refused(status: u16, body: &str) -> Check {
    let Some(body) = Body::parse(body) else {
        let found = format!("the answer is {status} instead of 101, and not a gateway's");
        return Check::fail("upgrade", found, PROXY_UPGRADE);
    };
    let found = format!("{status} {}: {}", body.code, body.message);
    match (status, body.code.as_str()) {
        (426, _) => Check::fail(
            "upgrade",
            "the request reaches a gateway without its header Upgrade: a proxy drops it".to_owned(),
            PROXY_UPGRADE,
        ),
        (401, "token_missing") => Check::fail("token", found, "give one with --token-file"),
        (401, _) => Check::fail(
            "token",
            found,
            "get another one; wsgw token verify says what is wrong with it",
        ),
        (403, "banned") => Check::fail(
            "token",
            found,
            "wsgw disconnect --list shows the ban, --lift takes it back",
        ),
        (429 | 503, _) => {
            Check::fail("upgrade", found, "it passes, or needs more room: kubectl wsgw status")
        }
        (400, _) => Check::fail("upgrade", found, PROXY_UPGRADE),
        (404, _) => Check::fail("upgrade", found, PATH),
        _ => Check::fail("upgrade", found, "docs/protocol.md has every code"),
    }
}

/// What the answer to an upgrade says besides.
pub(super) fn upgraded(head: &str, took: Duration) -> Check {
    let is_named = head.lines().any(|line| {
        let name = line.split(':').next().unwrap_or_default();
        name.eq_ignore_ascii_case("sec-websocket-protocol")
    });
    let found = format!("101 within {} ms", took.as_millis());
    if is_named {
        return Check::ok("upgrade", found);
    }
    let hint = "a proxy drops Sec-WebSocket-Protocol: browsers with a token in it are refused";
    Check::warn("upgrade", format!("{found}, without a subprotocol"), hint)
}

pub(super) fn compression(is_agreed: bool) -> Check {
    if is_agreed {
        return Check::ok("compression", "agreed (permessage-deflate)");
    }
    let hint = "if spec.listener.compression is on, a proxy drops Sec-WebSocket-Extensions";
    Check::warn("compression", "not agreed on: each message comes whole", hint)
}

/// Who we are to the gateway, by its greeting.
pub(super) fn token(greeting: &Value, has_token: bool, now_ms: u64) -> Check {
    let user = greeting.get("user").and_then(Value::as_str);
    let end = greeting.get("expiresAt").and_then(Value::as_u64);
    match (user, has_token) {
        (Some(user), _) => {
            let until = end.map_or_else(
                || "for ever".to_owned(),
                |end| format!("and the connection ends {}", ago(end, now_ms)),
            );
            Check::ok("token", format!("accepted as {user}, {until}"))
        }
        (None, false) => Check::ok("token", "none was shown, and none is asked for"),
        (None, true) => Check::warn(
            "token",
            "it was not looked at: the gateway asks nobody for one",
            "set spec.auth if clients are to show who they are",
        ),
    }
}

/// The gateway's clock against ours, known to within `slack_ms`.
pub(super) fn clock(theirs_ms: u64, ours_ms: u64, slack_ms: u64) -> Check {
    let skew = theirs_ms.abs_diff(ours_ms).saturating_sub(slack_ms);
    let found = format!(
        "this clock is {} {} the gateway's",
        span(skew),
        if theirs_ms > ours_ms { "behind" } else { "ahead of" }
    );
    match skew {
        0..SKEW_MS => Check::ok("clock", "as the gateway's"),
        SKEW_MS..LEEWAY_MS => Check::warn("clock", found, "set both by NTP"),
        _ => Check::fail(
            "clock",
            found,
            "set both by NTP: tokens that are made on one of them are not valid yet, or expired, on the other",
        ),
    }
}

/// The same by an answer's header Date, which has whole seconds, and may be a proxy's.
pub(super) fn date(answer: &Answer, ours_ms: u64) -> Option<Check> {
    let date = jiff::fmt::rfc2822::parse(answer.header("date")?).ok()?;
    let theirs_ms = u64::try_from(date.timestamp().as_millisecond()).ok()?;
    Some(clock(theirs_ms.saturating_add(500), ours_ms, 1_500))
}

/// An event stream's answer.
pub(super) fn events(answer: &Answer) -> Check {
    let is_stream =
        answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !is_stream {
        let code =
            Body::parse(&answer.body).map(|body| format!(" {}", body.code)).unwrap_or_default();
        let found = format!("{}{code}: no event stream here", answer.status);
        let hint = "if clients are to fall back to it, set spec.listener.eventSource and have the proxy pass /sse on";
        return Check::warn("sse", found, hint);
    }
    match answer.first_byte {
        Some(after) if after < BUFFERED => Check::ok("sse", "events come at once"),
        _ => Check::warn(
            "sse",
            "the head comes, and its first event late or not at all: a proxy gathers the answer",
            "switch off its buffering and compression for text/event-stream (nginx: proxy_buffering off)",
        ),
    }
}

/// How an idle connection fared. `ended`: after how long, and its close code if it had one.
pub(super) fn idle(waited: Duration, ended: Option<(Duration, Option<u16>)>) -> Check {
    match ended {
        None => Check::ok("idle", format!("nobody closed it in {} s", waited.as_secs())),
        Some((after, None)) => Check::fail(
            "idle",
            format!("something closed it after {} s, without a word", after.as_secs()),
            "raise the idle timeout of proxies, load balancers and NAT on the way above 60 s (nginx: proxy_read_timeout); the \
             gateway pings every 12.5 to 25 s",
        ),
        Some((after, Some(4011))) => Check::fail(
            "idle",
            format!(
                "the gateway closed it after {} s: its pings were not answered",
                after.as_secs()
            ),
            "a proxy swallows pings or pongs: have it pass frames on as they are",
        ),
        Some((after, Some(code))) => Check::warn(
            "idle",
            format!("closed with {code} after {} s", after.as_secs()),
            "docs/protocol.md has every code: a pod that stops says 1012",
        ),
    }
}

#[cfg(test)]
mod tests;
