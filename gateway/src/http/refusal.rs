//! Refusals: what strangers, and those who come too often, are answered. The front door writes them as bytes, the HTTP
//! server as a response.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use axum::http::StatusCode;
use serde_json::json;

use super::place::Busy;

/// A request of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It comes from a page that may not connect.
    Origin,
    /// It is for another host: a name that somebody has made point here (DNS rebinding).
    Host,
    /// Its connection does not begin as a connection from there has to.
    ProxyHeader,
    /// It came without TLS to a port that speaks nothing else.
    Plain,
}

impl Denied {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Origin | Self::Host => StatusCode::FORBIDDEN,
            Self::ProxyHeader | Self::Plain => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Origin => "origin_not_allowed",
            Self::Host => "host_not_allowed",
            Self::ProxyHeader => "proxy_header",
            Self::Plain => "tls_required",
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Origin => {
                "pages of this origin may not connect: it is not in listener.allowedOrigins"
            }
            Self::Host => {
                "this gateway is not known by that name: it is not in listener.allowedHosts"
            }
            Self::ProxyHeader => {
                "a connection has to come from a trusted proxy and begin with a header of the PROXY protocol"
            }
            Self::Plain => "this port speaks TLS: use https:// or wss://",
        }
    }

    /// The whole answer.
    pub(super) fn bytes(self) -> Vec<u8> {
        answer(self.status(), self.code(), self.message(), None)
    }
}

impl Busy {
    /// The whole answer.
    pub(super) fn bytes(&self) -> Vec<u8> {
        answer(self.status, self.code, &self.message, Some(self.retry_ms))
    }
}

fn answer(status: StatusCode, code: &str, message: &str, retry_ms: Option<u64>) -> Vec<u8> {
    let mut body = json!({ "code": code, "message": message });
    let mut retry = String::new();
    if let Some(ms) = retry_ms {
        body["retryAfterMs"] = ms.into();
        retry = format!("retry-after: {}\r\n", ms.div_ceil(1_000));
    }
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{retry}connection: close\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Answers a connection and hangs up, without waiting for anything.
pub(super) fn hang_up(mut stream: &TcpStream, answer: &[u8]) {
    // Whatever fails here, the connection is closed.
    let _written = stream.write(answer);
    let _ended = stream.shutdown(Shutdown::Write);
    // What is not read would make a reset of the end, which may overtake the answer.
    let mut rest = [0; 4 << 10];
    let _read = stream.read(&mut rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_whole_response() {
        let busy = Busy::new("full", "every place is taken");
        for (bytes, status) in
            [(busy.bytes(), "503 Service Unavailable"), (Denied::Origin.bytes(), "403 Forbidden")]
        {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), body.len());
            assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"].is_string());
        }
    }
}
