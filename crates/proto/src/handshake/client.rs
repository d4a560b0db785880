//! The client's half of the upgrade.

use http::StatusCode;
use thiserror::Error;

use super::{VERSION, accept_key};

/// Longest response head that is read on: real ones are a few hundred bytes.
pub const MAX_RESPONSE_HEAD: usize = 16 * 1024;

/// Most header lines in a response.
const MAX_HEADERS: usize = 64;

/// Bytes of a refusal's body that are kept for a message.
const BODY_HEAD: usize = 512;

/// Why a server did not upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientHandshakeError {
    /// It answered, and not with 101.
    #[error("the server answered {status}: {body_head}")]
    Refused {
        /// What it answered.
        status: StatusCode,
        /// `Retry-After` in seconds, if it was sent so.
        retry_after: Option<u64>,
        /// `Content-Length`: tells whether more of the body is on its way.
        content_length: Option<u64>,
        /// Up to 512 bytes of the body: what had come with the head.
        body_head: String,
    },
    /// `Sec-WebSocket-Accept` does not belong to the key that was sent.
    #[error("Sec-WebSocket-Accept is missing or wrong: this is no WebSocket server, or a cache")]
    BadAccept,
    /// Not HTTP/1.1, or longer than [`MAX_RESPONSE_HEAD`].
    #[error("the answer is not HTTP: {0}")]
    NotHttp(&'static str),
}

impl ClientHandshakeError {
    /// The status of a refusal.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// An upgrade request. `host` is the value of `Host`, `path` may have a query, `key` is 16 random
/// bytes in base64, and `protocol` the value of `Sec-WebSocket-Protocol`.
pub fn client_request(host: &str, path: &str, key: &str, protocol: Option<&str>) -> Vec<u8> {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {VERSION}\r\nSec-WebSocket-Key: {key}\r\n"
    );
    if let Some(protocol) = protocol {
        request.push_str("Sec-WebSocket-Protocol: ");
        request.push_str(protocol);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// Reads the head of a response: the number of its bytes if the server upgrades (frames follow),
/// `None` while it is incomplete. A refusal is reported as soon as its head is complete, with as
/// much of the body as is there.
///
/// # Errors
/// What the server did instead.
pub fn client_response(bytes: &[u8], key: &str) -> Result<Option<usize>, ClientHandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_RESPONSE_HEAD => {
            return Err(ClientHandshakeError::NotHttp("the head is too long"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ClientHandshakeError::NotHttp("the head cannot be read")),
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = status else {
        return Err(ClientHandshakeError::NotHttp("there is no status"));
    };
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = bytes.get(used..).unwrap_or_default();
        let body_head = String::from_utf8_lossy(body.get(..BODY_HEAD).unwrap_or(body)).into_owned();
        let number = |name| value(name).and_then(|number| number.parse().ok());
        return Err(ClientHandshakeError::Refused {
            status,
            retry_after: number("retry-after"),
            content_length: number("content-length"),
            body_head,
        });
    }
    if value("sec-websocket-accept") != Some(&accept_key(key)) {
        return Err(ClientHandshakeError::BadAccept);
    }
    Ok(Some(used))
}
